//! A matrix product to compute.

use crate::gpu::{Gpu, Work, uniforms};
use crate::ops::split_sums::{Epilogue, split_output, splits};
use crate::tensor::{DType, Tensor};

/// Which operand is transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Form {
    /// A B
    Nn,
    /// A Bᵀ
    Nt,
    /// Aᵀ B
    Tn,
}

/// C = A B, A Bᵀ or Aᵀ B, `batch` of them, and an epilogue. No size is 0.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Job<'a> {
    pub(in crate::ops) op: &'a str,
    pub(in crate::ops) form: Form,
    pub(in crate::ops) batch: u32,
    pub(in crate::ops) m: u32,
    pub(in crate::ops) n: u32,
    pub(in crate::ops) k: u32,
    pub(in crate::ops) c: &'a Tensor,
    pub(in crate::ops) a: &'a Tensor,
    pub(in crate::ops) b: &'a Tensor,
    pub(in crate::ops) epilogue: Epilogue<'a>,
}

uniforms! {
    #[derive(Default)]
    pub(super) struct Uniforms {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
    }
}

impl Job<'_> {
    pub(super) fn gpu(&self) -> &Gpu {
        self.c.gpu()
    }

    /// `F16` if both operands are.
    pub(super) fn operands(&self) -> DType {
        if self.a.dtype() == DType::F16 && self.b.dtype() == DType::F16 { DType::F16 } else { DType::F32 }
    }

    /// Blocks of `rows` x `columns` that cover C.
    pub(super) fn blocks(&self, rows: u32, columns: u32) -> u64 {
        u64::from(self.batch) * u64::from(self.m.div_ceil(rows)) * u64::from(self.n.div_ceil(columns))
    }

    /// Whether the last axes of A, B and C are whole vec4s.
    pub(super) fn vectors(&self) -> bool {
        [self.a, self.b, self.c].iter().all(|t| t.shape()[t.shape().rank() - 1] % 4 == 0)
    }

    /// The text that a measured choice is kept by.
    pub(super) fn key(&self) -> String {
        let &Job { form, batch, m, n, k, c, a, b, epilogue: Epilogue { bias, relu }, .. } = self;
        let bias = if bias.is_some() { " bias" } else { "" };
        let relu = if relu { " relu" } else { "" };
        let [a, b, c] = [a, b, c].map(Tensor::dtype);
        format!("matmul {form:?} {a:?} {b:?} {c:?} {batch}x{m}x{n}x{k}{bias}{relu}")
    }

    /// The least work of a launch that writes `part`.
    pub(super) fn work(&self, part: &Tensor) -> Work {
        let flops = 2 * [self.batch, self.m, self.n, self.k].into_iter().map(u64::from).product::<u64>();
        Work::new((self.a.bytes() + self.b.bytes() + part.bytes()) as u64, flops)
    }

    /// Cuts the sums over k for a kernel whose `groups` workgroups of `invocations` each make a part of C: the tensor that it
    /// writes, and its parameters: sizes, strides that the form stands for, and the cut.
    pub(super) fn cut(&self, groups: u64, invocations: u32) -> (Tensor, Uniforms) {
        let &Job { form, batch, m, n, k, .. } = self;
        let chunk = k.div_ceil(splits(self.gpu(), groups, invocations, u64::from(k))).next_multiple_of(4);
        let splits = k.div_ceil(chunk);
        let (a_row, a_k) = if form == Form::Tn { (1, m) } else { (k, 1) };
        let (b_k, b_col) = if form == Form::Nt { (1, k) } else { (n, 1) };
        let uniforms = Uniforms { batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col };
        (split_output(self.op, self.c, splits), uniforms)
    }
}
