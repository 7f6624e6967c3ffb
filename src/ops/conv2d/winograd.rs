//! `6_winograd`: 3x3 convolutions of stride 1 as 16 matrix products between two transforms.

use super::job::{Done, Job, Pass, Sizes, product};
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("conv/6_winograd.wgsl");
static INPUT: Kernel = SOURCE.kernel("transform_input");
static WEIGHTS: Kernel = SOURCE.kernel("transform_weights");
static OUTPUT: Kernel = SOURCE.kernel("transform_output");

uniforms! { struct Uniforms { sizes: Sizes, th: u32, tw: u32, rotate: u32 } }

/// Whether it costs less than the direct kernels of a CPU adapter: from 32 to 64 channels on, where the products cost more
/// than the transforms, and where few outputs of the tiles lie outside the image.
pub(super) fn pays(job: &Job<'_>) -> bool {
    let Sizes { n, h, w, cin, oh, ow, cout, .. } = job.sizes;
    let (h, w, cin, cout) = if job.pass == Pass::Forward { (oh, ow, cin, cout) } else { (h, w, cout, cin) };
    let computed = 4 * product(&[n, h.div_ceil(2), w.div_ceil(2)]);
    cin >= 32 && cout >= 64 && 5 * computed <= 6 * product(&[n, h, w])
}

/// Values and input gradients of 3x3 convolutions of stride 1, channels in multiples of 4.
pub(super) fn fits(job: &Job<'_>) -> bool {
    let Sizes { kh, kw, sh, sw, ph, pw, .. } = job.sizes;
    job.pass != Pass::WeightGradient
        && [kh, kw, sh, sw] == [3, 3, 1, 1]
        && ph.max(pw) <= 2
        && job.sizes.vectors()
}

pub(super) fn launch(job: &Job<'_>) -> Done {
    let Sizes { n, h, w, cin, oh, ow, cout, ph, pw, .. } = job.sizes;
    let forward = job.pass == Pass::Forward;
    // An input gradient is a convolution of dy with the weights turned, padded so that dx comes out as large as x.
    let turned =
        Sizes { h: oh, w: ow, cin: cout, oh: h, ow: w, cout: cin, ph: 2 - ph, pw: 2 - pw, ..job.sizes };
    let sizes = if forward { job.sizes } else { turned };
    let Sizes { cin, oh, ow, cout, .. } = sizes;
    let (th, tw) = (oh.div_ceil(2), ow.div_ceil(2));
    let p = Uniforms { sizes, th, tw, rotate: u32::from(!forward) };
    let gpu = job.gpu();
    let (tiles, pairs) = (product(&[n, th, tw]), product(&[cin, cout]));
    let alloc = |shape: [u64; 3]| {
        Tensor::alloc(gpu, "conv2d", &shape.map(|length| length as usize).into(), DType::F32)
    };
    let bytes = |read: &Tensor, written: &Tensor| (read.bytes() + written.bytes()) as u64;

    let v = alloc([16, tiles, cin.into()]);
    let work = Work::new(bytes(job.lhs, &v), 32 * tiles * u64::from(cin));
    gpu.run(&INPUT, &[&v, job.lhs], &p, Grid::items(tiles * u64::from(cin / 4)), work);
    let u = alloc([16, cin.into(), cout.into()]);
    gpu.run(&WEIGHTS, &[&u, job.rhs], &p, Grid::items(pairs), Work::new(bytes(job.rhs, &u), 42 * pairs));
    let products = v.matmul(&u);
    let work = Work::new(bytes(&products, job.result), 24 * tiles * u64::from(cout));
    gpu.run(&OUTPUT, &[job.result, &products], &p, Grid::items(tiles * u64::from(cout / 4)), work);
    Done::default()
}
