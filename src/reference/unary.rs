//! unary.
