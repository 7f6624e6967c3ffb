//! What a run has learned, used: a classifier on its encoder, embeddings as files, nearest neighbours as a picture.

mod common;
#[path = "../examples/embed.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod embed;
#[path = "../examples/finetune.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod finetune;
#[path = "../examples/simclr.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod simclr;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Parser;
use common::{assert_close, data, gpu};
use safetensors::SafeTensors;
use wgrad::data::{DataSource, LabelBudget, Listing, Synthetic};
use wgrad::eval::{accuracy, class_means, neighbours};
use wgrad::nn::{Mlp, MlpConfig, ParamBuilder, read_safetensors};
use wgrad::train::{Checkpoint, ContactRow, Row, State, contact_sheet};
use wgrad::{Error, Rng};

/// A short run of SimCLR on synthetic images.
fn simclr_run(encoder: &str, steps: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let flags = wgrad::train::Flags {
        data: Some("synthetic".into()),
        train_limit: Some(400),
        encoder: Some(encoder.into()),
        batch: Some(32),
        steps: Some(steps),
        lr: Some(0.2),
        eval_every: Some(0),
        out: Some(dir.path().to_owned()),
        ..wgrad::train::Flags::default()
    };
    simclr::simclr(&flags).unwrap();
    dir
}

/// That of the smallest ResNet, made once.
fn trained() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    RUN.get_or_init(|| simclr_run("tiny", 40)).path()
}

/// The flags of a command line.
fn flags<P: Parser>(from: &Path, rest: &str) -> P {
    let from = ["program", "--from", from.to_str().unwrap()];
    P::try_parse_from(from.into_iter().chain(rest.split_whitespace())).unwrap()
}

fn finetuned(from: &Path, out: &Path, rest: &str) -> finetune::Summary {
    let flags = flags(from, rest);
    finetune::finetune(&finetune::Flags { out: Some(out.to_owned()), ..flags }).unwrap()
}

/// The encoder's tensors in a checkpoint, as bits.
fn encoder(dir: &Path) -> Vec<(String, Vec<u32>)> {
    let (tensors, _) = read_safetensors(dir.join("checkpoint.safetensors")).unwrap();
    let encoder = tensors.into_iter().filter(|t| t.name.starts_with("encoder."));
    encoder.map(|t| (t.name, t.data.into_iter().map(f32::to_bits).collect())).collect()
}

#[test]
fn a_linear_classifier_beats_chance_and_leaves_the_encoder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("linear");
    let summary = finetuned(trained(), &out, "--steps 80 --eval-every 30 --batch 64");
    assert_eq!((summary.labelled_images, summary.test_top1_from_scratch), (400, None));
    assert!(summary.test_top1_before < 0.25 && summary.test_top1 > 0.3, "{summary:?}");
    assert_eq!(encoder(trained()), encoder(&out));

    let text = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text("summary.json")).unwrap();
    assert_eq!(json["test_top1"].as_f64(), Some(summary.test_top1));
    assert_eq!((json["mode"].as_str(), json["encoder_method"].as_str()), (Some("linear"), Some("simclr")));
    let rows: Vec<Row> = text("metrics.csv").lines().filter_map(Row::from_csv).collect();
    let measured: Vec<u64> = rows.iter().filter(|r| r.parts[0].is_some()).map(|r| r.step).collect();
    assert_eq!((rows.len(), measured), (80, vec![30, 60, 80]));
    assert_eq!(rows[79].parts[0], Some(summary.test_top1 as f32));
    assert!(text("curves.svg").contains("top-1 on the test images"));

    // It can be used as the run itself can.
    let checkpoint = Checkpoint::read(&out).unwrap();
    assert!(checkpoint.tensor("classifier.fc.weight").is_some_and(|weight| weight.shape == [10, 32]));
    assert_eq!((checkpoint.meta.step, checkpoint.meta.config.method.as_str()), (80, "finetune"));
    let again = finetuned(&out, &dir.path().join("again"), "--steps 0");
    assert_eq!(again.test_top1, again.test_top1_before);
}

