// Columns of x [m, c] cut into strips of rows: one invocation walks one column of one strip, its neighbours the
// neighbouring columns, so that rows are read contiguously whatever c is.
// Interleaved (GPUs): strip s takes rows s, s + strips, ...; the launch reads one dense window after another.
// Otherwise (CPUs): strip s takes a run of ceil(m / strips) rows, which stays in a core's cache.

struct Strip {
    at: u32,         // first element
    stride: u32,     // from one element to the next
    count: u32,      // number of elements
}

fn strip_count(s: u32, strips: u32, m: u32, interleaved: u32) -> u32 {
    if interleaved == 1u { return (m - s + strips - 1u) / strips; }
    let run = (m + strips - 1u) / strips;
    return min(run, m - min(s * run, m));
}

fn strip_of(s: u32, col: u32, strips: u32, m: u32, c: u32, interleaved: u32) -> Strip {
    let count = strip_count(s, strips, m, interleaved);
    if interleaved == 1u { return Strip(s * c + col, strips * c, count); }
    return Strip(s * ((m + strips - 1u) / strips) * c + col, c, count);
}
