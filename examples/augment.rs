//! A contact sheet: each row is an image as it is, then views of it as training sees them.
//!
//!     cargo run --release --example augment -- --data cifar10:DIR --out sheet.png
//!
//! A view follows from seed, epoch, dataset index and view number, so the same command draws the same sheet anywhere.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use image::{ImageFormat, Rgb, RgbImage};
use wgrad::data::{Augment, Blur, DataSource, Images, Recipe, Solarize};
use wgrad::{Error, Gpu, train};

#[derive(Parser)]
#[command(version)]
struct Flags {
    /// embedded, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR[@SIZE] or synthetic
    #[arg(long, value_name = "SOURCE", default_value = "embedded")]
    data: DataSource,
    /// Images, one a row
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    images: usize,
    /// Views of each
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    views: u32,
    /// Add blur and solarisation, which BYOL and DINO use
    #[arg(long)]
    full: bool,
    /// Names every random draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// The sheet, as a .png
    #[arg(long, value_name = "FILE", default_value = "augment.png")]
    out: PathBuf,
}

const SCALE: u32 = 3;
const GAP: u32 = 4;

fn main() -> ExitCode {
    train::main(|| draw(&train::parse(include_str!("augment.rs"))))
}

fn draw(flags: &Flags) -> wgrad::Result<()> {
    // What can be refused before the work is.
    let refused = |why: &str| Error::Argument(format!("--out {}: {why}", flags.out.display()));
    let format = ImageFormat::from_path(&flags.out).map_err(|_| refused("must end in .png or .jpg"))?;
    if !format.writing_enabled() {
        return Err(refused("must end in .png or .jpg"));
    }
    let data = flags.data.load()?.train;
    let mut recipe = Recipe::for_dataset(&data);
    if flags.full {
        recipe.blur = Some(Blur { p: 0.5, sigma: [0.1, 2.0], radius: 1 });
        recipe.solarize = Some(Solarize { p: 0.2, threshold: 0.5 });
    }

    let gpu = Gpu::new()?;
    let rows = flags.images.min(data.len());
    let images = Images::range(&gpu, &data, 0..rows)?;
    let augment = Augment::new(recipe, flags.seed);
    // [rows, H, W, C] and, view after view, [views * rows, H, W, C].
    let originals = augment.plain(&images).to_vec()?;
    let views = augment.views(&images, 0, 0..flags.views).to_vec()?;

    let (height, width) = (data.height as u32, data.width as u32);
    let place = |i: u32, size: u32| GAP + i * (size * SCALE + GAP);
    let (sheet_width, sheet_height) = (place(flags.views + 1, width), place(rows as u32, height));
    let mut sheet = RgbImage::from_pixel(sheet_width, sheet_height, Rgb([255; 3]));
    for (tile, pixels) in originals.chunks(data.image_len()).chain(views.chunks(data.image_len())).enumerate()
    {
        let left = place((tile / rows) as u32, width);
        let top = place((tile % rows) as u32, height);
        for y in 0..height * SCALE {
            for x in 0..width * SCALE {
                let at = (y / SCALE * width + x / SCALE) as usize * data.channels;
                let value = |c: usize| pixels[at + c % data.channels] * data.std[c] + data.mean[c];
                let byte = |c: usize| (255.0 * value(c)).round().clamp(0.0, 255.0) as u8;
                sheet.put_pixel(left + x, top + y, Rgb([0, 1, 2].map(byte)));
            }
        }
    }
    sheet.save(&flags.out).map_err(|e| refused(&e.to_string()))?;
    println!("{}: {rows} images of {}, {} views each", flags.out.display(), data.name, flags.views);
    Ok(())
}
