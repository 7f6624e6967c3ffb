//! Readers, broken files, and the order of the loader. Needs no GPU.
#![cfg(feature = "data")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use wgrad::data::{Batch, DataSource, Dataset, Loader, Splits, Synthetic, cifar, embedded, folder, idx};
use wgrad::{Error, Rng};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
    std::fs::write(dir.join(name), bytes).unwrap();
}

/// File name, offset and the rest of the message of a fault in a file's content.
#[track_caller]
fn fault<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, u64, String) {
    let error = result.unwrap_err();
    let message = error.to_string();
    let Error::Data { path, offset, expected, found } = error else { panic!("{message}") };
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(message.contains(&file) && message.contains(&format!("byte {offset}")), "{message}");
    (file, offset, format!("expected {expected}, found {found}"))
}

// --- idx ---

fn idx_file(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// Three training images and two test images of 2 x 3; file `which` goes through `change`.
fn fashion_dir(dir: &Path, which: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let files = [
        ("train-images-idx3-ubyte", idx_file(&[3, 2, 3], &(0..18).collect::<Vec<u8>>())),
        ("train-labels-idx1-ubyte", idx_file(&[3], &[9, 0, 4])),
        ("t10k-images-idx3-ubyte", idx_file(&[2, 2, 3], &[7; 12])),
        ("t10k-labels-idx1-ubyte", idx_file(&[2], &[1, 2])),
    ];
    for (name, bytes) in files {
        write(dir, name, &if name == which { change(bytes) } else { bytes });
    }
}

#[test]
fn embedded_subset_is_balanced() {
    let Splits { train, test } = embedded::fashion_mnist().unwrap();
    for (set, each) in [(&train, 1000), (&test, 200)] {
        assert_eq!((set.len(), set.dims(), set.classes()), (10 * each, [28, 28, 1], 10));
        assert_eq!(set.images.len(), set.len() * 784);
        for class in 0..10 {
            assert_eq!(set.labels.iter().filter(|&&label| label == class).count(), each);
        }
        // The statistics are those of all 60,000 images; a subset of 2000 is within 1 % of them.
        let (mean, std) = set.measure();
        assert!(
            (mean[0] - set.mean[0]).abs() < 0.005 && (std[0] - set.std[0]).abs() < 0.005,
            "{mean:?} {std:?}"
        );
    }
    assert_eq!(train.image(1), &train.images[784..1568]);
}

#[test]
fn fashion_mnist_plain_and_gzipped() {
    let (plain, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fashion_dir(plain.path(), "", |bytes| bytes);
    for entry in std::fs::read_dir(plain.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{}.gz", path.file_name().unwrap().to_string_lossy());
        write(packed.path(), &name, &gzip(&std::fs::read(&path).unwrap()));
    }
    let splits = idx::fashion_mnist(plain.path()).unwrap();
    assert_eq!((splits.train.labels.as_slice(), splits.train.dims()), ([9, 0, 4].as_slice(), [2, 3, 1]));
    assert_eq!(splits.train.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!(splits.test.len(), 2);
    assert_eq!(splits, idx::fashion_mnist(packed.path()).unwrap());
}

#[test]
fn broken_idx_files_say_what_and_where() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, Change, u64, &str); 8] = [
        ("train-images-idx3-ubyte", |b| b[..30].to_vec(), 30, "18 elements"),
        ("train-images-idx3-ubyte", |b| [b, vec![0]].concat(), 34, "found 19 bytes after the header"),
        ("train-images-idx3-ubyte", |_| vec![], 0, "an idx header of 16 bytes"),
        ("train-images-idx3-ubyte", |b| b[..9].to_vec(), 9, "an idx header of 16 bytes"),
        ("t10k-images-idx3-ubyte", |_| vec![0xff; 40], 0, "unsigned bytes with 3 dimensions"),
        ("t10k-images-idx3-ubyte", |_| idx_file(&[u32::MAX; 3], &[1]), 16, "fit in memory"),
        ("t10k-labels-idx1-ubyte", |_| idx_file(&[3], &[1, 2, 3]), 4, "expected 2 labels"),
        (
            "train-labels-idx1-ubyte",
            |_| idx_file(&[3], &[9, 10, 4]),
            9,
            "expected a label below 10, found 10",
        ),
    ];
    for (name, change, offset, text) in cases {
        let dir = tempfile::tempdir().unwrap();
        fashion_dir(dir.path(), name, change);
        let (file, at, message) = fault(idx::fashion_mnist(dir.path()));
        assert_eq!((file.as_str(), at), (name, offset), "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn a_cut_gzip_file_says_how_far_it_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    fashion_dir(dir.path(), "train-images-idx3-ubyte", |bytes| {
        let packed = gzip(&bytes);
        packed[..packed.len() - 4].to_vec()
    });
    let (file, offset, message) = fault(idx::fashion_mnist(dir.path()));
    assert!(
        file == "train-images-idx3-ubyte" && offset <= 34 && message.contains("gzip"),
        "{offset} {message}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = idx::fashion_mnist(dir.path()).unwrap_err().to_string();
    assert!(message.contains("train-images-idx3-ubyte: no such file, nor"), "{message}");
    let message = cifar::read(dir.path(), cifar::Kind::Cifar10).unwrap_err().to_string();
    assert!(message.contains("no file here is called data_batch*.bin, train*.bin"), "{message}");
    let message = folder::read(dir.path(), 8).unwrap_err().to_string();
    assert!(message.contains("no subfolder here holds a .png"), "{message}");
    assert!(matches!(folder::read(&dir.path().join("none"), 8), Err(Error::Io { .. })));
}

/// Every shape of up to three sides below 6.
#[test]
fn idx_reads_what_was_written() {
    for rank in 1..4 {
        for number in 0..6u32.pow(rank) {
            let dims: Vec<u32> = (0..rank).map(|side| number / 6u32.pow(side) % 6).collect();
            let count = dims.iter().product::<u32>();
            let data: Vec<u8> = (0..count).map(|i| (i as u8).wrapping_add(number as u8)).collect();
            let got = idx::parse(Path::new("x"), idx_file(&dims, &data), dims.len()).unwrap();
            assert_eq!(got.data, data);
            assert!(got.dims.iter().zip(&dims).all(|(&a, &b)| a == b as usize));
        }
    }
}

/// Random bytes of every length below 64, half of them with a sound magic number, so that the sizes are reached.
#[test]
fn any_bytes_parse_or_fail_within_the_file() {
    let mut rng = Rng::new(0);
    for case in 0..64 * 3 * 8 {
        let (length, rank) = (case % 64, 1 + case / 64 % 3);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.next_u32() as u8).collect();
        for magic in [false, true] {
            if magic && length >= 4 {
                bytes[..4].copy_from_slice(&[0, 0, 8, rank as u8]);
                // Small sides too, since random ones are nearly all beyond the file.
                for side in bytes[4..].chunks_mut(4).take(case / 192 % 4) {
                    let high = side.len() - 1;
                    side[..high].fill(0);
                }
            }
            if let Err(Error::Data { offset, .. }) = idx::parse(Path::new("x"), bytes.clone(), rank) {
                assert!(offset <= bytes.len() as u64);
            }
        }
        let parsed = cifar::parse(Path::new("x"), &bytes, cifar::Kind::Cifar10, &mut vec![], &mut vec![]);
        assert!(parsed.is_err());
    }
}

