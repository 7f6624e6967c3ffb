// lse_i = ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau that are never stored, in blocks of 64 x 128 by way of workgroup
// memory. A block reads each of its rows once: a pair of rows costs 2 d operations and 3 d / 32 bytes, 21 operations a byte.
//
// Each lane keeps an online pair (max, sum of exp(s - max)) a row for the keys it sees; the 16 lanes of a row are merged in
// their order when the last part of a chunk is done, so that the cut into dispatches leaves the bits alone.
// lib: grid elem logit_block nan

const BLOCK_KEYS: u32 = 8;
const MASKED: f32 = -3.4e38;

struct Uniforms {
    n: u32,        // queries
    m: u32,        // keys
    d4: u32,       // vec4s in a row
    chunk: u32,    // keys in a chunk: whole blocks
    begin: u32,    // the part of every chunk that this dispatch streams: whole blocks too
    end: u32,
    inv_tau: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;  // (chunks, n): max, sum
@group(0) @binding(2) var<storage, read_write> lanes: array<vec2f>;  // (chunks, 16, n), between the parts of a chunk
@group(0) @binding(3) var<storage, read> a: array<Elem4>;            // (n, d4) queries
@group(0) @binding(4) var<storage, read> b: array<Elem4>;            // (m, d4) keys
@group(0) @binding(5) var<storage, read> excluded: array<u32>;       // (n) the key a query leaves out; m or more: none

// Sums made while every key was masked count ones; the first real maximum multiplies them by exp(-3.4e38 - top) = 0.
fn merge(x: vec2f, y: vec2f) -> vec2f {
    let top = max(x.x, y.x);
    return vec2f(top, x.y * exp(x.x - top) + y.y * exp(y.x - top));
}

// One workgroup: 64 queries against a chunk of the keys, or the part of it that this dispatch is bounded to.
// One invocation: 8 queries against every 16th key.
@compute @workgroup_size(BLOCK_WG)
fn contrastive_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (p.n + BLOCK_ROWS - 1) / BLOCK_ROWS;
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = group % row_groups * BLOCK_ROWS;
    let own = i + lid / 16 * 8;
    let start = chunk * p.chunk + p.begin;
    let chunk_end = min((chunk + 1) * p.chunk, p.m);
    let stop = min(chunk * p.chunk + p.end, chunk_end);

    var o: array<vec2f, 8>;
    for (var r = 0u; r < 8; r++) {
        o[r] = vec2f(MASKED, 0.0);
        if p.begin > 0 && start < stop && own + r < p.n { o[r] = lanes[(chunk * 16 + lid % 16) * p.n + own + r]; }
    }
    for (var j = start; j < stop; j += BLOCK_COLUMNS) {
        let dots = dot_block(i, j, lid);
        for (var r = 0u; r < 8; r++) {
            let out = excluded[min(own + r, p.n - 1)];
            var s: array<f32, BLOCK_KEYS>;
            var top = o[r].x;
            var magnitude = 0u;     // of the largest logit, as bits: those of a NaN are above those of infinity
            for (var q = 0u; q < BLOCK_KEYS; q++) {
                let key = j + lid % 16 + 16 * q;
                s[q] = select(MASKED, dots[r * BLOCK_KEYS + q] * p.inv_tau, key < p.m && key != out);
                top = max(top, s[q]);
                magnitude = max(magnitude, bitcast<u32>(s[q]) & 0x7fffffffu);
            }
            var sum = o[r].y * exp(o[r].x - top);
            for (var q = 0u; q < BLOCK_KEYS; q++) { sum += exp(s[q] - top); }
            o[r] = vec2f(top, keep_nan_1(bitcast<f32>(magnitude), sum));
        }
    }

    let last = start < stop && stop == chunk_end;
    for (var r = 0u; r < 8; r++) {
        if start < stop && !last && own + r < p.n { lanes[(chunk * 16 + lid % 16) * p.n + own + r] = o[r]; }
        block_memory[(lid / 16 * 8 + r) * 16 + lid % 16] = vec4f(o[r], 0, 0);  // (BLOCK_ROWS, 16)
    }
    workgroupBarrier();
    if last && lid < BLOCK_ROWS && i + lid < p.n {
        var row = block_memory[lid * 16].xy;
        for (var lane = 1u; lane < 16; lane++) { row = merge(row, block_memory[lid * 16 + lane].xy); }
        state[chunk * p.n + i + lid] = row;
    }
}
