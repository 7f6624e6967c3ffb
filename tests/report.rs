//! `--example report`: what it refuses, what a partial or interrupted report keeps, and what it shows.

#[path = "../examples/report.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod report;

use std::fs;
use std::path::Path;

use clap::Parser;
use report::common::correctness::{Suite, suites};
use report::common::measure::{Job, Measured, Part, QUICK, Report, Timing, filter};
use report::common::results::{Results, read};
use report::common::{markdown, show};
use serde_json::{Value, json};
use wgrad::{DType, Gpu, ops};

fn args(line: &str) -> Result<report::Args, String> {
    let words = ["report"].into_iter().chain(line.split_whitespace());
    report::Args::try_parse_from(words).map_err(|e| e.to_string())
}

/// What the program says to a command line that it refuses.
fn refused(line: &str) -> String {
    match args(line) {
        Ok(args) => report::run(&args).unwrap_err().to_string(),
        Err(why) => why,
    }
}

fn op(name: &str, ms: f64) -> Value {
    json!({"name": name, "size": "4x4, 4x4", "ms": ms, "gb_per_s": 1.0, "gflop_per_s": 2.0, "percent_of_roofline": 50.0})
}

fn rung(rung: &str, gflop: f64) -> Value {
    json!({"family": "matmul", "rung": rung, "name": "matmul", "size": "4x4", "ms": 1.0, "gflop_per_s": gflop})
}

fn stamp(date: &str, driver: &str) -> Value {
    let roofline = json!({"copy_gb_per_s": 8.0, "f32_gflop_per_s": 60.0, "matrix_gflop_per_s": null});
    json!({"date": date, "driver": driver, "wgrad": "0.1.0", "roofline": roofline, "wrong": []})
}

/// A whole report of an earlier time, in the form that has one date for all parts.
fn earlier(file: &Path) {
    let mut old = stamp("2026-01-01", "old");
    old["adapter"] = "Card".into();
    old["backend"] = "Vulkan".into();
    old["ladder"] = json!([rung("1_naive", 1.0), rung("2_tiled", 30.0)]);
    old["ops"] = json!([op("add", 1.0), op("mul", 1.0), op("gone", 1.0)]);
    old["train_step"] = json!([]);
    fs::write(file, old.to_string()).unwrap();
}

fn names(value: &Value, part: Part) -> Vec<&str> {
    show::rows(value, part.name()).iter().map(|row| show::text(&row["name"])).collect()
}

