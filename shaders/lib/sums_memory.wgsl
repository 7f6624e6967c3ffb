// Sum and maximum over the lanes of a row (row.wgsl) by way of workgroup memory. A lane that has a row alone needs neither.

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
