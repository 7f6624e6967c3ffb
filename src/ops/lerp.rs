//! lerp.
