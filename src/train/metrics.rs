//! What a run measures: `metrics.csv`, one row a step, and `summary.json`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Measures of the embedding and the features, taken at an evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// [`embedding_std`](crate::eval::embedding_std) of the test images' embeddings.
    pub embedding_std: f64,
    /// [`alignment`](crate::eval::alignment) of two views of the test images.
    pub alignment: f64,
    /// [`uniformity`](crate::eval::uniformity) of the first views.
    pub uniformity: f64,
    /// [`rankme`](crate::eval::rankme) of the first views' embeddings.
    pub rankme: f64,
    /// kNN accuracy of the encoder's output.
    pub knn_top1: f64,
    /// The same on the moved test images; `None` in a row of a version that did not measure it.
    pub knn_top1_moved: Option<f64>,
}

/// One row of `metrics.csv`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Steps done, from 1.
    pub step: u64,
    /// Loss of this step's batch, before the update.
    pub loss: f32,
    /// Learning rate of the update.
    pub lr: f32,
    /// Temperature, for methods with one.
    pub tau: Option<f32>,
    /// Images a second around this step, evaluations excluded.
    pub images_per_s: f64,
    /// Lower bound on the mutual information of the views in nats, for methods with one.
    pub mi_bound: Option<f64>,
    /// Taken at evaluations.
    pub quality: Option<Quality>,
    /// Scale of the loss after this step, in mixed precision.
    pub loss_scale: Option<f32>,
    /// [`batch_std`](crate::eval::batch_std) of this step's embeddings, every tenth step.
    pub batch_std: Option<f32>,
    /// The method's own values, in the order of the [`Model::part`](super::Model::part) calls.
    pub parts: Vec<Option<f32>>,
}

/// The columns of `metrics.csv`, in order; a method's own follow.
const HEADER: &str = "step,loss,lr,tau,images_per_s,mi_bound,embedding_std,alignment,uniformity,rankme,knn_top1,\
                      loss_scale,batch_std,knn_top1_moved";
/// Columns of [`HEADER`].
const COLUMNS: usize = 14;
/// The newest of them: files of earlier versions lack it.
const MOVED: usize = 13;

impl Row {
    /// The row as CSV; what was not measured is an empty cell. What is an `f32` reads back to the same bits.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let cell = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.6}"));
        let mut line = format!("{},{},{},", self.step, self.loss, self.lr);
        if let Some(tau) = self.tau {
            let _ = write!(line, "{tau}"); // a String takes all
        }
        let _ = write!(line, ",{:.1},{}", self.images_per_s, cell(self.mi_bound));
        let q = self.quality;
        for value in [
            q.map(|q| q.embedding_std),
            q.map(|q| q.alignment),
            q.map(|q| q.uniformity),
            q.map(|q| q.rankme),
            q.map(|q| q.knn_top1),
        ] {
            line.push(',');
            line += &cell(value);
        }
        let exact = |value: Option<f32>| value.map_or_else(String::new, |v| v.to_string());
        let moved = q.and_then(|q| q.knn_top1_moved);
        let _ = write!(line, ",{},{},{}", exact(self.loss_scale), exact(self.batch_std), cell(moved));
        for part in &self.parts {
            line.push(',');
            line += &exact(*part);
        }
        line
    }

    /// Reads a line that [`Row::to_csv`] wrote.
    #[must_use]
    pub fn from_csv(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells.get(i).and_then(|c| c.parse::<f64>().ok());
        let quality = number(6).map(|embedding_std| Quality {
            embedding_std,
            alignment: number(7).unwrap_or_default(),
            uniformity: number(8).unwrap_or_default(),
            rankme: number(9).unwrap_or_default(),
            knn_top1: number(10).unwrap_or_default(),
            knn_top1_moved: number(MOVED),
        });
        Some(Self {
            step: cells.first()?.parse().ok()?,
            loss: cells.get(1)?.parse().ok()?,
            lr: cells.get(2)?.parse().ok()?,
            tau: cells.get(3)?.parse().ok(),
            images_per_s: number(4)?,
            mi_bound: number(5),
            quality,
            loss_scale: cells.get(11).and_then(|c| c.parse().ok()),
            batch_std: cells.get(12).and_then(|c| c.parse().ok()),
            parts: cells.iter().skip(COLUMNS).map(|c| c.parse().ok()).collect(),
        })
    }
}

