//! readback.
