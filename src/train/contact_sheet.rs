//! A contact sheet: images, each with its nearest neighbours beside it, as a PNG.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::plot::PALETTE;
use super::run_dir::write_atomic;
use crate::data::Dataset;
use crate::error::{Error, Result};

/// Height or width of a tile's picture that small images are enlarged towards, by a whole factor.
const TILE: u32 = 64;
const BORDER: u32 = 4;
const GAP: u32 = 4;
/// Between an image and its neighbours.
const APART: u32 = 20;
/// Length of a dash of a border, and of the gap after it.
const DASH: u32 = 8;

/// One row of a contact sheet: an image and its neighbours, nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// Index of the image.
    pub query: u32,
    /// Indices of its neighbours.
    pub neighbours: Vec<u32>,
}

/// Draws a PNG with a row an image: the image, then its neighbours from left to right. Returns its width and height.
///
/// Where classes are known, a border has the colour of the class; that of a neighbour of another class than the image is
/// dashed. There are 21 colours; class 21 has that of class 0 again.
///
/// # Errors
/// [`Error::Argument`] if the name does not end in `.png`, [`Error::Io`] if the file cannot be written.
///
/// # Panics
/// If an index is out of range.
pub fn contact_sheet(path: &Path, data: &Dataset, rows: &[ContactRow]) -> Result<[u32; 2]> {
    check_png(path)?;
    let (height, width) = (data.height as u32, data.width as u32);
    let scale = (TILE / height.max(width)).max(1);
    let tile = [width, height].map(|pixels| pixels * scale + 2 * BORDER);
    let columns = rows.iter().map(|row| row.neighbours.len() as u32).max().unwrap_or(0);
    let size = [GAP + tile[0] + APART + columns * (tile[0] + GAP), GAP + rows.len() as u32 * (tile[1] + GAP)];
    let mut sheet = RgbImage::from_pixel(size[0], size[1], Rgb([255; 3]));
    for (i, row) in rows.iter().enumerate() {
        let top = GAP + i as u32 * (tile[1] + GAP);
        let class = |image: u32| data.labels[image as usize];
        draw(&mut sheet, data, row.query, [GAP, top], scale, true);
        for (j, &near) in row.neighbours.iter().enumerate() {
            let left = GAP + tile[0] + APART + j as u32 * (tile[0] + GAP);
            draw(&mut sheet, data, near, [left, top], scale, class(near) == class(row.query));
        }
    }
    let mut png = Cursor::new(vec![]);
    sheet.write_to(&mut png, ImageFormat::Png).map_err(|e| Error::Argument(e.to_string()))?;
    write_atomic(path, png.get_ref())?;
    Ok(size)
}

/// Whether [`contact_sheet`] can write this file; to be asked before the work is done.
///
/// # Errors
/// [`Error::Argument`] in one line.
pub fn check_png(path: &Path) -> Result<()> {
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png")) {
        return Ok(());
    }
    Err(Error::Argument(format!("--neighbours {}: must end in .png", path.display())))
}

/// A tile with its corner at `at`.
fn draw(sheet: &mut RgbImage, data: &Dataset, image: u32, at: [u32; 2], scale: u32, solid: bool) {
    let (height, width) = (data.height as u32 * scale, data.width as u32 * scale);
    let border = (data.classes() > 0).then(|| color(data.labels[image as usize]));
    let pixels = data.image(image as usize);
    for y in 0..height + 2 * BORDER {
        for x in 0..width + 2 * BORDER {
            let (inner_x, inner_y) = (x.wrapping_sub(BORDER), y.wrapping_sub(BORDER));
            let color = if inner_x < width && inner_y < height {
                let first = (inner_y / scale * data.width as u32 + inner_x / scale) as usize * data.channels;
                Some(Rgb([0, 1, 2].map(|c| pixels[first + c % data.channels])))
            } else {
                border.filter(|_| solid || ((x + y) / DASH).is_multiple_of(2))
            };
            if let Some(color) = color {
                sheet.put_pixel(at[0] + x, at[1] + y, color);
            }
        }
    }
}

/// The palette as it is, then dark, then pale.
fn color(class: u32) -> Rgb<u8> {
    let class = class as usize;
    let base = PALETTE[class % PALETTE.len()];
    let shade = |c: u8| match class / PALETTE.len() % 3 {
        0 => c,
        1 => c / 2,
        _ => 128 + c / 2,
    };
    Rgb([base.0, base.1, base.2].map(shade))
}
