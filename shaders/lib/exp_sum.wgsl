// Maximum and sum e^((x - max) / tau) of a row in one pass: a new maximum scales the sum so far (Milakov and Gimelshein 2018,
// arXiv:1805.02867, algorithm 3). Of e^(old - new) and e^(x - new) one is always e^0, so that an element costs one
// exponential. The sum is NaN if an element is, whatever the driver's exp and max do. The kernel file declares `p.inv_tau`, and
// names `lane` and `row` too.

// distance: of the elements from the maxima before them, added up: at most infinite, unless an element is NaN.
struct ExpSum { peak: Lane, sum: Lane, distance: Lane }

fn exp_sum() -> ExpSum { return ExpSum(Lane(-3.4e38), Lane(), Lane()); }

fn exp_sum_add(s: ExpSum, v: Lane) -> ExpSum {
    let distance = abs(v - s.peak);
    let e = exp(-distance * p.inv_tau);
    return ExpSum(max(s.peak, v), select(s.sum + e, s.sum * e + 1.0, v > s.peak), s.distance + distance);
}

// The same if `take`, without a branch. If not, v is an element of the same row all the same, or the row is past the last.
fn exp_sum_add_if(take: bool, s: ExpSum, v: Lane) -> ExpSum {
    let sum = exp_sum_add(s, v);
    return ExpSum(select(s.peak, sum.peak, take), select(s.sum, sum.sum, take), sum.distance);
}

// Both numbers of the row. All invocations of the workgroup must call it.
fn exp_sum_row(s: ExpSum, lid: u32) -> vec2f {
    let peak = row_max(lane_max(s.peak), lid);
    let sum = s.sum * exp((s.peak - peak) * p.inv_tau);
    let is_nan = (bitcast<Bits>(s.distance) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
    let part = lane_sum(select(sum, s.distance, is_nan));
    return vec2f(peak, row_sum(vec2f(part), lid).x);
}
