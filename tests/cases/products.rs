//! Matrix products and what is made of them: fully connected layers, covariances, neighbours, contrastive losses.

use wgrad::reference::{self as spec, covariance as cov, matmul as product};
use wgrad::ssl::{info_nce, nt_xent};
use wgrad::{DType, Tensor};

use super::super::check::{F32, Tol};
use super::Sizes;
use super::op::{Array, HALF, Input, Op, float, index, op};

macro_rules! entries {
    ($make:ident) => {
        $make! { products:
            matmul matmul_nt matmul_tn linear contrastive covariance covariance_penalty variance_hinge knn knn_vote
        }
    };
}
pub(crate) use entries;
entries!(all);

/// A sum of k products of values in [-1, 1): rounding grows with k, here at most a few hundred.
pub(crate) const SUM: Tol = Tol::new(2e-5, 2e-5);

type Product = fn(&[f64], &[f64], [usize; 3]) -> Vec<f64>;
type ProductBackward = fn(&[f64], &[f64], &[f64], [usize; 3]) -> (Vec<f64>, Vec<f64>);

/// A form of the product: name, op, specification, the shapes of A and B for sizes m, n, k, and those sizes for shapes.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    pub(crate) op: fn(&Tensor, &Tensor) -> Tensor,
    pub(crate) value: Product,
    pub(crate) backward: ProductBackward,
    pub(crate) shapes: fn([usize; 3]) -> [[usize; 2]; 2],
    sizes: fn([[usize; 2]; 2]) -> [usize; 3],
}

impl Form {
    /// A number of products of these sizes.
    pub(crate) fn batch(&self, (batch, sizes): (usize, [usize; 3])) -> [Input; 2] {
        (self.shapes)(sizes).map(|[rows, cols]| float(&[batch, rows, cols]))
    }
}

pub(crate) static FORMS: [Form; 3] = [
    Form {
        name: "matmul",
        op: Tensor::matmul,
        value: product::matmul,
        backward: product::matmul_backward,
        shapes: |[m, n, k]| [[m, k], [k, n]],
        sizes: |[[m, k], [_, n]]| [m, n, k],
    },
    Form {
        name: "matmul_nt",
        op: Tensor::matmul_nt,
        value: product::matmul_nt,
        backward: product::matmul_nt_backward,
        shapes: |[m, n, k]| [[m, k], [n, k]],
        sizes: |[[m, k], [n, _]]| [m, n, k],
    },
    Form {
        name: "matmul_tn",
        op: Tensor::matmul_tn,
        value: product::matmul_tn,
        backward: product::matmul_tn_backward,
        shapes: |[m, n, k]| [[k, m], [k, n]],
        sizes: |[[k, m], [_, n]]| [m, n, k],
    },
];

/// (m, n, k): ones, primes, K = 27, tile - 1, tile, tile + 1 of all kernels, multiples of 4 that are no tile.
pub(crate) const SIZES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [2, 3, 5],
    [7, 13, 27],
    [8, 8, 4],
    [9, 63, 16],
    [64, 64, 16],
    [65, 65, 17],
    [12, 20, 36],
    [68, 100, 12],
    [63, 7, 130],
];

/// A form on matrices of [`SIZES`] and more, split sums, and batches.
pub(crate) fn form(form: &'static Form, sizes: &Sizes) -> Op {
    let matrices = |sizes| (form.shapes)(sizes).map(|shape| float(&shape));
    // Sums that are split; blocks of 128 and 64, whole and with edges; batches.
    let more = [[9, 16, 600], [5, 9, 700], [65, 68, 20], [63, 7, 33], [130, 129, 33], [256, 260, 20]];
    let mut shapes: Vec<_> = SIZES.into_iter().chain(more).map(matrices).collect();
    shapes.extend(
        [(2, [3, 6, 5]), (3, [2, 3, 5]), (2, [8, 12, 20]), (2, [8, 16, 512]), (3, [65, 67, 17])]
            .map(|batch| form.batch(batch)),
    );
    shapes.push(matrices([67, 29, 131]));
    let sizes_of =
        move |x: &[Array]| (form.sizes)([0, 1].map(|i| [x[i].shape[x[i].shape.len() - 2], x[i].cols()]));
    let n = sizes.product;
    op(
        form.name,
        |x| (form.op)(&x[0], &x[1]),
        move |x| {
            let sizes = sizes_of(x);
            let [a, b] = (form.shapes)(sizes).map(|[rows, cols]| rows * cols);
            x[0].chunks(a).zip(x[1].chunks(b)).flat_map(|(a, b)| (form.value)(a, b, sizes)).collect()
        },
    )
    .gradients(move |x, dy| {
        let sizes = sizes_of(x);
        let [a, b] = (form.shapes)(sizes).map(|[rows, cols]| rows * cols);
        let mut both = vec![vec![], vec![]];
        for ((a, b), dy) in x[0].chunks(a).zip(x[1].chunks(b)).zip(dy.chunks(sizes[0] * sizes[1])) {
            let (da, db) = (form.backward)(a, b, dy, sizes);
            both[0].extend(da);
            both[1].extend(db);
        }
        both
    })
    .shapes(shapes)
    .timed_forward([float(&[n, n]), float(&[n, n])]) // a gradient is the two other forms
    .flops(2 * n * n * n, 0)
    .tolerance(SUM, SUM)
    // The value is rounded once; gradients to f32 leaves are the f32 sums.
    .half(Tol::new(2e-5, 1e-3), SUM)
}

