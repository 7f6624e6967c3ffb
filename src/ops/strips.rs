//! How columns are cut into strips of rows (`shaders/lib/strip.wgsl`), and the second pass of their sums.

use super::row_kernel::RowKernel;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Uniforms as GpuUniforms, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("add_strips.wgsl");
static ADD_STRIPS: RowKernel = RowKernel::new(&SOURCE, "add_strips");
static ADD_STRIP_ROWS: RowKernel = RowKernel::lanes(&SOURCE, "add_strip_rows");

uniforms! { struct Uniforms { c: u32, strips: u32 } }

/// A kernel whose invocations take one column each, and the same with four (`shaders/lib/lane_4.wgsl`).
pub(super) type Lanes = [Kernel; 2];

/// Both of `entry`, with values for `override` constants.
pub(super) const fn lanes(
    source: &'static Source,
    entry: &'static str,
    constants: &'static [(&'static str, f64)],
) -> Lanes {
    [source.kernel(entry).with(constants), source.kernel(entry).with(constants).lib("lane", "lane_4")]
}

/// Lanes that take the rows of a matrix of `c` columns: four columns each, where there are whole fours.
pub(super) const fn lanes_of(c: usize) -> usize {
    if c.is_multiple_of(4) { c / 4 } else { c }
}

/// A cut of `[m, c]`: one invocation a lane of a strip ([`lanes_of`]).
#[derive(Clone, Copy)]
pub(super) struct Strips {
    pub(super) m: u32,
    pub(super) c: u32,
    pub(super) strips: u32,
    pub(super) interleaved: u32,
}

impl Strips {
    /// A cut for sums: few enough strips that adding them up is cheap.
    pub(super) fn for_sums(gpu: &Gpu, m: usize, c: usize) -> Self {
        Self::new(gpu, m, c, gpu.facts().column_sums.strips(m, lanes_of(c)))
    }

    /// A cut of broadcast arithmetic over rows of `row` elements: strips of 8 to 32 rows, which span a 16th of
    /// [`Facts::page`](crate::gpu::Facts::page), or [`Strips::for_map`] where pages cost nothing.
    pub(super) fn for_broadcast(gpu: &Gpu, m: usize, c: usize, row: usize) -> Self {
        let Some(page) = gpu.facts().page else { return Self::for_map(gpu, m, c) };
        Self::new(gpu, m, c, m.div_ceil((page / 16 / row.max(1)).clamp(8, 32)))
    }

    /// A cut for elementwise work, where the rows of a strip share one read of their column's values.
    pub(super) fn for_map(gpu: &Gpu, m: usize, c: usize) -> Self {
        Self::new(gpu, m, c, gpu.facts().column_maps.strips(m, lanes_of(c)))
    }

    /// At most `strips` strips, none of them empty.
    pub(super) fn new(gpu: &Gpu, m: usize, c: usize, strips: usize) -> Self {
        let run = m.div_ceil(strips.clamp(1, m.max(1))).max(1);
        Self {
            m: m as u32,
            c: c as u32,
            strips: m.div_ceil(run).max(1) as u32,
            interleaved: u32::from(gpu.facts().interleaved),
        }
    }

    /// Launches `kernel` with an invocation for each column of a strip, or for four where `c` is a multiple of four.
    #[track_caller]
    pub(super) fn run<P: GpuUniforms>(
        &self,
        gpu: &Gpu,
        kernel: &Lanes,
        tensors: &[&dyn Bind],
        uniforms: &P,
        work: Work,
    ) {
        let wide = self.c.is_multiple_of(4);
        let grid = Grid::items(u64::from(self.strips) * lanes_of(self.c as usize) as u64);
        gpu.run(&kernel[usize::from(wide)], tensors, uniforms, grid, work);
    }

    /// Room for two numbers a strip of a column: `[c, strips, 2]`.
    pub(super) fn parts(&self, gpu: &Gpu, op: &str) -> Tensor {
        Tensor::alloc(gpu, op, &[self.c as usize, self.strips as usize, 2].into(), DType::F32)
    }

    /// Adds up `parts`: two sums a column, each `[c]`.
    pub(super) fn add_up(&self, op: &str, parts: &Tensor) -> (Tensor, Tensor) {
        self.add(op, parts, |tensors, uniforms, work| {
            let shape = (self.c as usize, self.strips as usize);
            ADD_STRIPS.run(parts.gpu(), tensors, uniforms, shape, work);
        })
    }

