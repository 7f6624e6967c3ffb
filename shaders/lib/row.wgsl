// A row of numbers shared by LANES neighbouring invocations, which walk it side by side: invocation `lane` takes
// elements (or cells of four, `lib/lane_4.wgsl`) lane, lane + LANES, ... A workgroup holds WG / LANES rows.
// The kernel file declares `override WG` and `override LANES`, a power of two that divides WG.
// The sum and the maximum over a row's lanes are in sums_memory.wgsl and sums_shuffle.wgsl.

struct Row {
    index: u32,
    lane: u32,
    begin: u32,      // this lane's first element in the tensor
    end: u32,        // one past the row's last; equal to `begin` where `live` is false
    live: bool,      // false past the last row: such lanes still reach every barrier
}

fn row_of(group: u32, lid: u32, rows: u32, c: u32) -> Row {
    let lane = lid % LANES;
    let index = group * (WG / LANES) + lid / LANES;
    if index >= rows { return Row(index, lane, 0u, 0u, false); }
    return Row(index, lane, index * c + lane, index * c + c, true);
}
