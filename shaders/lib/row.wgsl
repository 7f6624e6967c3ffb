// A row of numbers shared by LANES neighbouring invocations, which walk it side by side: invocation `lane` takes
// elements (or cells of four, `lib/lane_4.wgsl`) lane, lane + LANES, ... A workgroup holds WG / LANES rows.
// The kernel file declares `override WG` and `override LANES`, a power of two that divides WG.
// A lane keeps its first KEEP elements or cells in an array of HELD, which compilers put in registers, from the first pass over the
// row to the last. Those after them are read again in each pass. It loads them all before it needs the first, without a branch on
// the way to the sums, into which a compiler would move each load: past the row's end it loads the last one again.
// The sum and the maximum over a row's lanes are in sums_memory.wgsl and sums_shuffle.wgsl.

struct Row {
    index: u32,
    lane: u32,
    begin: u32,      // this lane's first element in the tensor
    end: u32,        // one past the row's last; equal to `begin` where `live` is false
    live: bool,      // false past the last row: such lanes still reach every barrier
}

const HELD: u32 = 8;
override KEEP: u32 = 0; // at most HELD; 0 on CPU adapters, where a cache is as near as the stack such an array would lie on

// Whether the row has an element or cell for place n of the array; which one to load for it; and the first without a place.
fn has(row: Row, n: u32) -> bool { return row.begin + n * LANES < row.end; }
fn nth(row: Row, n: u32) -> u32 { return min(row.begin + n * LANES, max(row.end, 1u) - 1u); }
fn rest(row: Row) -> u32 { return row.begin + KEEP * LANES; }

fn row_of(group: u32, lid: u32, rows: u32, c: u32) -> Row {
    let lane = lid % LANES;
    let index = group * (WG / LANES) + lid / LANES;
    if index >= rows { return Row(index, lane, 0u, 0u, false); }
    return Row(index, lane, index * c + lane, index * c + c, true);
}