pub(crate) fn matmul(sizes: &Sizes) -> Op {
    form(&FORMS[0], sizes)
}

pub(crate) fn matmul_nt(sizes: &Sizes) -> Op {
    form(&FORMS[1], sizes)
}

pub(crate) fn matmul_tn(sizes: &Sizes) -> Op {
    form(&FORMS[2], sizes)
}

pub(crate) fn forms(sizes: &Sizes) -> Vec<Op> {
    vec![matmul(sizes), matmul_nt(sizes), matmul_tn(sizes)]
}

/// What the rungs of the ladder compute, a bias and a ReLU in their store, after a split sum and in a pass of their own included;
/// and shapes for the blocks of a rung.
pub(crate) fn laddered(rung: &str, sizes: &Sizes) -> Vec<Op> {
    let blocks = blocks(rung);
    let larger = FORMS.iter().map(|of| form(of, sizes).shapes(blocks.iter().map(|batch| of.batch(*batch))));
    let larger = larger.filter(|_| !blocks.is_empty());
    forms(sizes).into_iter().chain(linear(sizes)).chain(larger).collect()
}

/// A number of products and their sizes, for rungs whose blocks are larger than most of what a form is tested on.
pub(crate) fn blocks(rung: &str) -> Vec<(usize, [usize; 3])> {
    match rung {
        // Cut into blocks of 128 and 64, whole and with edges; all others get blocks of 32.
        "7_double_buffer" | "8_subgroup" => vec![
            (64, [128, 256, 4]),
            (43, [128, 380, 20]),
            (43, [381, 127, 17]),
            (128, [64, 64, 20]),
            (43, [61, 191, 18]),
        ],
        "11_matrix" | "12_split_f32" => {
            TILES.into_iter().flat_map(|sizes| [(1, sizes), (3, sizes)]).collect()
        }
        _ => vec![],
    }
}

/// Tiles of 8 and 16, blocks of 32, 64 and 128: one less, one more, a K that is split.
pub(crate) const TILES: [[usize; 3]; 7] =
    [[33, 31, 32], [64, 64, 64], [65, 63, 33], [127, 129, 40], [128, 128, 96], [9, 5, 1030], [16, 16, 2048]];

/// With and without bias and ReLU.
pub(crate) fn linear(sizes: &Sizes) -> Vec<Op> {
    let inputs = |[m, n, k]: [usize; 3], bias: bool| {
        let mut inputs = vec![float(&[m, k]), float(&[k, n])];
        inputs.extend(bias.then(|| float(&[n]).single()));
        inputs
    };
    let make = move |bias: bool, relu: bool| {
        let bias_of = |x: &[Array]| x.get(2).map_or_else(|| vec![0.0; x[1].cols()], |b| b.to_vec());
        let sizes = |x: &[Array]| [x[0].shape[0], x[1].cols(), x[0].cols()];
        op(
            "linear",
            move |x| x[0].linear(&x[1], x.get(2), relu),
            move |x| product::linear(&x[0], &x[1], &bias_of(x), relu, sizes(x)),
        )
        .gradients(move |x, dy| {
            let (dx, dw, db) = product::linear_backward(&x[0], &x[1], &bias_of(x), dy, relu, sizes(x));
            vec![dx, dw, db]
        })
        .named(format!("linear, bias {bias}, ReLU {relu}"))
        .shapes(
            [[1, 1, 1], [7, 13, 27], [12, 20, 36], [5, 9, 700], [8, 16, 512], [33, 10, 17]]
                .map(|s| inputs(s, bias)),
        )
        .tolerance(SUM, SUM)
        .half(Tol::new(2e-5, 6e-4), SUM)
    };
    let n = sizes.product;
    let timed = make(true, true).timed_forward(inputs([n; 3], true)).flops(2 * n * n * n, 0);
    vec![timed.named("linear"), make(true, false), make(false, true), make(false, false)]
}

