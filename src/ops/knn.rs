//! knn.
