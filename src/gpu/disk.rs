//! Where this crate keeps what it can make again: compiled pipelines, tuned choices.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

/// `WGRAD_CACHE_DIR`, else `wgrad` in the user's cache folder; none where neither is known, or `WGRAD_CACHE_DIR` is empty.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if env::var_os("WGRAD_CACHE_DIR").is_some() {
        return folder("WGRAD_CACHE_DIR");
    }
    let home = |rest: &str| folder("HOME").map(|home| home.join(rest));
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_vendor = "apple") {
        home("Library/Caches")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| home(".cache"))
    };
    caches.map(|caches| caches.join("wgrad"))
}

/// Writes a file whole or not at all: to a temporary one beside it, which takes its name. Makes the folder.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", process::id()));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// A hash that is the same in every run of one build.
pub(crate) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
