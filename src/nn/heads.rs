//! heads.
