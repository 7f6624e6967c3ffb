//! The demo and the table that the README has of it: small runs on synthetic images, and runs of earlier versions.

#[path = "../examples/demo.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod demo;
#[path = "../examples/demo_table.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod demo_table;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use wgrad::train::{FewLabels, Row, Summary};

/// Flags of a small run into `out`.
fn run(out: &Path, rest: &str) -> wgrad::Result<Summary> {
    let fixed = "demo --data synthetic --train-limit 96 --encoder tiny --batch 16 --labels-per-class 3 \
                 --finetune-steps 4 --eval-every 3";
    let mut args: Vec<String> =
        fixed.split_whitespace().chain(rest.split_whitespace()).map(Into::into).collect();
    args.extend(["--out".into(), out.to_str().unwrap().into()]);
    demo::demo(&demo::Args::parse_from(args))
}

fn table(runs: &[PathBuf], readme: &Path) -> Result<String, String> {
    let runs = runs.to_vec();
    let args = demo_table::Args { runs, labels_per_class: 3, readme: readme.to_owned() };
    demo_table::demo_table(&args).map_err(|error| error.to_string())?;
    Ok(fs::read_to_string(readme).unwrap())
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The accuracies that `summary.json` has both of moved images and of images as they are.
const MOVED: [&str; 7] = [
    "knn_top1",
    "linear_top1",
    "knn_top1_random_init",
    "linear_top1_random_init",
    "knn_top1_raw_pixels",
    "linear_top1_raw_pixels",
    "knn_top1_normalized_pixels",
];

#[test]
fn the_demo_leaves_what_the_table_needs() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [0, 1].map(|seed| dir.path().join(format!("{seed}")));
    for (seed, out) in runs.iter().enumerate() {
        let summary = run(out, &format!("--steps 6 --seed {seed}")).unwrap();
        let written = json(&out.join("summary.json"));
        for key in MOVED {
            let [aligned, moved] = [key.to_owned(), format!("{key}_moved")]
                .map(|key| written[&key].as_f64().unwrap_or_else(|| panic!("no {key}")));
            let n = summary.test_images.unwrap() as f64;
            for share in [aligned, moved] {
                assert!(
                    (0.0..=1.0).contains(&share) && ((share * n).round() - share * n).abs() < 1e-6,
                    "{key}"
                );
            }
        }
        // Stripes in a noise that the pixels tell apart: moved, a bank of pixels that lie elsewhere says less.
        assert!(summary.knn_top1_raw_pixels > summary.knn_top1_raw_pixels_moved.unwrap());
        assert!(
            summary.protocol.contains("moved: the same test images") && summary.protocol.contains("4 rows")
        );

        // The last evaluation stands in metrics.csv too.
        let csv = fs::read_to_string(out.join("metrics.csv")).unwrap();
        let last = csv.lines().filter_map(Row::from_csv).next_back().and_then(|row| row.quality).unwrap();
        let six_digits = |value: Option<f64>| format!("{:.6}", value.unwrap());
        assert_eq!(six_digits(last.knn_top1_moved), six_digits(summary.knn_top1_moved));
        assert_eq!(six_digits(Some(last.knn_top1)), six_digits(summary.knn_top1));

        let few = json(&out.join("labels_3/summary.json"));
        assert_eq!((few["seed"].as_u64(), few["steps"].as_u64()), (Some(seed as u64), Some(4)));
        let few = [few["test_top1"].as_f64().unwrap(), few["test_top1_from_scratch"].as_f64().unwrap()];
        assert!(few.iter().all(|share| (0.0..=1.0).contains(share)));
        let few = FewLabels { per_class: 3, fine_tuned: few[0], from_scratch: few[1] };
        assert!(summary.conclusion(Some(few)).contains("With 3 labels a class"));
    }
    // Baselines that have no seed are the same in both runs, moved ones included.
    let [first, second] = runs.clone().map(|run| json(&run.join("summary.json")));
    for key in
        ["knn_top1_raw_pixels_moved", "linear_top1_raw_pixels_moved", "knn_top1_normalized_pixels_moved"]
    {
        assert_eq!(first[key], second[key], "{key}");
    }
    assert_ne!(first["loss"], second["loss"]);

    let readme = dir.path().join("README.md");
    fs::write(&readme, "before\n<!-- demo -->\nold\n<!-- /demo -->\nafter\n").unwrap();
    let text = table(&runs, &readme).unwrap();
    assert!(
        text.starts_with("before\n<!-- demo -->\n| |") && text.ends_with("<!-- /demo -->\nafter\n"),
        "{text}"
    );
    assert!(
        !text.contains("old") && text.contains("fine-tuned on 3 labels a class") && text.contains("2 seeds")
    );
    let mean = |key: &str| 50.0 * (first[key].as_f64().unwrap() + second[key].as_f64().unwrap());
    let row = text.lines().find(|line| line.starts_with("| **trained**")).unwrap();
    let cells: Vec<&str> = row.split(" | ").collect();
    assert!(cells[1].starts_with(&format!("{:.1}", mean("knn_top1_moved"))), "{row}");
    assert!(cells[2].starts_with(&format!("{:.1}", mean("linear_top1_moved"))), "{row}");
    assert!(cells[4].starts_with(&format!("{:.1}", mean("knn_top1"))), "{row}");
    // Their mean over three runs rounds; that is no deviation.
    let text = table(&[&runs[..], &runs[..1]].concat(), &readme).unwrap();
    let pixels = text.lines().find(|line| line.starts_with("| raw pixels")).unwrap();
    assert!(!pixels.contains('±'), "pixels know no seed: {pixels}");
    for picture in ["embedding.svg", "curves.svg"] {
        assert!(dir.path().join("examples/images").join(picture).exists());
    }

    // Again on a finished run: nothing is trained anew, the few labels neither.
    let before = fs::metadata(runs[0].join("labels_3/summary.json")).unwrap().modified().unwrap();
    let resumed = demo::demo(&demo::Args::parse_from([
        "demo",
        "--labels-per-class",
        "3",
        "--resume",
        runs[0].to_str().unwrap(),
    ]));
    assert_eq!(resumed.unwrap().knn_top1_moved, first["knn_top1_moved"].as_f64());
    assert_eq!(fs::metadata(runs[0].join("labels_3/summary.json")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_table_of_other_runs_is_a_dash_or_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let readme = dir.path().join("README.md");
    fs::write(&readme, "<!-- demo --><!-- /demo -->").unwrap();
    let summary = |name: &str, change: fn(&mut Value)| {
        let run = dir.path().join(name);
        fs::create_dir_all(&run).unwrap();
        let whole = Summary { knn_top1: Some(0.75), method: "simclr".into(), steps: 3, ..Summary::default() };
        let mut json = serde_json::to_value(whole).unwrap();
        change(&mut json);
        fs::write(run.join("summary.json"), json.to_string()).unwrap();
        for picture in ["embedding.svg", "curves.svg"] {
            fs::write(run.join(picture), "<svg/>").unwrap();
        }
        run
    };
    // A version that did not move images did not write the keys.
    let old = summary("old", |json| {
        let keys = json.as_object_mut().unwrap();
        keys.retain(|key, _| !key.ends_with("_moved") && key != "test_images");
    });
    let text = table(std::slice::from_ref(&old), &readme).unwrap();
    assert!(text.contains("| **trained** | – | – | – | 75.0 | – |"), "{text}");
    assert!(!text.contains("Moving the test images") && !text.contains("few labels:"), "{text}");

    let line = |runs: &[PathBuf]| {
        let message = table(runs, &readme).unwrap_err();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let early = summary("early", |json| json["knn_top1"] = Value::Null);
    assert!(line(&[early]).ends_with("summary.json: the run ended early"));
    let longer = summary("longer", |json| json["steps"] = 4.into());
    assert!(line(&[old.clone(), longer]).starts_with("runs that differ in more than their seed"));
    assert!(line(&[dir.path().join("none")]).contains("none/summary.json: "));
    let broken = summary("broken", |json| *json = "half a f".into());
    assert!(line(&[broken]).contains("summary.json: "));
    let few = summary("few", |_| ());
    fs::create_dir_all(few.join("labels_3")).unwrap();
    fs::write(few.join("labels_3/summary.json"), "{}").unwrap();
    assert!(line(&[few]).ends_with("lacks test_top1"));
    fs::write(&readme, "no markers").unwrap();
    assert!(line(&[old]).contains("<!-- demo -->"));
}
