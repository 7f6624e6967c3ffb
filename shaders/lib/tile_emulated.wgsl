// tile_16.wgsl without matrix units: the same tiles in the registers of a subgroup, one element after another. It lets every kernel
// for matrix units run on any adapter with f16, for tests.

const TILE = 16u;
const WIDE = 1u;
alias Stage = f16;
alias Spilled = f32;

// An operand stays in workgroup memory: the four terms from l on of row (column) i lie in vec4 `at + i step + l / 4`.
struct MatA { at: u32, step: u32 }
struct MatB { at: u32, step: u32 }
// Of the 256 elements, those that this invocation has: lane, lane + lanes, ... Subgroups have 8 lanes at least.
struct MatC { e: array<f32, 32> }

var<private> lane: u32;
var<private> lanes: u32;

// Called first; `subgroups` is their number in the workgroup.
fn begin_tiles(lid: u32, subgroups: u32) {
    lanes = WG / subgroups;
    lane = lid % lanes;
}

fn put_a(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { a_tile[4u * at + q] = x[q]; } }
fn put_b(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { b_tile[4u * at + q] = x[q]; } }

fn a_rows(at: u32, step: u32) -> MatA { return MatA(at, step); }
fn b_columns(at: u32, step: u32) -> MatB { return MatB(at, step); }

fn four(a: MatA, b: MatB, i: u32, j: u32, q: u32) -> f32 {
    let x = 4u * (a.at + i * a.step + q);
    let y = 4u * (b.at + j * b.step + q);
    return dot(
        vec4f(vec4<f16>(a_tile[x], a_tile[x + 1u], a_tile[x + 2u], a_tile[x + 3u])),
        vec4f(vec4<f16>(b_tile[y], b_tile[y + 1u], b_tile[y + 2u], b_tile[y + 3u]))
    );
}

fn multiply_add(a: MatA, b: MatB, c: MatC) -> MatC {
    var sum = c;
    for (var s = 0u; s < 256u / lanes; s++) {
        let i = (lane + s * lanes) / TILE;
        let j = (lane + s * lanes) % TILE;
        // Written out, since lavapipe ends loops after 65,535 turns.
        sum.e[s] += (four(a, b, i, j, 0u) + four(a, b, i, j, 1u)) + (four(a, b, i, j, 2u) + four(a, b, i, j, 3u));
    }
    return sum;
}

fn add(c: MatC, d: MatC, factor: f32) -> MatC {
    var sum = c;
    for (var s = 0u; s < 256u / lanes; s++) { sum.e[s] += factor * d.e[s]; }
    return sum;
}

fn store_rows(c: MatC, at: u32, step: u32) {
    for (var s = 0u; s < 256u / lanes; s++) {
        let e = lane + s * lanes;
        c_tile[4u * (at + e / TILE * step) + e % TILE] = c.e[s];
    }
}
fn stored(at: u32) -> vec4f { return vec4f(c_tile[4u * at], c_tile[4u * at + 1u], c_tile[4u * at + 2u], c_tile[4u * at + 3u]); }
fn keep(at: u32, x: vec4f) { for (var q = 0u; q < 4u; q++) { c_tile[4u * at + q] = x[q]; } }
