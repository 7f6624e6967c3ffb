//! The rooms of the crate and which may name which: `shape, error, rng <- gpu <- tensor, autograd <- ops <- nn, optim
//! <- ssl, data, eval <- train`. Reads the text of `src/`; needs no GPU.

#[path = "common/files.rs"]
mod files;

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
    ("params", "gpu"),
];

/// Longest file; a longer one wants splitting.
const MAX_LINES: usize = 600;

/// The code of a file: no comments, no unit tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap();
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
        // `params!` is exported where it is defined.
        assert!(exported || *name == "params", "src/lib.rs does not export {home}::{name}");
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
