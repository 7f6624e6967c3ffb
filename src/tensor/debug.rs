//! `{:?}` of a tensor: its type, its shape and its values, as PyTorch prints them.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

/// Elements from which on only the edges of each axis are shown.
const SUMMARISED: usize = 1000;
/// Elements shown at either end of an axis then.
const EDGE: usize = 3;

/// Type, shape and whether it tracks gradients: for the messages of ops, which must not wait for the device.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracks = if self.tracks_grad() { ", tracks grad" } else { "" };
        write!(f, "Tensor({:?}, {}{tracks})", self.dtype(), self.shape())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        #[cfg(not(target_family = "wasm"))]
        match self.shown() {
            Ok(values) => {
                f.write_char(if self.shape().rank() > 1 { '\n' } else { ' ' })?;
                f.write_str(&layout(self.shape(), &formatted(&values)))?;
            }
            Err(error) => write!(f, " unreadable: {error}")?,
        }
        Ok(())
    }
}

/// Values as they are stored: integers beyond 2^24 are no `f32`.
enum Values {
    Float(Vec<f32>),
    Integer(Vec<u32>),
}

/// The runs of indices of an axis of length `n` that are shown.
fn shown_runs(n: usize, summarised: bool) -> [Range<usize>; 2] {
    if summarised && n > 2 * EDGE { [0..EDGE, n - EDGE..n] } else { [0..n, n..n] }
}

fn is_summarised(shape: &Shape) -> bool {
    shape.elements() > SUMMARISED
}

/// Runs of elements, one after another in memory, that are shown.
fn runs(shape: &Shape) -> Vec<Range<usize>> {
    let summarised = is_summarised(shape);
    let (&columns, outer) = shape.split_last().unwrap_or((&1, &[]));
    let mut rows = vec![0];
    for &n in outer {
        let shown: Vec<usize> = shown_runs(n, summarised).into_iter().flatten().collect();
        rows = rows.iter().flat_map(|row| shown.iter().map(move |i| row * n + i)).collect();
    }
    let columns_shown = shown_runs(columns, summarised);
    let runs = rows.iter().flat_map(|row| {
        columns_shown.iter().map(move |run| row * columns + run.start..row * columns + run.end)
    });
    runs.filter(|run| !run.is_empty()).collect()
}

#[cfg(not(target_family = "wasm"))]
impl Tensor {
    /// The values shown, read from the device: of a large tensor no more than those.
    fn shown(&self) -> Result<Values, String> {
        if !self.gpu().is_intact() {
            return Err("a panic left work of its device half done".to_owned());
        }
        self.read_shown().map_err(|error| error.to_string())
    }

    fn read_shown(&self) -> crate::error::Result<Values> {
        let gpu = self.gpu();
        if let Some(error) = gpu.error() {
            return Err(error);
        }
        if self.storage.is_poisoned() {
            return Err(crate::error::Error::Poisoned);
        }
        let size = self.dtype().size();
        let shown = if is_summarised(self.shape()) {
            let runs = runs(self.shape());
            // Copies move whole words; an f16 value may be the second half of one.
            let words = |run: &Range<usize>| run.start * size / 4..(run.end * size).div_ceil(4);
            let edges = gpu.allocate("Debug", runs.iter().map(|run| words(run).len()).sum())?;
            let mut at = 0;
            for run in runs.iter().map(words) {
                gpu.copy(self, run.start, &edges, at, run.len());
                at += run.len();
            }
            let bytes = gpu.read(&edges).wait()?;
            let (mut shown, mut at) = (vec![], 0);
            for run in &runs {
                let start = at + run.start * size % 4;
                shown.extend_from_slice(&bytes[start..start + run.len() * size]);
                at += 4 * words(run).len();
            }
            shown
        } else {
            let mut bytes = self.read().wait()?;
            bytes.truncate(self.len() * size);
            bytes
        };
        Ok(match self.dtype() {
            DType::U32 => Values::Integer(bytemuck::pod_collect_to_vec(&shown)),
            DType::F32 => Values::Float(bytemuck::pod_collect_to_vec(&shown)),
            DType::F16 => {
                let bits: Vec<u16> = bytemuck::pod_collect_to_vec(&shown);
                Values::Float(bits.iter().map(|&bits| half::f16::from_bits(bits).to_f32()).collect())
            }
        })
    }
}

