//! The segment table: which range of a model's flat buffer is which tensor.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Floats that the segment table has one entry for.
pub(super) const BLOCK: usize = 64;
/// A segment starts at a multiple of this many floats: 256 bytes, the strictest binding alignment in use, of their f16 copy.
pub(super) const ALIGN: usize = 2 * BLOCK;
/// Longest piece of a segment that one workgroup sums in a norm, in floats.
const CHUNK: usize = 4096;

/// A trained parameter of a [`Params`](crate::nn::Params).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParamId(pub(super) usize);

/// A buffer (a running statistic) of a [`Params`](crate::nn::Params).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(pub(super) usize);

/// How a tensor is laid out in a file, against how it is laid out here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLayout {
    /// The same in both.
    Same,
    /// Here `[in, out]`, in files `[out, in]`.
    Linear,
    /// Here `[kh, kw, in, out]`, in files `[out, in, kh, kw]`.
    Conv,
}

impl FileLayout {
    /// For each axis of the file's tensor, its axis here.
    fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Self::Same => (0..rank).collect(),
            Self::Linear => vec![1, 0],
            Self::Conv => vec![3, 2, 0, 1],
        }
    }

    /// The shape a file has for a tensor of `shape`.
    #[must_use]
    pub fn file_shape(self, shape: &[usize]) -> Vec<usize> {
        self.axes(shape.len()).into_iter().map(|axis| shape[axis]).collect()
    }

    /// `values` of a tensor of `shape`, in the file's order.
    #[must_use]
    pub fn to_file(self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(values.len());
        self.visit(shape, |here| out.push(values[here]));
        out
    }

    /// The inverse of [`to_file`](Self::to_file).
    #[must_use]
    pub fn from_file(self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; values.len()];
        let mut next = values.iter();
        self.visit(shape, |here| out[here] = *next.next().expect("values and shape have one length"));
        out
    }

    /// Calls `f` with the flat index here, in the order of the file.
    fn visit(self, shape: &[usize], mut f: impl FnMut(usize)) {
        let strides = Shape::from(shape).strides();
        let axes = self.axes(shape.len());
        let total: usize = shape.iter().product();
        let mut index = vec![0; shape.len()];
        for _ in 0..total {
            f(axes.iter().zip(&index).map(|(&axis, &i)| strides[axis] * i).sum());
            for (place, &axis) in axes.iter().enumerate().rev() {
                index[place] += 1;
                if index[place] < shape[axis] {
                    break;
                }
                index[place] = 0;
            }
        }
    }
}

/// One tensor of a flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Name in files, as torchvision names it.
    pub name: String,
    /// First element in the flat buffer, a multiple of 128.
    pub offset: usize,
    /// Shape here.
    pub shape: Shape,
    /// How files lay it out.
    pub layout: FileLayout,
}

impl Segment {
    /// Elements, padding not counted.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a tensor's size; an empty one is not registered")]
    pub fn len(&self) -> usize {
        self.shape.elements()
    }

    /// The range of the flat buffer that holds it.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// Elements with the padding up to the next segment.
    pub(super) fn padded(&self) -> usize {
        self.len().next_multiple_of(ALIGN)
    }
}

/// The segment table as the kernels of [`optim`](crate::optim) read it.
#[derive(Debug, Clone)]
pub struct SegmentTable {
    /// `[flat / 64]` u32: the segment of each 64-float block.
    pub block_segment: Tensor,
    /// `[chunks, 4]` u32: first vec4, number of vec4s, segment, 0. A chunk lies in one segment and has at most 1024 vec4s.
    pub chunks: Tensor,
    /// `[segments, 2]` u32: first chunk, number of chunks.
    pub ranges: Tensor,
    /// `[1, 2]` u32: 0 and the number of chunks, the whole model as one range.
    pub all: Tensor,
    /// `[4]` of zeros: the guard of a step that no loss scaler watches.
    pub unguarded: Tensor,
}

impl SegmentTable {
    pub(super) fn new(gpu: &Gpu, segments: &[Segment]) -> Result<Self> {
        let (mut blocks, mut chunks, mut ranges) = (vec![], vec![], vec![]);
        for (s, segment) in segments.iter().enumerate() {
            let (s, padded) = (s as u32, segment.padded());
            blocks.resize(blocks.len() + padded / BLOCK, s);
            let first = chunks.len();
            for start in (0..padded).step_by(CHUNK) {
                let length = CHUNK.min(padded - start);
                chunks.push([(segment.offset + start) as u32 / 4, length as u32 / 4, s, 0]);
            }
            ranges.push([first as u32, (chunks.len() - first) as u32]);
        }
        Ok(Self {
            block_segment: gpu.tensor_u32(&blocks, [blocks.len()])?,
            chunks: gpu.tensor_u32(chunks.as_flattened(), [chunks.len(), 4])?,
            ranges: gpu.tensor_u32(ranges.as_flattened(), [ranges.len(), 2])?,
            all: gpu.tensor_u32(&[0, chunks.len() as u32], [1, 2])?,
            unguarded: gpu.zeros([4])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::FileLayout;

    #[test]
    fn layouts_go_there_and_back() {
        // HWIO [1, 2, 3, 4] to OIHW [4, 3, 1, 2]: element (o, i, 0, w) is here at w * 12 + i * 4 + o.
        let here: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let shape = [1, 2, 3, 4];
        let file = FileLayout::Conv.to_file(&shape, &here);
        assert_eq!(FileLayout::Conv.file_shape(&shape), [4, 3, 1, 2]);
        assert_eq!(file[..4], [0.0, 12.0, 4.0, 16.0]);
        assert_eq!(FileLayout::Conv.from_file(&shape, &file), here);
        assert_eq!(FileLayout::Linear.to_file(&[2, 3], &here[..6]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(FileLayout::Same.to_file(&[24], &here), here);
    }
}