#[test]
fn full_training_moves_the_encoder_and_is_compared_with_none() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let rest = "--mode full --labels-per-class 4 --steps 12 --from-scratch --seed 3";
        finetuned(trained(), &dir.path().join(name), rest)
    };
    let summary = run("a");
    assert_eq!(summary.labelled_images, 40);
    assert!(summary.test_top1_from_scratch.is_some());
    assert_ne!(encoder(trained()), encoder(&dir.path().join("a")));
    let svg = std::fs::read_to_string(dir.path().join("a/curves.svg")).unwrap();
    assert!(svg.contains("from scratch") && dir.path().join("a/metrics_scratch.csv").exists());
    // Bit for bit the same a second time.
    let again = run("b");
    assert_eq!(summary.test_top1, again.test_top1);
    assert_eq!(encoder(&dir.path().join("a")), encoder(&dir.path().join("b")));
}

#[test]
fn prototypes_are_good_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let rest = "--init prototypes --steps 0";
    let images = finetuned(trained(), &dir.path().join("images"), rest);
    assert!(images.test_top1_before > 0.25 && images.test_top1 == images.test_top1_before, "{images:?}");
    assert!(images.protocol.contains("class means of the labelled images"), "{}", images.protocol);

    // The same run with a memory bank that holds the embeddings of its images.
    let from = Checkpoint::read(trained()).unwrap();
    let build = ParamBuilder::new(Rng::new(9));
    let embedder = from.embedder(&build, true).unwrap().unit(true);
    let params = build.finish(gpu()).unwrap();
    from.load("", &params).unwrap();
    let mut train = Synthetic::default().build().train;
    train.truncate(400);
    let bank = embedder.rows(&params, &train).unwrap();
    let with_bank = dir.path().join("bank");
    std::fs::create_dir(&with_bank).unwrap();
    let state = State::new(1).network("", &params).tensor("bank", &bank);
    state.save(&with_bank.join("checkpoint.safetensors"), &from.meta).unwrap();
    let rows = finetuned(&with_bank, &dir.path().join("rows"), rest);
    assert!(rows.protocol.contains("class means of the memory bank"), "{}", rows.protocol);
    assert_eq!(rows.test_top1_before, images.test_top1_before);

    // Four labels a class choose four rows of the bank a class.
    let few = format!("{rest} --labels-per-class 4");
    let [few_rows, few_images] = [(&with_bank, "few rows"), (&trained().to_owned(), "few images")]
        .map(|(from, out)| finetuned(from, &dir.path().join(out), &few).test_top1);
    assert_eq!(few_rows, few_images);
}

#[test]
fn few_labels_are_balanced_nested_and_the_same_again() {
    let train = Synthetic { train: 230, classes: 7, size: 4, ..Synthetic::default() }.build().train;
    let chosen = |budget, seed| train.choose_labels(budget, seed);
    let three = chosen(LabelBudget::PerClass(3), 5);
    let mut counts = [0; 7];
    three.iter().for_each(|&i| counts[train.labels[i as usize] as usize] += 1);
    assert_eq!(counts, [3; 7]);
    assert!(three.is_sorted() && three == chosen(LabelBudget::PerClass(3), 5));
    assert_ne!(three, chosen(LabelBudget::PerClass(3), 6));
    let ten: HashSet<u32> = chosen(LabelBudget::PerClass(10), 5).into_iter().collect();
    assert!(three.iter().all(|i| ten.contains(i)), "a smaller choice lies within a larger one");
    assert_eq!(chosen(LabelBudget::All, 5), (0..230).collect::<Vec<_>>());
    // 33 images of six classes, 32 of one; a tenth rounds to 3 each.
    assert_eq!(chosen(LabelBudget::Share(0.1), 5).len(), 21);
    assert_eq!(chosen(LabelBudget::Share(0.001), 5).len(), 7);
    assert_eq!(chosen(LabelBudget::PerClass(1000), 5).len(), 230);

    let part = train.select(&three);
    assert_eq!((part.len(), part.image(4)), (21, train.image(three[4] as usize)));
    assert_eq!((part.labels[4], part.mean), (train.labels[three[4] as usize], train.mean));
}