#[test]
fn a_cut_cifar_file_fails_at_its_last_record() {
    for records in 1..4 {
        for cut in (1..3073).step_by(73).chain([3072]) {
            let content = vec![3u8; records * 3073 - cut];
            let parsed =
                cifar::parse(Path::new("x"), &content, cifar::Kind::Cifar10, &mut vec![], &mut vec![]);
            let Err(Error::Data { offset, .. }) = parsed else { panic!("{parsed:?}") };
            assert_eq!(offset, (records as u64 - 1) * 3073);
        }
    }
}

// --- CIFAR ---

/// One record whose red plane is `label`, green `label + 100` and blue counts its pixels.
fn cifar_record(labels: &[u8]) -> Vec<u8> {
    let label = labels[labels.len() - 1];
    let blue = (0..1024).map(|i| i as u8);
    labels.iter().copied().chain([label; 1024]).chain([label + 100; 1024]).chain(blue).collect()
}

#[test]
fn cifar10_parts_in_order_and_planes_interleaved() {
    let dir = tempfile::tempdir().unwrap();
    let records = |labels: &[u8]| labels.iter().flat_map(|&l| cifar_record(&[l])).collect::<Vec<u8>>();
    write(dir.path(), "data_batch_2.bin.gz", &gzip(&records(&[5])));
    write(dir.path(), "data_batch_1.bin", &records(&[3, 9]));
    write(dir.path(), "data_batch_1.bin.gz", b"ignored: the plain part counts");
    write(dir.path(), "test_batch.bin", &records(&[0]));
    write(dir.path(), "batches.meta.txt", b"airplane\n");
    let Splits { train, test } = cifar::read(dir.path(), cifar::Kind::Cifar10).unwrap();
    assert_eq!(train.labels, [3, 9, 5]);
    assert_eq!((test.labels.as_slice(), test.dims(), test.classes()), ([0].as_slice(), [32, 32, 3], 10));
    assert_eq!(train.image(1)[..6], [9, 109, 0, 9, 109, 1]);
    assert_eq!(train.image(2)[3069..], [5, 105, 255]);
    assert_eq!((train.class_names[9].as_str(), train.mean[0], train.std[0]), ("truck", 0.4914, 0.2470));
}

