//! Ops that move or select elements, and moving averages in place.

use wgrad::reference::{layout, lerp, rows, select};
use wgrad::{DType, Tensor};

use super::super::check::{F32, Tol};
use super::Sizes;
use super::op::{Array, Input, Op, float, index, op};
use super::rows::EXACT;

macro_rules! entries {
    ($make:ident) => {
        $make! { moves:
            copy cast transpose gather_rows slice_rows concat_rows write_rows write_rows_at where_mask lerp_ lerp_mean_
            lerp_unit_rows_
        }
    };
}
pub(crate) use entries;
entries!(all);

fn matrix(sizes: &Sizes) -> Input {
    float(&[sizes.rows, 1024])
}

pub(crate) fn copy(sizes: &Sizes) -> Op {
    op("copy", |x| x[0].copy(), |x| x[0].to_vec())
        .gradients(|_, dy| vec![dy.to_vec()])
        .shapes([[float(&[1])], [float(&[7, 3])], [float(&[257])], [float(&[5, 37])]])
        .timed_forward([matrix(sizes)])
        .tolerance(EXACT, EXACT)
        .half(EXACT, EXACT)
}

/// To integers and back; and f16 to f32, which in f32 is the tensor itself.
pub(crate) fn cast(sizes: &Sizes) -> Vec<Op> {
    let shapes = |make: fn(&[usize]) -> Input| [1, 7, 64, 257, 1009].map(|n| [make(&[n])]);
    let truncated = |x: &[Array]| x[0].iter().map(|v| v.trunc().max(0.0)).collect();
    vec![
        op("cast", |x| x[0].cast(DType::U32), truncated)
            .named("cast to u32")
            .shapes(shapes(|shape| float(shape).between(-3.0, 2000.0)))
            .gives(DType::U32)
            .loses_nan("an integer is no NaN")
            .timed([matrix(sizes)]),
        op("cast", |x| x[0].cast(DType::F32), |x| x[0].to_vec())
            .named("cast of u32")
            .shapes(shapes(|shape| index(shape, 70_001)))
            .gives(DType::F32),
        op("cast", |x| x[0].cast(DType::F32), |x| x[0].to_vec())
            .named("cast to f32")
            .gradients(|_, dy| vec![dy.to_vec()])
            .shapes(shapes(float))
            .gives(DType::F32)
            .half(EXACT, EXACT),
    ]
    .into_iter()
    .map(|op| op.tolerance(EXACT, EXACT))
    .collect()
}

pub(crate) fn transpose(sizes: &Sizes) -> Op {
    let shapes: [&[usize]; 12] = [
        &[1, 1],
        &[3, 4],
        &[5, 1],
        &[31, 33],
        &[3, 65, 7],
        &[2, 32, 64],
        &[5, 3],
        &[4, 8],
        &[700, 12],
        &[70, 300],
        &[2, 20_000],
        &[5, 37],
    ];
    let turned = |x: &[f64], shape: &[usize]| {
        let [rows, cols] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        layout::transpose(x, shape[..shape.len() - 2].iter().product(), rows, cols)
    };
    op("transpose", |x| x[0].transpose(), move |x| turned(&x[0], &x[0].shape))
        .gradients(move |x, dy| {
            let mut shape = x[0].shape.clone();
            let last = shape.len() - 1;
            shape.swap(last - 1, last);
            vec![turned(dy, &shape)]
        })
        .shapes(shapes.map(|shape| [float(shape)]))
        .timed_forward([matrix(sizes)])
        .tolerance(EXACT, EXACT)
        .half(EXACT, EXACT)
}

