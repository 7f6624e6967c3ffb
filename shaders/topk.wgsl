// The k largest of each row, in falling order, and argmax, the first of them. Ties go to the lower index; NaN counts as
// larger than all numbers, as in PyTorch.
//
// Elements are compared by integer keys that order as the floats do, so NaN needs no float comparison.
// lib: grid elem

override WG: u32 = 64;

struct Params { rows: u32, cols: u32, k: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> values: array<Elem>;  // (rows, k)
@group(0) @binding(2) var<storage, read_write> indices: array<u32>;  // (rows, k)
@group(0) @binding(3) var<storage, read> x: array<Elem>;             // (rows, cols)

@group(0) @binding(1) var<storage, read_write> first: array<u32>;    // (rows)
@group(0) @binding(2) var<storage, read> scores: array<Elem>;        // (rows, cols)

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;      // (rows, cols), zeroed
@group(0) @binding(2) var<storage, read> chosen: array<u32>;         // (rows, k)
@group(0) @binding(3) var<storage, read> dy: array<Elem>;            // (rows, k)

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

fn index(at: At) -> u32 { return item_index(at.wid, at.nwg, at.lid, WG); }

const NAN_KEY: u32 = 0xfffffffeu;

// Rises with v: positive numbers have their sign bit set, negative ones all bits flipped. -0 and 0 are equal.
fn key(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u { return NAN_KEY; }
    if magnitude == 0u { return 0x80000000u; }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// One invocation: one row. Step j takes the largest key among the elements that come after choice j - 1.
@compute @workgroup_size(WG)
fn topk(at: At) {
    let row = index(at);
    if row >= p.rows { return; }
    var last = vec2u(0xffffffffu, 0u); // (key, index) of the last choice; above every key at first
    for (var j = 0u; j < p.k; j++) {
        var best = vec2u(0u);
        for (var c = 0u; c < p.cols; c++) {
            let k = key(f32(x[row * p.cols + c]));
            let after_last = k < last.x || (k == last.x && c > last.y);
            if after_last && k > best.x { best = vec2u(k, c); }
        }
        values[row * p.k + j] = x[row * p.cols + best.y];
        indices[row * p.k + j] = best.y;
        last = best;
    }
}

// One invocation: one row.
@compute @workgroup_size(WG)
fn argmax(at: At) {
    let row = index(at);
    if row >= p.rows { return; }
    var best = vec2u(0u);
    for (var c = 0u; c < p.cols; c++) {
        let k = key(f32(scores[row * p.cols + c]));
        if k > best.x { best = vec2u(k, c); }
    }
    first[row] = best.y;
}

// One invocation: one chosen element. A row's choices differ, so no two invocations write the same place.
@compute @workgroup_size(WG)
fn topk_backward(at: At) {
    let i = index(at);
    if i >= p.rows * p.k { return; }
    dx[i / p.k * p.cols + chosen[i]] = dy[i];
}
