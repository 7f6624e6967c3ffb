// The k largest of each row, in falling order. Ties go to the lower index; NaN counts as larger than all numbers, as in
// PyTorch.
//
// `topk_find` makes step j = 0, 1, ...: the largest among the elements that come after choice j - 1. A row is cut in
// chunks that search side by side; each leaves its find, and whoever needs a choice takes the best over the chunks. A row
// of one chunk can do many steps in one launch. `topk_collect` writes the choices out.
//
// Elements are compared by integer keys that order as the floats do, so NaN needs no float comparison.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { rows: u32, cols: u32, k: u32, chunks: u32, chunk: u32, step: u32, steps: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> found: array<vec2u>;  // (k, rows, chunks) of (key, index)
@group(0) @binding(2) var<storage, read> x: array<Elem>;             // (rows, cols)

@group(0) @binding(1) var<storage, read_write> values: array<Elem>;  // (rows, k)
@group(0) @binding(2) var<storage, read_write> indices: array<u32>;  // (rows, k)
@group(0) @binding(3) var<storage, read> finds: array<vec2u>;        // as found
@group(0) @binding(4) var<storage, read> row_data: array<Elem>;      // as x

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;      // (rows, cols), zeroed
@group(0) @binding(2) var<storage, read> chosen: array<u32>;         // (rows, k)
@group(0) @binding(3) var<storage, read> dy: array<Elem>;            // (rows, k)

fn index(at: At, lid: u32) -> u32 { return item_index(at, lid, WG); }

const NAN_KEY: u32 = 0xfffffffeu;

// Rises with v: positive numbers have their sign bit set, negative ones all bits flipped. -0 and 0 are equal.
fn key(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u { return NAN_KEY; }
    if magnitude == 0u { return 0x80000000u; }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// One invocation: one chunk of one row, steps step..step + steps.
@compute @workgroup_size(WG)
fn topk_find(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    let row = i / p.chunks;
    if row >= p.rows { return; }
    let begin = i % p.chunks * p.chunk;
    let end = min(begin + p.chunk, p.cols);
    for (var j = p.step; j < p.step + p.steps; j++) {
        var last = vec2u(0xffffffffu, 0u); // above every key, for the first step
        if j > 0u {
            last = vec2u(0u);
            for (var c = 0u; c < p.chunks; c++) {
                let find = found[((j - 1u) * p.rows + row) * p.chunks + c];
                if find.x > last.x { last = find; }
            }
        }
        var best = vec2u(0u); // below every key: nothing left in this chunk
        for (var c = begin; c < end; c++) {
            let k = key(f32(x[row * p.cols + c]));
            let after_last = k < last.x || (k == last.x && c > last.y);
            if after_last && k > best.x { best = vec2u(k, c); }
        }
        found[j * p.rows * p.chunks + i] = best;
    }
}

// One invocation: one choice of one row.
@compute @workgroup_size(WG)
fn topk_collect(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.rows * p.k { return; }
    let row = i / p.k;
    var best = vec2u(0u);
    for (var c = 0u; c < p.chunks; c++) {
        let find = finds[(i % p.k * p.rows + row) * p.chunks + c];
        if find.x > best.x { best = find; }
    }
    values[i] = row_data[row * p.cols + best.y];
    indices[i] = best.y;
}

// One invocation: one choice. A row's choices differ, so no two invocations write the same place.
@compute @workgroup_size(WG)
fn topk_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.rows * p.k { return; }
    dx[i / p.k * p.cols + chosen[i]] = dy[i];
}
