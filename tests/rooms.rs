//! The rooms of the crate and which may name which: `shape, error, rng <- gpu <- tensor, autograd <- ops <- nn, optim
//! <- ssl, data, eval <- train`; and which files may import one another. Reads the text of `src/`; needs no GPU.

#[path = "common/files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};

use files::{files_under, read, root};

/// Every room, and the rooms its code may name besides itself. `reference` stands alone but for the integers
/// of `rng`, which are their own specification.
const ROOMS: &[(&str, &[&str])] = &[
    ("shape", &["error"]),
    ("error", &["shape"]),
    ("rng", &["shape", "error"]),
    ("reference", &["rng"]),
    ("gpu", &["shape", "error", "rng"]),
    ("tensor", &["shape", "error", "rng", "gpu", "autograd"]),
    ("autograd", &["shape", "error", "rng", "gpu", "tensor"]),
    ("ops", &["shape", "error", "rng", "gpu", "tensor", "autograd"]),
    ("nn", &["shape", "error", "rng", "gpu", "tensor", "autograd", "ops"]),
    ("optim", &["shape", "error", "rng", "gpu", "tensor", "autograd", "ops", "nn"]),
    ("ssl", &["shape", "error", "rng", "gpu", "tensor", "autograd", "ops", "nn", "optim"]),
    // The recipe of an augmentation is stated once, in its specification.
    ("data", &["shape", "error", "rng", "reference", "gpu", "tensor", "autograd", "ops"]),
    ("eval", &["shape", "error", "rng", "gpu", "tensor", "autograd", "ops", "nn", "optim"]),
    (
        "train",
        &["shape", "error", "rng", "gpu", "tensor", "autograd", "ops", "nn", "optim", "ssl", "data", "eval"],
    ),
];

/// Where the names live that `src/lib.rs` exports again at the top.
const EXPORTS: &[(&str, &str)] = &[
    ("DType", "tensor"),
    ("Error", "error"),
    ("Gpu", "gpu"),
    ("GpuBuilder", "gpu"),
    ("Gradients", "autograd"),
    ("Kernel", "gpu"),
    ("Result", "error"),
    ("Rng", "rng"),
    ("Shape", "shape"),
    ("Tensor", "tensor"),
    ("uniforms", "gpu"),
];

/// Longest file; a longer one wants splitting.
const MAX_LINES: usize = 600;

/// The code of a file: no comments, no unit tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = before_tests.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// `src/ops/relu.rs` is in `ops`, `src/tensor.rs` is `tensor`.
fn room(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// First names behind every `crate::`, those in braces included.
fn named(code: &str) -> Vec<String> {
    let mut names = vec![];
    for (at, head) in code.match_indices("crate::") {
        let rest = &code[at + head.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(first_word(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].ends_with(inside) && !code[at + word.len()..].starts_with(inside)
    })
}

#[test]
fn dependencies_point_one_way() {
    for (file, text) in files_under("src", &["rs"]) {
        let room = room(&file);
        if room == "lib" {
            continue;
        }
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            panic!("{file} is in no known room");
        };
        let code = code(&text);
        for name in named(&code) {
            let other =
                EXPORTS.iter().find(|(export, _)| *export == name).map_or(name.as_str(), |(_, home)| home);
            assert!(
                other == room || may.contains(&other),
                "{file} names crate::{name}, and {room} may not name {other}"
            );
        }
        assert!(!code.contains("super::super::"), "{file} reaches out of its room by super::super");
        assert!(
            file.matches('/').count() > 1 || file.ends_with("/mod.rs") || !code.contains("super::"),
            "{file}: write crate:: for a path out of the room"
        );
    }
}

/// Calls of methods that a higher room defines, which no `use` line shows: `backward` adds gradients up, un-broadcasts and casts
/// them by ops. `max` and `sum` in `tensor` are those of host values.
const UPWARD_CALLS: &[(&str, &[&str])] =
    &[("autograd", &["add", "sum_to", "to_dtype"]), ("tensor", &["max", "sum"])];

/// Sets of files that import one another. A tensor holds its node and a node its saved tensors; a device holds its parts, which
/// hold it or extend it.
const CIRCLES: &[&[&str]] = &[
    &["tensor", "autograd"],
    &[
        "gpu",
        "gpu::builder",
        "gpu::compiled",
        "gpu::pool",
        "gpu::profile",
        "gpu::readback",
        "gpu::recorder",
        "gpu::tuned",
    ],
];

/// The files of `src/` as modules, with their code: `ops::matmul::job` of `src/ops/matmul/job.rs`, and `` of `src/lib.rs`.
fn modules() -> BTreeMap<String, String> {
    let module = |file: &str| {
        let path = file.strip_prefix("src/").unwrap().trim_end_matches(".rs").trim_end_matches("/mod");
        if path == "lib" { String::new() } else { path.replace('/', "::") }
    };
    files_under("src", &["rs"]).into_iter().map(|(file, text)| (module(&file), code(&text))).collect()
}

/// The paths of a `use` tree, braces written out: `a::{b, c::{d, e as f}}` is `a::b`, `a::c::d` and `a::c::e`.
fn written_out(tree: &str) -> Vec<String> {
    let Some((before, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        return if path.is_empty() { vec![] } else { vec![path.to_owned()] };
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or_else(|| panic!("use {tree}"));
    let (mut items, mut depth) = (vec![String::new()], 0);
    for c in group.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => items.push(String::new()),
            c => items.last_mut().unwrap().push(c),
        }
    }
    items.iter().flat_map(|item| written_out(item)).map(|item| format!("{}{item}", before.trim())).collect()
}

/// The paths that a module's code names: those of its `use` lines, each with whether it is exported, and those written in full.
fn paths(code: &str) -> Vec<(bool, String)> {
    let mut paths = vec![];
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let begins = |at: &usize| {
            let line = statement[..*at].rsplit('\n').next().unwrap().trim();
            line.is_empty() || (line.starts_with("pub") && !line.contains(' '))
        };
        let start = statement.match_indices("use ").map(|(at, _)| at).find(begins);
        match start.filter(|_| statement.ends_with(';')) {
            Some(start) => {
                let exported = statement[..start].trim_end().rsplit('\n').next().unwrap().starts_with("pub");
                let tree = statement[start + 4..].trim_end_matches(';');
                paths.extend(written_out(tree).into_iter().map(|path| (exported, path)));
                rest.push_str(&statement[..start]);
            }
            None => rest.push_str(statement),
        }
    }
    // `pub(in crate::ops)` is no use of that room.
    let rest = rest.replace("pub(in crate::", "pub(in ");
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in rest.match_indices(root) {
            let path: String =
                rest[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            paths.push((false, path.trim_end_matches(':').to_owned()));
        }
    }
    paths
}

