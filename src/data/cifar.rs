//! cifar.
