//! A convolution to compute: sizes, operands, and the matrix product that it is.

use crate::gpu::{Gpu, Work, uniforms};
use crate::ops::channel_stats::Stats;
use crate::tensor::{DType, Tensor};

/// Which of the three products of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

uniforms! {
    /// A convolution: images, outputs, kernel, stride, padding.
    #[derive(Debug)]
    pub(in crate::ops) struct Sizes {
        n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
        kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32,
    }
}
uniforms! {
    /// The same with a cut of the sums: split s takes terms (or lines) in `[s chunk, (s + 1) chunk)`.
    /// `first`: workgroups of earlier launches.
    pub(super) struct SplitSizes { sizes: Sizes, chunk: u32, splits: u32, first: u32 }
}
uniforms! {
    pub(super) struct WholeSizes { sizes: Sizes, first: u32 }
}

/// Share of the rate of multiply-adds that rungs reach at least, but for `1_naive`.
pub(super) const SHARE: f64 = 0.25;

impl Sizes {
    /// Classes of input pixels, by their coordinates modulo the stride: the same taps reach every pixel of a class.
    pub(super) fn classes(&self) -> u64 {
        product(&[self.sh, self.sw])
    }

    /// Taps that reach a class of input pixels at most.
    pub(super) fn class_taps(&self) -> u64 {
        product(&[self.kh.div_ceil(self.sh), self.kw.div_ceil(self.sw)])
    }

    /// The GEMM of a product; an input gradient goes class by class of the stride, so that no tap is tried in vain.
    pub(super) fn gemm(&self, pass: Pass) -> Gemm {
        let Self { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, .. } = *self;
        let (classes, rows, columns, k) = match pass {
            Pass::Forward => (1, product(&[n, oh, ow]), cout, product(&[kh, kw, cin])),
            Pass::InputGradient => (
                self.classes(),
                product(&[n, h.div_ceil(sh), w.div_ceil(sw)]),
                cin,
                self.class_taps() * u64::from(cout),
            ),
            Pass::WeightGradient => (1, product(&[kh, kw, cin]), cout, product(&[n, oh, ow])),
        };
        Gemm { classes, rows, columns: u64::from(columns), k }
    }

    /// Whether vec4 may run along the channels of both images.
    pub(super) fn vectors(&self) -> bool {
        self.cin.is_multiple_of(4) && self.cout.is_multiple_of(4)
    }
}

/// One product to compute.
pub(in crate::ops) struct Job<'a> {
    pub(super) pass: Pass,
    pub(super) sizes: Sizes,
    /// y, dx or dw.
    pub(super) result: &'a Tensor,
    /// x, dy or x.
    pub(super) lhs: &'a Tensor,
    /// w, w or dy.
    pub(super) rhs: &'a Tensor,
    /// Whether the statistics of y's channels are of use.
    pub(super) wants_stats: bool,
    /// What is to be added to the result, of its shape and type.
    pub(super) plus: Option<&'a Tensor>,
}

/// What a kernel has done besides the product.
#[derive(Default)]
pub(in crate::ops) struct Done {
    /// The statistics of y's channels, if they were wanted and it had them at hand.
    pub(super) stats: Option<Stats>,
    /// Whether `plus` is in the result.
    pub(super) has_plus: bool,
}

/// A product as a GEMM: `(classes) x rows x columns`, and the length of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gemm {
    /// 1, or the stride classes of an input gradient, each a product of its own.
    pub(super) classes: u64,
    /// Pixels, or `(KH, KW, Cin)`.
    pub(super) rows: u64,
    /// Channels.
    pub(super) columns: u64,
    /// Terms of a sum.
    pub(super) k: u64,
}

impl Gemm {
    /// Workgroups with tiles of `rows` x `columns`.
    pub(super) fn tiles(&self, rows: u64, columns: u64) -> u64 {
        self.classes * self.rows.div_ceil(rows) * self.columns.div_ceil(columns)
    }
}

impl Job<'_> {
    /// The GEMM of this product.
    pub(super) fn gemm(&self) -> Gemm {
        self.sizes.gemm(self.pass)
    }

    /// `F16` if both operands are.
    pub(super) fn operands(&self) -> DType {
        if self.lhs.dtype() == DType::F16 && self.rhs.dtype() == DType::F16 { DType::F16 } else { DType::F32 }
    }

    /// The text that a measured choice is kept by.
    pub(super) fn key(&self) -> String {
        let Sizes { n, h, w, cin, cout, kh, kw, sh, sw, ph, pw, .. } = self.sizes;
        let [lhs, rhs, result] = [self.lhs, self.rhs, self.result].map(Tensor::dtype);
        let stats = if self.wants_stats { " stats" } else { "" };
        format!(
            "conv {:?} {lhs:?} {rhs:?} {result:?} {n}x{h}x{w}x{cin} {kh}x{kw}x{cout} stride {sh}x{sw} padding {ph}x{pw}{stats}",
            self.pass
        )
    }

    /// Bytes read and written once, and the multiply-adds of the definition.
    pub(super) fn work(&self) -> Work {
        let Sizes { n, cin, oh, ow, cout, kh, kw, .. } = self.sizes;
        let plus = self.plus.map_or(0, Tensor::bytes);
        let bytes = self.result.bytes() + self.lhs.bytes() + self.rhs.bytes() + plus;
        Work::new(bytes as u64, 2 * product(&[n, oh, ow, cout, kh, kw, cin]))
    }

    pub(super) fn gpu(&self) -> &Gpu {
        self.result.gpu()
    }
}

/// A tensor for a binding that a kernel has and does not read, of the type of `like`.
pub(super) fn unread(like: &Tensor) -> Tensor {
    Tensor::alloc(like.gpu(), "conv2d", &[4].into(), like.dtype())
}

/// The product of sizes.
pub(super) fn product(sizes: &[u32]) -> u64 {
    sizes.iter().map(|&d| u64::from(d)).product()
}