#[test]
fn a_typing_error_is_refused_before_any_work() {
    assert!(refused("--parts lader").contains("a similar value exists: 'ladder'"));
    assert!(refused("--qick").contains("a similar argument exists: '--quick'"));
    assert!(refused("--limit 0").contains("0 is not in 1.."));
    assert!(refused("--limit 5m").contains("invalid digit"));
    assert!(refused("--tables --quick").contains("cannot be used with"));
    assert!(refused("--compare a.json").contains("2 values required"));
    assert!(refused("--compare a.json b.json").starts_with("a.json: No such file"));
    assert_eq!(refused("--quick --save x.txt"), "--save x.txt: must end in .csv or .json");
    assert!(refused("--quick --save card-report.json").contains("take another"));
    assert_eq!(refused("--quick --save nowhere/x.csv"), "--save nowhere/x.csv: its folder is not there");
    assert_eq!(refused("--quick --draw x"), "--draw: needs the ladder, as with --parts ladder");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    for text in ["{", "[]", "{\"adapter\": \"Card\"}"] {
        fs::write(&file, text).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn parts_that_are_not_measured_stay_and_say_how_old_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("card-report.json");
    earlier(&file);
    let mut results = Results::open(&file, "Card", "Vulkan").unwrap();
    let now = stamp("2026-02-02", "new");
    let kept = results.kept(&[Part::Ops], &now);
    assert_eq!(kept, ["kept: ladder of 2026-01-01, driver old, wgrad 0.1.0: another driver than now"]);
    results.begin(Part::Ops, now);
    results.add(Part::Ops, op("add", 0.5));
    results.add(Part::Ops, op("new", 0.5));
    results.save().unwrap();

    // Killed here: what was measured is there, the others are those of before and say so.
    let half = read(&file).unwrap();
    assert_eq!(names(&half, Part::Ops), ["add", "mul", "gone", "new"]);
    assert_eq!((&half["ops"][0]["ms"], &half["ops"][1]["ms"]), (&json!(0.5), &json!(1.0)));
    assert_eq!(half["ops"][1]["measured"]["driver"], "old");
    let caption = "driver new, 2026-02-02; 2 rows of driver old, 2026-01-01";
    assert_eq!(show::caption(&half, Part::Ops), caption);
    assert!(markdown::ops(&markdown::reports(dir.path()).unwrap()).starts_with(&format!("Card, {caption}:")));
    assert!(show::csv(&half).contains("Card,old,2026-01-01,0.1.0,ops,,,mul,,,\"4x4, 4x4\",,1.0,"));

    // Another try that comes to its end.
    let mut results = Results::open(&file, "Card", "Vulkan").unwrap();
    results.begin(Part::Ops, stamp("2026-03-03", "newer"));
    for name in ["add", "new"] {
        results.add(Part::Ops, op(name, 0.25));
    }
    let Value::Object(identity) = json!({"name": "mul", "size": "4x4, 4x4"}) else { panic!() };
    results.wrong(Part::Ops, &identity, "mul: element 3");
    results.end(Part::Ops, 7);
    results.save().unwrap();
    let whole = read(&file).unwrap();
    assert_eq!(names(&whole, Part::Ops), ["add", "new"], "what is wrong, and what has no case, is gone");
    assert_eq!(whole["measured"]["ops"]["wrong"], json!(["mul: element 3"]));
    assert_eq!(show::caption(&whole, Part::Ops), "driver newer, 2026-03-03");
    assert_eq!(show::caption(&whole, Part::Ladder), "driver old, 2026-01-01");
    assert_eq!(whole["ladder"].as_array().map(Vec::len), Some(2));
    assert!(Results::open(&file, "Other", "Vulkan").is_err());
}

#[test]
fn two_reports_are_compared_case_by_case() {
    let of = |date: &str, rows: Value| {
        let mut results = Results::new("Card", "Vulkan", vec![]);
        results.begin(Part::Ops, stamp(date, "driver"));
        rows.as_array().unwrap().iter().for_each(|row| results.add(Part::Ops, row.clone()));
        results.value
    };
    let a = of("2026-01-01", json!([op("add", 2.0), op("mul", 1.0), op("softmax", 3.0)]));
    let b = of("2026-02-02", json!([op("add", 1.0), op("mul", 8.0), op("argmax", 3.0)]));
    let text = show::compare(["a.json", "b.json"].map(Path::new), [&a, &b]);
    let line = |start: &str| {
        let line =
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("A: "), "A: Card (a.json)");
    assert!(text.contains("   ops: driver driver, 2026-02-02"));
    assert_eq!(line("add"), "add 4x4, 4x4 2.00 1.00 0.50");
    assert_eq!(line("mul"), "mul 4x4, 4x4 1.00 8.00 8.00");
    assert_eq!(line("geometric"), "geometric mean of 2 2.00");
    assert_eq!(line("only in A"), "only in A: softmax 4x4, 4x4");
    assert_eq!(line("only in B"), "only in B: argmax 4x4, 4x4");
    let dir = tempfile::tempdir().unwrap();
    earlier(&dir.path().join("card-report.json"));
    let whole = markdown::reports(dir.path()).unwrap().remove(0);
    let text = show::compare(["a", "b"].map(Path::new), [&whole, &a]);
    assert!(text.contains("only in A: all of ladder (2 cases); gone 4x4, 4x4\n"), "{text}");
    let none = show::compare(["a", "b"].map(Path::new), [&a, &of("2026-02-02", json!([op("exp", 1.0)]))]);
    assert!(none.contains("no case in both"));
}

#[test]
fn a_ladder_is_drawn_under_its_roofline() {
    let dir = tempfile::tempdir().unwrap();
    earlier(&dir.path().join("card-report.json"));
    let report = markdown::reports(dir.path()).unwrap().remove(0);
    let path = show::draw_ladder(dir.path(), &report).unwrap();
    assert_eq!(path, dir.path().join("card-ladder.svg"));
    let svg = fs::read_to_string(path).unwrap();
    assert!(svg.contains("matmul, GFLOP/s") && svg.contains("roofline, f32"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 2, "a dot a rung");
}

#[test]
fn a_look_finds_its_cases_and_leaves_the_report_alone() {
    let measuring = Report::begin(None, Timing::SHORT).unwrap();
    let jobs = || [Part::Ops, Part::TrainStep].into_iter().flat_map(|part| measuring.jobs(part));
    for name in QUICK {
        let optional = name.ends_with("f16") && !measuring.gpu.info().f16;
        assert!(optional || jobs().any(|job| job.label == *name), "{name}");
    }
    let found = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        filter(jobs().collect(), &wanted)
            .map(|jobs| jobs.into_iter().map(|job| job.label).collect::<Vec<_>>())
    };
    assert_eq!(found(&["MatMul_", "argmax"]).unwrap(), ["argmax", "matmul_nt", "matmul_tn"]);
    let none = found(&["argmax", "sofmax"]).unwrap_err();
    assert!(none.starts_with("--filter sofmax: ") && none.contains(" | softmax, gradient | "), "{none}");

    let dir = tempfile::tempdir().unwrap();
    let [out, json, csv] = ["out", "look.json", "look.csv"].map(|name| dir.path().join(name));
    // The rung that is the fastest here, for the test's sake.
    let best = measuring.jobs(Part::Ladder).into_iter().rfind(|job| job.label.starts_with("contrastive/"));
    let best = best.map(|job| job.label.split(':').next().unwrap_or_default().to_owned()).unwrap();
    for (file, more) in [(&json, format!("--parts ops,ladder --filter {best}")), (&csv, String::new())] {
        let (out, file) = (out.display(), file.display());
        let line = format!("--quick --filter argmax {more} --out {out} --save {file}");
        assert_eq!(report::run(&args(&line).unwrap()).unwrap(), Vec::<String>::new());
    }
    assert!(!out.exists());
    let look = read(&json).unwrap();
    assert_eq!(names(&look, Part::Ops), ["argmax"]);
    assert_eq!(
        names(&look, Part::Ladder),
        ["info_nce", "info_nce, gradient", "nt_xent", "nt_xent, gradient"]
    );
    assert!(look["ops"][0]["ms"].as_f64().unwrap() > 0.0 && look["look"]["quick"] == true);
    let csv = fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let both = show::compare([&json, &json], [&look, &look]);
    assert!(both.contains("geometric mean of 5"), "{both}");
}

/// Every rung of every ladder that this adapter runs, and every op, in each type that it takes.
#[test]
fn the_suite_has_every_rung_and_op() {
    let gpu = Gpu::builder().quiet().build().unwrap();
    let suites = suites(&gpu);
    let types = [DType::F32, DType::F16].into_iter().filter(|dtype| gpu.info().f16 || *dtype == DType::F32);
    for dtype in types {
        let in_type = || suites.iter().filter(|suite| suite.dtype == dtype);
        let have: Vec<_> = in_type().filter_map(|suite| suite.rung).collect();
        let rungs_of = |family| ops::rungs(family, &gpu, dtype).into_iter().map(move |rung| (family, rung));
        let want: Vec<_> =
            ops::ladders(gpu.info()).into_iter().flat_map(|(family, _)| rungs_of(family)).collect();
        assert_eq!(have, want);
        for name in ["softmax", "conv2d", "gather_rows", "info_nce"] {
            assert!(in_type().any(|suite| suite.name == name), "{name}, {dtype:?}");
        }
    }
    let mut names: Vec<_> = suites.iter().map(|suite| (suite.name.as_str(), suite.precision())).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "two suites of one name would have one row");
}

