//! autograd.
