//! Whole runs on synthetic images: what they leave behind, how they end, that a resumed one is the same.

mod common;
#[path = "../examples/simclr.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod simclr;

use std::collections::BTreeMap;
use std::path::Path;

use common::gpu;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Precision, ResNet, read_safetensors};
use wgrad::ssl::nt_xent;
use wgrad::train::{
    Checkpoint, Collapse, Config, Flags, Learner, Meta, Model, Part, RECIPES, Row, Setup, Summary, plot,
};
use wgrad::{Error, Result};

/// Its recipe; tests lay flags over it.
const RECIPE: &str = r#"
method = "small"
encoder = "tiny"
steps = 10
batch = 8
lr = 0.003
warmup = 0.1
tau = 0.2
optimizer = { adamw = { weight_decay = 0.01 } }
[augment]
crop = [0.2, 1.0]
flip = 0.5
jitter_p = 0.8
jitter = [0.4, 0.4, 0.4, 0.1]
grayscale = 0.2
blur = 0.0
solarize = 0.0
"#;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

/// What a test does to a run.
struct Trouble {
    /// Ctrl-C after this step.
    stop_after: Option<u64>,
    /// The loss of this step is NaN.
    nan_at: Option<u64>,
    /// Gets live and pooled bytes of every step.
    memory: Vec<u64>,
    /// Steps seen that are an alarm.
    alarm_at: u32,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { stop_after: None, nan_at: None, memory: vec![], alarm_at: u32::MAX }
    }
}

/// A small method of its own: AdamW, whose bias correction also depends on the step, and a tensor kept beside.
fn run(flags: &Flags, trouble: &mut Trouble) -> Result<Summary> {
    let (setup, _) = Setup::open_with::<NoOptions>("small", Some(RECIPE), flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), &[16, 8]));
    let mut learner = Learner::new(&setup, build)?;
    let seen = gpu.zeros([1])?;
    let state = learner.state().tensor("seen", &seen);
    let model = Model::new(learner.params(), &*encoder, &projector, Collapse { loss: -1.0, knobs: "" })
        .candidates(2 * config.batch - 1)
        .part(Part { name: "seen", healthy: (0.0, f64::from(trouble.alarm_at)), outside: "enough" });
    let mut run = setup.begin(model, state)?;
    let interrupt = run.interrupt();
    while let Some(batch) = run.next_batch()? {
        let (views, params) = (run.views(&batch, 0..2)?, learner.params());
        let z = projector.forward(params, &encoder.forward(params, &views, Mode::Train), Mode::Train);
        let n = batch.len();
        let loss = nt_xent(&z.slice_rows(0, n), &z.slice_rows(n, n), config.temperature());
        let mut step = learner.step(&loss);
        assert_eq!(step.number, batch.step);
        seen.write_rows(0, &seen.add_scalar(1.0));
        let done = batch.step + 1;
        if trouble.nan_at == Some(done) {
            step.loss = gpu.full([], f32::NAN)?;
        }
        trouble.memory.push(gpu.memory().live + gpu.memory().pooled);
        run.end_step(&step, &z, &[&seen])?;
        if trouble.stop_after == Some(done) {
            interrupt.request();
        }
    }
    run.finish()
}

fn flags(out: &Path, steps: u64) -> Flags {
    Flags {
        data: Some("synthetic".into()),
        train_limit: Some(64),
        encoder: Some("tiny".into()),
        batch: Some(8),
        steps: Some(steps),
        lr: Some(0.003),
        seed: Some(5),
        eval_every: Some(0),
        out: Some(out.to_owned()),
        ..Flags::default()
    }
}

/// Every tensor of a checkpoint by name, as bits.
type Tensors = BTreeMap<String, Vec<u32>>;
/// Step, loss and learning rate of every row of `metrics.csv`, the floats as bits.
type Losses = Vec<(u64, u32, u32)>;

