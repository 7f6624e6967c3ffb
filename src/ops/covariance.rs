//! covariance.
