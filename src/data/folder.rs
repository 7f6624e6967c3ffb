//! A folder of PNG and JPEG images, one subfolder a class.
//!
//! `DIR/train/CLASS/*` with `DIR/test/CLASS/*` (or `val`), or only `DIR/CLASS/*`: then every sixth image of a class, by
//! name, is a test image. Each image is scaled so that it covers the square and its middle is kept, as torchvision's
//! `Resize` and `CenterCrop` do.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;

use super::dataset::{Dataset, Listing, Splits};
use super::file;
use crate::{Error, Result};

/// One test image for every this many of a class, where the folder does not say.
const TEST_EVERY: usize = 6;

/// Class names and the paths of each class's images.
type Classes = Vec<(String, Vec<PathBuf>)>;

/// Reads a folder as RGB images of `size` x `size`. Normalisation is measured on the training part.
///
/// # Errors
/// No class or no image where they should be, a test class that has no training images, or a file that cannot be decoded.
pub fn read(dir: &Path, size: usize) -> Result<Splits> {
    let (train, test) = parts(dir)?;
    decode_parts(dir, &train, &test, size)
}

/// Reads all images of a folder, named by their paths in it. Where some lie right in it, these are all, without classes,
/// and normalisation is measured on them; otherwise they are those of [`read`].
///
/// # Errors
/// As [`read`].
pub fn list(dir: &Path, size: usize) -> Result<Listing> {
    let mut flat: Vec<PathBuf> = file::list(dir)?;
    flat.retain(|path| path.is_file() && is_image(path));
    let (paths, images) = if flat.is_empty() {
        let (train, test) = parts(dir)?;
        let images = decode_parts(dir, &train, &test, size)?.join();
        (train.into_iter().chain(test).flat_map(|(_, paths)| paths).collect(), images)
    } else {
        let classes = [(String::new(), flat)];
        let mut images = load(dir, &classes, &[], size)?;
        (images.mean, images.std) = images.measure();
        let [(_, flat)] = classes;
        (flat, images)
    };
    let name = |path: &PathBuf| path.strip_prefix(dir).unwrap_or(path).to_string_lossy().into_owned();
    Ok(Listing { names: paths.iter().map(name).collect(), images })
}

/// The training and the test part.
fn parts(dir: &Path) -> Result<(Classes, Classes)> {
    let train_dir = dir.join("train");
    let (train, test) = if train_dir.is_dir() {
        let test_dir = ["test", "val"].map(|name| dir.join(name)).into_iter().find(|path| path.is_dir());
        let test_dir = test_dir
            .ok_or_else(|| file::missing(dir, "a folder train needs a folder test or val beside it"))?;
        (classes(&train_dir)?, classes(&test_dir)?)
    } else {
        let all = classes(dir)?;
        (part(&all, |i| i % TEST_EVERY != TEST_EVERY - 1), part(&all, |i| i % TEST_EVERY == TEST_EVERY - 1))
    };
    if let Some((name, _)) = test.iter().find(|(name, _)| train.iter().all(|(known, _)| known != name)) {
        return Err(file::missing(&train_dir.join(name), "no such class, but there are test images of it"));
    }
    Ok((train, test))
}

fn decode_parts(dir: &Path, train: &Classes, test: &Classes, size: usize) -> Result<Splits> {
    let class_names: Vec<String> = train.iter().map(|(name, _)| name.clone()).collect();
    let mut train = load(dir, train, &class_names, size)?;
    let mut test = load(dir, test, &class_names, size)?;
    (train.mean, train.std) = train.measure();
    (test.mean, test.std) = (train.mean, train.std);
    Ok(Splits { train, test })
}

/// The images of each class whose number among them is `chosen`.
fn part(classes: &Classes, chosen: impl Fn(usize) -> bool) -> Classes {
    let pick =
        |paths: &Vec<PathBuf>| (0..paths.len()).filter(|&i| chosen(i)).map(|i| paths[i].clone()).collect();
    classes.iter().map(|(name, paths)| (name.clone(), pick(paths))).collect()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].contains(&extension.as_str())
}

/// Class names and the images of each, sorted by name. Folders without images are no classes.
fn classes(dir: &Path) -> Result<Classes> {
    let mut classes = Vec::new();
    for folder in file::list(dir)?.into_iter().filter(|path| path.is_dir()) {
        let images: Vec<PathBuf> = file::list(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        if !images.is_empty() {
            classes.push((folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), images));
        }
    }
    if classes.is_empty() {
        return Err(file::missing(dir, "no subfolder here holds a .png, .jpg or .jpeg file"));
    }
    Ok(classes)
}

/// Decodes all images, a share of them on each core. A class that has no name in `class_names` is number 0.
fn load(
    dir: &Path,
    classes: &[(String, Vec<PathBuf>)],
    class_names: &[String],
    size: usize,
) -> Result<Dataset> {
    if size == 0 {
        return Err(Error::Argument("images of size 0 have no pixels".into()));
    }
    let class = |name: &String| class_names.iter().position(|known| known == name).unwrap_or(0) as u32;
    let labels = classes.iter().flat_map(|(name, paths)| paths.iter().map(move |_| class(name))).collect();
    let paths: Vec<&PathBuf> = classes.iter().flat_map(|(_, paths)| paths).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = paths.chunks(paths.len().div_ceil(threads).max(1));
    let decoded: Vec<Result<Vec<u8>>> = std::thread::scope(|scope| {
        let decode =
            |share: &[&PathBuf]| share.iter().map(|path| decode(path, size)).collect::<Result<Vec<_>>>();
        let workers: Vec<_> =
            shares.map(|share| scope.spawn(move || decode(share).map(|v| v.concat()))).collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    Ok(Dataset {
        name: dir.file_name().map_or("folder".into(), |name| name.to_string_lossy().into_owned()),
        images: decoded.into_iter().collect::<Result<Vec<_>>>()?.concat(),
        labels,
        height: size,
        width: size,
        channels: 3,
        class_names: class_names.to_vec(),
        mean: [0.0; 3],
        std: [1.0; 3],
    })
}

fn decode(path: &Path, size: usize) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let image = image::load_from_memory(&bytes)
        .map_err(|e| file::broken(path, 0, "a PNG or JPEG image", e.to_string()))?;
    let size = size as u32;
    Ok(image.resize_to_fill(size, size, FilterType::Triangle).into_rgb8().into_raw())
}
