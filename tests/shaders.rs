//! Every kernel file, without a GPU: it parses, validates, and translates to what Vulkan, Metal and DX12 take; its
//! bindings follow the conventions of `shaders/README.md`; and the crate uses each of its entry points.

#[path = "common/files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};

use files::files_under;
use naga::back::pipeline_constants::process_overrides;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgrad::Kernel;
use wgrad::gpu::{assemble, libraries, library_files, reflect};

/// Storage buffers a stage may bind wherever wgpu runs.
const MAX_STORAGE_BUFFERS: usize = 8;

/// A kernel file: its path under `shaders/`, its text, and the text with library files, of which `form` names those that fill its
/// slots.
#[derive(Debug)]
struct Shader {
    name: String,
    full: String,
    form: String,
}

/// Every file, in every form that its slots allow, the usual one first.
fn forms() -> Vec<Vec<Shader>> {
    let forms: Vec<_> = files_under("shaders", &["wgsl"])
        .into_iter()
        .map(|(path, own)| (path.strip_prefix("shaders/").unwrap().to_owned(), own))
        .filter(|(name, _)| !name.starts_with("lib/"))
        .map(|(name, own)| {
            let mut forms: Vec<Vec<(&str, &str)>> = vec![vec![]];
            for slot in libraries(&own) {
                let files = library_files(slot);
                assert!(!files.is_empty(), "shaders/{name} wants shaders/lib/{slot}.wgsl");
                let with = |form: &Vec<_>, &file| form.iter().copied().chain([(slot, file)]).collect();
                forms = files
                    .iter()
                    .flat_map(|file| forms.iter().map(|form| with(form, file)).collect::<Vec<_>>())
                    .collect();
            }
            let shader = |form: &Vec<(&str, &str)>| {
                let full = assemble(&name, &own, form).unwrap_or_else(|e| panic!("shaders/{name}: {e}"));
                let files: Vec<_> = form.iter().map(|(_, file)| *file).collect();
                Shader { name: name.clone(), full, form: files.join(" ") }
            };
            forms.iter().map(shader).collect()
        })
        .collect();
    assert!(!forms.is_empty(), "no kernels under shaders/");
    forms
}

/// Every file, in its usual form.
fn shaders() -> Vec<Shader> {
    forms().into_iter().map(|forms| forms.into_iter().next().unwrap()).collect()
}

/// Texts for matrix units (cooperative matrices), which DX12 does not have.
fn uses_matrix_units(full: &str) -> bool {
    full.lines().next().is_some_and(|line| line.contains("wgpu_cooperative_matrix"))
}

