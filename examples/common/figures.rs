//! Every figure by name, as its example draws it, with its text: the head of its file.

use wgrad::Result;
use wgrad::train::figure::{Args, Figure};

/// Draws a figure.
pub(crate) type Draw = fn(&Args) -> Result<Figure>;

/// The examples as modules, whose `main` is not called, and their table.
macro_rules! figures {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(
            #[path = $file]
            #[expect(dead_code, reason = "its main is not called")]
            mod $name;
        )+
        /// Every figure that needs no training: its name, its program, its source.
        pub(crate) const EXACT: &[(&str, Draw, &str)] =
            &[$((stringify!($name), $name::$name, include_str!($file))),+];
    };
}

figures! {
    mi_bound = "../figure_mi_bound.rs",
    mi_bias = "../figure_mi_bias.rs",
    instance_classifier = "../figure_instance_classifier.rs",
    dot_cosine = "../figure_dot_cosine.rs",
    temperature = "../figure_temperature.rs",
    ema_window = "../figure_ema_window.rs",
}
