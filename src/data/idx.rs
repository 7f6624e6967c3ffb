//! idx.
