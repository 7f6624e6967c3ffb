//! scratch
use std::time::Instant;
use wgrad::gpu::format_profile;
use wgrad::nn::*;
use wgrad::optim::*;
use wgrad::ssl::nt_xent;
use wgrad::*;
fn main() -> Result<()> {
    let gpu = Gpu::new()?;
    let b = ParamBuilder::new(Rng::new(1));
    let net = ResNet::new(&b, &ResNetConfig::demo());
    let head = Mlp::new(&b.scope("projector"), &MlpConfig::simclr(32, 64, 32));
    let params = b.finish(&gpu)?;
    let mut opt = Sgd::new(
        &params,
        SgdOptions { momentum: 0.9, weight_decay: 5e-4, nesterov: false },
        Group::default_for,
    )?;
    let x = gpu.uniform([256, 28, 28, 1], -1.0, 1.0, &mut Rng::new(3))?;
    let roof = gpu.roofline()?;
    for i in 0..30 {
        let t = Instant::now();
        let h = net.forward(&params, &x, Mode::Train);
        let z = head.forward(&params, &h, Mode::Train);
        let loss = nt_xent(&z.slice_rows(0, 128), &z.slice_rows(128, 128), 0.2);
        let grads = params.pack(&loss.backward());
        opt.step(&params, &grads, 0.01);
        let rec = t.elapsed();
        gpu.sync()?;
        if i % 5 == 0 {
            println!(
                "step {i}: record {rec:?} total {:?} loss {} mem {:?}",
                t.elapsed(),
                loss.item()?,
                gpu.memory()
            );
        }
    }
    println!("{}", format_profile(&gpu.profile(), Some(roof)));
    Ok(())
}
