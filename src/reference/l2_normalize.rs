//! l2_normalize.