fn trace(dir: &Path) -> (Tensors, Losses) {
    let (tensors, _) = read_safetensors(dir.join("checkpoint.safetensors")).unwrap();
    let bits = |data: Vec<f32>| data.into_iter().map(f32::to_bits).collect();
    let csv = std::fs::read_to_string(dir.join("metrics.csv")).unwrap();
    let rows = csv.lines().filter_map(Row::from_csv).map(|r| (r.step, r.loss.to_bits(), r.lr.to_bits()));
    (tensors.into_iter().map(|t| (t.name, bits(t.data))).collect(), rows.collect())
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    resumed_equals_uninterrupted(Precision::F32);
}

/// Where the adapter has no f16 this is the test above, with a notice.
#[test]
fn a_resumed_run_in_f16_equals_an_uninterrupted_one() {
    resumed_equals_uninterrupted(Precision::F16);
}

/// The choices that a run began with stay in force when it is resumed, whatever the file on disk has come to say.
#[test]
fn a_resumed_run_keeps_its_tuned_kernels() {
    const NAME: &str = "a_resumed_run_keeps_its_tuned_kernels";
    // A directory of its own for the measured choices goes by the environment, so by a process of its own.
    let Some(cache) =
        std::env::var_os("WGRAD_CACHE_DIR").filter(|_| std::env::var_os("WGRAD_IN_TEST").is_some())
    else {
        let cache = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([NAME, "--exact"]).env("WGRAD_CACHE_DIR", cache.path()).env("WGRAD_IN_TEST", "1");
        let output = child.env_remove("WGRAD_KERNEL").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let tuned = |out: &Path| Flags { tune: true, ..flags(out, 7) };
    run(&tuned(&whole), &mut Trouble::default()).unwrap();
    let chosen = Checkpoint::read(&whole).unwrap().meta.tuned;
    assert!(chosen.keys().any(|key| key.starts_with("matmul Tn")), "{chosen:?}");
    assert!(chosen.keys().any(|key| key.starts_with("conv WeightGradient")), "{chosen:?}");

    run(&tuned(&parts), &mut Trouble { stop_after: Some(4), ..Trouble::default() }).unwrap();
    let files = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.to_str().unwrap().contains("/kernels-")).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let begun = Checkpoint::read(&parts).unwrap().meta.tuned;
    let other = |line: &str| match line.split_once('\t') {
        Some((key, _)) if key.starts_with("conv") => format!("{key}\t2_register\n"),
        Some((key, _)) => format!("{key}\t9_register\n"),
        None => format!("{line}\n"),
    };
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.lines().map(other).collect::<String>()).unwrap();
    let resume = Flags { resume: Some(parts.clone()), ..Flags::default() };
    run(&resume, &mut Trouble::default()).unwrap();
    assert_eq!(trace(&whole), trace(&parts));
    let Meta { tuned, config, .. } = Checkpoint::read(&parts).unwrap().meta;
    for (key, file) in &begun {
        assert_eq!((tuned.get(key), chosen.get(key)), (Some(file), Some(file)), "{key}");
    }

    // What was not tuned from the start cannot be later.
    assert!(config.tune);
    let late = Config { tune: false, ..config }.resumed("small", &Flags { tune: true, ..Flags::default() });
    assert!(late.unwrap_err().to_string().contains("--tune"));
}

