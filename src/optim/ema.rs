//! ema.