/// Rows that repeat unevenly.
pub(crate) fn gather_rows(sizes: &Sizes) -> Op {
    let inputs = |(rows, width, count)| [float(&[rows, width]), float(&[count]).spread(rows)];
    let shapes =
        [(1, 1, 1), (5, 3, 17), (7, 64, 2), (9, 96, 1030), (301, 5, 1009), (1000, 4, 65), (5, 37, 9)];
    op("gather_rows", |x| x[0].gather_rows(&x[1]), |x| rows::gather_rows(&x[0], x[0].cols(), &x[1].u32s()))
        .gradients(|x, dy| vec![rows::gather_rows_backward(x[0].shape[0], x[0].cols(), &x[1].u32s(), dy)])
        .shapes(shapes.map(inputs))
        .timed([matrix(sizes), float(&[sizes.rows]).spread(sizes.rows)])
        // Up to `count` additions to one row.
        .tolerance(EXACT, Tol::new(1e-5, 4e-6))
        .half(EXACT, Tol::new(1e-5, 1e-3))
}

pub(crate) fn slice_rows(sizes: &Sizes) -> Vec<Op> {
    let make = |start: usize, count: usize| {
        op(
            "slice_rows",
            move |x| x[0].slice_rows(start, count),
            move |x| rows::slice_rows(&x[0], x[0].cols(), start, count),
        )
        .gradients(move |x, dy| vec![rows::slice_rows_backward(x[0].shape[0], x[0].cols(), start, dy)])
        .named(format!("slice_rows {start}..{}", start + count))
        .shapes([[float(&[13, 5])]])
        .tolerance(EXACT, EXACT)
        .half(EXACT, EXACT)
    };
    let half = op(
        "slice_rows",
        |x| x[0].slice_rows(1, x[0].shape()[0] / 2),
        |x| rows::slice_rows(&x[0], x[0].cols(), 1, x[0].shape[0] / 2),
    )
    .shapes([[float(&[5, 37])], [float(&[9, 4])]])
    .timed([matrix(sizes)])
    .output(sizes.rows * 512)
    .bytes(sizes.rows * 4096);
    vec![make(0, 13), make(0, 1), make(12, 1), make(3, 7), half]
}

pub(crate) fn concat_rows(sizes: &Sizes) -> Op {
    op(
        "concat_rows",
        |x| Tensor::concat_rows(&x.iter().collect::<Vec<_>>()),
        |x| x.iter().flat_map(|x| x.to_vec()).collect(),
    )
    .gradients(|x, dy| {
        let mut left = dy;
        let mut take = |x: &Array| {
            let (part, rest) = left.split_at(x.len());
            left = rest;
            part.to_vec()
        };
        x.iter().map(&mut take).collect()
    })
    .shapes([
        vec![float(&[1])],
        vec![float(&[2, 3]), float(&[1, 3]), float(&[4, 3])],
        vec![float(&[5, 37]), float(&[3, 37])],
    ])
    .timed_forward([matrix(sizes), matrix(sizes)])
    .output(2048 * sizes.rows)
    .tolerance(EXACT, EXACT)
    .half(EXACT, EXACT)
}

/// In place, behind the first row.
pub(crate) fn write_rows(sizes: &Sizes) -> Op {
    let run = |x: &[Tensor]| {
        x[0].write_rows(1, &x[1]);
        x[0].clone()
    };
    let value = |x: &[Array]| {
        let places: Vec<u32> = (1..=x[1].shape[0] as u32).collect();
        rows::write_rows_at(&x[0], x[0].cols(), &places, &x[1])
    };
    op("write_rows", run, value)
        .shapes([
            [float(&[2, 1]), float(&[1, 1])],
            [float(&[7, 3]), float(&[3, 3])],
            [float(&[9, 37]), float(&[5, 37])],
        ])
        .timed([matrix(sizes), float(&[sizes.rows / 2, 1024])])
        .bytes(sizes.rows * 4096)
        .tolerance(EXACT, EXACT)
        .half(EXACT, EXACT)
}

