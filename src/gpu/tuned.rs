//! Choices of kernels that were measured on a device: which are in force, and the file that keeps them.
//!
//! The file is text. Its first line names what the choices hold for: version of this crate, adapter, driver, checks. A line
//! each follows, `<what is computed>\t<file of the kernel>`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::{AdapterInfo, Gpu, disk};

/// Kernel files by what is computed: family, types, form, sizes.
type Choices = BTreeMap<String, String>;

pub(super) struct Tuned {
    on: bool,
    /// First line and path of the file; `None` where nothing is kept.
    file: Option<(String, PathBuf)>,
    choices: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Used so far, or set by [`Gpu::keep_tuned`].
    in_force: Choices,
    /// Read from the file.
    known: Choices,
}

impl Tuned {
    /// With the choices of the file of this adapter, if `on`.
    pub(super) fn open(on: bool, directory: Option<PathBuf>, info: &AdapterInfo, checks: bool) -> Self {
        let head = head(info, checks);
        let named = |directory: PathBuf| directory.join(format!("kernels-{:016x}.txt", disk::hash(&head)));
        let file = directory.filter(|_| on).map(named).map(|path| (head.clone(), path));
        let known = file.as_ref().and_then(|(head, path)| read(path, head)).unwrap_or_default();
        Self { on, file, choices: Mutex::new(State { in_force: Choices::new(), known }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.choices.lock().expect("no panic among choices")
    }
}

impl Gpu {
    /// The measured choices that are in force: kernel files by what is computed. What a program must keep
    /// to compute the same bits again.
    #[must_use]
    pub fn tuned(&self) -> BTreeMap<String, String> {
        self.0.tuned.state().in_force.clone()
    }

    /// Puts choices in force that [`Gpu::tuned`] returned, tuning or not. A file that is no candidate here is passed over.
    pub fn keep_tuned(&self, choices: BTreeMap<String, String>) {
        self.0.tuned.state().in_force.extend(choices);
    }

    /// Whether choices are to be measured, or there are some.
    pub(crate) fn has_tuned(&self) -> bool {
        self.0.tuned.on || !self.0.tuned.state().in_force.is_empty()
    }

    /// Whether choices are to be measured.
    pub(crate) fn tunes(&self) -> bool {
        self.0.tuned.on
    }

    /// The choice for `key`, which is in force from now on, if it is one of `files`.
    pub(crate) fn tuned_choice(&self, key: &str, files: &[&'static str]) -> Option<&'static str> {
        let mut state = self.0.tuned.state();
        let State { in_force, known } = &mut *state;
        let among = |file: &String| files.iter().copied().find(|known| known == file);
        if let Some(file) = in_force.get(key).and_then(among) {
            return Some(file);
        }
        let file = known.get(key).and_then(among)?;
        in_force.insert(key.to_owned(), file.to_owned());
        Some(file)
    }

    /// Puts a measured choice in force and writes it to the file; returns the one in force, which another thread may have
    /// set before.
    pub(crate) fn set_tuned(&self, key: String, file: &'static str, files: &[&'static str]) -> &'static str {
        if let Some(earlier) = self.tuned_choice(&key, files) {
            return earlier;
        }
        let mut state = self.0.tuned.state();
        state.in_force.insert(key.clone(), file.to_owned());
        state.known.insert(key, file.to_owned());
        if let Some((head, path)) = &self.0.tuned.file {
            // Another program may have added its own since.
            let theirs = read(path, head).unwrap_or_default();
            for (key, file) in theirs {
                state.known.entry(key).or_insert(file);
            }
            if let Err(error) = write(path, head, &state.known) {
                log::warn!("{}: measured choices are not kept: {error}", path.display());
            }
        }
        file
    }
}

/// What choices hold for.
fn head(info: &AdapterInfo, checks: bool) -> String {
    let AdapterInfo { name, backend, driver, .. } = info;
    let class = info.facts.class;
    let checks = if checks { "on" } else { "off" };
    let head = format!(
        "wgrad {}: {name}, {backend}, {driver}, class {class}, checks {checks}",
        env!("CARGO_PKG_VERSION")
    );
    head.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The choices of a file. One that is broken, or of something else than `head`, is ignored with a warning.
fn read(path: &Path, head: &str) -> Option<Choices> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8(bytes).ok();
    let choices = text.as_deref().and_then(|text| parse(text, head));
    if choices.is_none() {
        log::warn!("{}: ignored, not the measured choices of {head}", path.display());
    }
    choices
}

fn parse(text: &str, head: &str) -> Option<Choices> {
    let lines = text.strip_suffix('\n')?.strip_prefix(head)?;
    let Some(lines) = lines.strip_prefix('\n') else { return lines.is_empty().then(Choices::new) };
    let entry = |line: &str| line.split_once('\t').map(|(key, file)| (key.to_owned(), file.to_owned()));
    lines.split('\n').map(entry).collect()
}

/// Replaces the file, whole or not at all.
fn write(path: &Path, head: &str, choices: &Choices) -> std::io::Result<()> {
    let lines = choices.iter().map(|(key, file)| format!("{key}\t{file}\n"));
    let text = format!("{head}\n{}", lines.collect::<String>());
    disk::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Choices, read, write};

    #[test]
    fn a_file_comes_back_and_a_broken_or_foreign_one_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/kernels.txt");
        assert_eq!(read(&path, "head"), None, "there is none yet");
        for n in [0, 1, 3] {
            let choices: Choices = (0..n).map(|i| (format!("a {i}"), format!("{i}_file"))).collect();
            write(&path, "head", &choices).unwrap();
            assert_eq!(read(&path, "head"), Some(choices));
            assert_eq!(read(&path, "another"), None);
            assert_eq!(read(&path, "hea"), None);
        }
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left: {names:?}");
        let whole = std::fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() - 1], &whole[..whole.len() - 9], b"", b"\xff\xfe", b"head\nx\n"] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(read(&path, "head"), None, "{broken:?}");
        }
    }
}
