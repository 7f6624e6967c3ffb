//! binary.
