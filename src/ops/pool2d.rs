//! pool2d.