fn resumed_equals_uninterrupted(precision: Precision) {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let flags = |out: &Path, steps| Flags { precision: Some(precision.name().into()), ..flags(out, steps) };
    let summary = run(&flags(&whole, 19), &mut Trouble::default()).unwrap();
    assert_eq!(summary.steps, 19);
    let used = if precision.runs_on(gpu()) { precision } else { Precision::F32 };
    assert_eq!(summary.precision, used.name());
    assert!(summary.knn_top1.is_some() && summary.linear_top1.is_some());

    // Stopped within the second epoch, and again within the third; the losses of a part ring are under way each time.
    let stop = |step| Trouble { stop_after: Some(step), ..Trouble::default() };
    let first = run(&flags(&parts, 19), &mut stop(11)).unwrap();
    assert_eq!((first.steps, first.knn_top1, first.knn_top1_moved), (11, None, None));
    assert_eq!(Checkpoint::read(&parts).unwrap().meta.step, 11);
    let resume = Flags { resume: Some(parts.clone()), ..Flags::default() };
    assert_eq!(run(&resume, &mut stop(18)).unwrap().steps, 18);
    let last = run(&resume, &mut Trouble::default()).unwrap();
    assert_eq!(last.steps, 19);

    let (a, b) = (trace(&whole), trace(&parts));
    assert_eq!(a.1.len(), 19);
    assert_eq!(a.1, b.1, "losses and learning rates");
    assert_eq!(a.0.keys().collect::<Vec<_>>(), b.0.keys().collect::<Vec<_>>());
    for (name, bits) in &a.0 {
        assert_eq!(Some(bits), b.0.get(name), "{name}");
    }
    assert_eq!(a.0["seen"], [19.0_f32.to_bits()]);
    assert_eq!(a.0.contains_key("loss_scaler"), used == Precision::F16);
    let csv = std::fs::read_to_string(whole.join("metrics.csv")).unwrap();
    let scaled = |row: &Row| row.loss_scale.is_some_and(|scale| scale >= 1.0);
    assert_eq!(csv.lines().filter_map(Row::from_csv).all(|row| scaled(&row)), used == Precision::F16);
    let accuracies = |s: &Summary| [s.knn_top1, s.linear_top1, s.knn_top1_moved, s.linear_top1_moved];
    assert_eq!(accuracies(&summary), accuracies(&last));
}

#[test]
fn a_run_leaves_what_the_documentation_says() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let flags = Flags { eval_every: Some(2), ..flags(&out, 5) };
    let summary = simclr::simclr(&flags).unwrap();

    let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let json: serde_json::Value = serde_json::from_str(&text("summary.json")).unwrap();
    let keys = [
        "method adapter precision steps images_per_s seconds loss knn_top1 linear_top1 knn_top1_random_init",
        "knn_top1_raw_pixels knn_top1_normalized_pixels linear_top1_random_init linear_top1_raw_pixels test_images",
        "knn_top1_moved linear_top1_moved knn_top1_random_init_moved linear_top1_random_init_moved",
        "knn_top1_raw_pixels_moved linear_top1_raw_pixels_moved knn_top1_normalized_pixels_moved",
        "embedding_std rankme protocol",
    ];
    for key in keys.iter().flat_map(|line| line.split(' ')) {
        assert!(!json[key].is_null(), "summary.json has no {key}");
    }
    assert_eq!((json["method"].as_str(), json["steps"].as_u64()), (Some("simclr"), Some(5)));
    assert!(
        summary
            .protocol
            .starts_with("kNN k=64 tau=0.1 cosine on the encoder output, un-augmented train bank")
    );

    let csv = text("metrics.csv");
    let rows: Vec<Row> = csv.lines().filter_map(Row::from_csv).collect();
    assert_eq!(rows.iter().map(|r| r.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(
        rows.iter().map(|r| r.quality.is_some()).collect::<Vec<_>>(),
        [false, true, false, true, true]
    );
    assert!((rows[0].loss - 15_f32.ln()).abs() < 1.0, "NT-Xent starts near ln(2N - 1): {}", rows[0].loss);
    assert!(rows.iter().all(|r| (r.mi_bound.unwrap() - f64::from(15_f32.ln() - r.loss)).abs() < 1e-5));

    let svg = text("curves.svg");
    assert!(svg.contains("<svg") && svg.contains("kNN top-1") && text("embedding.svg").contains("<circle"));
    let config: Config = toml::from_str(&text("config.toml")).unwrap();
    assert_eq!((config.steps, config.batch, config.seed, config.train_images), (5, 8, 5, 64));
    assert!(text("config.toml").starts_with(&format!("# {}", config.command())));
    assert!(!out.join("checkpoint.safetensors.tmp").exists());

    // The encoder alone loads under torchvision's names.
    let build = ParamBuilder::new(wgrad::Rng::new(1));
    let _encoder =
        ResNet::new(&build, &wgrad::nn::ResNetConfig { channels: 3, ..wgrad::nn::ResNetConfig::demo() });
    let params = build.finish(gpu()).unwrap();
    let unused =
        params.load_as(out.join("checkpoint.safetensors"), |name| Some(format!("encoder.{name}"))).unwrap();
    assert!(
        unused.iter().all(|name| name.starts_with("projector.") || name.starts_with("optimizer.")),
        "{unused:?}"
    );
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_with_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let flags = Flags { save_every: Some(4), ..flags(dir.path(), 40) };
    let error = run(&flags, &mut Trouble { nan_at: Some(7), ..Trouble::default() }).unwrap_err();
    let Error::NotFinite { step: 7, value, checkpoint } = error else { panic!("{error}") };
    assert!(value.is_nan() && checkpoint.ends_with("checkpoint.safetensors (step 4)"), "{checkpoint}");
    assert_eq!(Checkpoint::read(dir.path()).unwrap().meta.step, 4, "the checkpoint is the last good one");
}

#[test]
fn an_alarm_is_one_line_and_ends_the_run_if_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let alarm = "alarm at step 60: seen 60.0000: enough";
    let run_with = |name: &str, stop_on_collapse| {
        let flags = Flags { stop_on_collapse, save_every: Some(30), ..flags(&dir.path().join(name), 64) };
        run(&flags, &mut Trouble { alarm_at: 60, ..Trouble::default() })
    };
    let summary = run_with("on", false).unwrap();
    assert_eq!((summary.steps, &summary.alarms[..]), (64, &[alarm.to_owned()][..]));
    let error = run_with("off", true).unwrap_err();
    let Error::Collapsed { checkpoint, .. } = &error else { panic!("{error}") };
    assert!(checkpoint.ends_with("(step 60)") || checkpoint.ends_with("(step 30)"), "{checkpoint}");
    assert!(error.to_string().starts_with(alarm) && !error.to_string().contains('\n'), "{error}");
}

