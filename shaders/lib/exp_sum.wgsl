// Maximum and sum e^((x - max) / tau) of a row in one pass: a new maximum scales the sum so far (Milakov and Gimelshein 2018,
// arXiv:1805.02867, algorithm 3). Of e^(old - new) and e^(x - new) one is always e^0, so that an element costs one
// exponential. The kernel file declares `p.inv_tau`, and names `lane` and `row` too.

struct ExpSum { peak: Lane, sum: Lane }

fn exp_sum_add(s: ExpSum, v: Lane) -> ExpSum {
    let e = exp(-abs(v - s.peak) * p.inv_tau);
    return ExpSum(max(s.peak, v), select(s.sum + e, s.sum * e + 1.0, v > s.peak));
}

// The same if `take`, without a branch.
fn exp_sum_add_if(take: bool, s: ExpSum, v: Lane) -> ExpSum {
    let sum = exp_sum_add(s, v);
    return ExpSum(select(s.peak, sum.peak, take), select(s.sum, sum.sum, take));
}

// Both numbers of the row. All invocations of the workgroup must call it.
fn exp_sum_row(s: ExpSum, lid: u32) -> vec2f {
    let peak = row_max(lane_max(s.peak), lid);
    let part = lane_sum(s.sum * exp((s.peak - peak) * p.inv_tau));
    return vec2f(peak, row_sum(vec2f(part), lid).x);
}
