//! linear_probe.
