// tile_16.wgsl without matrix units: the same tiles in the registers of a subgroup, one element after another. It lets every kernel
// for matrix units run on any adapter with f16, for tests.

const TILE = 16u;
const WIDE = 1u;
alias Stage = f16;

// An operand stays in workgroup memory: element (i, l) lies at `at + i row + l column`.
struct MatA { at: u32, row: u32, column: u32 }
struct MatB { at: u32, row: u32, column: u32 }
// Of the 256 elements, those that this invocation has: lane, lane + lanes, ... Subgroups have 8 lanes at least.
struct MatC { e: array<f32, 32> }

var<private> lane: u32;
var<private> lanes: u32;

// Called first; `subgroups` is their number in the workgroup.
fn begin_tiles(lid: u32, subgroups: u32) {
    lanes = WG / subgroups;
    lane = lid % lanes;
}

fn put_a(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { a_tile[at + q] = x[q]; } }
fn put_b(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { b_tile[at + q] = x[q]; } }

fn a_rows(at: u32, step: u32) -> MatA { return MatA(at, step, 1u); }
fn a_columns(at: u32, step: u32) -> MatA { return MatA(at, 1u, step); }
fn b_rows(at: u32, step: u32) -> MatB { return MatB(at, step, 1u); }
fn b_columns(at: u32, step: u32) -> MatB { return MatB(at, 1u, step); }

fn a_four(a: MatA, i: u32, l: u32) -> vec4f {
    let at = a.at + i * a.row + l * a.column;
    return vec4f(vec4<f16>(a_tile[at], a_tile[at + a.column], a_tile[at + 2u * a.column], a_tile[at + 3u * a.column]));
}
fn b_four(b: MatB, l: u32, j: u32) -> vec4f {
    let at = b.at + l * b.row + j * b.column;
    return vec4f(vec4<f16>(b_tile[at], b_tile[at + b.row], b_tile[at + 2u * b.row], b_tile[at + 3u * b.row]));
}

fn multiply_add(a: MatA, b: MatB, c: MatC) -> MatC {
    var sum = c;
    for (var s = 0u; s < 256u / lanes; s++) {
        let i = (lane + s * lanes) / TILE;
        let j = (lane + s * lanes) % TILE;
        // Written out, since lavapipe ends loops after 65,535 turns.
        sum.e[s] += (dot(a_four(a, i, 0u), b_four(b, 0u, j)) + dot(a_four(a, i, 4u), b_four(b, 4u, j)))
            + (dot(a_four(a, i, 8u), b_four(b, 8u, j)) + dot(a_four(a, i, 12u), b_four(b, 12u, j)));
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
        c_tile[at + e / TILE * step + e % TILE] = c.e[s];
    }
}