    /// Room for two rows of numbers a strip: `[strips, 2, c]`.
    pub(super) fn row_parts(&self, gpu: &Gpu, op: &str) -> Tensor {
        Tensor::alloc(gpu, op, &[self.strips as usize, 2, self.c as usize].into(), DType::F32)
    }

    /// Adds up [`Strips::row_parts`]: two sums a column, each `[c]`.
    pub(super) fn add_up_rows(&self, op: &str, parts: &Tensor) -> (Tensor, Tensor) {
        self.add(op, parts, |tensors, uniforms, work| {
            let shape = (self.strips as usize, self.c as usize);
            ADD_STRIP_ROWS.run_columns(parts.gpu(), tensors, uniforms, shape, work);
        })
    }

    fn add(
        &self,
        op: &str,
        parts: &Tensor,
        launch: impl FnOnce(&[&dyn Bind], &Uniforms, Work),
    ) -> (Tensor, Tensor) {
        let c = self.c as usize;
        let [first, second] = [(); 2].map(|()| Tensor::alloc(parts.gpu(), op, &[c].into(), DType::F32));
        let work = Work::new(4 * (parts.len() + 2 * c) as u64, parts.len() as u64);
        launch(&[&first, &second, parts], &Uniforms { c: self.c, strips: self.strips }, work);
        (first, second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Class, Facts, StripCut};

    /// Invocations of the sums and of the maps over m x c on a GPU. 132 processors hold 270,336; a strip keeps 16 rows, since
    /// what it writes, and the second pass reads, is then an eighth of the two tensors that a batch norm's gradient sums.
    #[test]
    fn lanes_fill_a_large_gpu() {
        let facts = Facts::of(Class::Gpu);
        for (m, c, sums, maps) in [
            (1024 * 32 * 32, 64, 262_144, 1_048_576),
            (1024 * 16 * 16, 128, 262_144, 1_048_576),
            (1024 * 8 * 8, 256, 262_144, 1_048_576),
            (1024 * 4 * 4, 512, 131_072, 524_288),
            (4096, 1024, 65_536, 262_144),
            (65_536, 128, 131_072, 524_288),
            // Columns one by one.
            (1 << 20, 63, 262_143, 1_048_572),
        ] {
            let invocations = |cut: StripCut| cut.strips(m, lanes_of(c)) * lanes_of(c);
            let cuts = [facts.column_sums, facts.column_maps];
            assert_eq!(cuts.map(invocations), [sums, maps], "{m} x {c}");
        }
    }

    #[test]
    fn no_strip_is_empty() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for m in 1..70 {
            for strips in 0..m + 3 {
                let cut = Strips::new(&gpu, m, 1, strips);
                let run = cut.m.div_ceil(cut.strips);
                assert!(
                    (cut.strips - 1) * run < cut.m && cut.strips as usize <= strips.max(1),
                    "{m} {strips}"
                );
            }
        }
    }

    /// Every form of the second pass over rows of parts, whichever the adapter would choose.
    #[test]
    fn all_forms_agree() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for (strips, c) in [(1, 1), (7, 5), (70, 12), (300, 8)] {
            let parts: Vec<f32> = (0..strips * 2 * c).map(|i| (i * 31 % 101) as f32 - 50.0).collect();
            let mut want = vec![0.0; 2 * c];
            parts.iter().enumerate().for_each(|(i, v)| want[i % (2 * c)] += v);
            let parts = gpu.tensor(&parts, [strips, 2, c]).unwrap();
            let uniforms = Uniforms { c: c as u32, strips: strips as u32 };
            // A row for each column: more than there are cells of four, which the kernel leaves out.
            ADD_STRIP_ROWS.each_form(&gpu, &uniforms, (c, c), |form, _, launch| {
                let sums = [(); 2].map(|()| gpu.full([c], f32::NAN).unwrap());
                launch(&[&sums[0], &sums[1], &parts]);
                let sums = sums.map(|sum| sum.to_vec().unwrap()).concat();
                assert_eq!(sums, want, "{form}, {strips} strips");
            });
        }
    }
}