/// Of [n, d] to one number or a matrix in f32, also from f16: the gradient reaches the leaf through the f16 copy, so it is rounded
/// once.
fn of_columns(op: Op, shapes: &[[usize; 2]], input: fn(&[usize]) -> Input, grad: f64) -> Op {
    op.shapes(shapes.iter().map(|shape| [input(shape)]))
        .tolerance(DOT, Tol::new(grad, 1e-5))
        .half(DOT, Tol::new(grad, 1e-3))
        .gives(DType::F32)
}

/// Dot products of `n` terms, divided by `n - 1`.
const DOT: Tol = Tol::new(2e-6, 1e-5);

const COLUMNS: [[usize; 2]; 8] = [[2, 1], [3, 2], [7, 5], [16, 27], [33, 31], [65, 64], [257, 17], [13, 37]];

pub(crate) fn covariance(sizes: &Sizes) -> Op {
    let [n, d] = sizes.covariance;
    let op = op("covariance", |x| x[0].covariance(), |x| cov::forward(&x[0], x[0].cols()))
        .gradients(|x, dy| vec![cov::backward(&x[0], x[0].cols(), dy)])
        .timed_forward([float(&[n, d])])
        .output(d * d)
        .flops(2 * n * d * d, 0);
    of_columns(op, &COLUMNS, float, 1e-5)
}

/// VICReg's penalty on the covariance: a product with a long and thin operand.
pub(crate) fn covariance_penalty(sizes: &Sizes) -> Op {
    let [n, d] = sizes.covariance;
    let op = op("covariance_penalty", |x| x[0].covariance_penalty(), |x| cov::penalty(&x[0], x[0].cols()))
        .gradients(|x, dy| vec![cov::penalty_backward(&x[0], x[0].cols(), dy)])
        .timed([float(&[n, d])])
        .output(1)
        .flops(2 * n * d * d, 2 * n * d * d);
    of_columns(op, &COLUMNS, float, 1e-6)
}

pub(crate) fn variance_hinge(sizes: &Sizes) -> Op {
    // Columns of several spreads, some above gamma, one constant.
    fn spreads(shape: &[usize]) -> Vec<f32> {
        let d = shape[1];
        let spread = |i: usize| if i % d == 3 { 0.0 } else { 0.4 * ((i % d) % 7) as f32 + 0.1 };
        let x = super::super::check::data(4, shape[0] * d);
        x.iter().enumerate().map(|(i, v)| 0.5 + v * spread(i)).collect()
    }
    let eps = f64::from(1e-4_f32);
    let op = op(
        "variance_hinge",
        |x| x[0].variance_hinge(1.0, 1e-4),
        move |x| cov::hinge(&x[0], x[0].cols(), 1.0, eps),
    )
    .gradients(move |x, dy| vec![cov::hinge_backward(&x[0], x[0].cols(), 1.0, eps, dy)])
    .timed([float(&sizes.covariance)])
    .output(1);
    of_columns(op, &COLUMNS, |shape| float(shape).made(spreads), 1e-6)
}

/// Queries, rows of the bank, width, neighbours. Strips have 1024 rows; one neighbour, all rows, a prime number of them, the most on
/// a CPU adapter; more queries than a strip has.
pub(crate) const NEIGHBOURS: [[usize; 4]; 9] = [
    [1, 1, 1, 1],
    [3, 5, 27, 5],
    [7, 1023, 9, 13],
    [64, 1024, 8, 1],
    [65, 1025, 33, 200],
    [68, 1100, 9, 1030],
    [2, 3001, 5, 97],
    [4, 3600, 5, 2500],
    [4099, 70, 4, 3],
];

/// Dot products of 33 terms below 1 in f32.
pub(crate) const SIMILARITY: Tol = Tol::new(4e-6, 2e-6);

/// The similarities; `tests/ops/knn.rs` has the indices, of which near ties may change places.
pub(crate) fn knn(sizes: &Sizes) -> Vec<Op> {
    let make = |k: usize, n, m, d| {
        op("knn", move |x| x[0].knn(&x[1], k).0, move |x| spec::knn::knn(&x[0], &x[1], x[0].cols(), k).0)
            .named(format!("knn, k={k}"))
            .shapes([[float(&[n, d]), float(&[m, d])]])
            .tolerance(SIMILARITY, SIMILARITY)
            .gives(DType::F32)
            .half(HALF, HALF) // similarities are rounded before they are compared
            .loses_nan("a similarity that is NaN is never among the nearest")
    };
    let mut ops: Vec<Op> = NEIGHBOURS.into_iter().map(|[n, m, d, k]| make(k, n, m, d)).collect();
    let [n, m] = sizes.neighbours;
    let timed = make(20, 33, 97, 6).timed([float(&[n, 128]), float(&[m, 128])]).output(20 * n);
    ops.push(timed.flops(2 * n * m * 128, 0));
    ops
}

