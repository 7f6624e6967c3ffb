//! Self-supervised losses.

mod info_nce;
mod nt_xent;
