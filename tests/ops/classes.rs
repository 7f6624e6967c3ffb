//! The choices of every class of adapters, taken on this one: results are those of the specification whichever class it is.

use crate::common::*;
use wgrad::gpu::{Class, Facts};
use wgrad::ops::{BatchNormOptions, Contrastive, Conv2dOptions};
use wgrad::reference as spec;
use wgrad::{Error, Gpu};

/// A device that chooses as `class` does.
fn gpu_of(class: Class) -> Gpu {
    Gpu::builder().quiet().class(class).build().unwrap()
}

const SUMS: Tol = Tol::new(1e-4, 2e-5);

/// Products of sizes that fall to every block size and to split sums.
#[test]
fn products() {
    for class in Class::ALL {
        let gpu = gpu_of(class);
        for [m, n, k] in [[5, 9, 700], [130, 129, 33], [64, 64, 16], [256, 260, 20]] {
            let (a, b) = (data(1, m * k), data(2, k * n));
            let c = gpu.tensor(&a, [m, k]).unwrap().matmul(&gpu.tensor(&b, [k, n]).unwrap());
            let want = spec::matmul::matmul(&f64s(&a), &f64s(&b), [m, n, k]);
            assert_close(&format!("{class} {m}x{n}x{k}"), &c.to_vec().unwrap(), &want, SUMS);
        }
    }
}

#[test]
fn convolutions() {
    let conv = |cin, cout, stride| spec::conv2d::Conv {
        n: 2,
        input: [13, 10],
        cin,
        cout,
        kernel: [3, 3],
        stride: [stride; 2],
        padding: [1, 1],
    };
    for class in Class::ALL {
        let gpu = gpu_of(class);
        for case in [conv(3, 8, 1), conv(4, 68, 2), conv(32, 64, 1)] {
            let spec::conv2d::Conv { n, input: [h, w], cin, cout, .. } = case;
            let (x, k) = (data(1, n * h * w * cin), data(2, 9 * cin * cout));
            let images = gpu.tensor(&x, [n, h, w, cin]).unwrap().requires_grad();
            let weights = gpu.tensor(&k, [3, 3, cin, cout]).unwrap().requires_grad();
            let y = images.conv2d(&weights, Conv2dOptions::new().stride(case.stride).padding(1));
            let (x, k) = (f64s(&x), f64s(&k));
            let what = format!("{class} {case:?}");
            assert_close(&what, &y.to_vec().unwrap(), &spec::conv2d::conv2d(&x, &k, &case), SUMS);
            let dy = data(3, y.len());
            let grads = y.mul(&gpu.tensor(&dy, y.shape()).unwrap()).sum_all().backward();
            let (dx, dw) = spec::conv2d::conv2d_backward(&x, &k, &f64s(&dy), &case);
            assert_close(&what, &grads.get(&images).unwrap().to_vec().unwrap(), &dx, SUMS);
            assert_close(&what, &grads.get(&weights).unwrap().to_vec().unwrap(), &dw, SUMS);
        }
    }
}

/// Rows and columns: short, long, few and many.
#[test]
fn rows_and_columns() {
    for class in Class::ALL {
        let gpu = gpu_of(class);
        for [m, c] in [[3, 5], [700, 12], [70, 300], [2, 20_000]] {
            let (x, gamma, beta) = (data(1, m * c), data(2, c), data(3, c));
            let tensor = gpu.tensor(&x, [m, c]).unwrap();
            let [g, b] = [&gamma, &beta].map(|v| gpu.tensor(v, [c]).unwrap());
            let (x, gamma, beta) = (f64s(&x), f64s(&gamma), f64s(&beta));
            let what = format!("{class} {m}x{c}");
            let close = |got: wgrad::Tensor, want: &[f64]| {
                assert_close(&what, &got.to_vec().unwrap(), want, Tol::new(1e-3, 1e-4));
            };
            close(tensor.softmax(None), &spec::softmax::softmax(&x, c, 1.0));
            close(tensor.layer_norm(&g, &b), &spec::layer_norm::forward(&x, &gamma, &beta, 1e-5));
            for axis in [0, 1] {
                close(tensor.sum(&[axis]), &spec::reduce::sum(&x, &[m, c], &[axis]));
            }
            close(tensor.add(&b), &spec::binary::forward((&x, &[m, c]), (&beta, &[c]), |x, b| x + b));
            close(tensor.transpose(), &spec::layout::transpose(&x, 1, m, c));
            let (mean, var) = spec::batch_norm::moments(&x, c);
            let norm = BatchNormOptions::train().affine(&g, &b);
            // Two rows have variances near `eps` in some columns, which multiplies their rounding errors.
            if m > 2 {
                close(
                    tensor.batch_norm(norm),
                    &spec::batch_norm::forward(&x, &mean, &var, &gamma, &beta, 1e-5),
                );
            }
        }
    }
}

/// Losses, neighbours and pools of one class are those of every other.
#[test]
fn losses_neighbours_and_pools() {
    let [n, d, k] = [150, 20, 7];
    let (q, x) = (data(1, n * d), data(2, 2 * 9 * 7 * 8));
    let outcome = |class| {
        let gpu = gpu_of(class);
        let q = gpu.tensor(&q, [n, d]).unwrap().requires_grad();
        let loss = Contrastive::new(0.2).positive_offset(n / 2).exclude_offset(0).forward_self(&q).loss;
        let dq = loss.backward().get(&q).unwrap().to_vec().unwrap();
        let (similarity, index) = q.knn(&q, k);
        let pooled = gpu.tensor(&x, [2, 9, 7, 8]).unwrap().max_pool2d(3, 2, 1);
        let values = [loss.to_vec().unwrap(), dq, similarity.to_vec().unwrap(), pooled.to_vec().unwrap()];
        (values.concat(), index.to_vec_u32().unwrap())
    };
    let (want, nearest) = outcome(Class::Cpu);
    for class in Class::ALL {
        let (got, index) = outcome(class);
        assert_close(class.name(), &got, &f64s(&want), Tol::new(2e-5, 2e-5));
        assert_eq!(index, nearest, "{class}");
    }
}

#[test]
fn a_class_overrides_preferences_and_not_what_the_adapter_can_do() {
    let own = gpu().info();
    for class in Class::ALL {
        let gpu = gpu_of(class);
        let info = gpu.info();
        assert_eq!(*gpu.facts(), Facts::of(class));
        assert_eq!(
            (info.is_cpu, info.subgroup_size, info.loop_iterations, info.workgroup_memory_bytes),
            (own.is_cpu, own.subgroup_size, own.loop_iterations, own.workgroup_memory_bytes)
        );
    }
}

#[test]
fn facts_that_no_kernel_can_take_are_refused_when_the_device_opens() {
    let facts = Facts { tile: 65, ..Facts::of(Class::Gpu) };
    let error = Gpu::builder().quiet().facts(facts).build().unwrap_err();
    assert!(matches!(&error, Error::Argument(line) if line.contains("32, 64 or 128")), "{error}");
}
