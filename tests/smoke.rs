//! temporary
mod common;
use common::*;
#[test]
fn add_works() {
    let g = own_gpu();
    let a = g.tensor(&[1., 2., 3.], [3]).unwrap().requires_grad();
    let b = g.full([3], 4.).unwrap();
    let y = a.add(&b).add(&a);
    assert_eq!(y.to_vec().unwrap(), [6., 8., 10.]);
    let r = g.normal([10], 0., 1., &mut wgrad::Rng::new(1)).unwrap();
    println!("{:?} {:?} {:?}", r.to_vec(), g.memory(), g.roofline());
    let v = pollster_block(y.to_vec_async());
    println!("{v:?}");
}
fn pollster_block<F: std::future::Future>(f: F) -> F::Output {
    pollster::block_on(f)
}
