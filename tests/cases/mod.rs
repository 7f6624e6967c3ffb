//! The table of op cases: every op of the public API once, with how it is run, its specification, the ragged shapes that it is
//! tested on, the size and work that it is timed at, and the types that it takes.
//!
//! The tests (`tests/ops/specification.rs`) and the benches (`benches/common/timed.rs`) read it. It lies under `tests/` because a
//! case says first what is true of an op, and one who adds an op looks there; nothing in it knows a test harness, so that the
//! benches and the report, which check before they time, include it by path. An entry is a function in the file of its family,
//! which names it in `entries`; `tests/ops/specification.rs` fails for a public op without one.
#![allow(dead_code, unused_imports, reason = "the tests use what is tested, the benches what is timed")]

use wgrad::Gpu;

/// The entries of a file as one list, for the benches.
macro_rules! all {
    ($file:ident: $($name:ident)*) => {
        /// Every entry of this file.
        pub(crate) fn all(sizes: &Sizes) -> Vec<Op> {
            let mut ops = vec![];
            $(ops.extend($name(sizes));)*
            ops
        }
    };
}

pub(crate) mod elementwise;
pub(crate) mod images;
pub(crate) mod moves;
pub(crate) mod op;
pub(crate) mod products;
pub(crate) mod rows;

/// What is timed: sizes for a CPU adapter or for a GPU.
pub(crate) struct Sizes {
    /// Rows of 1024 elements.
    pub(crate) rows: usize,
    /// Images, their height and width, channels.
    pub(crate) maps: [usize; 3],
    /// Images, their height and width, channels in and out.
    pub(crate) convolution: [usize; 4],
    /// Length and width of square matrices.
    pub(crate) product: usize,
    /// Rows of a contrastive loss, 128 wide.
    pub(crate) batch: usize,
    /// Rows and columns of a covariance.
    pub(crate) covariance: [usize; 2],
    /// Queries and rows of a bank, 128 wide.
    pub(crate) neighbours: [usize; 2],
}

impl Sizes {
    pub(crate) fn of(gpu: &Gpu) -> Self {
        let of = |cpu: usize, other: usize| if gpu.is_cpu() { cpu } else { other };
        Self {
            rows: of(4096, 32_768),
            maps: [of(64, 512), of(28, 32), of(32, 64)],
            convolution: [of(64, 512), of(28, 32), of(32, 64), of(32, 64)],
            product: of(512, 4096),
            batch: of(1024, 8192),
            covariance: [of(256, 2048), of(512, 2048)],
            neighbours: [of(256, 4096), of(4096, 32_768)],
        }
    }
}

/// What the rungs of a family are checked on, those that only some of them compute in a way of their own included. Empty for a
/// family that has no line here.
pub(crate) fn laddered(family: &str, rung: &str, sizes: &Sizes) -> Vec<op::Op> {
    match family {
        "matmul" => products::laddered(rung, sizes),
        "conv" => images::laddered(sizes),
        "contrastive" => products::laddered_losses(sizes),
        _ => vec![],
    }
}

/// Every case, in the order of a report.
pub(crate) fn all(sizes: &Sizes) -> Vec<op::Op> {
    [elementwise::all, rows::all, images::all, moves::all, products::all]
        .into_iter()
        .flat_map(|family| family(sizes))
        .collect()
}
