//! Lists the kernel files of each ladder, so that a name given by `WGRAD_KERNEL` can be checked when a device opens: the files
//! under `shaders/` whose names begin with the number of a rung.

use std::collections::BTreeMap;
use std::{env, fs, io, path::Path};

/// Parts of a name that tell the files of one rung apart.
const PASSES: [&str; 7] =
    ["_forward", "_backward", "_input_gradient", "_weight_gradient", "_states", "_weights", "_sum"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=shaders");
    let mut families: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
    for folder in fs::read_dir("shaders")? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let name = file?.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".wgsl") else { continue };
            let rung = PASSES.iter().find_map(|pass| stem.strip_suffix(pass)).unwrap_or(stem);
            let number = rung.split_once('_').and_then(|(number, _)| number.parse().ok());
            if let Some(number) = number {
                let family = folder.file_name().to_string_lossy().into_owned();
                families.entry(family).or_default().insert(number, rung.to_owned());
            }
        }
    }
    let families: Vec<(String, Vec<String>)> =
        families.into_iter().map(|(family, rungs)| (family, rungs.into_values().collect())).collect();
    let text =
        families.iter().map(|(family, rungs)| format!("({family:?}, &{rungs:?}), ")).collect::<String>();
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("families.rs"), format!("&[{text}]"))
}
