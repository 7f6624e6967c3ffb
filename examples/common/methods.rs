//! Every method by name, as its example runs it.

use wgrad::train::{Flags, Summary};

/// A program that trains by a method.
pub(crate) type Train = fn(&Flags) -> wgrad::Result<Summary>;

/// The examples as modules, whose `main` is not called, and their table.
macro_rules! methods {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(
            #[path = $file]
            #[expect(dead_code, reason = "its main is not called")]
            mod $name;
        )+
        /// Every method: its name and its program.
        pub(crate) const METHODS: &[(&str, Train)] = &[$((stringify!($name), $name::$name)),+];
    };
}

/// The list: hands every method to a macro, here and in tests.
macro_rules! each_method {
    ($to:ident) => {
        $to! {
            simclr = "../simclr.rs",
            instance_discrimination = "../instance_discrimination.rs",
            moco = "../moco.rs",
            simsiam = "../simsiam.rs",
            byol = "../byol.rs",
            vicreg = "../vicreg.rs",
            barlow_twins = "../barlow_twins.rs",
            dino = "../dino.rs",
            swav = "../swav.rs",
            nnclr = "../nnclr.rs",
            supcon = "../supcon.rs",
        }
    };
}

each_method!(methods);