/// The matrix of an NPY file of version 1.0.
fn read_npy(path: &Path) -> ([usize; 2], Vec<u32>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(start.is_multiple_of(64) && bytes[start - 1] == b'\n');
    let header = std::str::from_utf8(&bytes[10..start]).unwrap().trim_end();
    let shape = header.strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (").unwrap();
    let shape: Vec<usize> =
        shape.strip_suffix("), }").unwrap().split(", ").map(|n| n.parse().unwrap()).collect();
    let bits = bytes[start..].chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    ([shape[0], shape[1]], bits)
}

fn embedded(from: &Path, rest: &str) -> wgrad::Result<()> {
    embed::embed(&flags(from, rest))
}

/// Eight 8 x 8 images right in a folder, without classes, one of them named for trouble.
fn photos(dir: &Path) -> PathBuf {
    let photos = dir.join("photos");
    std::fs::create_dir(&photos).unwrap();
    for i in 0..8_u8 {
        let name = if i == 3 { "a, \"b\".png".to_owned() } else { format!("{i}.png") };
        let image =
            image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([30 * i, (16 * x) as u8, (16 * y) as u8]));
        image.save(photos.join(name)).unwrap();
    }
    std::fs::write(photos.join("notes.txt"), "no image").unwrap();
    photos
}

#[test]
fn three_formats_hold_the_same_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path());
    let source = format!("folder:{}@16", photos.display());
    for (data, rows, first, class) in [("synthetic", 2400, "train/0", "0"), (&source, 8, "0.png", "")] {
        let file = |end: &str| dir.path().join(format!("e.{end}"));
        for end in ["npy", "csv", "safetensors"] {
            embedded(trained(), &format!("--data {data} --normalize --out {}", file(end).display())).unwrap();
        }
        let (shape, bits) = read_npy(&file("npy"));
        assert_eq!((shape, bits.len()), ([rows, 32], rows * 32));
        let norm = bits[..32].iter().map(|&b| f32::from_bits(b).powi(2)).sum::<f32>();
        assert!((norm - 1.0).abs() < 1e-5, "--normalize: {norm}");

        let bytes = std::fs::read(file("safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let found = tensors.tensor("embeddings").unwrap();
        let words = found.data().chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()));
        assert_eq!((found.shape(), words.collect::<Vec<_>>()), (&[rows, 32][..], bits.clone()));
        let labels = tensors.tensor("labels").map(|labels| (labels.shape().to_vec(), labels.data()[8]));
        assert_eq!(labels.ok(), (!class.is_empty()).then_some((vec![rows], 1)));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let images = &header.metadata().as_ref().unwrap()["images"];
        let images: serde_json::Value = serde_json::from_str(images).unwrap();
        assert_eq!(images["names"].as_array().unwrap().len(), rows);
        assert_eq!(
            (images["names"][0].as_str(), images["classes"].is_null()),
            (Some(first), class.is_empty())
        );

        let csv = std::fs::read_to_string(file("csv")).unwrap();
        let mut lines = csv.lines();
        assert!(lines.next().unwrap().starts_with("name,label,e0,e1,") && lines.clone().count() == rows);
        assert!(csv.contains(&format!("\n{first},{class},")));
        let numbers = lines.flat_map(|line| line.rsplit(',').take(32).collect::<Vec<_>>().into_iter().rev());
        assert_eq!(numbers.map(|n| n.parse::<f32>().unwrap().to_bits()).collect::<Vec<_>>(), bits);

        let text = std::fs::read_to_string(file("txt")).unwrap();
        let tab = if class.is_empty() { "" } else { "\t" };
        assert_eq!(text.lines().next().unwrap(), format!("{first}{tab}{class}"));
        assert_eq!(text.lines().count(), rows);
    }
    assert!(std::fs::read_to_string(dir.path().join("e.csv")).unwrap().contains("\n\"a, \"\"b\"\".png\",,"));
    // The projector's output is another.
    let head = dir.path().join("head.npy");
    embedded(trained(), &format!("--data {source} --head --out {}", head.display())).unwrap();
    assert_eq!(read_npy(&head).0, [8, 128]);
}

