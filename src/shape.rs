//! Dimensions and broadcasting: pure arithmetic, no GPU.

use std::fmt;
use std::ops::Deref;

/// The highest rank a tensor can have.
pub const MAX_RANK: usize = 6;

/// Dimensions of a tensor, row-major; rank 0 (`[]`) is a scalar with one element.
///
/// Derefs to `[usize]`, is made from arrays, slices and vectors, and compares with them: `assert_eq!(*t.shape(), [2, 3])`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape of these dimensions.
    ///
    /// # Panics
    /// If there are more than [`MAX_RANK`] of them.
    #[track_caller]
    #[must_use]
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "shape {dims:?} has rank {} > {MAX_RANK}", dims.len());
        let mut all = [0; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Self { dims: all, rank: dims.len() }
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements, saturating at `usize::MAX` (a size no tensor can have).
    #[must_use]
    pub fn elements(&self) -> usize {
        self.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// Row-major strides in elements.
    #[must_use]
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank];
        for i in (1..self.rank).rev() {
            strides[i - 1] = strides[i] * self.dims[i];
        }
        strides
    }

    /// The shape both broadcast to by NumPy's rule (aligned at the last axis; 1 stretches), if there is one.
    #[must_use]
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank.max(other.rank);
        let mut dims = [0; MAX_RANK];
        for (i, dim) in dims[..rank].iter_mut().enumerate() {
            let at = |s: &Shape| (i + s.rank).checked_sub(rank).map_or(1, |j| s.dims[j]);
            *dim = match (at(self), at(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(Shape { dims, rank })
    }

    /// Strides of `self` inside `target`: 0 where it is stretched, left-padded to the rank of `target`.
    ///
    /// # Panics
    /// If `self` does not broadcast to `target`.
    #[must_use]
    pub fn broadcast_strides(&self, target: &Shape) -> Vec<usize> {
        assert_eq!(self.broadcast(target).as_ref(), Some(target), "{self} does not broadcast to {target}");
        let own = self.strides();
        let pad = target.rank - self.rank;
        (0..target.rank).map(|i| if i < pad || self.dims[i - pad] == 1 { 0 } else { own[i - pad] }).collect()
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

impl From<Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: Vec<usize>) -> Self {
        Self::new(&dims)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        *shape
    }
}

macro_rules! compares_with {
    ($($other:ty $(, $n:ident)?);+ $(;)?) => {$(
        impl$(<const $n: usize>)? PartialEq<$other> for Shape {
            fn eq(&self, other: &$other) -> bool {
                **self == other[..]
            }
        }
        impl$(<const $n: usize>)? PartialEq<Shape> for $other {
            fn eq(&self, other: &Shape) -> bool {
                self[..] == **other
            }
        }
    )+};
}
compares_with! { [usize; N], N; &[usize; N], N; [usize]; &[usize]; Vec<usize> }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let s = |d: &[usize]| Shape::new(d);
        assert_eq!(s(&[3, 1]).broadcast(&s(&[4])), Some(s(&[3, 4])));
        assert_eq!(s(&[]).broadcast(&s(&[2, 5])), Some(s(&[2, 5])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
        assert_eq!(s(&[1, 4]).broadcast_strides(&s(&[2, 3, 4])), [0, 0, 1]);
        assert_eq!(s(&[2, 3, 4]).strides(), [12, 4, 1]);
        assert_eq!(s(&[]).elements(), 1);
        assert_eq!(s(&[0, 7]).elements(), 0);
    }

    #[test]
    fn a_shape_compares_with_what_it_is_made_from() {
        let (shape, dims) = (Shape::new(&[2, 3]), vec![2, 3]);
        assert_eq!(shape, [2, 3]);
        assert_eq!([2, 3], shape);
        assert_eq!(shape, &[2, 3]);
        assert_eq!(&[2, 3], shape);
        assert_eq!(shape, dims);
        assert_eq!(dims, shape);
        assert_eq!(shape, dims[..]);
        assert_eq!(dims[..], shape);
        assert_eq!(shape, dims.as_slice());
        assert_eq!(dims.as_slice(), shape);
        assert_ne!(shape, [3, 2]);
        assert_ne!(shape, [2, 3, 1]);
        assert_ne!([2], shape);
        assert_eq!(Shape::new(&[]), [0_usize; 0]);
    }
}
