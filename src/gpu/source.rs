//! WGSL files and how a kernel's text is put together.
//!
//! A kernel's text is its own file followed by the `shaders/lib/` files that its `// lib:` line names. Nothing is
//! substituted or generated: module scope in WGSL is order-free, so the library goes at the end and line numbers in
//! error messages stay those of the file.

use super::adapter::AdapterInfo;
use crate::error::{Error, Result};

/// The library files by the name a `// lib:` line uses.
static LIB: &[(&str, &str)] = &[
    ("lane_1", include_str!("../../shaders/lib/lane_1.wgsl")),
    ("lane_4", include_str!("../../shaders/lib/lane_4.wgsl")),
    ("grid", include_str!("../../shaders/lib/grid.wgsl")),
    ("logit_block", include_str!("../../shaders/lib/logit_block.wgsl")),
    ("block", include_str!("../../shaders/lib/block.wgsl")),
    ("carry", include_str!("../../shaders/lib/carry.wgsl")),
    ("logit_tile", include_str!("../../shaders/lib/logit_tile.wgsl")),
    ("philox", include_str!("../../shaders/lib/philox.wgsl")),
    ("segments", include_str!("../../shaders/lib/segments.wgsl")),
    ("row", include_str!("../../shaders/lib/row.wgsl")),
    ("row_memory", include_str!("../../shaders/lib/row_memory.wgsl")),
    ("row_shuffle", include_str!("../../shaders/lib/row_shuffle.wgsl")),
    ("exp_sum", include_str!("../../shaders/lib/exp_sum.wgsl")),
    ("strip", include_str!("../../shaders/lib/strip.wgsl")),
    ("special", include_str!("../../shaders/lib/special.wgsl")),
    ("view", include_str!("../../shaders/lib/view.wgsl")),
    ("matrix", include_str!("../../shaders/lib/matrix.wgsl")),
    ("stage", include_str!("../../shaders/lib/stage.wgsl")),
    ("tile16", include_str!("../../shaders/lib/tile16.wgsl")),
    ("tile8", include_str!("../../shaders/lib/tile8.wgsl")),
];

/// The adapter's facts and the choices between two library files on which a kernel's text depends, besides its own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Side of the matrix unit's tile, 16 or 8: which file `// lib: tile` names.
    pub tile: u32,
    /// Largest subgroup: the value of `override SUBGROUP`.
    pub subgroup: u32,
    /// [`Kernel::wide`](super::Kernel::wide): which file `// lib: lane` names.
    pub wide: bool,
    /// [`Kernel::shuffled`](super::Kernel::shuffled): which file `// lib: row` names besides its own.
    pub shuffled: bool,
}

impl Default for Target {
    /// As on most GPUs with matrix units.
    fn default() -> Self {
        Self { tile: 16, subgroup: 32, wide: false, shuffled: false }
    }
}

impl Target {
    pub(super) fn of(info: &AdapterInfo) -> Self {
        let usual = Self::default();
        let tile = info.matrix_tiles.first().copied().unwrap_or(usual.tile);
        Self { tile, subgroup: info.largest_subgroup(), ..usual }
    }

    /// A kernel's own constants, and those of the adapter that its text declares.
    pub(super) fn constants(self, own: &[(&'static str, f64)], text: &str) -> Vec<(&'static str, f64)> {
        let subgroup = text.contains("override SUBGROUP").then_some(("SUBGROUP", f64::from(self.subgroup)));
        own.iter().copied().chain(subgroup).collect()
    }
}

/// The types of stored activations (`Elem`) and of a kernel's first output (`Out`) in one text of a kernel. A launch takes the text
/// that fits the tensors it binds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Both are `f32`.
    #[default]
    F32,
    /// Both are `f16`: a tensor bound is, and the first one too.
    F16,
    /// `Elem` is `f16` and `Out` is `f32`: sums over f16 values.
    F16ToF32,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::F16ToF32];

    /// The one for a launch, from whether each tensor it binds is f16.
    pub(super) fn of(halves: impl Iterator<Item = bool> + Clone) -> Self {
        match (halves.clone().next(), halves.into_iter().any(|half| half)) {
            (_, false) => Self::F32,
            (Some(true), true) => Self::F16,
            (_, true) => Self::F16ToF32,
        }
    }

    /// The library file that `// lib: elem` names.
    const fn elem(self) -> &'static str {
        match self {
            Self::F32 => include_str!("../../shaders/lib/elem_f32.wgsl"),
            Self::F16 => include_str!("../../shaders/lib/elem_f16.wgsl"),
            Self::F16ToF32 => include_str!("../../shaders/lib/elem_f16_out_f32.wgsl"),
        }
    }

    /// The directive that its text needs, put in front on line 1 so that line numbers stay those of the file.
    const fn directive(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::F16 | Self::F16ToF32 => "enable f16; ",
        }
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

/// The [`Source`] of a file: its path under `shaders/`.
macro_rules! source {
    ($file:literal) => {
        $crate::gpu::Source::new($file, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file)))
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

/// The library files that a kernel's `// lib:` line names.
fn libraries(wgsl: &str) -> impl Iterator<Item = &str> {
    wgsl.lines().find_map(|line| line.strip_prefix("// lib:")).unwrap_or_default().split_whitespace()
}

/// Whether the text of a kernel depends on the [`Variant`].
pub(super) fn has_variants(wgsl: &str) -> bool {
    libraries(wgsl).any(|lib| lib == "elem")
}

/// The full text of a kernel file: the file, then the library files its `// lib:` line names; of those that come in two
/// forms, the one for `target`.
///
/// # Errors
/// [`Error::Kernel`] if the line names a file that is not there.
pub fn assemble(name: &str, wgsl: &str, variant: Variant, target: Target) -> Result<String> {
    let directive = if has_variants(wgsl) { variant.directive() } else { "" };
    let mut text = format!("{directive}{wgsl}");
    for lib in libraries(wgsl) {
        let files: &[&str] = match lib {
            "tile" if target.tile == 8 => &["tile8"],
            "tile" => &["tile16"],
            "lane" if target.wide => &["lane_4"],
            "lane" => &["lane_1"],
            "row" if target.shuffled => &["row", "row_shuffle"],
            "row" => &["row", "row_memory"],
            _ => std::slice::from_ref(&lib),
        };
        for file in files {
            let known = LIB.iter().find(|(known, _)| known == file).map(|(_, body)| *body);
            let Some(body) = known.or_else(|| (lib == "elem").then(|| variant.elem())) else {
                let message = format!("`// lib:` names `{lib}`, which is not in shaders/lib");
                return Err(Error::Kernel { kernel: name.to_owned(), message });
            };
            text.push('\n');
            text.push_str(body);
        }
    }
    Ok(text)
}

/// The extensions that the `enable` directives of a text name.
pub(super) fn enabled(text: &str) -> impl Iterator<Item = &str> {
    let directives = text.lines().filter(|line| line.starts_with("enable ")).flat_map(|line| line.split(';'));
    directives
        .filter_map(|directive| directive.trim().strip_prefix("enable "))
        .flat_map(|names| names.split(',').map(str::trim))
}