/// The path from the crate's root that `path` in `module` stands for; `None` for one of another crate.
fn absolute(modules: &BTreeMap<String, String>, module: &str, path: &str) -> Option<Vec<String>> {
    let mut base: Vec<&str> = if module.is_empty() { vec![] } else { module.split("::").collect() };
    let mut names: Vec<&str> = path.split("::").collect();
    match names[0] {
        "crate" => base.clear(),
        "super" => drop(base.pop()),
        "self" => {}
        child => {
            let inside = if module.is_empty() { child.to_owned() } else { format!("{module}::{child}") };
            modules.get(&inside)?;
            names.insert(0, "self");
        }
    }
    base.extend(&names[1..]);
    Some(base.into_iter().map(str::to_owned).collect())
}

/// The module that defines what `path` names: the longest module in it, or, if that exports the name again, where it comes from.
fn home(
    modules: &BTreeMap<String, String>,
    exports: &BTreeMap<Vec<String>, Vec<String>>,
    path: &[String],
) -> String {
    let length = (0..=path.len()).rev().find(|&n| modules.contains_key(&path[..n].join("::"))).unwrap();
    match path.get(..=length).and_then(|name| exports.get(name)).filter(|target| *target != path) {
        Some(target) => home(modules, exports, target),
        None => path[..length].join("::"),
    }
}

/// Which modules each module imports from.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut exports = BTreeMap::new();
    let mut named = vec![];
    for (module, code) in modules {
        for (exported, path) in paths(code) {
            let Some(target) = absolute(modules, module, &path) else { continue };
            if exported && let Some(name) = target.last() {
                let parent = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
                exports.insert(parent.chain([name.clone()]).collect::<Vec<_>>(), target.clone());
            }
            named.push((module, target));
        }
    }
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, target) in named {
        let home = home(modules, &exports, &target);
        if home != *module && !home.is_empty() {
            imports.entry(module.clone()).or_default().insert(home);
        }
    }
    imports
}

