//! conv.