/// A line of an earlier version with an empty cell for [`MOVED`].
fn widened(line: &str) -> String {
    let mut cells: Vec<&str> = line.split(',').collect();
    cells.insert(MOVED.min(cells.len()), "");
    cells.join(",")
}

/// `metrics.csv`, open for appending, with its rows in memory for the plots.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    rows: Vec<Row>,
}

impl Metrics {
    /// Starts the file, with the method's own columns named `parts`, or on resume keeps its rows up to step `done` and drops
    /// the rest. A file of an earlier version gets the columns of this one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: PathBuf, done: u64, parts: &[&str]) -> Result<Self> {
        let mut rows = vec![];
        if done > 0 && path.exists() {
            let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            let old =
                text.lines().next().is_some_and(|head| head.split(',').nth(MOVED) != Some("knn_top1_moved"));
            let read = |line: &str| if old { Row::from_csv(&widened(line)) } else { Row::from_csv(line) };
            rows.extend(text.lines().filter_map(read).filter(|row| row.step <= done));
        }
        let columns = [&[HEADER], parts].concat();
        let mut text = format!("{}\n", columns.join(","));
        for row in &rows {
            text += &row.to_csv();
            text.push('\n');
        }
        super::run_dir::write_atomic(&path, text.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path, file, rows })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn push(&mut self, row: Row) -> Result<()> {
        let line = row.to_csv();
        self.rows.push(row);
        writeln!(self.file, "{line}").map_err(|e| Error::io(&self.path, e))
    }

    /// The rows so far.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// `summary.json`. What only a complete run measures is `None` (null) in one that was ended early.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the method.
    pub method: String,
    /// The driver's name for the adapter.
    pub adapter: String,
    /// Type that activations were stored in; `f32` also where `f16` was asked for and the adapter lacks it.
    pub precision: String,
    /// Steps done.
    pub steps: u64,
    /// Images (not views) a second over all steps, evaluations excluded.
    pub images_per_s: f64,
    /// Wall-clock time of the run, evaluations included, summed over resumes.
    pub seconds: f64,
    /// Loss of the last step.
    pub loss: f32,
    /// Test images that accuracies are of; `None` in a file of a version that did not say.
    pub test_images: Option<usize>,
    /// kNN accuracy of the trained encoder.
    pub knn_top1: Option<f64>,
    /// Linear-probe accuracy of the trained encoder.
    pub linear_top1: Option<f64>,
    /// kNN accuracy of the encoder before training.
    pub knn_top1_random_init: f64,
    /// kNN accuracy of the pixels in [0, 1].
    pub knn_top1_raw_pixels: f64,
    /// kNN accuracy of the pixels normalised as for the network.
    pub knn_top1_normalized_pixels: f64,
    /// Linear-probe accuracy of the encoder before training.
    pub linear_top1_random_init: f64,
    /// Linear-probe accuracy of the pixels.
    pub linear_top1_raw_pixels: f64,
    /// As `knn_top1`, on the test images moved ([`Dataset::moved`](crate::data::Dataset::moved)); here and below `None` in a
    /// file of a version that did not measure it.
    pub knn_top1_moved: Option<f64>,
    /// As `linear_top1`, on the moved test images.
    pub linear_top1_moved: Option<f64>,
    /// As `knn_top1_random_init`, on the moved test images.
    pub knn_top1_random_init_moved: Option<f64>,
    /// As `knn_top1_raw_pixels`, on the moved test images.
    pub knn_top1_raw_pixels_moved: Option<f64>,
    /// As `knn_top1_normalized_pixels`, on the moved test images.
    pub knn_top1_normalized_pixels_moved: Option<f64>,
    /// As `linear_top1_random_init`, on the moved test images.
    pub linear_top1_random_init_moved: Option<f64>,
    /// As `linear_top1_raw_pixels`, on the moved test images.
    pub linear_top1_raw_pixels_moved: Option<f64>,
    /// Mean over dimensions of the std of the normalised embedding; 1/sqrt(d) if spread evenly, 0 if collapsed.
    pub embedding_std: Option<f64>,
    /// Dimensions of the embedding.
    #[serde(default)]
    pub embedding_dims: Option<usize>,
    /// Effective rank of the embedding.
    pub rankme: Option<f64>,
    /// What the run was alarmed at, in order.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// How the accuracies were measured.
    pub protocol: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let quality = Quality {
            embedding_std: 0.08,
            alignment: 0.5,
            uniformity: -2.5,
            rankme: 31.25,
            knn_top1: 0.75,
            knn_top1_moved: Some(0.625),
        };
        let full = Row {
            step: 7,
            loss: 0.1 + 0.2,
            lr: 1e-9,
            tau: Some(0.2),
            images_per_s: 812.5,
            mi_bound: Some(-0.25),
            quality: Some(quality),
            loss_scale: Some(65536.0),
            batch_std: Some(0.1 + 0.2),
            parts: vec![Some(0.999), None, Some(1e-9)],
        };
        let bare = Row {
            tau: None,
            mi_bound: None,
            quality: None,
            loss_scale: None,
            batch_std: None,
            parts: vec![],
            ..full.clone()
        };
        for row in [full, bare] {
            assert_eq!(row.to_csv().split(',').count(), COLUMNS + row.parts.len());
            assert_eq!(Row::from_csv(&row.to_csv()), Some(row));
        }
        assert_eq!(HEADER.split(',').count(), COLUMNS);
        assert_eq!(Row::from_csv(HEADER), None);
    }

    #[test]
    fn reopening_drops_rows_after_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let mut metrics = Metrics::open(path.clone(), 0, &["momentum"]).unwrap();
        for step in 1..=5 {
            metrics.push(Row { step, ..Row::default() }).unwrap();
        }
        let metrics = Metrics::open(path.clone(), 3, &["momentum"]).unwrap();
        assert_eq!(metrics.rows().iter().map(|r| r.step).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 4);
    }

    /// What versions wrote that did not move test images: the file goes on with an empty cell, nothing is lost or misread.
    #[test]
    fn files_of_an_earlier_version_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let head = HEADER.replace(",knn_top1_moved", "");
        let rows = "1,2.5,0.1,0.2,10.0,,,,,,,,,0.99\n2,2.25,0.1,0.2,10.0,,0.08,0.5,-2.5,31,0.75,,0.25,0.5\n";
        fs::write(&path, format!("{head},momentum\n{rows}")).unwrap();
        let metrics = Metrics::open(path.clone(), 2, &["momentum"]).unwrap();
        let [first, second] = metrics.rows() else { panic!("{metrics:?}") };
        assert_eq!((first.quality, &first.parts[..]), (None, &[Some(0.99)][..]));
        assert_eq!((second.batch_std, &second.parts[..]), (Some(0.25), &[Some(0.5)][..]));
        let quality = second.quality.unwrap();
        assert_eq!((quality.knn_top1, quality.knn_top1_moved), (0.75, None));
        let written = Metrics::open(path, 2, &["momentum"]).unwrap();
        assert_eq!(written.rows(), metrics.rows());

        let summary: Summary = serde_json::from_str(concat!(
            r#"{"method": "simclr", "adapter": "a", "precision": "f32", "steps": 300, "images_per_s": 1.0, "seconds": 1.0,"#,
            r#" "loss": 1.0, "knn_top1": 0.75, "linear_top1": 0.5, "knn_top1_random_init": 0.5, "knn_top1_raw_pixels": 0.5,"#,
            r#" "knn_top1_normalized_pixels": 0.5, "linear_top1_random_init": 0.5, "linear_top1_raw_pixels": 0.5,"#,
            r#" "embedding_std": null, "rankme": null, "protocol": ""}"#
        ))
        .unwrap();
        assert_eq!((summary.knn_top1, summary.knn_top1_moved, summary.test_images), (Some(0.75), None, None));
    }
}
