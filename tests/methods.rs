//! Every method's example as a run: it starts where its mathematics says, resumes bit for bit, says what it logs.

#[macro_use]
#[path = "../examples/common/methods.rs"]
mod methods;

use std::collections::BTreeMap;
use std::path::Path;

use methods::METHODS;
use wgrad::nn::read_safetensors;
use wgrad::train::{Flags, RECIPES, Row};

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

/// A line a run: the method and settings that fit small runs. A method without a line has one run, of its recipe.
const RUNS: &[(&str, &[&str])] = &[
    ("simclr", &[]),
    ("simclr", &["options.similarity=dot", "tau=4.0", "lr=0.01"]),
    ("simclr", &["encoder=mlp"]),
    ("instance_discrimination", &["options.bank_momentum=0.9"]),
    ("instance_discrimination", &["options.form=nce", "options.negatives=7"]),
    ("moco", &["options.queue=32", "options.bn_splits=2"]),
    (
        "moco",
        &["options.queue=32", "options.bn_splits=1", "options.symmetric=true", "options.projector=[16]"],
    ),
    ("simsiam", &["options.projector=[32, 32]"]),
    ("simsiam", &["options.form=squared"]),
    ("byol", &["options.predictor=16"]),
    ("byol", &["options.momentum={adaptive=[0.5, 0.99]}"]),
    ("vicreg", &[]),
    ("barlow_twins", &[]),
    ("dino", &["options.outputs=32", "options.local_crops=1", "options.local_size=16"]),
    ("dino", &["options.outputs=32", "options.local_crops=0", "options.momentum={adaptive=[0.5, 0.99]}"]),
    ("swav", &["options.prototypes=12", "options.queue=16", "options.queue_from=0.5"]),
    ("swav", &["options.prototypes=12", "options.queue=0", "options.local_crops=1", "options.local_size=16"]),
    ("nnclr", &["options.queue=32"]),
    ("supcon", &[]),
];

/// The settings of each run of a method.
fn runs(method: &str) -> Vec<&'static [&'static str]> {
    let named: Vec<_> = RUNS.iter().filter(|(of, _)| *of == method).map(|(_, set)| *set).collect();
    if named.is_empty() { vec![&[]] } else { named }
}

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

/// Every recipe in the crate has the options that its method reads: such a run gets as far as its directory.
#[test]
fn every_recipe_fits_its_method() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("summary.json"), "{}").unwrap();
    for (name, _) in RECIPES {
        let (method, _) = name.rsplit_once('-').unwrap();
        let (_, run) = METHODS.iter().find(|(known, _)| *known == method).unwrap();
        let recipe = Some((*name).to_owned());
        let data = Some("synthetic".to_owned());
        let error =
            run(&Flags { recipe, data, out: Some(dir.path().to_owned()), ..Flags::default() }).unwrap_err();
        assert!(error.to_string().contains("holds a run"), "{name}: {error}");
    }
}

#[test]
fn settings_that_cannot_be_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (_, byol) = METHODS.iter().find(|(name, _)| *name == "byol").unwrap();
    for (i, (set, expected)) in [
        ("options.momentum={constant=2.0}", "options: momentum [2.0, 2.0] is not between 0 and 1"),
        ("options.momentum={adaptive=[0.99, 0.9]}", "options: momentum [0.99, 0.9] is not"),
        ("options.momentum={linear=1}", "options: unknown variant `linear`"),
        ("options.projector=[]", "options: projector []: needs a width"),
        ("options.projector=[64, 0]", "options: projector [64, 0]: needs a width"),
        ("options.predictor=0", "options: invalid value: integer `0`, expected a nonzero usize"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = byol(&flags(&dir.path().join(i.to_string()), 2, &[set])).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{set}: {error}");
    }
}

/// Queue, bank, teacher, centre, prototypes, probe and schedules: a run ended within its second epoch and resumed is the
/// uninterrupted one.
fn resumes_bit_for_bit(method: &str) {
    let (name, run) = METHODS.iter().find(|(name, _)| *name == method).unwrap();
    for set in runs(name) {
        let dir = tempfile::tempdir().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        let summary = run(&flags(&whole, 14, set)).unwrap_or_else(|e| panic!("{name} {set:?}: {e}"));
        assert_eq!((&summary.method[..], summary.steps), (*name, 14));

        let first = run(&Flags { stop_after: Some(11), ..flags(&parts, 14, set) }).unwrap();
        assert_eq!((first.steps, first.knn_top1), (11, None), "{set:?}");
        let last = run(&Flags { resume: Some(parts.clone()), ..Flags::default() }).unwrap();
        assert_eq!((last.steps, last.knn_top1), (14, summary.knn_top1), "{set:?}");
        let (a, b) = (trace(&whole), trace(&parts));
        assert_eq!(a.1.len(), 14);
        assert_eq!(a.1, b.1, "{set:?}: losses, rates, parts");
        assert_eq!(a.0.keys().collect::<Vec<_>>(), b.0.keys().collect::<Vec<_>>());
        for (tensor, bits) in &a.0 {
            assert_eq!(Some(bits), b.0.get(tensor), "{set:?}: {tensor}");
        }
    }
}

macro_rules! resume {
    ($($method:ident = $file:literal),+ $(,)?) => {
        $(
            #[test]
            fn $method() {
                resumes_bit_for_bit(stringify!($method));
            }
        )+
    };
}

mod resume {
    use super::*;

    each_method!(resume);
}

#[test]
fn every_method_has_a_recipe_for_both_data_sets() {
    for (method, _) in METHODS {
        for data in ["embedded", "cifar10"] {
            let recipe = format!("{method}-{data}");
            assert!(RECIPES.iter().any(|(name, _)| *name == recipe), "no recipe {recipe}");
        }
    }
    assert!(RUNS.iter().all(|(name, _)| METHODS.iter().any(|(known, _)| name == known)));
}

/// The encoder is a name: every method trains a perceptron, whose images have one size, small crops included, as it trains a
/// ResNet.
#[test]
fn every_method_trains_another_encoder() {
    for (method, run) in METHODS {
        let dir = tempfile::tempdir().unwrap();
        let set = [runs(method)[0], &["encoder=mlp"]].concat();
        let summary =
            run(&flags(&dir.path().join("run"), 3, &set)).unwrap_or_else(|e| panic!("{method}: {e}"));
        assert!(summary.loss.is_finite() && summary.knn_top1.is_some(), "{method}: {summary:?}");
        let (tensors, losses) = trace(&dir.path().join("run"));
        assert_eq!(losses.len(), 3);
        // 32 x 32 x 3 pixels to 256 to 128.
        let widths = [("encoder.0.weight", 3072 * 256), ("encoder.3.weight", 256 * 128)];
        assert!(widths.iter().all(|(name, len)| tensors[*name].len() == *len), "{method}");
        let encoder = tensors.keys().filter(|name| name.starts_with("encoder."));
        assert_eq!(encoder.count(), 7, "{method}: {:?}", tensors.keys()); // two layers, a norm and its statistics
    }
}
