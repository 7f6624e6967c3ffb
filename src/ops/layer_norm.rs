//! Layer normalisation over the last axis.

use super::row_kernel::{HELD, RowKernel, check_columns, rows_of};
use super::strips::Strips;
use crate::gpu::{Bind, Gpu, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("layer_norm.wgsl");
static FORWARD: RowKernel = RowKernel::lanes(&SOURCE, "layer_norm");
static BACKWARD: RowKernel = RowKernel::lanes(&SOURCE, "layer_norm_backward");
static BACKWARD_HELD: RowKernel = RowKernel::lanes(&SOURCE, "layer_norm_backward_held");

uniforms! { struct Uniforms { rows: u32, c: u32, eps: f32 } }
uniforms! { struct StripUniforms { m: u32, c: u32, strips: u32, interleaved: u32 } }

impl Tensor {
    /// `gamma (x - mean) / sqrt(var + 1e-5) + beta` over the last axis, with the mean and biased variance of each row;
    /// `gamma` and `beta` are `[c]` for `x [.., c]`.
    ///
    /// Gradient: for `x`, `gamma` and `beta`, in one launch that reads `x` and `dy` from memory once, and a small one that adds
    /// up what it found for the columns.
    ///
    /// # Panics
    /// If the shapes are not these.
    #[track_caller]
    #[must_use]
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor) -> Tensor {
        let (rows, c) = rows_of("layer_norm", self);
        check_columns("layer_norm", self, "gamma", gamma);
        check_columns("layer_norm", self, "beta", beta);
        let uniforms = Uniforms { rows: rows as u32, c: c as u32, eps: 1e-5 };
        let n = self.len() as u64;

        let y = Tensor::alloc(self.gpu(), "layer_norm", self.shape(), self.dtype());
        let stats = Tensor::alloc(self.gpu(), "layer_norm", &[rows, 2].into(), DType::F32);
        let work = Work::new(2 * self.bytes() as u64, 8 * n);
        FORWARD.run(self.gpu(), &[&y, &stats, self, gamma, beta], &uniforms, (rows, c), work);

        y.with_backward("layer_norm", &[self, gamma, beta], &[self, gamma, &stats], move |b| {
            let [x, gamma, stats] = b.saved();
            let cut = strips(x.gpu(), rows, c);
            let dx = Tensor::alloc(x.gpu(), "layer_norm", x.shape(), x.dtype());
            let parts = cut.row_parts(x.gpu(), "layer_norm");
            let work = Work::new(3 * x.bytes() as u64, 14 * n);
            let tensors: [&dyn Bind; 6] = [&dx, &parts, x, gamma, b.dy, stats];
            let (kernel, uniforms) = (backward(x.gpu(), &cut), StripUniforms::from(cut));
            kernel.run(x.gpu(), &tensors, &uniforms, (cut.strips as usize, c), work);
            if !b.needs(1) && !b.needs(2) {
                return vec![Some(dx), None, None];
            }
            let (dbeta, dgamma) = cut.add_up_rows("layer_norm", &parts);
            vec![Some(dx), Some(dgamma), Some(dbeta)]
        })
    }
}

impl From<Strips> for StripUniforms {
    fn from(Strips { m, c, strips, interleaved }: Strips) -> Self {
        Self { m, c, strips, interleaved }
    }
}

/// How the backward pass cuts the rows: into enough strips to fill the device, and few, since each has sums of its own.
///
/// A strip ends before [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations): each of its rows costs two passes over the
/// row and a sum over its lanes.
fn strips(gpu: &Gpu, m: usize, c: usize) -> Strips {
    let (lanes, cells) = BACKWARD.sharing(gpu, m, c);
    let longest = (gpu.info().loop_iterations as usize / 2 / (cells / lanes + 8)).max(1);
    Strips::new(gpu, m, c, gpu.facts().row_sums.strips(m, lanes).max(m.div_ceil(longest)))
}

/// The kernel that takes this cut: [`BACKWARD_HELD`] for rows of at most [`HELD`] cells a lane.
fn backward(gpu: &Gpu, cut: &Strips) -> &'static RowKernel {
    let (lanes, cells) = BACKWARD.sharing(gpu, cut.strips as usize, cut.c as usize);
    if cells <= HELD * lanes { &BACKWARD_HELD } else { &BACKWARD }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::layer_norm as reference;

    /// Both kernels of the backward pass in every form that holds their rows, for both ways of cutting, whichever the adapter
    /// would choose.
    #[test]
    fn all_forms_agree() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for (m, c, strips) in [(1, 1, 1), (7, 3, 2), (64, 5, 64), (101, 27, 10), (67, 12, 9), (9, 64, 4)] {
            let values =
                |seed: usize, n| (0..n).map(|i| ((i * 31 + seed) % 101) as f32 * 0.02 - 1.0).collect();
            let [x, dy, gamma]: [Vec<f32>; 3] = [values(0, m * c), values(7, m * c), values(50, c)];
            let f64s = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let (dx, dgamma, dbeta) = reference::backward(&f64s(&x), &f64s(&gamma), 1e-5, &f64s(&dy));
            let want = [dx, dbeta, dgamma];

            let [x, dy] = [x, dy].map(|v| gpu.tensor(&v, [m, c]).unwrap());
            let gamma = gpu.tensor(&gamma, [c]).unwrap();
            let stats: Vec<f32> = reference_stats(&x.to_vec().unwrap(), c);
            let stats = gpu.tensor(&stats, [m, 2]).unwrap();
            for interleaved in [0, 1] {
                let cut = Strips { interleaved, ..Strips::new(&gpu, m, c, strips) };
                for (name, kernel) in [("backward", &BACKWARD), ("held", &BACKWARD_HELD)] {
                    let shape = (cut.strips as usize, c);
                    kernel.each_form(&gpu, &StripUniforms::from(cut), shape, |form, lanes, launch| {
                        if name == "held" && lanes * HELD < c {
                            return;
                        }
                        let (dx, parts) =
                            (x.full_like(f32::NAN), cut.row_parts(&gpu, "test").full_like(f32::NAN));
                        launch(&[&dx, &parts, &x, &gamma, &dy, &stats]);
                        let (dbeta, dgamma) = cut.add_up_rows("test", &parts);
                        for (got, want) in [dx, dbeta, dgamma].iter().zip(&want) {
                            for (got, want) in got.to_vec().unwrap().iter().zip(want) {
                                let close = (f64::from(*got) - want).abs() <= 1e-4 * want.abs().max(1.0);
                                assert!(close, "{name} {form}, {interleaved}: {got} is not {want}");
                            }
                        }
                    });
                }
            }
        }
    }

    /// Mean and `1 / sqrt(var + 1e-5)` of each row.
    fn reference_stats(x: &[f32], c: usize) -> Vec<f32> {
        x.chunks_exact(c)
            .flat_map(|row| {
                let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / c as f64;
                let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / c as f64;
                [mean as f32, (1.0 / (var + 1e-5).sqrt()) as f32]
            })
            .collect()
    }
}
