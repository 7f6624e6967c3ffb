use crate::common::*;

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
fn an_index_without_a_row_writes_nothing() {
    let (m, n, c) = (51, 5, 33);
    let (y, x) = (data(1, m * c), data(2, n * c));
    let bank = gpu().tensor(&y, [m, c]).unwrap();
    let places = gpu().tensor_u32(&vec![m as u32; n], [n]).unwrap();
    bank.lerp_unit_rows_(&places, &gpu().tensor(&x, [n, c]).unwrap(), 0.4);
    assert_eq!(bank.to_vec().unwrap(), y);
}

#[test]
#[should_panic(expected = "lerp_: [2] towards [3]")]
fn other_shapes_panic() {
    gpu().zeros([2]).unwrap().lerp_(&gpu().zeros([3]).unwrap(), 0.5);
}