#[test]
fn a_listing_names_every_image() {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path());
    let list = |path: &Path| DataSource::Folder { dir: path.to_owned(), size: 4 }.list().unwrap();
    let Listing { images, names } = list(&photos);
    assert_eq!((images.len(), images.classes(), images.dims()), (8, 0, [4, 4, 3]));
    assert_eq!(names[..4], ["0.png", "1.png", "2.png", "4.png"]);
    assert_eq!(images.measure(), (images.mean, images.std));
    // With subfolders alone they are classes.
    std::fs::create_dir(dir.path().join("more")).unwrap();
    std::fs::copy(photos.join("1.png"), dir.path().join("more/x.png")).unwrap();
    let Listing { images, names } = list(dir.path());
    assert_eq!((images.len(), images.class_names.clone()), (9, vec!["more".to_owned(), "photos".into()]));
    let at = names.iter().position(|name| name == "photos/1.png").unwrap();
    assert_eq!((images.labels[at], images.image(at)), (1, images.image(0)));
    assert_eq!(names[0], "more/x.png");
}

#[test]
fn neighbours_are_the_nearest_others() {
    let (n, d, k) = (67, 5, 6);
    let mut rows = data(3, n * d);
    rows.copy_within(..d, 7 * d); // row 7 equals row 0
    let tensor = gpu().tensor(&rows, [n, d]).unwrap();
    let queries = [7, 0, 31, 66];
    let cosine = |a: usize, b: usize| {
        let (a, b) = (&rows[a * d..][..d], &rows[b * d..][..d]);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for (query, near) in queries.iter().zip(neighbours(&tensor, &queries, k).unwrap()) {
        let query = *query as usize;
        let mut others: Vec<usize> = (0..n).filter(|&i| i != query).collect();
        others.sort_by(|&a, &b| cosine(query, b).total_cmp(&cosine(query, a)));
        let found: Vec<usize> = near.iter().map(|near| near.index as usize).collect();
        assert_eq!(found, others[..k], "of row {query}");
        assert!((f64::from(near[0].cosine) - cosine(query, found[0])).abs() < 1e-5);
    }
    assert_eq!(neighbours(&tensor, &[], k).unwrap(), Vec::<Vec<_>>::new());

    // Means of classes, one of them empty.
    let labels: Vec<u32> = (0..n as u32).map(|i| [0, 2, 3][i as usize % 3]).collect();
    let means = class_means(&tensor, &labels, 4).unwrap();
    let mut want = vec![0.0; 4 * d];
    for (i, &label) in labels.iter().enumerate() {
        (0..d).for_each(|j| want[label as usize * d + j] += f64::from(rows[i * d + j]));
    }
    for row in want.chunks_mut(d) {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x /= norm);
    }
    assert_close("class_means", &means.to_vec().unwrap(), &want, common::Tol::new(1e-5, 1e-5));
    let scores = gpu().tensor(&[0.0, 1.0, 1.0, 1.0, 2.0, -1.0], [3, 2]).unwrap();
    assert_eq!(accuracy(&scores, &[1, 1, 0]).unwrap(), 2.0 / 3.0);
}

#[test]
fn a_contact_sheet_shows_images_beside_their_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let sheet = dir.path().join("sheet.png");
    embedded(trained(), &format!("--neighbours {} --queries 3 --k 5", sheet.display())).unwrap();
    let drawn = image::open(&sheet).unwrap();
    // Pictures of 64 with borders of 4; gaps of 4, and 20 after the first.
    assert_eq!((drawn.width(), drawn.height()), (4 + 72 + 20 + 5 * 76, 4 + 3 * 76));

    // Solid border of the class, dashed where it differs; the pixels between.
    let data = Synthetic { train: 20, test: 1, size: 16, noise: 0, ..Synthetic::default() }.build().train;
    let rows = [ContactRow { query: 2, neighbours: vec![12, 5] }];
    assert_eq!(contact_sheet(&sheet, &data, &rows).unwrap(), [4 + 72 + 20 + 2 * 76, 80]);
    let drawn = image::open(&sheet).unwrap().into_rgb8();
    let border = |left: u32| (0..72).map(|x| drawn.get_pixel(left + x, 4).0).collect::<HashSet<_>>();
    assert_eq!([border(4).len(), border(96).len(), border(172).len()], [1, 1, 2]);
    assert_eq!((border(4), border(172).contains(&[255; 3])), (border(96), true));
    assert_eq!(drawn.get_pixel(4 + 4 + 4 * 3, 4 + 4).0, data.image(2)[3 * 3..][..3]);
}

