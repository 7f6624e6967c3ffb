//! Kernels that are named for a device, by `WGRAD_KERNEL` or [`GpuBuilder::kernel`](crate::GpuBuilder::kernel): which names there
//! are, and which were given.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::error::{Error, Result};

/// Each ladder of kernels, which is a folder under `shaders/`, and its rungs, lowest first: `build.rs` lists the files.
pub(crate) static FAMILIES: &[(&str, &[&str])] = include!(concat!(env!("OUT_DIR"), "/families.rs"));

/// The names that were given for a device.
pub(super) struct Choices {
    by_family: HashMap<String, String>,
    quiet: bool,
    /// Notices that were printed.
    told: Mutex<HashSet<String>>,
}

impl Choices {
    /// With `pairs` of family and file, of which later ones go first, after those of the environment's `matmul:1_naive,conv:1_naive`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a family or file that does not exist, or an item that is no pair.
    pub(super) fn new(environment: &str, pairs: &[(String, String)], quiet: bool) -> Result<Self> {
        let mut by_family = HashMap::new();
        for item in environment.split(',').filter(|_| !environment.is_empty()) {
            let Some((family, file)) = item.trim().split_once(':') else {
                return Err(Error::Argument(format!(
                    "WGRAD_KERNEL: `{item}` is not `family:file`, as matmul:1_naive"
                )));
            };
            insert(&mut by_family, "WGRAD_KERNEL", family, file)?;
        }
        for (family, file) in pairs {
            insert(&mut by_family, "GpuBuilder::kernel", family, file)?;
        }
        Ok(Self { by_family, quiet, told: Mutex::default() })
    }

    /// The file that was named for a family of kernels. It is one of [`FAMILIES`].
    pub(super) fn of(&self, family: &str) -> Option<&str> {
        self.by_family.get(family).map(String::as_str)
    }

    /// Prints a notice to stderr, once a device, unless it is quiet.
    pub(super) fn tell_once(&self, notice: &str) {
        if !self.quiet && self.told.lock().expect("no panic among notices").insert(notice.to_owned()) {
            eprintln!("wgrad: {notice}");
        }
    }
}

fn insert(by_family: &mut HashMap<String, String>, source: &str, family: &str, file: &str) -> Result<()> {
    let Some((_, files)) = FAMILIES.iter().find(|(known, _)| *known == family) else {
        let names: Vec<_> = FAMILIES.iter().map(|(family, _)| *family).collect();
        let message =
            format!("{source}: no family of kernels is named `{family}`; there are {}", names.join(", "));
        return Err(Error::Argument(message));
    };
    if !files.contains(&file) {
        let message =
            format!("{source}: there is no shaders/{family}/{file}.wgsl; there are {}", files.join(", "));
        return Err(Error::Argument(message));
    }
    by_family.insert(family.to_owned(), file.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Choices, FAMILIES};

    #[test]
    fn every_file_can_be_named() {
        for (family, files) in FAMILIES {
            for file in *files {
                let choices = Choices::new(&format!("{family}:{file}"), &[], true).unwrap();
                assert_eq!(choices.by_family[*family], *file);
            }
        }
        let both =
            Choices::new("matmul:1_naive, conv:1_naive", &[("matmul".into(), "2_coalesced".into())], true);
        assert_eq!(both.unwrap().by_family["matmul"], "2_coalesced");
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused_with_those_that_do() {
        for (text, reason) in [
            ("matmul", "`matmul` is not `family:file`"),
            ("matmul:1_naive,", "`` is not `family:file`"),
            ("matmull:1_naive", "there are contrastive, conv, matmul"),
            ("lib:grid", "no family of kernels"),
            ("matmul:0_none", "no shaders/matmul/0_none.wgsl; there are 1_naive, 2_coalesced"),
            ("conv:", "there are 1_naive"),
        ] {
            let error = Choices::new(text, &[], true).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("WGRAD_KERNEL: ") && error.contains(reason), "{text}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
        let error = Choices::new("", &[("conv".into(), "9_best".into())], true).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("GpuBuilder::kernel: there is no shaders/conv/9_best.wgsl"));
    }

    /// A rung's number is its place: none is missing.
    #[test]
    fn rung_numbers_have_no_gaps() {
        for (family, files) in FAMILIES {
            let numbers: Vec<usize> =
                files.iter().map(|file| file.split('_').next().unwrap().parse().unwrap()).collect();
            assert_eq!(numbers, (1..=files.len()).collect::<Vec<_>>(), "{family}");
        }
    }
}