/// A file that can be moved or read without another has no way back to itself, but for [`CIRCLES`].
#[test]
fn no_files_import_in_a_circle() {
    let modules = modules();
    let imports = imports(&modules);
    assert!(imports["ops::matmul"].contains("ops::matmul::ladder"), "the scan sees no imports");
    assert!(imports["ops::matmul::ladder"].contains("gpu::kernel"), "the scan does not follow exports");
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut pending: Vec<&str> = vec![from];
        while let Some(next) = pending.pop() {
            for other in imports.get(next).into_iter().flatten() {
                if reached.insert(other.as_str()) {
                    pending.push(other);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = modules
        .keys()
        .filter(|module| !module.is_empty())
        .map(|module| (module.as_str(), reached(module)))
        .collect();
    for (module, others) in &reached {
        for other in others.iter().filter(|other| *other != module && reached[**other].contains(module)) {
            let known = CIRCLES.iter().any(|circle| circle.contains(module) && circle.contains(other));
            assert!(
                known,
                "{module} and {other} import each other, by {:?} and {:?}",
                imports[*module], imports[*other]
            );
        }
    }
}

/// Names of the methods that a file adds to `Tensor`.
fn tensor_methods(code: &str) -> BTreeSet<String> {
    let blocks = code.split("\nimpl Tensor {").skip(1).map(|rest| rest.split("\n}").next().unwrap());
    let public = |line: &str| {
        let line = line.trim_start();
        let name = line.starts_with("pub").then(|| line.split_once("fn "))??.1;
        Some(first_word(name))
    };
    blocks.flat_map(|block| block.lines().filter_map(public).collect::<Vec<_>>()).collect()
}

/// A method can be called without naming the room that defines it.
#[test]
fn methods_are_called_from_the_rooms_above() {
    let modules = modules();
    let mut rooms_of: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (module, code) in &modules {
        for method in tensor_methods(code) {
            rooms_of.entry(method).or_default().insert(module.split("::").next().unwrap());
        }
    }
    assert!(rooms_of["matmul"].contains("ops") && rooms_of["to_vec"].contains("tensor"), "{rooms_of:?}");
    for (module, code) in &modules {
        let room = module.split("::").next().unwrap();
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else { continue };
        if room != "tensor" && !may.contains(&"tensor") {
            continue; // It has no tensors.
        }
        let declared =
            UPWARD_CALLS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, calls)| calls);
        for (method, homes) in &rooms_of {
            // `gpu.copy(..)` is a method of `Gpu`, where tensors have a `copy` as well.
            let code = code.replace(&format!("gpu.{method}("), "");
            let called = [".", "::"].iter().any(|dot| code.contains(&format!("{dot}{method}(")));
            let below = homes.iter().any(|home| *home == room || may.contains(home));
            assert!(
                !called || below || declared.contains(&method.as_str()),
                "{module} calls {method}, which {homes:?} defines"
            );
        }
    }
}

#[test]
fn every_room_exists() {
    for (room, _) in ROOMS {
        let there = root().join(format!("src/{room}.rs")).exists()
            || root().join(format!("src/{room}/mod.rs")).exists();
        assert!(there, "src has no {room}");
    }
    let lib = read("src/lib.rs");
    for (name, home) in EXPORTS {
        let exported =
            lib.lines().any(|line| line.starts_with(&format!("pub use {home}::")) && has_word(line, name));
        // `uniforms!` is exported where it is defined.
        assert!(exported || *name == "uniforms", "src/lib.rs does not export {home}::{name}");
    }
}

#[test]
fn only_the_machine_knows_wgpu_and_it_knows_no_tensor() {
    for (file, text) in files_under("src", &["rs"]) {
        let code = code(&text);
        let room = room(&file);
        let banned: &[&str] = match room {
            "gpu" => &["Tensor"],
            "nn" | "ssl" | "eval" => &["wgpu", "Kernel"],
            "lib" | "error" => &[],
            _ => &["wgpu"],
        };
        for word in banned {
            assert!(!has_word(&code, word), "{file} names {word}");
        }
    }
}

#[test]
fn the_specification_uses_only_std() {
    for (file, text) in files_under("src/reference", &["rs"]) {
        let code = code(&text);
        for line in code.lines().map(str::trim).filter(|line| line.starts_with("use ")) {
            let outside = !["use std::", "use super::", "use crate::reference", "use crate::rng"]
                .iter()
                .any(|ok| line.starts_with(ok));
            assert!(!outside, "{file}: {line}");
        }
    }
}

#[test]
fn files_are_short() {
    for dir in ["src", "shaders", "tests", "examples", "benches"] {
        for (file, text) in files_under(dir, &["rs", "wgsl"]) {
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{file} has {lines} lines");
        }
    }
}

#[test]
fn every_exception_to_a_lint_has_its_reason() {
    for dir in ["src", "tests", "examples", "benches"] {
        for (file, text) in files_under(dir, &["rs"]) {
            let code = code(&text);
            for (at, _) in code.match_indices("#[").chain(code.match_indices("#![")) {
                let attribute = code[at..].split(']').next().unwrap();
                let relaxes = ["allow(", "expect("].iter().any(|word| attribute.contains(word));
                assert!(!relaxes || attribute.contains("reason"), "{file}: {attribute}] gives no reason");
            }
        }
    }
}
