// da_i = g sum_j w_ij b_j, with w_ij = exp(s_ij - lse) - [positive] from blocks of s_ij = a_i . b_j / tau computed again,
// and g = dloss / (queries tau). Where the rows of a own it, the softmax is that of row i (a = queries: da = dq); where
// they stream it, that of row j (a = keys, b = queries: da = dk). With both, queries and keys are one tensor: s is
// symmetric, and one pass gives dq + dk. lse, positive and excluded belong to the queries.
//
// A block of 64 x 64 weights goes through workgroup memory to the second product. It reads its rows of a once and those of b
// twice: a pair of rows costs 4 d operations and 3 d / 16 bytes, 21 operations a byte.
// Up to d = 128 the gradient stays in registers for a whole part; beyond, each slice of 128 columns of it is read and written
// once a block: d / 8 bytes a pair more.
// lib: grid elem logit_block nan

const BLOCK_KEYS: u32 = 4;
const SLICE: u32 = 32;         // vec4s of d that a workgroup accumulates at a time: 16 lanes, two each
const NONE: u32 = 0xffffffff;

struct Uniforms {
    n: u32,        // rows of a
    m: u32,        // rows of b
    d4: u32,       // vec4s in a row
    chunk: u32,    // rows of b in a chunk: whole blocks
    begin: u32,    // the part of every chunk that this dispatch streams: whole blocks too
    end: u32,
    inv_tau: f32,
    scale: f32,    // 1 / (queries tau)
    queries: u32,  // which rows are queries: 1 those of a, 2 those of b, 3 both
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> da: array<vec4f>;     // (chunks, n, d4)
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4)
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;       // the key a query aims at
@group(0) @binding(6) var<storage, read> lse: array<f32>;
@group(0) @binding(7) var<storage, read> dloss: array<f32>;

// Where the weights of row j of the block with rows 4 i.. of a lie, (BLOCK_COLUMNS, 16): xor spreads the lanes, which differ in j
// when they write, over the banks.
fn swizzled(j: u32, i: u32) -> u32 { return j * 16 + (i ^ (j % 16)); }

struct Query { lse: f32, zero: f32, positive: u32, excluded: u32 }

// A row that is no query has no softmax: exp(s - 1e30) is 0, and no positive.
fn query(row: u32, side: u32) -> Query {
    if (p.queries & side) == 0 { return Query(1e30, 0.0, NONE, NONE); }
    return Query(lse[row], keep_nan_1(lse[row], 0.0), positive[row], excluded[row]);
}

// A probability is at most 1: the bound holds rounding, and the excluded logit, which may lie far above lse.
// A query with a NaN among its logits has an lse that is NaN, and so is `zero`, which `exp` cannot lose.
fn weight(s: f32, key: u32, of_query: Query) -> f32 {
    let w = exp(min(s - of_query.lse, 0.0)) - select(of_query.zero, 1.0 + of_query.zero, key == of_query.positive);
    return select(w, 0.0, key == of_query.excluded);
}

// Weights of this invocation's pairs, to workgroup memory. Rows past either end weigh nothing.
fn weigh(dots: Block, i: u32, j: u32, lid: u32, g: f32) {
    for (var q = 0u; q < BLOCK_KEYS; q++) {
        let row_b = j + lid % 16 + 16 * q;
        let streamed = query(min(row_b, p.m - 1), 2);
        for (var half = 0u; half < 2; half++) {
            var w: vec4f;
            for (var r = 0u; r < 4; r++) {
                let row_a = i + lid / 16 * 8 + 4 * half + r;
                let s = dots[(4 * half + r) * BLOCK_KEYS + q] * p.inv_tau;
                let both = weight(s, row_b, query(min(row_a, p.n - 1), 1)) + weight(s, row_a, streamed);
                w[r] = select(0.0, g * both, row_a < p.n && row_b < p.m);
            }
            block_memory[swizzled(lid % 16 + 16 * q, lid / 16 * 2 + half)] = w;
        }
    }
}

// One workgroup: 64 rows of a, of which it owns the gradient, against a chunk of b or a part of it.
// One invocation: 8 rows of a; in the first product every 16th row of b, in the second every 16th vec4 of d.
@compute @workgroup_size(BLOCK_WG)
fn contrastive_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (p.n + BLOCK_ROWS - 1) / BLOCK_ROWS;
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = group % row_groups * BLOCK_ROWS;
    let own = i + lid / 16 * 8;
    let start = chunk * p.chunk + p.begin;
    let stop = min(min(chunk * p.chunk + p.end, (chunk + 1) * p.chunk), p.m);
    let g = p.scale * dloss[0];
    let resident = p.d4 <= SLICE;

    var sum: array<vec4f, 16>;  // 8 rows, two vec4s each
    for (var j = start; j < stop; j += BLOCK_COLUMNS) {
        let dots = dot_block(i, j, lid);
        weigh(dots, i, j, lid, g);
        workgroupBarrier();
        let rows = min(BLOCK_COLUMNS, stop - j);
        for (var slice = 0u; slice < p.d4; slice += SLICE) {
            let c = slice + lid % 16;
            let c_read = vec2u(min(c, p.d4 - 1), min(c + 16, p.d4 - 1));
            if !resident || j == start {
                for (var r = 0u; r < 16; r++) {
                    sum[r] = vec4f();
                    let e = c + r % 2 * 16;
                    if (p.begin > 0 || j > start) && own + r / 2 < p.n && e < p.d4 {
                        sum[r] = da[(chunk * p.n + own + r / 2) * p.d4 + e];
                    }
                }
            }
            for (var k = 0u; k < rows; k++) {
                let y0 = vec4f(b[(j + k) * p.d4 + c_read.x]);
                let y1 = vec4f(b[(j + k) * p.d4 + c_read.y]);
                for (var half = 0u; half < 2; half++) {
                    let w = block_memory[swizzled(k, lid / 16 * 2 + half)];
                    for (var r = 0u; r < 4; r++) {
                        sum[8 * half + 2 * r] += w[r] * y0;
                        sum[8 * half + 2 * r + 1] += w[r] * y1;
                    }
                }
            }
            if !resident || j + BLOCK_COLUMNS >= stop {
                for (var r = 0u; r < 16; r++) {
                    let e = c + r % 2 * 16;
                    if own + r / 2 < p.n && e < p.d4 { da[(chunk * p.n + own + r / 2) * p.d4 + e] = sum[r]; }
                }
            }
        }
        workgroupBarrier();
    }
}