/// Similarities, indices into a bank, and its labels.
pub(crate) fn knn_vote(sizes: &Sizes) -> Vec<Op> {
    let inputs = |n: usize, m: usize, k: usize, classes| {
        [float(&[n, k]), float(&[n, k]).spread(m), index(&[m], classes)]
    };
    let make = |n, m, k, classes: usize| {
        op(
            "knn_vote",
            move |x| x[0].knn_vote(&x[1], &x[2], classes, 0.1),
            move |x| {
                let index: Vec<usize> = x[1].iter().map(|&i| i as usize).collect();
                spec::knn::knn_vote(&x[0], &index, &x[2].u32s(), x[0].cols(), classes, f64::from(0.1_f32))
            },
        )
        .shapes([inputs(n, m, k, classes)])
        // `exp` of the device over similarities divided by tau .1: their error grows tenfold.
        .tolerance(Tol::new(1e-6, 1e-4), F32)
        .f32_only()
    };
    let [n, m] = sizes.neighbours;
    let timed = make(7, 300, 20, 10).timed(inputs(n, m, 20, 10)).output(10 * n);
    vec![make(1, 1, 1, 1), make(33, 97, 97, 3), timed]
}

/// The losses made of the streaming kernels, which are no methods of a tensor; `tests/ops/contrastive.rs` has their options.
pub(crate) fn contrastive(sizes: &Sizes) -> Vec<Op> {
    let n = sizes.batch;
    let two = |n: usize, d: usize| [float(&[n, d]), float(&[n, d])];
    // One product for the logits, two for the gradients; what is computed again is not counted.
    let gemm = 2 * n * n * 128;
    let make =
        |method, run: fn(&Tensor, &Tensor, f32) -> Tensor, positive: fn(usize) -> usize, apart: bool| {
            op(
                method,
                move |x| run(&x[0], &x[1], 0.5),
                move |x| vec![losses(positive(x[0].shape[0]), apart, x).0],
            )
            .gradients(move |x, dy| {
                let all = losses(positive(x[0].shape[0]), apart, x).1;
                all.into_iter().map(|g| g.into_iter().map(|v| v * dy[0]).collect()).collect()
            })
            .shapes([two(2, 5), two(64, 8), two(75, 20), two(13, 37)])
            .tolerance(Tol::new(1e-5, 1e-5), Tol::new(1e-5, 1e-4))
            .gives(DType::F32)
            .half(Tol::new(1e-3, 1e-3), Tol::new(1e-3, 2e-3))
            .flops(gemm, 2 * gemm)
        };
    vec![
        make("info_nce", info_nce, |_| 0, true).timed(two(n, 128)).output(1),
        make("nt_xent", nt_xent, |n| n, false).timed(two(n / 2, 128)).output(1),
    ]
}

/// What the rungs of the contrastive ladder compute, with rows beyond one block of 64 or 128 and widths beyond a slice of 128.
pub(crate) fn laddered_losses(sizes: &Sizes) -> Vec<Op> {
    let two = |[n, d]: [usize; 2]| [float(&[n, d]), float(&[n, d])];
    let blocks = [[65, 27], [129, 8], [150, 132]];
    let larger = contrastive(sizes).into_iter().map(|op| op.shapes(blocks.map(two)));
    contrastive(sizes).into_iter().chain(larger).collect()
}

/// Loss and gradients of two sets of rows, normalised: apart, or as one set whose rows do not meet themselves.
fn losses(positive: usize, apart: bool, x: &[Array]) -> (f64, Vec<Vec<f64>>) {
    let d = x[0].cols();
    let unit: Vec<Vec<f64>> = x.iter().map(|x| spec::l2_normalize::forward(x, d, 1e-12)).collect();
    let (q, k) = if apart { (unit[0].clone(), unit[1].clone()) } else { (unit.concat(), unit.concat()) };
    let rows = q.len() / d;
    let positive: Vec<usize> = (0..rows).map(|i| (i + positive) % rows).collect();
    let excluded: Vec<Option<usize>> = (0..rows).map(|i| (!apart).then_some(i)).collect();
    let spec = spec::contrastive::Spec { d, tau: 0.5, positive: &positive, excluded: &excluded, extra: None };
    let g = spec::contrastive::contrastive_backward(&q, &k, &spec, 1.0);
    let sides = if apart {
        vec![g.queries, g.keys]
    } else {
        let both: Vec<f64> = g.queries.iter().zip(&g.keys).map(|(a, b)| a + b).collect();
        both.chunks(both.len() / 2).map(<[f64]>::to_vec).collect()
    };
    let through = |(x, g): (&Array, &Vec<f64>)| spec::l2_normalize::backward(x, d, 1e-12, g);
    (spec::contrastive::contrastive(&q, &k, &spec).loss, x.iter().zip(&sides).map(through).collect())
}
