enable f16;
// Gradient of the logits for a slab of queries, in f16: 2^14 w_ij with w_ij = exp(s_ij - max_i) / sum_i, -miss_i for the positive.
//
// Then dq = W K and dk = W^T Q are products of 11_matrix: three of them a slab instead of the four of two streaming
// passes. A slab is a bounded number of rows, so that memory stays linear. 2^14 keeps probabilities down to 2^-28 normal.
// Traffic: 2 bytes a weight here, and 2 for each of the products.
//
// In products of N x N x d, 2 N N d operations each, forward and backward cost 1 + 3. Of rows against themselves (BOTH) s is
// symmetric, and one weight w_ij + w_ji stands for (i, j) and (j, i). A slab then takes the columns from its own first row on, so
// that all slabs together have half the weights, and each weight is used twice, for its row and for its column: 1 + 1.5, and a
// little more for the squares of the slabs on the diagonal.
// lib: grid stage tile matrix logit_matrix

override BOTH: bool = false;    // the keys are the queries

struct Uniforms {
    first: u32,     // queries of this slab: first, ... last - 1
    last: u32,
    start: u32,     // keys start, ... m - 1: all of them, or with BOTH those from `first` on
    m: u32,
    d: u32,         // width of a row, a multiple of 8
    inv_tau: f32,
    plane4: u32,    // vec4s of numbers of a kind in `softmax`
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4<f16>>;     // (last - first, m - start rounded up to 8, by 4)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;           // (n, d) queries
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;           // (m, d) keys
// Of the queries, four at a time: the key each leaves out, the key it aims at, and (3, plane4): max, 1 / sum, miss; see rows.wgsl.
@group(0) @binding(4) var<storage, read> excluded: array<vec4u>;
@group(0) @binding(5) var<storage, read> positive: array<vec4u>;
@group(0) @binding(6) var<storage, read> softmax: array<vec4f>;

fn queries_end() -> u32 { return p.last; }
fn keys_end() -> u32 { return p.m; }
fn row_length() -> u32 { return p.d; }

struct Four { peak: vec4f, inv_sum: vec4f, miss: vec4f, positive: vec4u, excluded: vec4u }

fn load_four(i4: u32) -> Four {
    return Four(softmax[i4], softmax[p.plane4 + i4], softmax[2u * p.plane4 + i4], positive[i4], excluded[i4]);
}

fn repeat(i: u32) -> Four {
    let i4 = i / 4u;
    let r = i % 4u;
    return Four(vec4f(softmax[i4][r]), vec4f(softmax[p.plane4 + i4][r]), vec4f(softmax[2u * p.plane4 + i4][r]),
                vec4u(positive[i4][r]), vec4u(excluded[i4][r]));
}

// A probability is at most 1: the bound holds the excluded logit, which may lie far above the maximum.
fn weight(s: vec4f, key: vec4u, f: Four) -> vec4f {
    let x = exp(min(s - f.peak, vec4f())) * f.inv_sum;
    return select(select(x, -f.miss, key == f.positive), vec4f(), key == f.excluded);
}

// An invocation takes the same four columns of several rows. Those past the last key are 0: they fill the rows of W up.
fn use_strip(r: u32) {
    let quads = (p.m - p.start + 7u) / 8u * 2u;
    let quad = block.lid % STRIP_QUADS;
    let j = block.j0 + strip_column(r, quad);
    if (j - p.start) / 4u >= quads { return; }
    let keys = j + vec4u(0u, 1u, 2u, 3u);
    var streamed = Four();
    if BOTH { streamed = load_four(min(j / 4u, p.plane4 - 1u)); }
    for (var row = block.lid / STRIP_QUADS; row < STRIP_ROWS; row += STRIP_STEP) {
        let i = block.i0 + strip_row(r, row);
        if i >= p.last || !strip_has(row, quad) { continue; }
        let s = strip_at(row, quad) * p.inv_tau;
        var x = weight(s, keys, repeat(i));
        if BOTH { x += weight(s, vec4u(i), streamed); }
        w[(i - p.first) * quads + (j - p.start) / 4u] = vec4<f16>(select(vec4f(), 16384.0 * x, keys < vec4u(p.m)));
    }
}

@compute @workgroup_size(WG)
fn contrastive_weights(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let blocks = (p.m - p.start + BN - 1u) / BN;
    let group = group_index(at);
    let i0 = p.first + group / blocks * BM;
    // A workgroup past the work, which folding the grid may add, sums and writes nothing.
    product(i0, p.start + group % blocks * BN, 0u, select(0u, p.d, i0 < p.last), lid, subgroup, subgroups);
}
