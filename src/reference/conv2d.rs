//! 2-D convolution (cross-correlation, as in PyTorch): images NHWC, weights `[KH, KW, Cin, Cout]`.

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    /// Images.
    pub n: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels of the input.
    pub cin: usize,
    /// Channels of the output.
    pub cout: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride along height and width.
    pub stride: [usize; 2],
    /// Zeros put around the input, along height and width.
    pub padding: [usize; 2],
}

impl Conv {
    /// Height and width of the output: `(size + 2 padding - kernel) / stride + 1`, rounded down.
    #[must_use]
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|a| (self.input[a] + 2 * self.padding[a] - self.kernel[a]) / self.stride[a] + 1)
    }

    /// Calls `f(x, w, y)` with the flat indices of every product `x w` that is added to `y`.
    fn each_product(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ([h, w], [oh, ow], [kh, kw]) = (self.input, self.output(), self.kernel);
        for pixel in 0..self.n * oh * ow {
            let (n, oy, ox) = (pixel / ow / oh, pixel / ow % oh, pixel % ow);
            for tap in 0..kh * kw {
                let (iy, ix) = (oy * self.stride[0] + tap / kw, ox * self.stride[1] + tap % kw);
                let [Some(iy), Some(ix)] = [iy.checked_sub(self.padding[0]), ix.checked_sub(self.padding[1])]
                else {
                    continue;
                };
                if iy >= h || ix >= w {
                    continue;
                }
                for ci in 0..self.cin {
                    for co in 0..self.cout {
                        f(
                            ((n * h + iy) * w + ix) * self.cin + ci,
                            (tap * self.cin + ci) * self.cout + co,
                            pixel * self.cout + co,
                        );
                    }
                }
            }
        }
    }
}

/// `y[n, oy, ox, co] = sum over (ky, kx, ci) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] w[ky, kx, ci, co]`.
#[must_use]
pub fn conv2d(x: &[f64], w: &[f64], conv: &Conv) -> Vec<f64> {
    let [oh, ow] = conv.output();
    let mut y = vec![0.0; conv.n * oh * ow * conv.cout];
    conv.each_product(|i, j, o| y[o] += x[i] * w[j]);
    y
}

/// `(dx, dw)` of [`conv2d`].
#[must_use]
pub fn conv2d_backward(x: &[f64], w: &[f64], dy: &[f64], conv: &Conv) -> (Vec<f64>, Vec<f64>) {
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    conv.each_product(|i, j, o| {
        dx[i] += dy[o] * w[j];
        dw[j] += dy[o] * x[i];
    });
    (dx, dw)
}
