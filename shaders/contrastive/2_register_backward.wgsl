// da_i = g sum_j w_ij b_j, with w_ij = exp(s_ij - lse) - [positive] from tiles of s_ij = a_i . b_j / tau computed again,
// and g = dloss / (queries tau). Where the rows of a own it, the softmax is that of row i (a = queries: da = dq); where
// they stream it, that of row j (a = keys, b = queries: da = dk). With both, queries and keys are one tensor: s is
// symmetric, and one pass gives dq + dk. lse, positive and excluded belong to the queries.
// lib: grid elem logit_tile nan

override WG: u32 = 8;

const OWN: u32 = 1;
const STREAMED: u32 = 2;
const NONE: u32 = 0xffffffff;

struct Uniforms {
    n: u32,        // rows of a
    m: u32,        // rows of b
    d4: u32,       // vec4s in a row
    chunk: u32,    // rows of b in a chunk: whole tiles
    begin: u32,    // the part of every chunk that this dispatch streams: whole tiles too
    end: u32,
    inv_tau: f32,
    scale: f32,    // 1 / (queries tau)
    queries: u32,  // which rows are queries: 1 those of a, 2 those of b, 3 both
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> da: array<Elem4>;     // (chunks, n, d4)
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4)
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;       // the key a query aims at
@group(0) @binding(6) var<storage, read> lse: array<f32>;
@group(0) @binding(7) var<storage, read> dloss: array<f32>;

struct Four { index: vec4u, lse: vec4f, zero: vec4f, positive: vec4u, excluded: vec4u }  // four rows of a or b

// `at` is `index` held inside the rows. Rows that are no queries have no softmax: exp(s - 1e30) is 0, and no positive.
fn load_four(index: vec4u, at: vec4u, side: u32) -> Four {
    var f = Four(index, vec4f(1e30), vec4f(), vec4u(NONE), vec4u(NONE));
    if (p.queries & side) != 0 {
        f.lse = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
        f.zero = keep_nan(f.lse, vec4f());
        f.positive = vec4u(positive[at.x], positive[at.y], positive[at.z], positive[at.w]);
        f.excluded = vec4u(excluded[at.x], excluded[at.y], excluded[at.z], excluded[at.w]);
    }
    return f;
}

// A probability is at most 1: the bound holds rounding, and the excluded logit, which may lie far above lse.
// A query with a NaN among its logits has an lse that is NaN, and so is `zero`, which `exp` cannot lose.
fn weight(s: vec4f, key: vec4u, lse: vec4f, zero: vec4f, positive: vec4u, excluded: vec4u) -> vec4f {
    let w = exp(min(s - lse, vec4f(0))) - select(zero, vec4f(1) + zero, key == positive);
    return select(w, vec4f(0), key == excluded);
}

// One row of a, its r-th, with four of b. Rows of b past the end weigh nothing.
fn weigh_row(dots: vec4f, r: u32, i: Four, j: Four, g: f32) -> vec4f {
    let s = dots * p.inv_tau;
    let own = weight(s, j.index, vec4f(i.lse[r]), vec4f(i.zero[r]), vec4u(i.positive[r]), vec4u(i.excluded[r]));
    let streamed = weight(s, vec4u(i.index[r]), j.lse, j.zero, j.positive, j.excluded);
    return select(vec4f(0), g * (own + streamed), j.index < vec4u(p.m));
}

fn weigh(dots: mat4x4f, i: Four, j: Four, g: vec4f) -> mat4x4f {
    return mat4x4f(weigh_row(dots[0], 0, i, j, g.x), weigh_row(dots[1], 1, i, j, g.y),
                   weigh_row(dots[2], 2, i, j, g.z), weigh_row(dots[3], 3, i, j, g.w));
}

fn clear_rows(at: vec4u, c: u32) {
    da[at.x + c] = Elem4();
    da[at.y + c] = Elem4();
    da[at.z + c] = Elem4();
    da[at.w + c] = Elem4();
}

fn add_rows(at: vec4u, c: u32, x: mat4x4f) {
    da[at.x + c] = Elem4(vec4f(da[at.x + c]) + x[0]);
    da[at.y + c] = Elem4(vec4f(da[at.y + c]) + x[1]);
    da[at.z + c] = Elem4(vec4f(da[at.z + c]) + x[2]);
    da[at.w + c] = Elem4(vec4f(da[at.w + c]) + x[3]);
}

// One invocation: 8 rows of a, of which it owns the gradient, against a chunk of b or a part of it.
// One workgroup: 8 WG rows, one chunk. Rows past the end repeat the last one and add zero to it, one after the other.
@compute @workgroup_size(WG)
fn contrastive_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (p.n + TILE_ROWS * WG - 1) / (TILE_ROWS * WG);
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = ((group % row_groups) * WG + lid) * TILE_ROWS;
    let start = chunk * p.chunk + p.begin;
    let stop = min(min(chunk * p.chunk + p.end, (chunk + 1) * p.chunk), p.m);
    if i >= p.n || start >= stop { return; }

    let own0 = load_four(four(i), rows_a(i), OWN);
    let own1 = load_four(four(i + 4), rows_a(i + 4), OWN);
    let g = vec4f(p.scale * dloss[0]);
    let g0 = select(vec4f(0), g, own0.index < vec4u(p.n));
    let g1 = select(vec4f(0), g, own1.index < vec4u(p.n));
    let to0 = (chunk * p.n + rows_a(i)) * p.d4;
    let to1 = (chunk * p.n + rows_a(i + 4)) * p.d4;
    if p.begin == 0 {
        for (var c = 0u; c < p.d4; c += 1) {
            clear_rows(to0, c);
            clear_rows(to1, c);
        }
    }
    for (var j = start; j < stop; j += TILE_COLUMNS) {
        var w = dot_tile(i, j);
        let j0 = load_four(four(j), rows_b(j), STREAMED);
        let j1 = load_four(four(j + 4), rows_b(j + 4), STREAMED);
        let j2 = load_four(four(j + 8), rows_b(j + 8), STREAMED);
        let j3 = load_four(four(j + 12), rows_b(j + 12), STREAMED);
        w[0] = weigh(w[0], own0, j0, g0);
        w[1] = weigh(w[1], own1, j0, g1);
        w[2] = weigh(w[2], own0, j1, g0);
        w[3] = weigh(w[3], own1, j1, g1);
        w[4] = weigh(w[4], own0, j2, g0);
        w[5] = weigh(w[5], own1, j2, g1);
        w[6] = weigh(w[6], own0, j3, g0);
        w[7] = weigh(w[7], own1, j3, g1);
        let b0 = rows_b(j) * p.d4;
        let b1 = rows_b(j + 4) * p.d4;
        let b2 = rows_b(j + 8) * p.d4;
        let b3 = rows_b(j + 12) * p.d4;
        for (var c = 0u; c < p.d4; c += 1) {
            let y0 = four_b(b0, c);
            let y1 = four_b(b1, c);
            let y2 = four_b(b2, c);
            let y3 = four_b(b3, c);
            add_rows(to0, c, (y0 * w[0] + y1 * w[2]) + (y2 * w[4] + y3 * w[6]));
            add_rows(to1, c, (y0 * w[1] + y1 * w[3]) + (y2 * w[5] + y3 * w[7]));
        }
    }
}