/// The `config.toml` of a run is a recipe: what it makes is the same run.
#[test]
fn a_run_repeats_from_its_own_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let set =
        vec!["augment.flip=0.25".to_owned(), "optimizer={sgd={momentum=0.5, weight_decay=0}}".to_owned()];
    run(&Flags { set, tau: Some(0.7), ..flags(&one, 4) }, &mut Trouble::default()).unwrap();
    let recipe = one.to_str().map(str::to_owned);
    run(&Flags { recipe, out: Some(two.clone()), ..Flags::default() }, &mut Trouble::default()).unwrap();
    let config = |dir: &Path| std::fs::read_to_string(dir.join("config.toml")).unwrap();
    assert_eq!(config(&one), config(&two));
    assert!(config(&one).contains("flip = 0.25") && config(&one).contains("[optimizer.sgd]"));
    assert_eq!(trace(&one), trace(&two));
}

/// Every recipe in the crate is of the form that runs read, says all of it, and names its file.
#[test]
fn every_recipe_is_whole() {
    for (name, text) in RECIPES {
        let mut table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        let method = table["method"].as_str().unwrap().to_owned();
        assert!(name.starts_with(&format!("{method}-")), "{name} is of {method}");
        if let Some(gpu) = table.remove("gpu") {
            let keys: Vec<_> = gpu.as_table().unwrap().keys().cloned().collect();
            assert!(keys.iter().all(|key| key == "epochs" || table.contains_key(key)), "{name}: {keys:?}");
        }
        let config = Config::resolve(table, "none", 50_000).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(config.evaluates_at(config.eval_every) && config.steps > 0, "{name}");
    }
}

/// To the byte, so that what is lost once a step, an epoch (32 steps) or a checkpoint shows.
#[test]
fn memory_is_flat_over_two_thousand_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut trouble = Trouble::default();
    let flags = Flags { batch: Some(2), save_every: Some(250), ..flags(dir.path(), 2000) };
    run(&flags, &mut trouble).unwrap();
    let after_50 = trouble.memory[50];
    let largest = trouble.memory[50..].iter().max().unwrap();
    assert_eq!((trouble.memory.len(), *largest), (2000, after_50), "live and pooled bytes grow");
}

