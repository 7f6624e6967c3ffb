//! The directory of a run, and files that are whole at any moment.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Directory of a run and the names in it.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A directory for a new run: `out`, or the first of `runs/METHOD`, `runs/METHOD-2`, ... that holds none.
    ///
    /// # Errors
    /// [`Error::Argument`] if `out` holds a run, [`Error::Io`] if it cannot be made.
    pub fn create(out: Option<&Path>, method: &str) -> Result<Self> {
        let path = match out {
            Some(out) if Self::holds_run(out) => {
                let path = out.display();
                return Err(Error::Argument(format!(
                    "--out {path}: holds a run; --resume {path} continues it, another --out starts a new one"
                )));
            }
            Some(out) => out.to_owned(),
            None => {
                let numbered = |i: u32| match i {
                    1 => PathBuf::from("runs").join(method),
                    _ => PathBuf::from("runs").join(format!("{method}-{i}")),
                };
                (1..).map(numbered).find(|path| !Self::holds_run(path)).unwrap_or_default()
            }
        };
        Self::open(path)
    }

    /// A directory that may hold a run.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn open(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path })
    }

    fn holds_run(path: &Path) -> bool {
        ["checkpoint.safetensors", "summary.json"].iter().any(|file| path.join(file).exists())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it with [`write_atomic`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomic(&self.file(name), bytes)
    }
}

/// Writes `path` so that a kill at any moment leaves the old file or the new one, whole: the bytes go to a temporary
/// file beside it, reach the disk, and the file is renamed.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io(&temporary, e))?;
    drop(file);
    fs::rename(&temporary, path).map_err(|e| Error::io(path, e))?;
    // The rename itself is durable once the directory is; where directories cannot be opened, the system sees to it.
    if let Ok(directory) =
        File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        directory.sync_all().ok();
    }
    Ok(())
}