/// Each value as text, all of one width. Floats have four decimals, one where all are integers, and an exponent by
/// PyTorch's rule: where the largest is over 10^8 or 1000 times the smallest, or that is under 10^-4.
fn formatted(values: &Values) -> Vec<String> {
    let mut texts: Vec<String> = match values {
        Values::Integer(values) => values.iter().map(u32::to_string).collect(),
        Values::Float(values) => {
            let sizes = values.iter().copied().map(f32::abs).filter(|v| v.is_finite() && *v != 0.0);
            let (least, most) =
                sizes.fold((f32::INFINITY, 0.0_f32), |(least, most), v| (least.min(v), most.max(v)));
            let integers = values.iter().all(|v| !v.is_finite() || v.fract() == 0.0);
            let exponent = if integers {
                most > 1e8
            } else {
                most > 1e8 || least < 1e-4 || f64::from(most) > 1000.0 * f64::from(least)
            };
            let text = |v: &f32| match (exponent, integers) {
                _ if !v.is_finite() => v.to_string(),
                (true, _) => format!("{v:.4e}"),
                (false, true) => format!("{v:.1}"),
                (false, false) => format!("{v:.4}"),
            };
            values.iter().map(text).collect()
        }
    };
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    for text in &mut texts {
        *text = format!("{text:>width$}");
    }
    texts
}

/// The texts of the values shown in nested brackets, a row a line, with `...` for what is left out.
fn layout(shape: &Shape, texts: &[String]) -> String {
    if shape.rank() == 0 {
        return texts[0].clone();
    }
    let summarised = is_summarised(shape);
    let mut out = String::new();
    let mut texts = texts.iter();
    nest(&mut out, shape, 0, summarised, &mut texts);
    out
}

/// One axis and those in it; at most six deep.
fn nest<'a>(
    out: &mut String,
    shape: &Shape,
    axis: usize,
    summarised: bool,
    texts: &mut impl Iterator<Item = &'a String>,
) {
    let last = axis + 1 == shape.rank();
    let separator = if last {
        ", ".to_owned()
    } else {
        format!(",{}{}", "\n".repeat(shape.rank() - 1 - axis), " ".repeat(axis + 1))
    };
    out.push('[');
    if shape.elements() > 0 {
        let [front, back] = shown_runs(shape[axis], summarised);
        for i in front.clone().chain(back.clone()) {
            if i == back.start && !back.is_empty() {
                out.push_str(&separator);
                out.push_str("...");
            }
            if i > 0 {
                out.push_str(&separator);
            }
            if last {
                out.push_str(texts.next().map_or("", String::as_str));
            } else {
                nest(out, shape, axis + 1, summarised, texts);
            }
        }
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_form_that_tells_most() {
        let float = |values: &[f32]| formatted(&Values::Float(values.to_vec()));
        assert_eq!(float(&[1.0, -2.0, 30.0]), [" 1.0", "-2.0", "30.0"]);
        assert_eq!(float(&[0.5, -1.25]), [" 0.5000", "-1.2500"]);
        assert_eq!(float(&[0.5, 1e-6]), ["5.0000e-1", "1.0000e-6"]);
        assert_eq!(float(&[f32::NAN, 1.5, f32::NEG_INFINITY]), ["   NaN", "1.5000", "  -inf"]);
        assert_eq!(formatted(&Values::Integer(vec![7, u32::MAX])), ["         7", "4294967295"]);
    }

    #[test]
    fn edges_of_each_axis_are_shown() {
        assert_eq!(runs(&Shape::new(&[5000])), [0..3, 4997..5000]);
        assert_eq!(runs(&Shape::new(&[500, 4])), [0, 1, 2, 497, 498, 499].map(|row| 4 * row..4 * row + 4));
        let of_three = runs(&Shape::new(&[2, 100, 9]));
        assert_eq!(of_three.len(), 2 * 6 * 2);
        assert_eq!([&of_three[0], &of_three[23]], [&(0..3), &(1797..1800)]);
    }
}
