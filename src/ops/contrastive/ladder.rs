//! The rungs of `shaders/contrastive/`. A further rung is one line in the table.

use super::blocks::Blocks;
use super::call::{Call, Passes};
use super::matrix::Matrix;
use super::tiles::{NAIVE, REGISTER, WORKGROUP};
use crate::gpu::{Gpu, Means};
use crate::ops::ladder::{Family, Ladder, Rung as RungOf};
use crate::tensor::DType;

/// Contrastive losses, forward and backward.
pub(in crate::ops) struct Losses;

type Rung = RungOf<Losses>;

#[rustfmt::skip]
static LADDER: Ladder<Losses> = Ladder { family: "contrastive", rungs: &[
    Rung::new("1_naive", Means::Memory, &NAIVE),
    Rung::new("2_register", Means::Registers, &REGISTER),
    Rung::new("3_workgroup", Means::Workgroup, &WORKGROUP),
    Rung::new("4_blocks", Means::Registers, &Blocks),
    Rung::new("5_matrix", Means::MatrixUnits, &Matrix).rounds_to_f16(),
] };

impl Family for Losses {
    type Job<'a> = Call;
    type Launch = &'static dyn Passes;
    const LADDER: &'static Ladder<Self> = &LADDER;

    fn gpu(call: &Call) -> &Gpu {
        &call.gpu
    }

    fn operands(call: &Call) -> DType {
        call.operands
    }
}