/// Wrong values, an error of the device and a panic are told, and the next case runs on a device that works.
#[test]
fn a_failure_does_not_stop_the_rest() {
    let mut measuring = Report::begin(None, Timing::SHORT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("card-report.json");
    let mut results = Results::open(&file, "Card", "Vulkan").unwrap();
    let mut stamp = stamp("2026-01-01", "driver");
    stamp["device"] = measuring.device();
    results.begin(Part::Correctness, stamp);
    let sum = |gpu: &Gpu| {
        let sum = gpu.full([3], 1.0).and_then(|x| x.sum_all().item()).map_err(|e| e.to_string())?;
        if sum == 3.0 { Ok(()) } else { Err(format!("{sum}")) }
    };
    let of = |name: &str, check: fn(&Gpu) -> Result<(), String>| {
        Job::of(Suite::new(name, DType::F32, vec![Box::new(check)]))
    };
    let jobs = [
        of("sound", sum),
        of(
            "wrong",
            |_| Err("wrong, f32 [[3]]: value: 1 of 3 elements differ; first [1] got 2 want 1".into()),
        ),
        of("sound 2", sum),
        of("lost", |gpu| {
            gpu.lose_device_for_test();
            gpu.sync().map_err(|e| e.to_string())
        }),
        of("sound 3", sum),
        of("panics", |gpu| {
            let _ = gpu.zeros([2, 3]).unwrap().matmul(&gpu.zeros([2, 3]).unwrap());
            Ok(())
        }),
        of("sound 4", sum),
    ];
    let mut wrong = vec![];
    for job in &jobs {
        match measuring.run(job, &|| false).unwrap() {
            Measured::Row(row) => results.add(Part::Correctness, row),
            Measured::Wrong(why) => {
                results.wrong(Part::Correctness, &job.identity, &why);
                wrong.push(why);
            }
            Measured::Stopped => panic!("{} stopped", job.label),
        }
    }
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].starts_with("wrong, f32 [[3]]: value:"), "{wrong:?}");
    assert!(wrong[1].starts_with("lost, f32: "), "{wrong:?}");
    assert!(wrong[2].starts_with("panics, f32: matmul: shapes [2, 3] and [2, 3] do not fit"), "{wrong:?}");
    assert!(matches!(measuring.run(&jobs[0], &|| true).unwrap(), Measured::Stopped));

    results.end(Part::Correctness, 1);
    results.save().unwrap();
    let kept = read(&file).unwrap();
    let rows = show::rows(&kept, "correctness");
    let failed: Vec<_> =
        rows.iter().filter(|row| row["passes"] == false).map(|row| show::text(&row["name"])).collect();
    assert_eq!((rows.len(), failed), (7, vec!["wrong", "lost", "panics"]));
    assert_eq!(kept["measured"]["correctness"]["wrong"].as_array().map(Vec::len), Some(3));
    let lines = show::summary(&kept, Part::Correctness);
    assert_eq!(lines[0], "cases of ops: 4 of 7 pass; 0 of these in f16");
    assert_eq!(lines[1], format!("FAIL {}", wrong[0]));
    assert_eq!(show::row(Part::Correctness, &rows[0]), None);
    assert!(show::csv(&kept).contains(",correctness,,,wrong,,f32,,,,,,,,,,false\n"), "{}", show::csv(&kept));
    let both = show::compare([&file, &file], [&kept, &kept]);
    assert!(both.contains("A fails wrong f32; lost f32; panics f32\n"), "{both}");
}

