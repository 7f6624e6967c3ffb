//! Measures which rung of a ladder is the fastest, for [`GpuBuilder::tune`](crate::GpuBuilder::tune).
//!
//! A ladder gives a key (family, types, form and sizes of a computation) and its candidates, the static choice first. When a
//! device meets a key for the first time, the candidates run on operands made for them, before the computation itself is recorded:
//! the tuner reads and moves no tensor of the program and draws none of its random numbers. Every later launch of that key is of
//! the kernel that was found.

use std::time::Instant;

use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::tensor::{DType, Tensor};

/// Bytes of operands and result at most; for more the static choice stays.
const MOST_BYTES: usize = 1 << 30;
/// Seconds after which no further candidate is tried.
const BUDGET: f64 = 0.5;
/// A candidate is taken if its time is less than this part of the best one's so far: noise leaves the static choice alone.
const GAIN: f64 = 0.95;

/// The file for `key` among `files`, of which the first is the static choice: the one in force, or else, on a device that tunes, the
/// one that `measure` finds. `None`: the static choice, this time.
pub(super) fn choice(
    gpu: &Gpu,
    key: String,
    files: &[&'static str],
    measure: impl FnOnce(&str) -> Option<&'static str>,
) -> Option<&'static str> {
    if let Some(file) = gpu.tuned_choice(&key, files) {
        return Some(file);
    }
    if !gpu.tunes() || gpu.sync().is_err() {
        return None;
    }
    let file = gpu.unprofiled(|| measure(&key))?;
    log::info!("{key}: {file}");
    Some(gpu.set_tuned(key, file, files))
}

/// A tensor like `x` with uniform values in [-1, 1), the same for every `seed`.
pub(super) fn like(x: &Tensor, seed: u32) -> Option<Tensor> {
    let values = x.gpu().uniform(*x.shape(), -1.0, 1.0, &mut Rng::new(seed));
    forgiven(x.gpu(), values).map(|values| values.cast(x.dtype()))
}

/// Returns the one of `files` that computes `result` the fastest when `launch` is called with it. A candidate whose result differs
/// from that of the first by more than rounding is refused.
pub(super) fn fastest(
    key: &str,
    files: &[&'static str],
    operands: &[&Tensor],
    result: &Tensor,
    launch: impl Fn(&str),
) -> Option<&'static str> {
    let (own, others) = files.split_first().expect("a static choice");
    let gpu = result.gpu();
    if operands.iter().map(|x| x.bytes()).sum::<usize>() + result.bytes() > MOST_BYTES {
        return Some(own);
    }
    let started = Instant::now();
    let want = values(result, || launch(own))?;
    let mut best = (*own, median(gpu, f64::INFINITY, || launch(own))?);
    if best.1 > gpu.facts().trial_seconds {
        return Some(own);
    }
    for &file in others {
        if started.elapsed().as_secs_f64() > BUDGET {
            break;
        }
        if !values(result, || launch(file)).is_some_and(|got| close(&got, &want, result.dtype())) {
            log::warn!("{key}: {file} is refused, its result is not that of {own}");
            continue;
        }
        match median(gpu, best.1, || launch(file)) {
            Some(seconds) if seconds < GAIN * best.1 => best = (file, seconds),
            _ => {}
        }
    }
    Some(best.0)
}

/// The result of one launch, NaN where it writes nothing. `None` after an error of the device, which is taken.
fn values(result: &Tensor, launch: impl FnOnce()) -> Option<Vec<f32>> {
    let nan = Tensor::filled(result.gpu(), "tune", result.shape(), result.dtype(), f32::NAN);
    result.gpu().copy(&nan, 0, result, 0, result.words());
    launch();
    forgiven(result.gpu(), result.to_vec())
}

/// Whether all differences are of rounding: relative to the largest value, since operands of either sign cancel out.
fn close(got: &[f32], want: &[f32], dtype: DType) -> bool {
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let tolerance = if dtype == DType::F16 { 4e-3 } else { 1e-4 } * largest;
    got.iter().zip(want).all(|(got, want)| (got - want).abs() <= tolerance)
}

