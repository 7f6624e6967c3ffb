enable f16;
// Gradient of the logits for a slab of queries, in f16: 2^14 w_ij with w_ij = exp(s_ij - max_i) / sum_i, -miss_i for the positive.
//
// Then dq = W K and dk = W^T Q are products of 11_matrix: three of them a slab instead of the four of two streaming
// passes. A slab is a bounded number of rows, so that memory stays linear. 2^14 keeps probabilities down to 2^-28 normal.
// Traffic: 2 bytes a weight here, and 2 for each of the products.
// lib: grid stage tile matrix

const A_ALONG_K = true;
const B_ALONG_K = true;

struct Uniforms {
    first: u32,     // queries of this slab: first, ... last - 1
    last: u32,
    m: u32,         // keys
    d: u32,         // width of a row, a multiple of 4
    inv_tau: f32,
    plane: u32,     // numbers of a kind in `softmax`
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4<f16>>;     // (last - first, m / 4 rounded up)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;           // (n, d) queries
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;           // (m, d) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;          // (n) the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;          // (n) the key a query aims at
@group(0) @binding(6) var<storage, read> softmax: array<f32>;           // (3, plane): max, 1 / sum, miss; see rows.wgsl

fn load_a(i: u32, l: u32, l1: u32) -> vec4<f16> {
    if i >= p.last || l >= l1 { return vec4<f16>(); }
    return a[(i * p.d + l) / 4u];
}

fn load_b(l: u32, j: u32, l1: u32) -> vec4<f16> {
    if j >= p.m || l >= l1 { return vec4<f16>(); }
    return b[(j * p.d + l) / 4u];
}

// A probability is at most 1: the bound holds the excluded logit, which may lie far above the maximum.
fn use_strip(i0: u32, j0: u32, r: u32, lid: u32) {
    let quads = (p.m + 3u) / 4u;
    for (var e = lid; e < 2u * TILE * C_COLUMNS / 4u; e += WG) {
        let row = e / (C_COLUMNS / 4u);
        let column = e % (C_COLUMNS / 4u) * 4u;
        let i = i0 + strip_row(r, row);
        let j = j0 + strip_column(r, column);
        if i >= p.last || j >= p.m || !strip_has(row, column) { continue; }
        var v = vec4<f16>();
        for (var q = 0u; q < 4u; q++) {
            let s = c_tile[strip_at(row, column + q)] * p.inv_tau;
            let other = exp(min(s - softmax[i], 0.0)) * softmax[p.plane + i];
            let x = select(other, -softmax[2u * p.plane + i], j + q == positive[i]);
            v[q] = f16(select(0.0, 16384.0 * x, j + q < p.m && j + q != excluded[i]));
        }
        w[(i - p.first) * quads + j / 4u] = v;
    }
}

@compute @workgroup_size(WG)
fn contrastive_weights(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let blocks = (p.m + BN - 1u) / BN;
    let group = group_index(at);
    let i0 = p.first + group / blocks * BM;
    // A workgroup past the work, which folding the grid may add, sums and writes nothing.
    product(i0, group % blocks * BN, 0u, select(0u, p.d, i0 < p.last), lid, subgroup, subgroups);
}
