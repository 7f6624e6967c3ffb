//! Launches and memory that state and losses take.

use wgrad::ssl::{Bank, Center, Queue, instance_discrimination_loss, moco_loss};
use wgrad::{Gpu, Rng};

use crate::common::*;

#[test]
fn updates_of_state_are_one_or_two_launches() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    if !gpu.info().timestamps {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let mut rng = Rng::new(1);
    let mut queue = Queue::new(&gpu, 512, 33, &mut rng).unwrap();
    let bank = Bank::new(&gpu, 700, 33, &mut rng).unwrap();
    let center = Center::new(&gpu, 33, 0.9).unwrap();
    let batch = gpu.normal([256, 33], 0.0, 1.0, &mut rng).unwrap();
    let at = gpu.tensor_u32(&(0..256).collect::<Vec<u32>>(), [256]).unwrap();
    let launches = |work: &mut dyn FnMut()| {
        let count = || gpu.profile().iter().map(|row| row.calls).sum::<u64>();
        let before = count();
        work();
        count() - before
    };
    assert!(launches(&mut || queue.enqueue(&batch)) <= 1);
    assert_eq!(launches(&mut || bank.update(&at, &batch, 0.5)), 2);
    assert_eq!(launches(&mut || center.update(&batch)), 1);
}

/// Loss and gradient against 16,384 keys take a quarter of the logits' bytes at most, keys included.
#[test]
fn logits_of_queue_and_bank_are_never_stored() {
    let (n, k, d) = (512, 16_384, 16);
    let peak = |bank: bool| {
        let gpu = own_gpu();
        let mut rng = Rng::new(1);
        let z = gpu.tensor(&data(1, n * d), [n, d]).unwrap().requires_grad();
        let loss = if bank {
            let at = gpu.tensor_u32(&(0..n as u32).collect::<Vec<u32>>(), [n]).unwrap();
            instance_discrimination_loss(&z, &Bank::new(&gpu, k, d, &mut rng).unwrap(), &at, 0.1)
        } else {
            moco_loss(&z, &z, &Queue::new(&gpu, k, d, &mut rng).unwrap(), 0.1)
        };
        loss.backward().get(&z).unwrap().to_vec().unwrap();
        gpu.memory().peak
    };
    for bank in [false, true] {
        let peak = peak(bank);
        let logits = 4 * (n * k) as u64;
        assert!(4 * peak <= logits, "{peak} bytes at most, {logits} of logits");
    }
}
