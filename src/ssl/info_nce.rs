//! info_nce.