#[test]
fn cifar100_takes_the_fine_label() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "cifar-100-binary/train.bin", &cifar_record(&[19, 99]));
    write(dir.path(), "cifar-100-binary/test.bin", &cifar_record(&[0, 42]));
    let splits = cifar::read(dir.path(), cifar::Kind::Cifar100).unwrap();
    assert_eq!((splits.train.labels[0], splits.test.labels[0], splits.train.classes()), (99, 42, 100));
    assert_eq!(splits.train.class_names[42], "42");

    let names: Vec<String> = (0..100).map(|i| format!("class{i}")).collect();
    write(dir.path(), "cifar-100-binary/fine_label_names.txt", names.join("\n").as_bytes());
    let splits = cifar::read(dir.path(), cifar::Kind::Cifar100).unwrap();
    assert_eq!(splits.train.class_names[42], "class42");
    write(dir.path(), "cifar-100-binary/fine_label_names.txt", b"one two");
    assert!(
        fault(cifar::read(dir.path(), cifar::Kind::Cifar100)).2.contains("expected 100 class names, found 2")
    );
}

#[test]
fn broken_cifar_files_say_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "test_batch.bin", &cifar_record(&[0]));
    let read = || cifar::read(dir.path(), cifar::Kind::Cifar10);
    let good = [cifar_record(&[1]), cifar_record(&[2])].concat();

    write(dir.path(), "data_batch_1.bin", &good[..4000]);
    let (file, offset, message) = fault(read());
    assert_eq!((file.as_str(), offset), ("data_batch_1.bin", 3073));
    assert_eq!(message, "expected records of 3073 bytes, found a last record of 927");

    let mut label = good.clone();
    label[3073] = 10;
    write(dir.path(), "data_batch_1.bin", &label);
    let (_, offset, message) = fault(read());
    assert_eq!((offset, message.as_str()), (3073, "expected a label below 10, found 10"));

    write(dir.path(), "data_batch_1.bin", &[]);
    assert!(fault(read()).2.contains("an empty file"));
}

// --- image folder ---

fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(x, y)));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn folder_splits_resizes_and_measures() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..7 {
        write(dir.path(), &format!("cat/{i}.png"), &png(4, 4, |_, _| [10 * i, 0, 255]));
        write(dir.path(), &format!("dog/{i}.PNG"), &png(8, 8, |_, _| [100, 200, 0]));
    }
    write(dir.path(), "dog/notes.txt", b"no image");
    write(dir.path(), "empty/notes.txt", b"no class");
    let Splits { train, test } = folder::read(dir.path(), 4).unwrap();
    assert_eq!((train.len(), test.len(), train.dims()), (12, 2, [4, 4, 3]));
    assert_eq!(train.class_names, ["cat", "dog"]);
    assert_eq!((test.labels.as_slice(), &test.image(0)[..3]), ([0, 1].as_slice(), [50, 0, 255].as_slice()));
    assert_eq!(train.measure(), (train.mean, train.std));
    assert_eq!((test.mean, test.std), (train.mean, train.std));
}

