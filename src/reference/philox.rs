//! philox.