/// Seconds of a launch: the median of several groups of them, or that of one where it takes more than twice `limit`. `None`
/// after an error of the device, which is taken.
fn median(gpu: &Gpu, limit: f64, launch: impl Fn()) -> Option<f64> {
    let time = |launches: u32| {
        let start = Instant::now();
        for _ in 0..launches {
            launch();
        }
        forgiven(gpu, gpu.sync())?;
        Some(start.elapsed().as_secs_f64() / f64::from(launches))
    };
    let first = time(1)?;
    if first > 2.0 * limit {
        return Some(first);
    }
    let launches = (0.002 / first).clamp(1.0, 64.0) as u32;
    let mut times = (0..5).map(|_| time(launches)).collect::<Option<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2])
}

/// The value, or `None` after an error of the device, which is taken: a trial's error is not one of the program. A lost device
/// stays lost.
fn forgiven<T>(gpu: &Gpu, result: crate::error::Result<T>) -> Option<T> {
    result.map_err(|_| gpu.take_error()).ok()
}

#[cfg(test)]
mod tests {
    use super::{choice, close, fastest, like};
    use crate::gpu::{Class, Facts, Gpu};
    use crate::tensor::{DType, Tensor};

    /// y = x + x, or the result of a wrong kernel.
    fn launch(y: &Tensor, x: &Tensor, file: &str) {
        let slower = |x: &Tensor| (0..20).fold(x.clone(), |sum, _| sum.add(x));
        let result = match file {
            "right" => {
                let _ = slower(x);
                x.add(x)
            }
            "faster" => x.add(x),
            "wrong" => x.clone(),
            "not all of it" => return y.gpu().copy(&x.add(x), 0, y, 0, y.len() - 1),
            "none of it" => return,
            "broken" => {
                return y.gpu().latch(crate::Error::Validation("a kernel that does not compile".into()));
            }
            _ => unreachable!(),
        };
        y.gpu().copy(&result, 0, y, 0, y.len());
    }

    #[test]
    fn a_wrong_candidate_is_refused_however_fast() {
        let directory = tempfile::tempdir().unwrap();
        let builder = Gpu::builder().quiet().tune(true).cache_dir(directory.path());
        // Time for trials, as any class of adapter and however busy the machine is.
        let facts = Facts { trial_seconds: 60.0, ..Facts::of(Class::Gpu) };
        let gpu = builder.facts(facts).build().unwrap();
        let x = like(&gpu.zeros([300_001]).unwrap(), 1).unwrap();
        let y = gpu.zeros([300_001]).unwrap();
        let run = |files: &[&'static str]| fastest("test", files, &[&x], &y, |file| launch(&y, &x, file));
        for wrong in ["wrong", "not all of it", "none of it", "broken"] {
            assert_eq!(run(&["right", wrong]), Some("right"), "{wrong}");
            assert!(gpu.error().is_none(), "{wrong}: its error stays");
        }
        assert_eq!(run(&["right", "wrong", "faster", "none of it"]), Some("faster"));
        assert_eq!(run(&["faster", "right"]), Some("faster"));
    }

    #[test]
    fn a_choice_is_made_once_and_what_is_kept_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let gpu = Gpu::builder().quiet().tune(true).cache_dir(directory.path()).build().unwrap();
        let key = || "test".to_owned();
        let files = ["a", "b"];
        assert_eq!(choice(&gpu, key(), &files, |_| None), None, "nothing could be measured");
        assert_eq!(choice(&gpu, key(), &files, |_| Some("b")), Some("b"));
        assert_eq!(choice(&gpu, key(), &files, |_| unreachable!()), Some("b"));
        assert_eq!(gpu.tuned()[&key()], "b");
        gpu.keep_tuned([(key(), "a".to_owned())].into());
        assert_eq!(choice(&gpu, key(), &files, |_| unreachable!()), Some("a"));

        let still = Gpu::builder().quiet().tune(false).build().unwrap();
        assert_eq!(choice(&still, key(), &files, |_| unreachable!()), None);
        still.keep_tuned(gpu.tuned());
        assert_eq!(choice(&still, key(), &files, |_| unreachable!()), Some("a"));
        assert_eq!(choice(&still, key(), &["b"], |_| unreachable!()), None, "no candidate here");
    }

    #[test]
    fn closeness_sees_nan_and_rounding() {
        let want = [1.0, -50.0, 0.0];
        assert!(close(&[1.001, -50.0, 0.002], &want, DType::F32));
        assert!(
            !close(&[1.0, -50.0, 0.02], &want, DType::F32) && close(&[1.0, -50.0, 0.02], &want, DType::F16)
        );
        assert!(!close(&[1.0, f32::NAN, 0.0], &want, DType::F16));
    }
}