/// What every adapter has, what the `enable` directives on line 1 ask for, and subgroups: kernels with them are only chosen
/// where they are.
fn capabilities(text: &str) -> Capabilities {
    let mut capabilities = Capabilities::SUBGROUP;
    if text.lines().next().is_some_and(|line| line.contains("enable f16")) {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if uses_matrix_units(text) {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    capabilities
}

/// Parsed and validated with no capability beyond those.
fn module(shader: &Shader) -> (Module, ModuleInfo) {
    let Shader { name, full, .. } = shader;
    let module = naga::front::wgsl::parse_str(full)
        .unwrap_or_else(|e| panic!("shaders/{name} does not parse: {}", e.emit_to_string(full)));
    let info = Validator::new(ValidationFlags::all(), capabilities(full))
        .validate(&module)
        .unwrap_or_else(|e| panic!("shaders/{name} is not valid: {}", e.emit_to_string(full)));
    (module, info)
}

/// Line ends and spaces as one space, so that a scan need not know how rustfmt broke the lines.
fn one_line(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

fn quoted(text: &str) -> &str {
    let start = text.find('"').unwrap() + 1;
    &text[start..start + text[start..].find('"').unwrap()]
}

/// What `src/` uses: by kernel file, the code that includes it, and the entry points that code asks for by name.
struct Use {
    code: String,
    entries: BTreeSet<String>,
}

fn used() -> BTreeMap<String, Use> {
    let mut used: BTreeMap<String, Use> = BTreeMap::new();
    for (_, text) in files_under("src", &["rs"]) {
        let text = one_line(&text);
        // Each `source!("file")` of this file, alone in `static NAME: Source` or in a macro of the same form.
        let mut sources = BTreeMap::new();
        let named =
            |at: usize| quoted(&text[at..]).ends_with(".wgsl") && !text[..at].ends_with("include_str");
        for (at, _) in text.match_indices("!(\"").filter(|(at, _)| named(*at)) {
            let file = quoted(&text[at..]);
            if let Some(name) = text[..at].strip_suffix(": Source = source") {
                sources.insert(last_word(name), file);
            }
            let before = used.insert(file.to_owned(), Use { code: text.clone(), entries: BTreeSet::new() });
            assert!(before.is_none(), "shaders/{file} is included twice; share its Source");
        }
        for (at, _) in text.match_indices(".kernel(\"") {
            let entry = quoted(&text[at..]);
            let source = last_word(text[..at].trim_end());
            if let Some(file) = sources.get(source) {
                used.get_mut(*file).unwrap().entries.insert(entry.to_owned());
            }
        }
    }
    used
}

/// Leaves a translation, for the compilers of others (`make validate-shaders`), in the folder that `SHADERS_OUT` names.
fn keep(shader: &Shader, entry: &str, folder: &str, extension: &str, bytes: &[u8]) {
    let Some(out) = std::env::var_os("SHADERS_OUT") else { return };
    let folder = std::path::Path::new(&out).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let name = format!("{}.{entry}.{}", shader.name.trim_end_matches(".wgsl"), shader.form);
    let name = name.trim_end_matches('.').replace(['/', ' '], "-");
    std::fs::write(folder.join(format!("{name}.{extension}")), bytes).unwrap();
}

#[test]
fn every_kernel_translates_to_spirv_msl_and_hlsl() {
    for shader in forms().into_iter().flatten() {
        let (module, info) = module(&shader);
        assert!(!module.entry_points.is_empty(), "shaders/{} has no entry point", shader.name);
        for entry in &module.entry_points {
            let what = format!("shaders/{}, entry `{}` with {}", shader.name, entry.name, shader.form);
            let fail = |to: &str, e: &dyn std::fmt::Display| -> ! { panic!("{what}: no {to}: {e}") };
            let stage = ShaderStage::Compute;
            assert_eq!(entry.stage, stage, "{what}");

            let (module, info) =
                process_overrides(&module, &info, Some((stage, &entry.name)), &Default::default())
                    .unwrap_or_else(|e| fail("value for an override", &e));

            let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: entry.name.clone() };
            // The versions that wgpu takes for these; matrix units want a Vulkan of 1.3 anyway.
            for (lang_version, vulkan) in [((1, 3), "vulkan1.1"), ((1, 6), "vulkan1.3")] {
                let options = spv::Options { lang_version, ..Default::default() };
                let words = spv::write_vec(&module, &info, &options, Some(&pipeline))
                    .unwrap_or_else(|e| fail("SPIR-V", &e));
                assert!(!words.is_empty(), "{what}");
                if vulkan == "vulkan1.3" || !uses_matrix_units(&shader.full) {
                    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                    keep(&shader, &entry.name, vulkan, "spv", &bytes);
                }
            }

            let entry_point = Some((stage, entry.name.clone()));
            let lang_version = if uses_matrix_units(&shader.full) { (2, 3) } else { (2, 0) };
            let options = msl::Options { lang_version, ..Default::default() };
            let pipeline = msl::PipelineOptions { entry_point: entry_point.clone(), ..Default::default() };
            let (text, _) =
                msl::write_string(&module, &info, &options, &pipeline).unwrap_or_else(|e| fail("MSL", &e));
            assert!(text.contains("kernel void"), "{what}");
            keep(&shader, &entry.name, "metal", "metal", text.as_bytes());

            if uses_matrix_units(&shader.full) {
                continue;
            }
            let shader_model = hlsl::ShaderModel::V6_2; // the first with f16
            let options = hlsl::Options { shader_model, fake_missing_bindings: true, ..Default::default() };
            let pipeline = hlsl::PipelineOptions { entry_point };
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(&module, &info, None)
                .unwrap_or_else(|e| fail("HLSL", &e));
            assert!(text.contains("numthreads"), "{what}");
            keep(&shader, &entry.name, "hlsl", "hlsl", text.as_bytes());
        }
    }
}

/// WebGPU guarantees 16 KiB of workgroup memory; matrix units come with 32 KiB at least (AMD's Windows driver).
///
/// `reflect` itself refuses holes in the numbering, other groups, and uniforms elsewhere than at binding 0.
#[test]
fn bindings_are_uniforms_then_outputs_then_inputs() {
    for shader in shaders() {
        let (module, _) = module(&shader);
        for entry in &module.entry_points {
            let what = format!("shaders/{}, entry `{}`", shader.name, entry.name);
            let seen = reflect(&shader.name, &shader.full, &entry.name, &[])
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(seen.writable.len() <= MAX_STORAGE_BUFFERS, "{what}: {} buffers", seen.writable.len());
            assert!(seen.writable.contains(&true), "{what} writes nothing");
            assert!(seen.writable.is_sorted_by(|a, b| a >= b), "{what}: an input before an output: {seen:?}");
            assert!((1..=256).contains(&seen.workgroup_size), "{what}: workgroup of {}", seen.workgroup_size);
            let most = if uses_matrix_units(&shader.full) { 32 << 10 } else { 16 << 10 };
            assert!(
                seen.workgroup_bytes <= most,
                "{what}: {} bytes of workgroup memory",
                seen.workgroup_bytes
            );
        }
    }
}

#[test]
fn files_and_entry_points_are_those_the_crate_uses() {
    let used = used();
    let there: BTreeMap<String, BTreeSet<String>> = shaders()
        .iter()
        .map(|shader| {
            let (module, _) = module(shader);
            (shader.name.clone(), module.entry_points.iter().map(|e| e.name.clone()).collect())
        })
        .collect();
    for (file, Use { entries, .. }) in &used {
        assert!(there.contains_key(file), "src uses shaders/{file}, which does not exist");
        let missing: Vec<_> = entries.difference(&there[file]).collect();
        assert!(missing.is_empty(), "src uses entry points that shaders/{file} lacks: {missing:?}");
    }
    for (file, entries) in &there {
        let Some(Use { code, .. }) = used.get(file) else { panic!("nothing in src uses shaders/{file}") };
        let unused: Vec<_> = entries.iter().filter(|entry| !code.contains(&format!("\"{entry}\""))).collect();
        assert!(unused.is_empty(), "no Kernel in src uses these entry points of shaders/{file}: {unused:?}");
    }
}

#[test]
fn library_files_have_no_bindings_and_are_used() {
    let used: BTreeSet<String> = forms()
        .iter()
        .flatten()
        .flat_map(|shader| shader.form.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for (path, text) in files_under("shaders/lib", &["wgsl"]) {
        assert!(!text.contains("@group") && !text.contains("@binding"), "{path} has bindings");
        let stem = path.trim_start_matches("shaders/lib/").trim_end_matches(".wgsl");
        assert!(used.contains(stem), "no kernel names {stem} in its `// lib:` line");
    }
}

#[test]
fn text_is_plain_wgsl_and_finished() {
    for (name, text) in files_under("shaders", &["wgsl"]) {
        let body =
            text.strip_prefix("enable ").and_then(|rest| rest.split_once('\n')).map_or(&*text, |(_, b)| b);
        assert!(body.starts_with("// "), "{name} starts without its purpose");
        for word in ["TODO", "FIXME", "enable subgroups", "#import", "#ifdef", "#define"] {
            assert!(!text.contains(word), "{name} contains `{word}`");
        }
    }
}

/// The line of an error is that of the file in every form: directives go in front on line 1.
#[test]
fn forms_keep_line_numbers() {
    let wgsl = "// One.\n// lib: grid elem\nerror";
    for file in library_files("elem") {
        let text = assemble("test", wgsl, &[("elem", file)]).unwrap();
        assert_eq!(text.lines().position(|line| line == "error"), Some(2), "{file}");
        assert_eq!(text.starts_with("enable f16; "), file != "elem_f32", "{file}");
    }
}

/// A slot takes a file of its own, the usual one unless another is chosen, and nothing else.
#[test]
fn slots_take_their_files() {
    let wgsl = "// lib: lane";
    let text = |choices: &[(&str, &str)]| assemble("test", wgsl, choices).map_err(|e| e.to_string());
    assert!(text(&[]).unwrap().contains("const LANE: u32 = 1;"));
    assert!(text(&[("lane", "lane_4"), ("tile", "tile_8")]).unwrap().contains("const LANE: u32 = 4;"));
    for wrong in ["lane_2", "grid", "lane"] {
        let error = text(&[("lane", wrong)]).unwrap_err();
        assert!(error.contains(&format!("`lane` is lane_1 or lane_4, not {wrong}")), "{error}");
    }
}

/// Library files go behind a kernel's own text, so the compiler's line numbers are those of the file.
#[test]
fn errors_name_the_line_of_the_file() {
    let error = |line_4: &str| {
        let wgsl = format!(
            "// Broken on line 4.\n// lib: grid philox\n@group(0) @binding(1) var<storage, read_write> y: array<u32>;\n\
             {line_4}\n@compute @workgroup_size(64)\nfn main() {{ y[0] = group_index(At(vec3u(f()), vec3u(1u))); }}\n"
        );
        Kernel::new(&wgsl, "main").map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(error("fn f() -> u32 { return 1u; }"), Ok(()));
    for wrong in
        ["fn f() -> u32 { return 1u }", "fn f() -> u32 { return 1.5f; }", "fn f() -> u32 { return x; }"]
    {
        let message = error(wrong).unwrap_err();
        assert!(message.contains(":4:"), "{wrong}: {message}");
    }
}

#[test]
fn outside_kernels_are_refused_with_a_reason() {
    let refused = |wgsl: &str, entry: &str, reason: &str| {
        let message = Kernel::new(wgsl, entry).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    };
    let y = "@group(0) @binding(1) var<storage, read_write> y: array<u32>;";
    let main = "@compute @workgroup_size(1) fn main() { y[0] = 1u; }";
    refused(&format!("{y} {main}"), "mian", "mian");
    refused(&format!("{} {main}", y.replace("binding(1)", "binding(2)")), "main", "1");
    refused(&format!("{} {main}", y.replace("group(0)", "group(1)")), "main", "group 1");
    refused(&format!("// lib: girth\n{y} {main}"), "main", "girth");
}
