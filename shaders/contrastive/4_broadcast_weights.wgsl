// A block of w_ij = g (exp(s_ij - lse_i) - [j positive for i]) from s_ij = a_i . b_j / tau computed again, g = dloss / (queries
// tau): what the loss's gradient to s is. Then dq += w k and dk += w^T q are plain matrix products, block by block; a block is as
// large as stays in a cache. With both sides queries (one tensor, s symmetric) w_ij + w_ji is written, and w k is dq + dk.
// For CPU adapters with subgroups of 8.
// lib: grid elem logit_broadcast

struct Params {
    n: u32,         // rows of a in the block
    m: u32,         // rows of b in the block
    d4: u32,        // vec4s in a row
    row: u32,       // index of the first row of a among all queries
    column: u32,    // index of the first row of b among all keys
    keys: u32,      // all keys: rows of b past them are padding
    inv_tau: f32,
    scale: f32,     // 1 / (queries tau)
    both: u32,      // 1: the rows of b are queries too
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<vec4f>; // (n, m / 4), m a multiple of 4
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4)
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;       // the key a query aims at
@group(0) @binding(6) var<storage, read> lse: array<f32>;
@group(0) @binding(7) var<storage, read> dloss: array<f32>;

// A probability is at most 1: the bound holds rounding, and the excluded logit, which may lie far above lse.
fn weight(s: vec4f, key: vec4u, lse: vec4f, positive: vec4u, excluded: vec4u) -> vec4f {
    let w = exp(min(s - lse, vec4f(0))) - select(vec4f(0), vec4f(1), key == positive);
    return select(w, vec4f(0), key == excluded);
}

// One workgroup, which is one subgroup: 16 rows of a against 64 of b.
@compute @workgroup_size(LANES)
fn contrastive_weights(
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let columns = (p.m + TILE_COLUMNS - 1) / TILE_COLUMNS;
    let group = group_index(wid, nwg);
    let i = group / columns * TILE_ROWS;
    let j = group % columns * TILE_COLUMNS;
    if i >= p.n { return; }
    let dots = dot_tile(i, j, lane);
    let g = p.scale * dloss[0];
    let own0 = p.row + min(i + lane, p.n - 1);
    let own1 = p.row + min(i + lane + LANES, p.n - 1);
    let own_lse = vec2f(lse[own0], lse[own1]);
    let own_positive = vec2u(positive[own0], positive[own1]);
    let own_excluded = vec2u(excluded[own0], excluded[own1]);
    for (var h = 0u; h < 2u; h++) {
        let column = columns_of(j, lane)[h];
        let key = p.column + column;
        var streamed = vec4f(1e30);     // no softmax: exp(s - 1e30) is 0
        var positive_b = vec4u(0xffffffff);
        var excluded_b = vec4u(0xffffffff);
        if p.both == 1 {
            let at = min(key, vec4u(p.keys - 1));
            streamed = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
            positive_b = vec4u(positive[at.x], positive[at.y], positive[at.z], positive[at.w]);
            excluded_b = vec4u(excluded[at.x], excluded[at.y], excluded[at.z], excluded[at.w]);
        }
        for (var r = 0u; r < TILE_ROWS; r++) {
            let lender = r % LANES;
            let s = dots[r][h] * p.inv_tau;
            var w = weight(s, key, vec4f(subgroupShuffle(own_lse[r / LANES], lender)),
                           vec4u(subgroupShuffle(own_positive[r / LANES], lender)), vec4u(subgroupShuffle(own_excluded[r / LANES], lender)));
            if p.both == 1 { w += weight(s, vec4u(p.row + i + r), streamed, positive_b, excluded_b); }
            if i + r < p.n && column.x < p.m { weights[((i + r) * p.m + column.x) / 4u] = g * w; }
        }
    }
}