#[test]
fn folder_keeps_the_middle_of_an_oblong_image() {
    let dir = tempfile::tempdir().unwrap();
    // Red, green, blue thirds of a 12 x 4 image: the middle square is green.
    let thirds = png(12, 4, |x, _| [[255, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize / 4]);
    write(dir.path(), "train/a/x.png", &thirds);
    write(dir.path(), "val/a/x.png", &thirds);
    let splits = folder::read(dir.path(), 4).unwrap();
    assert!(splits.train.images.chunks(3).all(|pixel| pixel == [0, 255, 0]), "{:?}", splits.train.images);
    assert_eq!((splits.train.len(), splits.test.len()), (1, 1));
}

#[test]
fn broken_folders_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "train/a/x.png", &png(4, 4, |_, _| [0; 3]));
    let message = folder::read(dir.path(), 4).unwrap_err().to_string();
    assert!(message.contains("needs a folder test or val"), "{message}");
    write(dir.path(), "test/b/x.png", &png(4, 4, |_, _| [0; 3]));
    let message = folder::read(dir.path(), 4).unwrap_err().to_string();
    assert!(message.contains("no such class, but there are test images of it"), "{message}");
    write(dir.path(), "train/b/x.jpg", b"not a picture");
    let (file, offset, message) = fault(folder::read(dir.path(), 4));
    assert_eq!((file.as_str(), offset), ("x.jpg", 0));
    assert!(message.contains("expected a PNG or JPEG image"), "{message}");
}

// --- names and synthetic images ---

