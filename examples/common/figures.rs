//! Every figure in the order of the page, as its example draws it, with its text: the head of its file.

use wgrad::Result;
use wgrad::train::figure::{Args, Figure};

/// A figure.
pub(crate) struct Entry {
    /// Its name, and that of its files.
    pub(crate) name: &'static str,
    /// Whether it trains a network: then theory says sign and order, else numbers.
    pub(crate) trained: bool,
    /// Its program.
    pub(crate) draw: fn(&Args) -> Result<Figure>,
    /// The source of the program.
    pub(crate) source: &'static str,
}

/// The examples as modules, whose `main` is not called, and a table of them.
macro_rules! figures {
    ($($kind:ident $name:ident = $file:literal,)+) => {
        $(
            #[path = $file]
            #[expect(dead_code, reason = "its main is not called")]
            mod $name;
        )+
        /// All of them.
        pub(crate) const FIGURES: &[Entry] = &[$(Entry {
            name: stringify!($name),
            trained: figures!($kind),
            draw: $name::$name,
            source: include_str!($file),
        }),+];
    };
    (exact) => { false };
    (trained) => { true };
}

figures! {
    exact mi_bound = "../figure_mi_bound.rs",
    exact mi_bias = "../figure_mi_bias.rs",
    trained optimal_score = "../figure_optimal_score.rs",
    exact instance_classifier = "../figure_instance_classifier.rs",
    exact dot_cosine = "../figure_dot_cosine.rs",
    exact temperature = "../figure_temperature.rs",
    trained temperature_training = "../figure_temperature_training.rs",
    trained augmentation = "../figure_augmentation.rs",
    exact ema_window = "../figure_ema_window.rs",
    trained moco_queue = "../figure_moco_queue.rs",
    exact simsiam_stability = "../figure_simsiam_stability.rs",
    trained simsiam_collapse = "../figure_simsiam_collapse.rs",
    trained dino_collapse = "../figure_dino_collapse.rs",
    trained vicreg_balance = "../figure_vicreg_balance.rs",
    trained dna = "../figure_dna.rs",
    trained spectra = "../figure_spectra.rs",
}
