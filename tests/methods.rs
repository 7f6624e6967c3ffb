//! Every method's example as a run: it starts where its mathematics says, resumes bit for bit, says what it logs.

#[path = "../examples/common/methods.rs"]
mod methods;

use std::collections::BTreeMap;
use std::path::Path;

use methods::METHODS;
use wgrad::nn::read_safetensors;
use wgrad::train::{Flags, Row};

/// Small enough for a test: `steps` of 8 synthetic images out of 64, with these settings.
fn flags(out: &Path, steps: u64, set: &[&str]) -> Flags {
    Flags {
        data: Some("synthetic".into()),
        train_limit: Some(64),
        encoder: Some("tiny".into()),
        batch: Some(8),
        steps: Some(steps),
        seed: Some(5),
        eval_every: Some(0),
        out: Some(out.to_owned()),
        set: set.iter().map(ToString::to_string).collect(),
        ..Flags::default()
    }
}

/// A line a run: the method and settings that fit small runs.
const RUNS: &[(&str, &[&str])] = &[
    ("simclr", &[]),
    ("simclr", &["options.similarity=dot", "tau=4.0", "lr=0.01"]),
    ("instance_discrimination", &["options.bank_momentum=0.9"]),
    ("instance_discrimination", &["options.form=nce", "options.negatives=7"]),
    ("simsiam", &["options.projector=[32, 32]"]),
    ("simsiam", &["options.form=squared"]),
    ("vicreg", &[]),
    ("barlow_twins", &[]),
    ("swav", &["options.prototypes=12", "options.queue=16", "options.queue_from=0.5"]),
    ("nnclr", &["options.queue=32"]),
    ("supcon", &[]),
];

/// Every tensor of the checkpoint as bits; and of every step the loss, the learning rate and the method's own values.
type Trace = (BTreeMap<String, Vec<u32>>, Vec<Vec<u32>>);

fn trace(dir: &Path) -> Trace {
    let (tensors, _) = read_safetensors(dir.join("checkpoint.safetensors")).unwrap();
    let bits = |data: Vec<f32>| data.into_iter().map(f32::to_bits).collect();
    let csv = std::fs::read_to_string(dir.join("metrics.csv")).unwrap();
    let values = |row: Row| {
        let parts = row.parts.into_iter().map(|part| part.expect("logged at every step"));
        [row.loss, row.lr].into_iter().chain(row.batch_std).chain(parts).map(f32::to_bits).collect()
    };
    let rows = csv.lines().filter_map(Row::from_csv).map(values).collect();
    (tensors.into_iter().map(|t| (t.name, bits(t.data))).collect(), rows)
}

/// Queue, bank, teacher, centre, prototypes, probe and schedules: a run ended within its second epoch and resumed is the
/// uninterrupted one.
#[test]
fn every_method_resumes_bit_for_bit() {
    for (method, set) in RUNS {
        let (name, run) = METHODS.iter().find(|(name, _)| name == method).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        let summary = run(&flags(&whole, 14, set)).unwrap_or_else(|e| panic!("{name} {set:?}: {e}"));
        assert_eq!((&summary.method[..], summary.steps), (*name, 14));

        let first = run(&Flags { stop_after: Some(11), ..flags(&parts, 14, set) }).unwrap();
        assert_eq!((first.steps, first.knn_top1), (11, None), "{name} {set:?}");
        let last = run(&Flags { resume: Some(parts.clone()), ..Flags::default() }).unwrap();
        assert_eq!((last.steps, last.knn_top1), (14, summary.knn_top1), "{name} {set:?}");
        let (a, b) = (trace(&whole), trace(&parts));
        assert_eq!(a.1.len(), 14);
        assert_eq!(a.1, b.1, "{name} {set:?}: losses, rates, parts");
        assert_eq!(a.0.keys().collect::<Vec<_>>(), b.0.keys().collect::<Vec<_>>());
        for (tensor, bits) in &a.0 {
            assert_eq!(Some(bits), b.0.get(tensor), "{name} {set:?}: {tensor}");
        }
    }
}