#[test]
fn sources_round_trip_through_their_names() {
    let names = ["embedded", "fashion-mnist:a/b", "cifar10:/x y", "cifar100:z", "folder:a:b@64", "synthetic"];
    for name in names {
        assert_eq!(name.parse::<DataSource>().unwrap().to_string(), name);
    }
    let folder = |dir: &str, size| DataSource::Folder { dir: dir.into(), size };
    assert_eq!("folder:p@q".parse::<DataSource>().unwrap(), folder("p@q", 32));
    assert_eq!("folder:p@q@48".parse::<DataSource>().unwrap(), folder("p@q", 48));
    for (bad, text) in [
        ("cifar10", "cifar10 needs a folder"),
        ("mnist:x", "is none of embedded"),
        ("embedded:x", "is none of"),
    ] {
        let message = bad.parse::<DataSource>().unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn synthetic_images_are_the_same_everywhere() {
    let options = Synthetic { train: 40, test: 20, classes: 20, size: 9, channels: 3, noise: 5, seed: 1 };
    let Splits { train, test } = options.build();
    assert_eq!((train.len(), test.len(), train.classes(), train.image_len()), (40, 20, 20, 243));
    assert_eq!(options.build().train, train);
    assert_ne!(Synthetic { seed: 2, ..options }.build().train.images, train.images);
    assert_ne!(train.image(0), test.image(0));
    assert_eq!(train.labels[19..22], [19, 0, 1]);
    let sum: u64 = train.images.iter().map(|&b| u64::from(b)).sum();
    assert_eq!((sum, &train.images[..3]), (SYNTHETIC_SUM, SYNTHETIC_PIXEL.as_slice()));
}

/// What the integers above come to, on any machine.
const SYNTHETIC_SUM: u64 = 1_268_018;
const SYNTHETIC_PIXEL: [u8; 3] = [45, 123, 95];

// --- loader ---

fn numbered(count: usize) -> Arc<Dataset> {
    Arc::new(Dataset {
        name: "numbers".into(),
        images: (0..count).flat_map(|i| [i as u8, (i >> 8) as u8]).collect(),
        labels: (0..count as u32).map(|i| i % 3).collect(),
        height: 1,
        width: 2,
        channels: 1,
        class_names: vec!["a".into(), "b".into(), "c".into()],
        mean: [0.0; 3],
        std: [1.0; 3],
    })
}

fn epoch(batches: &[Batch], epoch: u32) -> Vec<u32> {
    batches.iter().filter(|b| b.epoch == epoch).flat_map(|b| b.indices.clone()).collect()
}

#[test]
fn an_epoch_is_a_permutation_and_each_has_its_own() {
    let data = numbered(103);
    let loader = Loader::builder(&data, 10).seed(1).drop_last(false).epochs(3).build().unwrap();
    assert_eq!(loader.steps_per_epoch(), 11);
    let batches: Vec<Batch> = loader.collect();
    assert_eq!(batches.len(), 33);
    for (step, batch) in batches.iter().enumerate() {
        assert_eq!((batch.step, batch.epoch), (step as u64, step as u32 / 11));
        assert_eq!(batch.len(), if step % 11 == 10 { 3 } else { 10 });
        for (place, &i) in batch.indices.iter().enumerate() {
            assert_eq!(batch.images[2 * place..][..2], [i as u8, (i >> 8) as u8]);
            assert_eq!(batch.labels[place], i % 3);
        }
    }
    for e in 0..3 {
        assert_eq!(epoch(&batches, e).into_iter().collect::<BTreeSet<_>>().len(), 103);
    }
    assert_ne!(epoch(&batches, 0), epoch(&batches, 1));
    let other: Vec<Batch> = Loader::builder(&data, 10).seed(2).epochs(1).build().unwrap().collect();
    assert_ne!(epoch(&other, 0)[..100], epoch(&batches, 0)[..100]);
}

#[test]
fn drop_last_and_order() {
    let data = numbered(25);
    let batches: Vec<Batch> = Loader::builder(&data, 10).epochs(2).build().unwrap().collect();
    assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [10; 4]);
    let plain = Loader::builder(&data, 10).shuffle(false).drop_last(false).epochs(1).build().unwrap();
    assert!(plain.flat_map(|b| b.indices).eq(0..25));
}

#[test]
fn a_started_loader_continues_an_interrupted_one() {
    let data = numbered(64);
    let build = |start| Loader::builder(&data, 8).seed(7).epochs(4).start(start).build().unwrap();
    let whole: Vec<Batch> = build(0).collect();
    for start in [1, 7, 8, 9, 31, 32, 100] {
        let rest: Vec<Batch> = build(start as u64).collect();
        assert_eq!(rest, whole[start.min(32)..], "from step {start}");
    }
}

#[test]
fn the_order_does_not_depend_on_prefetch_or_batch() {
    let data = numbered(60);
    let order = |batch, prefetch| {
        let loader = Loader::builder(&data, batch).seed(3).prefetch(prefetch).epochs(2).build().unwrap();
        loader.flat_map(|b| b.indices).collect::<Vec<_>>()
    };
    assert_eq!(order(10, 1), order(15, 8));
    assert_eq!(order(10, 0), order(60, 2));
}

#[test]
fn dropping_a_loader_ends_its_thread() {
    let data = numbered(100);
    for taken in [0, 1, 5] {
        let mut loader = Loader::builder(&data, 10).build().unwrap();
        for _ in 0..taken {
            loader.next().unwrap();
        }
        drop(loader);
        assert_eq!(Arc::strong_count(&data), 1, "the thread still holds the data set");
    }
}

#[test]
fn a_batch_larger_than_the_set_is_an_error() {
    let data = numbered(5);
    let message = Loader::builder(&data, 6).build().unwrap_err().to_string();
    assert_eq!(message, "no batch of 6 in the 5 images of numbers");
    assert!(Loader::builder(&data, 0).build().is_err());
    assert!(Loader::builder(&numbered(0), 4).drop_last(false).build().is_err());
    assert_eq!(Loader::builder(&data, 6).drop_last(false).epochs(1).build().unwrap().count(), 1);
}

#[test]
fn a_panic_in_the_thread_comes_through() {
    let mut broken = Arc::unwrap_or_clone(numbered(20));
    broken.images.truncate(30); // images are missing: a Dataset built wrongly by hand
    let loader = Loader::builder(&Arc::new(broken), 5).epochs(1).build().unwrap();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loader.count())).is_err());
}
