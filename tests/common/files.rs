//! The files of this repository, for tests that read them.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Path (from the root, with `/`) and text of every file under `dir` with one of the extensions, sorted.
pub(crate) fn files_under(dir: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut files = vec![];
    let mut dirs: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                let text = read(&name);
                files.push((name, text));
            }
        }
    }
    files.sort();
    files
}
