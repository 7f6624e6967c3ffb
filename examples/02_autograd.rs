//! Gradients: a network of one hidden layer learns sin(x), and one of its gradients is checked by hand.
//!
//!     cargo run --release --example 02_autograd

use wgrad::{Gpu, Rng, Tensor};

const HIDDEN: usize = 32;
const RATE: f32 = 0.05;

/// The parameters: two layers, each a weight `[in, out]` and a bias `[out]`.
struct Net([Tensor; 4]);

impl Net {
    fn new(gpu: &Gpu, rng: &mut Rng) -> wgrad::Result<Self> {
        let parameters = [
            gpu.uniform([1, HIDDEN], -1.0, 1.0, rng)?,
            gpu.uniform([HIDDEN], -1.0, 1.0, rng)?,
            gpu.uniform([HIDDEN, 1], -0.2, 0.2, rng)?,
            gpu.zeros([1])?,
        ];
        Ok(Self(parameters.map(|p| p.requires_grad())))
    }

    /// Mean squared error of the prediction. Ops on tensors that require grad record a graph as they run.
    fn loss(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let [w1, b1, w2, b2] = &self.0;
        let hidden = (&x.matmul(w1) + b1).tanh();
        let predicted = &hidden.matmul(w2) + b2;
        (&predicted - y).square().mean_all()
    }
}

fn main() -> wgrad::Result<()> {
    wgrad::train::no_flags(include_str!("02_autograd.rs")); // --help, and no more

    let gpu = Gpu::new()?;
    let mut net = Net::new(&gpu, &mut Rng::new(7))?;
    let points: Vec<f32> = (0..256).map(|i| (i as f32 - 128.0) / 40.0).collect();
    let sines: Vec<f32> = points.iter().map(|x| x.sin()).collect();
    let x = gpu.tensor(&points, [256, 1])?;
    let y = gpu.tensor(&sines, [256, 1])?;

    // The derivative by the bias of the output, from the graph and as a difference quotient.
    let grads = net.loss(&x, &y).backward();
    let bias = &net.0[3];
    let from_graph = grads.get(bias).expect("the loss depends on it").item()?;
    let moved = |by: f32| {
        let [w1, b1, w2, b2] = net.0.clone();
        Net([w1, b1, w2, &b2.stop_gradient() + by]).loss(&x, &y).item()
    };
    let quotient = (moved(0.01)? - moved(-0.01)?) / 0.02;
    println!("dloss/db2: {from_graph:.5} from the graph, {quotient:.5} as a difference quotient");
    assert!((from_graph - quotient).abs() < 1e-3);

    // Plain gradient descent. Each step makes new parameters: leaves without a past.
    for step in 0..=2000 {
        let loss = net.loss(&x, &y);
        if step % 500 == 0 {
            println!("step {step:4}  loss {:.5}", loss.item()?); // reading waits; do it rarely
        }
        let grads = loss.backward();
        net.0 = net.0.map(|p| {
            let gradient = grads.get(&p).expect("the loss depends on it");
            (&p.stop_gradient() - &(gradient * RATE)).requires_grad()
        });
    }
    let error = net.loss(&x, &y).item()?;
    assert!(error < 0.01, "learning sin(x) ended at a loss of {error}");
    Ok(())
}
