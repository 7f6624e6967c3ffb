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
fn more_groups_than_one_dimension_holds() {
    let n = 65_535 * 64 + 65;
    let y = gpu().zeros([n]).unwrap();
    y.lerp_(&gpu().full([n], 2.0).unwrap(), 0.25);
    assert!(y.to_vec().unwrap().iter().all(|&v| v == 0.5));
}

#[test]
#[should_panic(expected = "lerp_: [2] towards [3]")]
fn other_shapes_panic() {
    gpu().zeros([2]).unwrap().lerp_(&gpu().zeros([3]).unwrap(), 0.5);
}