#[test]
fn a_projector_is_known_by_its_tensors() {
    for config in [
        MlpConfig::plain(&[6, 5]),
        MlpConfig::plain(&[6, 5, 4, 3]),
        MlpConfig::simclr(6, &[5]),
        MlpConfig::simclr(6, &[5, 4, 3]),
        MlpConfig::simsiam(6, &[5, 4]),
        MlpConfig::vicreg(6, &[5, 4, 3]),
    ] {
        let segments = |config: &MlpConfig| {
            let build = ParamBuilder::new(Rng::new(0));
            let _mlp = Mlp::new(&build, config);
            let (params, buffers) = build.segments();
            let all = params.into_iter().chain(buffers);
            all.map(|s| (s.name, s.layout.file_shape(&s.shape))).collect::<Vec<_>>()
        };
        let tensors = segments(&config);
        let shape = |name: &str| tensors.iter().find(|t| t.0 == name).map(|t| &t.1[..]);
        let found = MlpConfig::of_tensors(shape).unwrap();
        assert_eq!(segments(&found), tensors, "{config:?}");
    }
    assert_eq!(MlpConfig::of_tensors(|_| None), None);
}

#[test]
fn what_cannot_be_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let line = |error: Error| {
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let embed = |rest: &str| line(embedded(trained(), rest).unwrap_err());
    assert_eq!(embed("--out e.txt"), "--out e.txt: must end in .safetensors, .csv or .npy");
    assert_eq!(embed("--neighbours e.svg"), "--neighbours e.svg: must end in .png");
    assert_eq!(embed("--neighbours e.png --k 2400"), "--k 2400: there are 2400 images");
    let message = embed("--data embedded --out e.npy");
    assert!(message.starts_with("the images of embedded have 1 channels, and the encoder of "), "{message}");
    assert!(embed("--data folder:nowhere --out e.npy").contains("nowhere"));

    let finetune = |rest: &str| {
        let out = dir.path().join("out");
        let flags = finetune::Flags { out: Some(out.clone()), ..flags(trained(), rest) };
        let message = line(finetune::finetune(&flags).unwrap_err());
        assert!(!out.exists(), "a refused run leaves nothing behind");
        message
    };
    assert_eq!(finetune("--labels 1.5"), "--labels 1.5: must be above 0 and at most 1");
    assert_eq!(finetune("--labels-per-class 0"), "--labels-per-class 0: a class needs at least one label");
    assert_eq!(finetune("--lr 0"), "--lr 0: must be a positive number");
    assert!(finetune("--batch 1").contains("needs at least 2 images"));
    assert!(finetune("--data embedded").contains("have 1 channels"));
    let nothing = dir.path().join("nothing");
    assert!(line(embedded(&nothing, "--out e.npy").unwrap_err()).contains("nothing"));
}

/// Fine-tuning and embedding read the encoder's name from the checkpoint; images that it does not take are refused.
#[test]
fn another_encoder_is_used_as_any() {
    let dir = tempfile::tempdir().unwrap();
    let run = simclr_run("mlp", 5);
    let out = dir.path().join("full");
    let summary = finetuned(run.path(), &out, "--mode full --labels-per-class 4 --steps 6 --from-scratch");
    assert!(summary.test_top1_from_scratch.is_some());
    assert_eq!(encoder(run.path()).len(), 7); // two layers, a norm and its statistics
    assert_ne!(encoder(run.path()), encoder(&out));
    let again = finetuned(&out, &dir.path().join("again"), "--steps 2");
    assert_eq!(again.labelled_images, 400);

    let file = dir.path().join("e.npy");
    embedded(run.path(), &format!("--out {}", file.display())).unwrap();
    assert_eq!(read_npy(&file).0, [2400, 128]);
    let photos = photos(dir.path());
    let embed = |size: usize| {
        embedded(run.path(), &format!("--data folder:{}@{size} --out {}", photos.display(), file.display()))
    };
    embed(32).unwrap();
    assert_eq!(read_npy(&file).0, [8, 128]);
    let message = embed(16).unwrap_err().to_string();
    assert!(message.contains(" have 16 x 16 pixels, and the encoder of "), "{message}");
    assert!(message.ends_with(" takes 32 x 32 pixels"), "{message}");
}
