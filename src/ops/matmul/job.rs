//! A matrix product to compute.

use crate::gpu::{Constant, Gpu, Kernel, Source, Work, uniforms};
use crate::ops::split_sums::{Epilogue, splits};
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

/// The kernels of `source` by [`Form`]: along which axis of A and B its loads run.
pub(super) const fn forms(
    source: &'static Source,
    entry: &'static str,
    constants: &[&'static [Constant]],
) -> [Kernel; 3] {
    const fn form(mut kernel: Kernel, constants: &[&'static [Constant]]) -> Kernel {
        let mut i = 0;
        while i < constants.len() {
            kernel = kernel.with(constants[i]);
            i += 1;
        }
        kernel
    }
    [
        form(source.kernel(entry).with(&[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]), constants),
        form(source.kernel(entry).with(&[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]), constants),
        form(source.kernel(entry).with(&[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)]), constants),
    ]
}

uniforms! {
    /// A product and the cut of its sums: split s takes the terms `[s chunk, (s + 1) chunk)`. `first`: workgroups of earlier launches.
    pub(super) struct Cut { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32 }
}
uniforms! {
    /// Steps in A and B from one row, term or column of the product to the next.
    pub(super) struct Strides { a_row: u32, a_k: u32, b_k: u32, b_col: u32 }
}

impl Cut {
    /// The cut for a kernel whose `groups` workgroups of `invocations` each make C, between multiples of `step` terms.
    pub(super) fn of(
        gpu: &Gpu,
        (groups, invocations): (u64, u32),
        [batch, m, n, k]: [u32; 4],
        step: u32,
    ) -> Self {
        let chunk = k.div_ceil(splits(gpu, groups, invocations, u64::from(k))).next_multiple_of(step);
        Self { batch, m, n, k, chunk, splits: k.div_ceil(chunk), first: 0 }
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

    /// The strides that the form stands for.
    pub(super) fn strides(&self) -> Strides {
        let &Job { form, m, n, k, .. } = self;
        let (a_row, a_k) = if form == Form::Tn { (1, m) } else { (k, 1) };
        let (b_k, b_col) = if form == Form::Nt { (1, k) } else { (n, 1) };
        Strides { a_row, a_k, b_k, b_col }
    }
}
