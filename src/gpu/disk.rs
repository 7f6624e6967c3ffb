//! What is kept on disk between programs.

use std::path::PathBuf;

/// Directory of what this crate keeps: `WGRAD_CACHE_DIR`, else `wgrad` in the user's own (`XDG_CACHE_HOME` or `~/.cache`;
/// `~/Library/Caches` on macOS; `%LOCALAPPDATA%` on Windows). `None` where there is none of these.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = path("WGRAD_CACHE_DIR") {
        return Some(own);
    }
    let users = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Caches"))
    } else {
        path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")))
    };
    users.map(|users| users.join("wgrad"))
}
