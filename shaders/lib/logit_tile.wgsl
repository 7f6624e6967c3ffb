// A tile of q . k for the contrastive kernels: 8 rows of `a` against 16 rows of `b`, in registers.
// The kernel declares `a`, `b` (rows of d4 vec4s) and Uniforms { n: rows of a, m: rows of b, d4, .. } as `p`.
//
// The tile is 2 x 4 matrices of 4 x 4. A matrix's column is a row of `a`, so the forward product is
// s += transpose(b) * a and the backward one da += b * s: both take the same matrices as they are.

const TILE_ROWS: u32 = 8;
const TILE_COLUMNS: u32 = 16;

alias Tile = array<mat4x4f, 8>;  // [2 * (four of b) + (four of a)]

fn four(first: u32) -> vec4u { return first + vec4u(0, 1, 2, 3); }

// Rows past the end are read from the last one; what they give is masked later.
fn rows_a(first: u32) -> vec4u { return min(four(first), vec4u(p.n - 1)); }
fn rows_b(first: u32) -> vec4u { return min(four(first), vec4u(p.m - 1)); }

// Four rows, one vec4 of each: columns of the matrix.
fn four_a(at: vec4u, c: u32) -> mat4x4f {
    return mat4x4f(vec4f(a[at.x + c]), vec4f(a[at.y + c]), vec4f(a[at.z + c]), vec4f(a[at.w + c]));
}
fn four_b(at: vec4u, c: u32) -> mat4x4f {
    return mat4x4f(vec4f(b[at.x + c]), vec4f(b[at.y + c]), vec4f(b[at.z + c]), vec4f(b[at.w + c]));
}

fn dot_tile(i: u32, j: u32) -> Tile {
    let a0 = rows_a(i) * p.d4;
    let a1 = rows_a(i + 4) * p.d4;
    let b0 = rows_b(j) * p.d4;
    let b1 = rows_b(j + 4) * p.d4;
    let b2 = rows_b(j + 8) * p.d4;
    let b3 = rows_b(j + 12) * p.d4;
    var s: Tile;
    for (var c = 0u; c < p.d4; c += 1) {
        let x0 = four_a(a0, c);
        let x1 = four_a(a1, c);
        let y0 = transpose(four_b(b0, c));
        s[0] += y0 * x0;
        s[1] += y0 * x1;
        let y1 = transpose(four_b(b1, c));
        s[2] += y1 * x0;
        s[3] += y1 * x1;
        let y2 = transpose(four_b(b2, c));
        s[4] += y2 * x0;
        s[5] += y2 * x1;
        let y3 = transpose(four_b(b3, c));
        s[6] += y3 * x0;
        s[7] += y3 * x1;
    }
    return s;
}