/// In place. The tested indices repeat: the last one counts.
pub(crate) fn write_rows_at(sizes: &Sizes) -> Vec<Op> {
    let base = op(
        "write_rows_at",
        |x| {
            x[0].write_rows_at(&x[2], &x[1]);
            x[0].clone()
        },
        |x| rows::write_rows_at(&x[0], x[0].cols(), &x[2].u32s(), &x[1]),
    )
    .tolerance(EXACT, EXACT)
    .half(EXACT, EXACT);
    let inputs = |(m, n, width)| [float(&[m, width]), float(&[n, width]), float(&[n]).spread(m)];
    // Rows of f16 have a whole number of words.
    let odd = base.clone().f32_only().shapes([(50, 20, 9), (1, 1, 1), (5, 9, 37)].map(inputs));
    let rows = sizes.rows;
    let even = base.shapes([(50, 20, 8), (7, 3, 2), (5, 9, 38)].map(inputs)).timed([
        matrix(sizes),
        matrix(sizes),
        float(&[rows]).spread(rows),
    ]);
    vec![odd, even.bytes(8192 * rows)]
}

/// A mask of 0, 1 and another number: all but 0 count.
pub(crate) fn where_mask(sizes: &Sizes) -> Op {
    let inputs = |shape: &[usize]| [float(shape).spread(3), float(shape), float(shape)];
    op(
        "where_mask",
        |x| Tensor::where_mask(&x[0], &x[1], &x[2]),
        |x| select::where_mask(&x[0].u32s(), &x[1], &x[2]),
    )
    .gradients(|x, dy| {
        let (a, b) = select::where_mask_backward(&x[0].u32s(), dy);
        vec![vec![], a, b]
    })
    .shapes([inputs(&[1]), inputs(&[64]), inputs(&[65]), inputs(&[1009]), inputs(&[5, 37])])
    .timed([float(&[sizes.rows, 1024]).spread(2), matrix(sizes), matrix(sizes)])
    .tolerance(EXACT, EXACT)
    .f32_only()
}

pub(crate) fn lerp_(sizes: &Sizes) -> Vec<Op> {
    let make = |weight: f32| {
        let run = move |x: &[Tensor]| {
            x[0].lerp_(&x[1], weight);
            x[0].clone()
        };
        op("lerp_", run, move |x| lerp::lerp(&x[0], &x[1], f64::from(weight)))
            .shapes([1, 63, 64, 65, 1009, 185].map(|n| [float(&[n]), float(&[n])]))
            .f32_only()
    };
    vec![make(0.01), make(0.3), make(0.7), make(0.25).timed([matrix(sizes), matrix(sizes)])]
}

pub(crate) fn lerp_mean_(sizes: &Sizes) -> Op {
    let inputs = |(n, c)| [float(&[c]), float(&[n, c])];
    let run = |x: &[Tensor]| {
        x[0].lerp_mean_(&x[1], 0.3);
        x[0].clone()
    };
    op("lerp_mean_", run, |x| lerp::lerp_mean(&x[0], &x[1], f64::from(0.3_f32)))
        .shapes([(1, 1), (33, 7), (257, 130), (32_769, 3), (5, 33), (5, 37)].map(inputs))
        .timed(inputs((sizes.rows, 1024)))
        .f32_only()
}

/// Rows without an index stay as they were.
pub(crate) fn lerp_unit_rows_(sizes: &Sizes) -> Op {
    let inputs = |(m, n, c)| [float(&[m, c]), float(&[n, c]), index(&[n], m)];
    let run = |x: &[Tensor]| {
        x[0].lerp_unit_rows_(&x[2], &x[1], 0.4);
        x[0].clone()
    };
    let value = |x: &[Array]| {
        let places: Vec<usize> = x[2].iter().map(|&i| i as usize).collect();
        lerp::lerp_unit_rows(&x[0], &x[1], &places, x[0].cols(), f64::from(0.4_f32))
    };
    op("lerp_unit_rows_", run, value)
        .shapes([(1, 1, 1), (70, 70, 8), (200, 67, 130), (9, 3, 1500), (51, 5, 33)].map(inputs))
        .timed(inputs((sizes.rows, sizes.rows, 1024)))
        .tolerance(F32, F32)
        .f32_only()
}
