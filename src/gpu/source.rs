//! WGSL files and how a kernel's text is put together.
//!
//! A kernel's text is its own file followed by the `shaders/lib/` files that its `// lib:` line names. Nothing is
//! substituted or generated: module scope in WGSL is order-free, so the library goes at the end and line numbers in
//! error messages stay those of the file.

use super::kernel::{Kernel, Text};
use crate::error::{Error, Result};

/// The library files by the name a `// lib:` line uses.
static LIB: &[(&str, &str)] = &[
    ("grid", include_str!("../../shaders/lib/grid.wgsl")),
    ("elem", include_str!("../../shaders/lib/elem_f32.wgsl")),
    ("block", include_str!("../../shaders/lib/block.wgsl")),
    ("carry", include_str!("../../shaders/lib/carry.wgsl")),
    ("logit_broadcast", include_str!("../../shaders/lib/logit_broadcast.wgsl")),
    ("logit_tile", include_str!("../../shaders/lib/logit_tile.wgsl")),
    ("philox", include_str!("../../shaders/lib/philox.wgsl")),
    ("segments", include_str!("../../shaders/lib/segments.wgsl")),
    ("row", include_str!("../../shaders/lib/row.wgsl")),
    ("strip", include_str!("../../shaders/lib/strip.wgsl")),
    ("special", include_str!("../../shaders/lib/special.wgsl")),
    ("view", include_str!("../../shaders/lib/view.wgsl")),
];

/// A WGSL file of this crate, included at compile time.
#[derive(Debug)]
pub struct Source {
    name: &'static str,
    wgsl: &'static str,
}

impl Source {
    /// A file: its path under `shaders/` and its text.
    #[must_use]
    pub const fn new(name: &'static str, wgsl: &'static str) -> Self {
        Self { name, wgsl }
    }

    /// The kernel at `entry`, with the file's own values for its overrides.
    #[must_use]
    pub const fn kernel(&'static self, entry: &'static str) -> Kernel {
        Kernel::from_text(Text::Builtin(self), entry)
    }

    /// Path under `shaders/`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn wgsl(&self) -> &'static str {
        self.wgsl
    }
}

/// The full text of a kernel file: the file, then the library files its `// lib:` line names.
///
/// # Errors
/// [`Error::Kernel`] if the line names a file that is not there.
pub fn assemble(name: &str, wgsl: &str) -> Result<String> {
    let mut text = wgsl.to_owned();
    let wanted = wgsl.lines().find_map(|line| line.strip_prefix("// lib:")).unwrap_or_default();
    for lib in wanted.split_whitespace() {
        let Some((_, body)) = LIB.iter().find(|(known, _)| *known == lib) else {
            let message = format!("`// lib:` names `{lib}`, which is not in shaders/lib");
            return Err(Error::Kernel { kernel: name.to_owned(), message });
        };
        text.push('\n');
        text.push_str(body);
    }
    Ok(text)
}