#[test]
fn the_device_and_its_clock_are_told() {
    let device = |no_timestamps: Value, subgroup: u32, matrix: u32| {
        json!({"id": "10de:2330", "subgroup": subgroup, "matrix_subgroup": matrix, "stated_subgroups": [32, 32],
               "clock": if no_timestamps.is_null() { "timestamps" } else { "host" }, "no_timestamps": no_timestamps})
    };
    let [subgroups, clock] = show::device(&device(Value::Null, 32, 16)).try_into().unwrap();
    assert_eq!(
        subgroups,
        "device 10de:2330; subgroups of 32 (32 to 32 stated), 16 in kernels for matrix units"
    );
    assert!(clock.starts_with("kernels are timed by the device's timestamps"));
    let [subgroups, clock] = show::device(&device("they are zero".into(), 0, 0)).try_into().unwrap();
    assert_eq!(
        (subgroups.as_str(), clock.as_str()),
        ("device 10de:2330; no subgroups", "timed by the host's clock: they are zero")
    );

    // Of a device with timestamps, the cases that have none are named, and the tables say which clock.
    let mut results = Results::new("Card", "Vulkan", vec![]);
    let mut now = stamp("2026-01-01", "driver");
    now["device"] = device(Value::Null, 32, 16);
    results.begin(Part::Ops, now);
    for (name, clock) in [("add", "timestamps"), ("concat", "host")] {
        let mut row = op(name, 1.0);
        row["clock"] = clock.into();
        results.add(Part::Ops, row);
    }
    let lines = show::summary(&results.value, Part::Ops);
    assert_eq!(lines, ["by the host's clock, as copies between buffers have no timestamps: concat"]);
    assert_eq!(show::caption(&results.value, Part::Ops), "driver driver, 2026-01-01, by timestamps");
}

/// A limit ends a report between two cases: what was measured is there, and the rows of before stay.
#[test]
fn a_limit_ends_a_report_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().display();
    let line = format!("--parts ops,train_step --limit 3 --out {out}");
    assert_eq!(report::run(&args(&line).unwrap()).unwrap(), Vec::<String>::new());
    let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let value = read(&path).unwrap();
    let (there, all) =
        (show::rows(&value, "ops").len(), Report::begin(None, Timing::SHORT).unwrap().jobs(Part::Ops).len());
    assert!((1..all).contains(&there), "{there} of {all}");
    assert!(value["measured"]["ops"]["seconds"].is_null(), "a part that was not ended has no length");
    assert!(value["train_step"].is_null() && value["measured"]["train_step"].is_null());
    for row in show::rows(&value, "ops") {
        assert!(["timestamps", "host"].contains(&show::text(&row["clock"])), "{row}");
    }
    let device = &value["measured"]["ops"]["device"];
    assert!(show::text(&device["id"]).contains(':') && device["subgroup"].is_u64(), "{device}");
}

/// The suite alone, as asked for by name.
#[test]
fn correctness_of_some_ops() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("look.json");
    let line =
        format!("--parts correctness --filter argmax --filter contrastive/1 --save {}", json.display());
    assert_eq!(report::run(&args(&line).unwrap()).unwrap(), Vec::<String>::new());
    let value = read(&json).unwrap();
    let rows = show::rows(&value, "correctness");
    let of = |precision: &str| rows.iter().filter(|row| row["precision"] == precision).count();
    assert_eq!(of("f32"), 2);
    assert!(rows.iter().all(|row| row["passes"] == true), "{rows:?}");
    assert_eq!(show::rows(&value, "ops").len(), 0);
}
