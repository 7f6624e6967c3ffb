//! lars.
