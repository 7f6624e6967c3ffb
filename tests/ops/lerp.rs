use wgrad::reference::lerp as reference;

use crate::common::*;

#[test]
fn lerp_matches_its_reference() {
    for n in [1, 63, 64, 65, 1009] {
        for weight in [0.01, 0.3, 0.7] {
            let (y, x) = (data(1, n), data(2, n));
            let teacher = gpu().tensor(&y, [n]).unwrap();
            teacher.lerp_(&gpu().tensor(&x, [n]).unwrap(), weight);
            let want = reference::lerp(&f64s(&y), &f64s(&x), f64::from(weight));
            assert_close("lerp_", &teacher.to_vec().unwrap(), &want, F32);
        }
    }
}

#[test]
fn the_ends_are_exact() {
    let (y, x) = (data(1, 100), data(2, 100));
    let teacher = gpu().tensor(&y, [100]).unwrap();
    let student = gpu().tensor(&x, [100]).unwrap();
    teacher.lerp_(&student, 0.0);
    assert_eq!(teacher.to_vec().unwrap(), y);
    teacher.lerp_(&student, 1.0);
    assert_eq!(teacher.to_vec().unwrap(), x);
}

#[test]
fn lerp_mean_matches_its_reference() {
    for (n, c) in [(1, 1), (5, 33), (33, 7), (257, 130), (32_769, 3)] {
        let (y, x) = (data(1, c), data(2, n * c));
        let center = gpu().tensor(&y, [c]).unwrap();
        center.lerp_mean_(&gpu().tensor(&x, [n, c]).unwrap(), 0.3);
        let want = reference::lerp_mean(&f64s(&y), &f64s(&x), 0.3);
        assert_close("lerp_mean_", &center.to_vec().unwrap(), &want, F32);
    }
}

/// Rows without an index, and an index without a row, leave everything as it was.
#[test]
fn lerp_unit_rows_matches_its_reference() {
    for (m, n, c) in [(1, 1, 1), (51, 5, 33), (70, 70, 8), (200, 67, 130), (9, 3, 1500)] {
        let at: Vec<u32> = (0..n as u32).map(|i| (i * 11 + 3) % m as u32).collect();
        let (y, x) = (data(1, m * c), data(2, n * c));
        let bank = gpu().tensor(&y, [m, c]).unwrap();
        let rows = gpu().tensor(&x, [n, c]).unwrap();
        bank.lerp_unit_rows_(&gpu().tensor_u32(&at, [n]).unwrap(), &rows, 0.4);
        let places: Vec<usize> = at.iter().map(|&i| i as usize).collect();
        let want = reference::lerp_unit_rows(&f64s(&y), &f64s(&x), &places, c, 0.4);
        let got = bank.to_vec().unwrap();
        assert_close("lerp_unit_rows_", &got, &want, F32);
        bank.lerp_unit_rows_(&gpu().tensor_u32(&vec![m as u32; n], [n]).unwrap(), &rows, 0.4);
        assert_eq!(bank.to_vec().unwrap(), got);
    }
}

#[test]
#[should_panic(expected = "lerp_: [2] towards [3]")]
fn other_shapes_panic() {
    gpu().zeros([2]).unwrap().lerp_(&gpu().zeros([3]).unwrap(), 0.5);
}
