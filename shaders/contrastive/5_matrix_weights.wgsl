enable f16;
// Gradient of the logits for a slab of queries, in f16: 2^14 w_ij with w_ij = exp(s_ij - lse_i) - [j is positive].
//
// Then dq = W K and dk = W^T Q are products of 11_matrix: three of them a slab instead of the four of two streaming
// passes. A slab is a bounded number of rows, so that memory stays linear. 2^14 keeps probabilities down to 2^-28 normal.
// Traffic: 2 bytes a weight here, and 2 for each of the products.
// lib: grid stage tile matrix nan

const A_ALONG_K = true;
const B_ALONG_K = true;

struct Uniforms {
    first: u32,     // queries of this slab: first, ... last - 1
    last: u32,
    m: u32,         // keys
    d: u32,         // width of a row, a multiple of 8
    inv_tau: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4<f16>>;     // (last - first, m rounded up to 8, by 4)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;           // (n, d) queries
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;           // (m, d) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;          // (n) the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;          // (n) the key a query aims at
@group(0) @binding(6) var<storage, read> lse: array<f32>;               // (n)

fn begin() {}
fn advance() {}
fn end_round() {}

fn load_a(s: u32, q: u32) -> vec4<f16> {
    let at = a_piece(s);
    let inside = block.i0 + at.y < p.last && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), a[select(0u, (block.i0 + at.y) * (p.d / 4u) + block.l / 4u + at.x, inside) + q], inside);
}

fn load_b(s: u32, q: u32) -> vec4<f16> {
    let at = b_piece(s);
    let inside = block.j0 + at.y < p.m && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), b[select(0u, (block.j0 + at.y) * (p.d / 4u) + block.l / 4u + at.x, inside) + q], inside);
}

// A probability is at most 1: the bound holds rounding, and the excluded logit, which may lie far above lse.
// Where a logit of the query is NaN its lse is, and so is `zero`, which `exp` cannot lose.
fn use_strip(r: u32) {
    let quads = (p.m + 7u) / 8u * 2u;
    for (var e = block.lid; e < STRIP_ROWS * STRIP_QUADS; e += WG) {
        let row = e / STRIP_QUADS;
        let quad = e % STRIP_QUADS;
        let i = block.i0 + strip_row(r, row);
        let j = block.j0 + strip_column(r, quad);
        if i >= p.last || j / 4u >= quads || !strip_has(row, quad) { continue; }
        let s = strip_at(row, quad) * p.inv_tau;
        let zero = vec4f(keep_nan_1(lse[i], 0.0));
        let columns = vec4u(j) + vec4u(0u, 1u, 2u, 3u);
        let x = exp(min(s - lse[i], vec4f())) - select(zero, vec4f(1.0) + zero, columns == vec4u(positive[i]));
        let taken = columns < vec4u(p.m) & columns != vec4u(excluded[i]);
        w[(i - p.first) * quads + j / 4u] = vec4<f16>(select(vec4f(), 16384.0 * x, taken));
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
