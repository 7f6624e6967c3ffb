//! nt_xent.
