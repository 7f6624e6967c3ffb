//! Convolution on matrix units, wherever the adapter has them.

use crate::cases::images::{CONVOLUTIONS, conv};
use crate::conv2d::check_with;
use crate::matmul_matrix::{half_data, with_matrix_units};
use wgrad::ops::Conv2dOptions;

#[test]
fn f16_operands_f32_sums() {
    let op = |gpu: &wgrad::Gpu| {
        let (x, w) = (gpu.zeros([1, 3, 3, 4]).unwrap(), gpu.zeros([3, 3, 4, 4]).unwrap());
        x.conv2d(&w, Conv2dOptions::new())
    };
    let Some(gpu) = with_matrix_units("conv", "7_matrix", op) else { return };
    for case in &CONVOLUTIONS {
        check_with(&gpu, "7_matrix", case, half_data);
    }
    // Long enough for the weight gradient to be split, and several tiles each way.
    check_with(&gpu, "7_matrix", &conv(3, [21, 20], 1, 3, [3, 3], [2, 1], [1, 1]), half_data);
    check_with(&gpu, "7_matrix", &conv(2, [9, 10], 66, 70, [3, 3], [1, 1], [1, 1]), half_data);
    // Whole blocks and steps in every pass with tiles of 8, but for the weight gradient of the first two.
    check_with(&gpu, "7_matrix", &conv(2, [8, 8], 32, 64, [3, 3], [1, 1], [1, 1]), half_data);
    check_with(&gpu, "7_matrix", &conv(4, [8, 8], 32, 64, [3, 3], [2, 2], [1, 1]), half_data);
    check_with(&gpu, "7_matrix", &conv(2, [8, 8], 64, 64, [2, 2], [1, 1], [0, 0]), half_data);
    // Classes of an input gradient without a tap, and of a number of terms that is no whole step.
    check_with(&gpu, "7_matrix", &conv(4, [8, 8], 64, 16, [1, 1], [2, 2], [0, 0]), half_data);
    check_with(&gpu, "7_matrix", &conv(4, [8, 8], 64, 16, [3, 3], [2, 2], [1, 1]), half_data);
}
