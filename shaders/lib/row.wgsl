// A row of numbers shared by LANES neighbouring invocations, which walk it side by side: invocation `lane` takes
// elements lane, lane + LANES, ... A workgroup holds WG / LANES rows.
// The kernel file declares `override WG` and `override LANES`, a power of two that divides WG.

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

var<workgroup> row_scratch: array<vec2f, WG>;

// Sum over the row's lanes, in a fixed tree; every lane gets it. All invocations of the workgroup must call it.
fn row_sum(v: vec2f, lid: u32) -> vec2f {
    if LANES == 1u { return v; }
    row_scratch[lid] = v;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lid % LANES < half { row_scratch[lid] += row_scratch[lid + half]; }
        workgroupBarrier();
    }
    let sum = row_scratch[lid - lid % LANES];
    workgroupBarrier();
    return sum;
}

// Maximum over the row's lanes.
fn row_max(v: f32, lid: u32) -> f32 {
    if LANES == 1u { return v; }
    row_scratch[lid].x = v;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lid % LANES < half { row_scratch[lid].x = max(row_scratch[lid].x, row_scratch[lid + half].x); }
        workgroupBarrier();
    }
    let top = row_scratch[lid - lid % LANES].x;
    workgroupBarrier();
    return top;
}
