//! Pooling over NHWC images.

/// Sizes of a pooling.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Images.
    pub n: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels.
    pub c: usize,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Stride along height and width.
    pub stride: [usize; 2],
    /// Padding along height and width.
    pub padding: [usize; 2],
}

impl Pool {
    /// Height and width of the output: `(size + 2 padding - kernel) / stride + 1`, rounded down.
    #[must_use]
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|a| (self.input[a] + 2 * self.padding[a] - self.kernel[a]) / self.stride[a] + 1)
    }

    /// For each output in order, the flat indices of the inputs in its window, row by row.
    fn windows(&self) -> Vec<Vec<usize>> {
        let ([h, w], [oh, ow]) = (self.input, self.output());
        let axis = |o: usize, a: usize, size: usize| {
            let start = o * self.stride[a];
            let inside = move |&i: &usize| i >= self.padding[a] && i - self.padding[a] < size;
            (start..start + self.kernel[a]).filter(inside).map(move |i| i - self.padding[a])
        };
        let mut windows = vec![];
        for n in 0..self.n {
            for oy in 0..oh {
                for ox in 0..ow {
                    for c in 0..self.c {
                        let rows = axis(oy, 0, h);
                        let at = |iy, ix| ((n * h + iy) * w + ix) * self.c + c;
                        windows.push(rows.flat_map(|iy| axis(ox, 1, w).map(move |ix| at(iy, ix))).collect());
                    }
                }
            }
        }
        windows
    }
}

/// Maximum of each window; padding never wins, NaN does.
#[must_use]
pub fn max_pool2d(x: &[f64], pool: &Pool) -> Vec<f64> {
    pool.windows().iter().map(|window| x[first_maximum(x, window)]).collect()
}

/// Gradient of [`max_pool2d`]: `dy` goes to the first maximum of its window.
#[must_use]
pub fn max_pool2d_backward(x: &[f64], dy: &[f64], pool: &Pool) -> Vec<f64> {
    let mut dx = vec![0.0; x.len()];
    for (window, dy) in pool.windows().iter().zip(dy) {
        dx[first_maximum(x, window)] += dy;
    }
    dx
}

fn first_maximum(x: &[f64], window: &[usize]) -> usize {
    window
        .iter()
        .copied()
        .reduce(|best, i| if x[i] > x[best] || (x[i].is_nan() && !x[best].is_nan()) { i } else { best })
        .expect("no window is empty")
}

/// Sum of each window divided by its full size: padding counts as zeros.
#[must_use]
pub fn avg_pool2d(x: &[f64], pool: &Pool) -> Vec<f64> {
    let size = (pool.kernel[0] * pool.kernel[1]) as f64;
    pool.windows().iter().map(|window| window.iter().map(|&i| x[i]).sum::<f64>() / size).collect()
}

/// Gradient of [`avg_pool2d`].
#[must_use]
pub fn avg_pool2d_backward(dy: &[f64], pool: &Pool) -> Vec<f64> {
    let size = (pool.kernel[0] * pool.kernel[1]) as f64;
    let mut dx = vec![0.0; pool.n * pool.input[0] * pool.input[1] * pool.c];
    for (window, dy) in pool.windows().iter().zip(dy) {
        for &i in window {
            dx[i] += dy / size;
        }
    }
    dx
}

/// Mean over height and width: `[N, H, W, C]` to `[N, C]`.
#[must_use]
pub fn global_avg_pool(x: &[f64], n: usize, input: [usize; 2], c: usize) -> Vec<f64> {
    avg_pool2d(x, &global(n, input, c))
}

/// Gradient of [`global_avg_pool`].
#[must_use]
pub fn global_avg_pool_backward(dy: &[f64], n: usize, input: [usize; 2], c: usize) -> Vec<f64> {
    avg_pool2d_backward(dy, &global(n, input, c))
}

fn global(n: usize, input: [usize; 2], c: usize) -> Pool {
    Pool { n, input, c, kernel: input, stride: [1, 1], padding: [0, 0] }
}
