//! A kernel: WGSL text, entry point, library files and override values.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::reflection::reflect;
use super::text::{Choice, Source, Variant, assemble, has_variants, libraries};
use crate::error::{Error, Result};

/// A value of an `override` constant.
pub(crate) type Constant = (&'static str, f64);

/// Constants of a kernel at most.
const MAX_CONSTANTS: usize = 10;
/// Slots that a kernel fills at most.
const MAX_LIBS: usize = 2;

/// A compute kernel, launched with [`Gpu::launch`](crate::Gpu::launch). Device-free: one kernel serves every `Gpu`.
#[derive(Debug)]
pub struct Kernel {
    /// Number within the process, and whether the text has variants.
    id: OnceLock<(u32, bool)>,
    text: Text,
    entry: Cow<'static, str>,
    constants: Few<Constant, MAX_CONSTANTS>,
    libs: Few<Choice<'static>, MAX_LIBS>,
}

/// Where the WGSL comes from. Only text compiled into this crate may ever run unchecked.
#[derive(Debug)]
enum Text {
    Builtin(&'static Source),
    User(Arc<str>),
}

/// At most `N` values. A `Vec` cannot grow in a constant.
#[derive(Debug, Clone, Copy)]
struct Few<T, const N: usize> {
    values: [T; N],
    count: usize,
}

impl<T: Copy, const N: usize> Few<T, N> {
    const fn new(filler: T) -> Self {
        Self { values: [filler; N], count: 0 }
    }

    /// With one more.
    ///
    /// # Panics
    /// If there are `N` already.
    #[track_caller]
    const fn and(mut self, value: T) -> Self {
        assert!(self.count < N, "a kernel has too many constants or library files");
        self.values[self.count] = value;
        self.count += 1;
        self
    }

    fn get(&self) -> &[T] {
        &self.values[..self.count]
    }
}

impl Source {
    /// The kernel at `entry`, with the file's own values for its overrides.
    #[must_use]
    pub(crate) const fn kernel(&'static self, entry: &'static str) -> Kernel {
        Kernel::of(Text::Builtin(self), Cow::Borrowed(entry))
    }
}

impl Kernel {
    /// A kernel from your own WGSL, parsed and validated at once. It may name library files in a `// lib:` line.
    ///
    /// Conventions: group 0 only; binding 0 is the `var<uniform>` (absent if there are none), storage
    /// bindings follow from 1 without holes, in the order the tensors are passed. Always runs with runtime checks.
    ///
    /// # Errors
    /// [`Error::Kernel`] with naga's message if the text does not parse or validate, has no such entry point, or breaks
    /// a convention.
    pub fn new(wgsl: &str, entry: &str) -> Result<Self> {
        let kernel = Self::of(Text::User(wgsl.into()), Cow::Owned(entry.to_owned()));
        reflect(&kernel.name(), &kernel.full_text(&[])?, entry, &[])?;
        Ok(kernel)
    }

    const fn of(text: Text, entry: Cow<'static, str>) -> Self {
        Self { id: OnceLock::new(), text, entry, constants: Few::new(("", 0.0)), libs: Few::new(("", "")) }
    }

    /// The same kernel with values for `override` constants, besides those that it has values for.
    ///
    /// # Panics
    /// If that makes more than 10.
    #[must_use]
    #[track_caller]
    pub const fn with(mut self, constants: &'static [(&'static str, f64)]) -> Self {
        let mut i = 0;
        while i < constants.len() {
            self.constants = self.constants.and(constants[i]);
            i += 1;
        }
        self
    }

    /// The same kernel with the library file `file` where its `// lib:` line says `slot`: `.lib("lane", "lane_4")` takes
    /// `shaders/lib/lane_4.wgsl`, four columns an invocation, in place of `lane_1.wgsl`.
    ///
    /// # Panics
    /// If two slots have been filled.
    #[must_use]
    #[track_caller]
    pub const fn lib(mut self, slot: &'static str, file: &'static str) -> Self {
        self.libs = self.libs.and((slot, file));
        self
    }

    /// `file/entry`, as profiles and errors print it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.text {
            Text::Builtin(source) => format!("{}/{}", source.name().trim_end_matches(".wgsl"), self.entry),
            Text::User(_) => format!("user/{}", self.entry),
        }
    }

    /// The variant of it for a launch of `wanted`, and a number that tells kernels and variants apart within the process.
    pub(super) fn variant(&self, wanted: Variant) -> (Variant, u32) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (id, varies) =
            *self.id.get_or_init(|| (NEXT.fetch_add(1, Ordering::Relaxed), has_variants(self.wgsl())));
        let variant = if varies { wanted } else { Variant::F32 };
        (variant, id * Variant::COUNT + variant as u32)
    }

    fn wgsl(&self) -> &str {
        match &self.text {
            Text::Builtin(source) => source.wgsl(),
            Text::User(wgsl) => wgsl,
        }
    }

    pub(super) fn entry(&self) -> &str {
        &self.entry
    }

    pub(super) fn constants(&self) -> &[Constant] {
        self.constants.get()
    }

    /// Whether the text is compiled into this crate.
    pub(super) fn is_builtin(&self) -> bool {
        matches!(self.text, Text::Builtin(_))
    }

    /// The text handed to the compiler. `choices` fill the slots that the kernel itself leaves to the launch and the adapter.
    pub(super) fn full_text(&self, choices: &[Choice<'_>]) -> Result<String> {
        let own = self.libs.get();
        if let Some((slot, _)) =
            own.iter().find(|(slot, _)| !libraries(self.wgsl()).any(|name| name == *slot))
        {
            return Err(Error::Kernel {
                kernel: self.name(),
                message: format!("its `// lib:` line has no `{slot}` to fill"),
            });
        }
        assemble(&self.name(), self.wgsl(), &[own, choices].concat())
    }
}
