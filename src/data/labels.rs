//! Few labels: which images of a training set keep theirs.

use std::fmt;

use super::dataset::Dataset;
use crate::rng::{philox, streams};
use crate::{Error, Result};

/// How many labels of a training set may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LabelBudget {
    /// Every one.
    #[default]
    All,
    /// This share of each class, rounded, one at least.
    Share(f64),
    /// So many of each class, or as many as it has.
    PerClass(usize),
}

impl LabelBudget {
    /// The share or the number, where one is given.
    ///
    /// # Errors
    /// [`Error::Argument`] if both are, the share is not in (0, 1], or the number is 0.
    pub fn new(share: Option<f64>, per_class: Option<usize>) -> Result<Self> {
        let refuse = |message: String| Err(Error::Argument(message));
        match (share, per_class) {
            (None, None) => Ok(Self::All),
            (Some(_), Some(_)) => refuse("--labels and --labels-per-class: give one of them".into()),
            (Some(share), None) if share > 0.0 && share <= 1.0 => Ok(Self::Share(share)),
            (Some(share), None) => refuse(format!("--labels {share}: must be above 0 and at most 1")),
            (None, Some(0)) => refuse("--labels-per-class 0: a class needs at least one label".into()),
            (None, Some(count)) => Ok(Self::PerClass(count)),
        }
    }

    fn of(self, images: usize) -> usize {
        match self {
            Self::All => images,
            Self::Share(share) => ((share * images as f64).round() as usize).clamp(1, images.max(1)),
            Self::PerClass(count) => count,
        }
    }
}

impl fmt::Display for LabelBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "all labels"),
            Self::Share(share) => write!(f, "{} % of the labels of each class", 100.0 * share),
            Self::PerClass(1) => write!(f, "1 label a class"),
            Self::PerClass(count) => write!(f, "{count} labels a class"),
        }
    }
}

impl Dataset {
    /// The images of each class in an order drawn from `seed`: by word 0 of the Philox block of an image's index, in the
    /// stream [`streams::LABELS`]. So an image's place does not depend on the images of other classes. Images without
    /// classes are one class.
    #[must_use]
    pub fn drawn_by_class(&self, seed: u32) -> Vec<Vec<u32>> {
        let mut classes = vec![vec![]; self.classes().max(1)];
        for (i, &label) in self.labels.iter().enumerate() {
            classes[label as usize].push(i as u32);
        }
        for class in &mut classes {
            class.sort_by_key(|&i| (philox([i, 0, 0, 0], [seed, streams::LABELS])[0], i));
        }
        classes
    }

    /// The images that keep their labels, in rising order: as many of each class as `budget` says, the first ones of
    /// [`drawn_by_class`](Self::drawn_by_class). Of one seed, a smaller choice lies within every larger one.
    #[must_use]
    pub fn choose_labels(&self, budget: LabelBudget, seed: u32) -> Vec<u32> {
        let classes = self.drawn_by_class(seed);
        let kept = classes.iter().flat_map(|class| class.iter().take(budget.of(class.len())));
        let mut chosen: Vec<u32> = kept.copied().collect();
        chosen.sort_unstable();
        chosen
    }

    /// The images of these indices, in this order; all else is the same, normalisation included.
    ///
    /// # Panics
    /// If an index is out of range.
    #[must_use]
    pub fn select(&self, indices: &[u32]) -> Self {
        let images = indices.iter().flat_map(|&i| self.image(i as usize)).copied().collect();
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        let (name, class_names) = (self.name.clone(), self.class_names.clone());
        Self { name, class_names, images, labels, ..*self }
    }
}