#[test]
fn what_cannot_be_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let line = |flags: Flags| {
        let message = run(&flags, &mut Trouble::default()).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let with = |change: fn(&mut Flags)| {
        let mut flags = flags(&out, 2);
        change(&mut flags);
        line(flags)
    };
    for (change, expected) in [
        (with(|f| f.precision = Some("f8".into())), "--precision f8: must be f32 or f16"),
        (with(|f| f.batch = Some(1)), "--batch 1: a contrast needs at least 2 images"),
        (with(|f| f.batch = Some(65)), "--batch 65: there are only 64 training images"),
        (with(|f| f.lr = Some(f64::NAN)), "--lr NaN: must be a positive number"),
        (with(|f| f.tau = Some(0.0)), "--tau 0: must be a positive number"),
        (with(|f| f.recipe = Some("small-mnist".into())), "--recipe small-mnist: no file"),
        (
            with(|f| f.recipe = Some("simclr-embedded".into())),
            "--recipe simclr-embedded: is of simclr, not small",
        ),
        (with(|f| f.set = vec!["lr".into()]), "--set lr: must be KEY=VALUE"),
        (with(|f| f.set = vec!["speed=3".into()]), "recipe: unknown field `speed`"),
        (with(|f| f.set = vec!["options.queue=3".into()]), "options: unknown field `queue`"),
        (with(|f| f.set = vec!["optimizer.sgd.lr=3".into()]), "recipe: "),
        (with(|f| f.set = vec!["augment.crop=[0.0, 1.0]".into()]), "recipe: [augment] has a"),
        (with(|f| f.set = vec!["lr.x=3".into()]), "--set lr.x: lr is no table"),
        (with(|f| f.steps = Some(0)), "--steps 0: a run needs at least one step"),
        (with(|f| f.encoder = Some("vit".into())), "--encoder vit: must be one of tiny, resnet8"),
        (with(|f| f.data = Some("mnist".into())), "data source \"mnist\" is none of embedded"),
    ] {
        assert!(change.starts_with(expected), "{change}");
    }
    assert!(!out.exists(), "a refused run leaves nothing behind");

    run(&flags(&out, 2), &mut Trouble::default()).unwrap();
    assert!(with(|_| ()).contains("holds a run; --resume"));
    let resume = |change: fn(&mut Flags)| {
        let mut flags = Flags { resume: Some(out.clone()), ..Flags::default() };
        change(&mut flags);
        line(flags)
    };
    assert_eq!(resume(|f| f.lr = Some(0.5)), "--lr 0.5: the run to resume has 0.003; leave the flag out");
    let set = resume(|f| f.set = vec!["augment.flip=1.0".into()]);
    assert_eq!(set, "--set augment.flip 1.0: the run to resume has 0.5; leave the flag out");
    assert!(
        resume(|f| f.recipe = Some("simclr-cifar10".into())).starts_with("--recipe simclr-cifar10: the run")
    );
    assert_eq!(resume(|f| f.steps = Some(9)), "--steps 9: the run to resume has 2; leave the flag out");
    let simclr = simclr::simclr(&Flags { resume: Some(out.clone()), ..Flags::default() }).unwrap_err();
    assert_eq!(simclr.to_string(), "the run to resume is of small, not simclr");
    std::fs::write(out.join("checkpoint.safetensors"), b"half a file").unwrap();
    assert!(resume(|_| ()).contains("checkpoint.safetensors: "));
}

#[test]
fn pictures_survive_what_runs_throw_at_them() {
    let dir = tempfile::tempdir().unwrap();
    let panel = |points: &[(f64, f64)]| plot::Panel {
        series: vec![plot::Series {
            label: "a <b> & c".into(),
            points: points.to_vec(),
            stroke: plot::Stroke::Solid,
        }],
        ..plot::Panel::default()
    };
    let path = dir.path().join("p.svg");
    plot::figure(&path, 2, &[panel(&[]), panel(&[(1.0, 1.0)]), panel(&[(0.0, f64::NAN), (1.0, 2.0)])])
        .unwrap();
    let groups: Vec<_> = (0..23)
        .map(|i| plot::Series {
            label: format!("<{i}>"),
            points: vec![(i.into(), 0.0)],
            stroke: plot::Stroke::Solid,
        })
        .collect();
    plot::scatter(&path, "a <title> & more", &groups).unwrap();
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.contains("&lt;title&gt; &amp; more"));
}
