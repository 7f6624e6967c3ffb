//! f32 products from f16 parts: the specification of `shaders/matmul/12_split_f32.wgsl` (Ootomo & Yokota, "Recovering single
//! precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022).
//!
//! A row of A, and a column of B, is scaled by a power of two and written as `hi + lo / 2^11`, both f16. Three products of
//! f16 matrices then make one of f32.
//!
//! # Error
//! `hi + lo / 2^11` is within `2^-23` of an element, relative to itself (f32: `2^-24`), and the dropped product `lo lo` is
//! at most `2^-22` of the whole: with the rounding of the sum, `|C - C64| / (|A||B|)` is within twice that of f32.
//!
//! That holds for rows of A and columns of B of any scale, and within one for elements down to `2^-27` of the largest:
//! its scale puts the largest into `[2^14, 2^15)`. Below, parts are denormal numbers of f16 and an element is off by up
//! to `2^-50` of the *largest*: by `2^-10` of itself where it is `2^-40` of the largest, and it is lost at `2^-50`. It matters
//! where the other operand is large where this one is small. A matrix unit that takes denormal operands for zero puts
//! `2^-28` for `2^-50`.

/// The f16 nearest to `x`, a tie going away from zero, for `|x|` under 65,520.
///
/// By its bits, as the kernel must: compilers take `x - f32(f16(x))` and `(x + s) - s` for roundings that they may leave out.
#[must_use]
pub fn round_f16(x: f32) -> f32 {
    let exponent = x.to_bits() >> 23 & 255;
    if exponent < 127 - 24 {
        return 0.0;
    }
    if exponent == 255 {
        return x;
    }
    // f16 has 13 bits less, and one less for every power of two below 2^-14, its least normal number.
    let drop = 13 + 113 - exponent.min(113);
    f32::from_bits(((x.to_bits() + (1 << (drop - 1))) >> drop) << drop)
}

/// `2^n`, for n in [-126, 127].
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// `x 2^n`; the factor itself may be out of range.
fn scale(x: f32, n: i32) -> f32 {
    x * power((n / 2).clamp(-126, 127)) * power((n - n / 2).clamp(-126, 127))
}

/// The exponent e that brings the largest of `row` to `[2^14, 2^15)` when divided by `2^e`.
#[must_use]
pub fn exponent(row: impl IntoIterator<Item = f32>) -> i32 {
    let most = row.into_iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
    ((most >> 23).clamp(1, 254)) as i32 - 127 - 14
}

/// `(hi, lo)` with `x = 2^e (hi + lo / 2^11)` as nearly as two f16 can say.
#[must_use]
pub fn split(x: f32, e: i32) -> (f32, f32) {
    let x = scale(x, -e);
    let hi = round_f16(x);
    (hi, round_f16((x - hi) * 2048.0))
}

/// A B as the kernel makes it, for A `(m, k)` and B `(k, n)`: a matrix unit's product of `tile` elements starts from zero and
/// is added in f32; the small terms are added one after another.
#[must_use]
pub fn matmul(a: &[f32], b: &[f32], [m, n, k]: [usize; 3], tile: usize) -> Vec<f32> {
    let ea: Vec<i32> = (0..m).map(|i| exponent(a[i * k..][..k].iter().copied())).collect();
    let eb: Vec<i32> = (0..n).map(|j| exponent((0..k).map(|l| b[l * n + j]))).collect();
    let a: Vec<(f32, f32)> = (0..m * k).map(|at| split(a[at], ea[at / k])).collect();
    let b: Vec<(f32, f32)> = (0..k * n).map(|at| split(b[at], eb[at % n])).collect();
    let element = |i: usize, j: usize| {
        let (mut large, mut small) = (0.0, 0.0);
        for l0 in (0..k).step_by(tile) {
            let mut product = 0.0;
            for l in l0..(l0 + tile).min(k) {
                let ((a, a_lo), (b, b_lo)) = (a[i * k + l], b[l * n + j]);
                product += a * b;
                small += a * b_lo;
                small += a_lo * b;
            }
            large += product;
        }
        scale(large + small / 2048.0, ea[i] + eb[j])
    };
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}
