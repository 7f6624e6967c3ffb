//! What a run has learned, for a reader who sees these numbers for the first time: a small table, and what it means.

use std::fmt::Write as _;

use super::metrics::Summary;

/// What few labels are worth with the trained encoder and without it: top-1 accuracies in [0, 1] on the test images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FewLabels {
    /// Labels of each class.
    pub per_class: usize,
    /// Of a classifier trained together with the encoder of the run.
    pub fine_tuned: f64,
    /// Of the same network from random weights.
    pub from_scratch: f64,
}

/// Two accuracies differ clearly if they lie more than so many standard errors apart.
const ERRORS: f64 = 2.0;

/// Whether accuracy `a` is clearly above `b`, both of `n` images. Their errors are taken as independent, which they are not
/// for the same images: so the answer is yes too rarely rather than too often. No for NaN.
fn clearly_above(a: f64, b: f64, n: usize) -> bool {
    let variance = |p: f64| p * (1.0 - p) / n as f64;
    a - b > ERRORS * (variance(a) + variance(b)).sqrt()
}

impl Summary {
    /// The accuracies in %, a line each for the trained encoder, the same before training, and the pixels; first on moved
    /// images, then on images as they are, then with few labels where these were measured. Under 80 columns. A run ended early
    /// has no line of the trained encoder; what a summary lacks is a dash.
    #[must_use]
    pub fn table(&self, few: Option<FewLabels>) -> String {
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.1}", 100.0 * v));
        let mut out = String::new();
        let mut line = |name: &str, cells: [String; 4], few: Option<String>| {
            let [a, b, c, d] = cells;
            let few = few.map_or_else(String::new, |few| format!("{few:>19}"));
            let line = format!("{name:<19}{a:>8}{b:>8}{c:>10}{d:>8}{few}");
            let _ = writeln!(out, "{}", line.trim_end()); // a String takes all
        };
        let head = few.map(|few| format!("{} labels a class", few.per_class));
        line("top-1 accuracy in %", ["", "moved", "", "as is"].map(str::to_owned), head);
        line("", ["kNN", "linear", "kNN", "linear"].map(str::to_owned), few.map(|_| "fine-tuned".to_owned()));
        let mut row = |name, accuracies: [Option<f64>; 4], fine_tuned: Option<f64>| {
            line(name, accuracies.map(percent), few.map(|_| percent(fine_tuned)));
        };
        if self.knn_top1.is_some() {
            let trained = [self.knn_top1_moved, self.linear_top1_moved, self.knn_top1, self.linear_top1];
            row("trained", trained, few.map(|few| few.fine_tuned));
        }
        let random_init = [
            self.knn_top1_random_init_moved,
            self.linear_top1_random_init_moved,
            Some(self.knn_top1_random_init),
            Some(self.linear_top1_random_init),
        ];
        row("random init", random_init, few.map(|few| few.from_scratch));
        let raw_pixels = [
            self.knn_top1_raw_pixels_moved,
            self.linear_top1_raw_pixels_moved,
            Some(self.knn_top1_raw_pixels),
            Some(self.linear_top1_raw_pixels),
        ];
        row("raw pixels", raw_pixels, None);
        // The linear probe standardises what it gets, so normalised before or not is one to it.
        let [moved, aligned] =
            [self.knn_top1_normalized_pixels_moved, Some(self.knn_top1_normalized_pixels)].map(percent);
        let as_raw = || "as raw".to_owned();
        line("normalised pixels", [moved, as_raw(), aligned, as_raw()], few.map(|_| percent(None)));
        out
    }

    /// What [`table`](Self::table) means, in a sentence, two with few labels, in lines under 80 columns. That the encoder has learned to look past
    /// position is said only where moving the images costs it at most half of what it costs the pixels, and it is clearly
    /// better than them, and than before training, on moved images. Empty where something was not measured.
    #[must_use]
    pub fn conclusion(&self, few: Option<FewLabels>) -> String {
        let mut out = String::new();
        let (Some(n), Some(aligned), Some(moved)) = (self.test_images, self.knn_top1, self.knn_top1_moved)
        else {
            return out;
        };
        let others = [
            self.knn_top1_random_init_moved,
            self.knn_top1_raw_pixels_moved,
            self.knn_top1_normalized_pixels_moved,
        ];
        let [Some(_), Some(_), Some(pixels)] = others else { return out };
        let best = others.into_iter().flatten().fold(f64::NEG_INFINITY, f64::max);
        let (cost, cost_of_pixels) = (aligned - moved, self.knn_top1_normalized_pixels - pixels);
        let shown = cost <= cost_of_pixels / 2.0
            && clearly_above(self.knn_top1_normalized_pixels, pixels, n)
            && clearly_above(moved, best, n);
        let claim = if shown {
            "it has learned to look past position, which pixels cannot"
        } else {
            "this run does not show that it learned to look past position"
        };
        let [cost, cost_of_pixels, moved, best] = [cost, cost_of_pixels, moved, best].map(|v| 100.0 * v);
        let _ = write!(
            out,
            "Moving the test images costs the trained encoder {cost:.1} points by kNN and\n\
             normalised pixels {cost_of_pixels:.1}; it keeps {moved:.1} %, the best of the others {best:.1} %:\n{claim}."
        );
        if let Some(FewLabels { per_class, fine_tuned, from_scratch }) = few {
            let claim = if clearly_above(fine_tuned, from_scratch, n) {
                "what it had learned before is worth the difference"
            } else {
                "no clear gain"
            };
            let [fine_tuned, from_scratch] = [fine_tuned, from_scratch].map(|v| 100.0 * v);
            let _ = write!(
                out,
                "\nWith {per_class} labels a class, fine-tuning it leads to {fine_tuned:.1} %, the same network from\n\
                 scratch to {from_scratch:.1} %: {claim}."
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            test_images: Some(2000),
            knn_top1: Some(0.745),
            linear_top1: Some(0.77),
            knn_top1_random_init: 0.558,
            knn_top1_raw_pixels: 0.728,
            knn_top1_normalized_pixels: 0.785,
            linear_top1_random_init: 0.622,
            linear_top1_raw_pixels: 0.853,
            knn_top1_moved: Some(0.69),
            linear_top1_moved: Some(0.633),
            knn_top1_random_init_moved: Some(0.289),
            knn_top1_raw_pixels_moved: Some(0.385),
            knn_top1_normalized_pixels_moved: Some(0.464),
            linear_top1_random_init_moved: Some(0.304),
            linear_top1_raw_pixels_moved: Some(0.306),
            ..Summary::default()
        }
    }

    const FEW: FewLabels = FewLabels { per_class: 10, fine_tuned: 0.712, from_scratch: 0.636 };

    #[test]
    fn a_table_has_a_row_each_and_fits_a_terminal() {
        let table = summary().table(Some(FEW));
        let cells: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(cells[2], ["trained", "69.0", "63.3", "74.5", "77.0", "71.2"]);
        assert_eq!(cells[3], ["random init", "28.9", "30.4", "55.8", "62.2", "63.6"]);
        assert_eq!(cells[4], ["raw pixels", "38.5", "30.6", "72.8", "85.3", "-"]);
        assert_eq!(cells[5], ["normalised pixels", "46.4", "as raw", "78.5", "as raw", "-"]);
        assert_eq!(cells.len(), 6);
        assert!(table.lines().all(|line| line.len() < 80), "{table}");
        assert!(!summary().table(None).contains("labels"));

        // A run ended early has not been measured; one of an earlier version has no moved images.
        assert!(!Summary { knn_top1: None, ..summary() }.table(None).contains("trained"));
        let old = Summary { knn_top1: Some(0.745), ..Summary::default() };
        let row = old.table(None).lines().nth(2).map(str::to_owned).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["trained", "-", "-", "74.5", "-"]);
        assert_eq!(old.conclusion(Some(FEW)), "");
    }

    #[test]
    fn what_is_claimed_holds() {
        const LEARNED: &str = "it has learned to look past position";
        let text = summary().conclusion(Some(FEW));
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
        let text = text.replace('\n', " ");
        let costs = "costs the trained encoder 5.5 points by kNN and normalised pixels 32.1; it keeps 69.0 %, the best of the \
                     others 46.4 %";
        assert!(text.contains(costs), "{text}");
        assert!(
            text.contains(LEARNED) && text.contains("71.2 %") && text.contains("worth the difference"),
            "{text}"
        );

        let moved = |knn: f64| Summary { knn_top1_moved: Some(knn), ..summary() };
        let not_shown = [
            moved(0.475),                                                   // falls more than half as far
            Summary { knn_top1: Some(0.48), ..moved(0.475) },               // no clear lead
            Summary { knn_top1_random_init_moved: Some(0.7), ..summary() }, // had it before training
            Summary { knn_top1_normalized_pixels: 0.47, ..summary() },      // pixels do not mind either
            Summary { test_images: Some(10), ..summary() },                 // too few images to tell
            moved(f64::NAN),
        ];
        for summary in not_shown {
            let text = summary.conclusion(None);
            assert!(text.contains("does not show") && !text.contains(LEARNED), "{text}");
        }
        let even = FewLabels { from_scratch: 0.71, ..FEW };
        assert!(summary().conclusion(Some(even)).ends_with("no clear gain."));
        assert!(!summary().conclusion(None).contains("labels"));
    }
}
