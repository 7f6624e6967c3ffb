//! Facts that stand in two places are equal: the oldest Rust, commands, variables, paths, licences, the first example.

#[path = "common/files.rs"]
mod files;

use files::{files_under, read, root};

const DOCUMENTS: &[&str] = &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "shaders/README.md"];

fn manifest(key: &str) -> String {
    let text = read("Cargo.toml");
    let line = text.lines().find(|line| line.split('=').next().unwrap().trim() == key);
    line.and_then(|line| line.split('"').nth(1)).unwrap_or_else(|| panic!("Cargo.toml: no {key}")).to_owned()
}

/// What stands between backquotes.
fn code_spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Every word that follows `before`.
fn words_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(before)
        .map(|(at, _)| {
            let rest = &text[at + before.len()..];
            &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let version = manifest("rust-version");
    assert!(read("README.md").contains(&format!(" {version} or newer")), "README.md and Cargo.toml differ");
    let ci = read(".github/workflows/ci.yml");
    for line in ci.lines().filter(|line| line.contains("cargo +") || line.contains("toolchain install")) {
        assert!(line.contains(&version), "ci.yml: {line}");
    }
}

#[test]
fn named_commands_exist() {
    let makefile = read("Makefile");
    let target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    for document in DOCUMENTS {
        let text = read(document);
        for line in text.lines().filter(|line| line.starts_with("    make ")) {
            for name in line.split('#').next().unwrap().split_whitespace().skip(1) {
                assert!(target(name), "{document}: make {name}");
            }
        }
        for name in code_spans(&text).iter().filter_map(|span| span.strip_prefix("make ")) {
            assert!(target(name), "{document}: make {name}");
        }
        for name in words_after(&text, "--example ") {
            assert!(root().join(format!("examples/{name}.rs")).exists(), "{document}: --example {name}");
        }
    }
    for (file, text) in files_under("examples", &["rs"]) {
        for name in words_after(&text, "cargo run --release --example ") {
            assert!(file == format!("examples/{name}.rs"), "{file} says --example {name}");
        }
    }
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).unwrap();
    for name in phony.split_whitespace().filter(|name| *name != "needs") {
        assert!(
            makefile.contains(&format!("# make {name} ")),
            "the head of the Makefile does not explain {name}"
        );
        assert!(
            read("README.md").contains(&format!("`make {name}`")),
            "README.md does not explain make {name}"
        );
    }
}

#[test]
fn named_paths_exist() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document);
        let folder = folder.parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            assert!(folder.join(link).exists(), "{document}: link to {link}");
        }
        for span in code_spans(&text) {
            let path =
                ["src/", "tests/", "shaders/", "examples/", "benches/"].iter().any(|p| span.starts_with(p));
            assert!(!path || root().join(span).exists(), "{document}: {span}");
        }
    }
}

#[test]
fn the_shader_library_is_listed() {
    let readme = read("shaders/README.md");
    for (path, _) in files_under("shaders/lib", &["wgsl"]) {
        let name = path.trim_start_matches("shaders/");
        assert!(readme.contains(&format!("| `{name}` |")), "shaders/README.md does not list {name}");
    }
}

/// Variables of this crate that the README explains are read somewhere, and the other way round.
#[test]
fn variables_are_explained() {
    let readme = read("README.md");
    let named = |text: &str| -> Vec<String> {
        let mut names: Vec<_> =
            words_after(text, "\"WGRAD_").iter().map(|name| format!("WGRAD_{name}")).collect();
        names.sort();
        names.dedup();
        names
    };
    let mut reads: Vec<String> =
        files_under("src", &["rs"]).iter().flat_map(|(_, text)| named(text)).collect();
    reads.sort();
    reads.dedup();
    for name in &reads {
        assert!(readme.contains(&format!("`{name}`")), "README.md does not explain {name}");
    }
    for name in code_spans(&readme).iter().filter(|span| span.starts_with("WGRAD_")) {
        assert!(reads.iter().any(|read| read == name), "README.md explains {name}, which nothing reads");
    }
}

#[test]
fn licences_are_there() {
    let licence = manifest("license");
    for (name, head) in [("MIT", "MIT License"), ("APACHE", "Apache License")] {
        assert!(licence.to_uppercase().contains(name));
        assert!(read(&format!("LICENSE-{name}")).lines().take(2).any(|line| line.contains(head)));
    }
}

/// The README's example is the one in the crate's documentation, which runs as a test.
#[test]
fn the_example_is_the_one_that_is_tested() {
    let readme = read("README.md");
    let example = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let essay: Vec<String> =
        read("src/lib.rs").lines().filter_map(|line| line.strip_prefix("//!")).map(squeeze).collect();
    for line in example.lines().map(squeeze).filter(|line| !line.is_empty()) {
        assert!(essay.contains(&line), "src/lib.rs does not run: {line}");
    }
}

/// The kernel that the README shows is the file's.
#[test]
fn the_kernel_is_the_one_that_runs() {
    let readme = read("README.md");
    let kernel = readme.split("```wgsl\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(
        read("shaders/matmul/2_coalesced.wgsl").contains(kernel),
        "README.md shows another kernel:\n{kernel}"
    );
}

/// Each block of CONTRIBUTING.md that names a file stands in it, so that it compiles and is tested there.
#[test]
fn the_written_path_is_made_of_real_code() {
    let text = read("CONTRIBUTING.md");
    let mut compared = 0;
    for block in text.split("```").skip(1).step_by(2) {
        let (head, body) = block.split_once('\n').unwrap();
        let Some((_, file)) = head.split_once(' ') else { continue };
        // Blocks stand in a numbered list, three columns in.
        let body: Vec<&str> = body.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
        let body = body.join("\n");
        assert!(read(file).contains(body.trim_end()), "CONTRIBUTING.md: this is not in {file}:\n{body}");
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} blocks name a file");
}

/// The README's first paragraph tells the mean that the peers' table has.
#[test]
fn the_ratio_to_burn_is_that_of_the_table() {
    let readme = read("README.md");
    let mean = readme.split("| **geometric mean** | | | **").nth(1).unwrap().split('*').next().unwrap();
    let head = readme.split("## ").next().unwrap();
    assert!(head.contains(&format!("it is {mean} times as fast as burn")), "the table's mean is {mean}");
}
