//! The text of a kernel: its own WGSL file followed by the `shaders/lib/` files that its `// lib:` line names.
//!
//! Nothing is substituted or generated: module scope in WGSL is order-free, so the library goes at the end and line numbers in
//! error messages stay those of the file.

use crate::error::{Error, Result};

/// A slot of a kernel's text and the library file that fills it.
pub(crate) type Choice<'a> = (&'a str, &'a str);

/// A WGSL file's text, by its path under `shaders/`.
macro_rules! wgsl {
    ($($path:expr),+) => { include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $($path),+)) };
}
pub(crate) use wgsl;

macro_rules! library {
    ($($name:literal)+) => { &[$(($name, wgsl!("lib/", $name, ".wgsl"))),+] };
}

/// The library files. Files of one slot stand together, the usual one first.
static LIBRARY: &[(&str, &str)] = library! {
    "grid" "philox" "segments" "special" "nan" "view" "strip" "exp_sum" "logit_tile"
    "elem_f32" "elem_f16" "elem_f16_out_f32"
    "lane_1" "lane_4"
    "row" "sums_memory" "sums_shuffle"
    "block" "carry" "taps" "logit_block"
    "logit_matrix" "matrix" "stage" "store" "result_vectors" "result_scalars" "tile_16" "tile_8" "tile_emulated"
};

/// The files that a name in a `// lib:` line may stand for, the usual one first: the file of that name, or if there is none the
/// name is a slot, which any file `<name>_*` fills.
#[must_use]
pub fn library_files(name: &str) -> Vec<&'static str> {
    let names = || LIBRARY.iter().map(|(known, _)| *known);
    if let Some(file) = names().find(|known| *known == name) {
        return vec![file];
    }
    names()
        .filter(|known| known.strip_prefix(name).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_')))
        .collect()
}

/// The names in the `// lib:` line of a kernel's file.
pub fn libraries(wgsl: &str) -> impl Iterator<Item = &str> {
    wgsl.lines().find_map(|line| line.strip_prefix("// lib:")).unwrap_or_default().split_whitespace()
}

/// The full text of a kernel file: the file, then the library files its `// lib:` line names. A slot takes the file that the
/// first of `choices` for it names, else the usual one; choices for slots that the file does not have are left out.
///
/// # Errors
/// [`Error::Kernel`] if the line or a choice names a file that is not there.
pub fn assemble(kernel: &str, wgsl: &str, choices: &[(&str, &str)]) -> Result<String> {
    let fail = |message| Err(Error::Kernel { kernel: kernel.to_owned(), message });
    let (mut directives, mut library) = (String::new(), String::new());
    for name in libraries(wgsl) {
        let files = library_files(name);
        let file = match (choices.iter().find(|(slot, _)| *slot == name), &files[..]) {
            (_, []) => return fail(format!("`// lib:` names `{name}`, which is not in shaders/lib")),
            (None, [usual, ..]) => usual,
            (Some((_, wanted)), files) => match files.iter().find(|file| *file == wanted) {
                Some(file) => file,
                None => return fail(format!("`{name}` is {}, not {wanted}", files.join(" or "))),
            },
        };
        let mut body = LIBRARY.iter().find(|(known, _)| known == file).expect("listed above").1;
        // WGSL wants directives before all else: they go on line 1, so that line numbers stay those of the file.
        if let Some((directive, rest)) = body.split_once('\n').filter(|(line, _)| line.starts_with("enable "))
        {
            directives += &format!("{directive} ");
            body = rest;
        }
        library += &format!("\n{body}");
    }
    Ok(directives + wgsl + &library)
}

/// The extensions that the `enable` directives of a text name.
pub(super) fn enabled(text: &str) -> impl Iterator<Item = &str> {
    let directives = text.lines().filter(|line| line.starts_with("enable ")).flat_map(|line| line.split(';'));
    directives
        .filter_map(|directive| directive.trim().strip_prefix("enable "))
        .flat_map(|names| names.split(',').map(str::trim))
}

/// The types of stored activations (`Elem`) and of a kernel's first output (`Out`): which file fills the slot `elem`. A launch
/// takes the one that fits the tensors it binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Variant {
    /// Both are `f32`.
    F32,
    /// Both are `f16`: a tensor bound is, and the first one too.
    F16,
    /// `Elem` is `f16` and `Out` is `f32`: sums over f16 values.
    F16ToF32,
}

impl Variant {
    pub(super) const COUNT: u32 = 3;

    /// The one for a launch, from whether each tensor it binds is f16.
    pub(super) fn of(halves: impl Iterator<Item = bool> + Clone) -> Self {
        match (halves.clone().next(), halves.into_iter().any(|half| half)) {
            (_, false) => Self::F32,
            (Some(true), true) => Self::F16,
            (_, true) => Self::F16ToF32,
        }
    }

    pub(super) const fn choice(self) -> Choice<'static> {
        let file = match self {
            Self::F32 => "elem_f32",
            Self::F16 => "elem_f16",
            Self::F16ToF32 => "elem_f16_out_f32",
        };
        ("elem", file)
    }

    /// The end of a kernel's name in profiles and errors.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::F16 => " f16",
            Self::F16ToF32 => " f16 to f32",
        }
    }
}

/// Whether the text of a kernel depends on the [`Variant`].
pub(super) fn has_variants(wgsl: &str) -> bool {
    libraries(wgsl).any(|name| name == Variant::F32.choice().0)
}

/// The [`Source`] of a file: its path under `shaders/`.
macro_rules! source {
    ($file:literal) => {
        $crate::gpu::Source::new($file, $crate::gpu::wgsl!($file))
    };
}
pub(crate) use source;

/// A WGSL file of this crate, included at compile time.
///
/// Its kernels run unchecked, so no name outside the crate leads here: WGSL from outside goes through [`Kernel::new`].
///
/// ```compile_fail,E0603
/// static SOURCE: wgrad::gpu::Source = wgrad::gpu::Source::new("mine.wgsl", "");
/// ```
///
/// [`Kernel::new`]: super::Kernel::new
#[derive(Debug)]
pub(crate) struct Source {
    name: &'static str,
    wgsl: &'static str,
}

impl Source {
    /// A file: its path under `shaders/` and its text.
    #[must_use]
    pub(crate) const fn new(name: &'static str, wgsl: &'static str) -> Self {
        Self { name, wgsl }
    }

    /// Path under `shaders/`.
    #[must_use]
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn wgsl(&self) -> &'static str {
        self.wgsl
    }
}
