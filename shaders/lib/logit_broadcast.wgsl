// A tile of a . b for the contrastive kernels of CPU adapters: 16 rows of `a` against 64 rows of `b`, in the registers of a
// subgroup of 8 lanes. The kernel declares `a`, `b` (rows of d4 vec4s) and Params { n: rows of a, m: rows of b, d4, .. }.
//
// A lane holds the products of all 16 rows of `a` with 8 rows of `b`. The rows of `b` are its own; those of `a` it loads
// two of, and the lanes lend them to one another: per vec4 of a row 10 loads a lane for 512 multiply-adds.

const LANES: u32 = 8;
const TILE_ROWS: u32 = 16;
const TILE_COLUMNS: u32 = 64;

alias Tile = array<array<vec4f, 2>, TILE_ROWS>;     // [row of a][four rows of b]

// The rows of b that a lane owns in the tile from j: eight neighbours. Past the end they are read from the last one; what they
// give is masked later.
fn columns_of(j: u32, lane: u32) -> array<vec4u, 2> {
    let first = j + 8u * lane + vec4u(0, 1, 2, 3);
    return array<vec4u, 2>(first, first + 4u);
}

fn four_b(rows: vec4u, c: u32) -> mat4x4f {
    let at = min(rows, vec4u(p.m - 1u)) * p.d4 + c;
    return transpose(mat4x4f(vec4f(b[at.x]), vec4f(b[at.y]), vec4f(b[at.z]), vec4f(b[at.w])));
}

fn dot_tile(i: u32, j: u32, lane: u32) -> Tile {
    let row0 = min(i + lane, p.n - 1u) * p.d4;
    let row1 = min(i + lane + LANES, p.n - 1u) * p.d4;
    let column = columns_of(j, lane);
    var dots: Tile;
    for (var c = 0u; c < p.d4; c++) {
        var x: array<vec4f, 2>;
        x[0] = vec4f(a[row0 + c]);
        x[1] = vec4f(a[row1 + c]);
        let y0 = four_b(column[0], c);
        let y1 = four_b(column[1], c);
        for (var s = 0u; s < 4u; s++) {
            for (var r = 0u; r < TILE_ROWS; r++) {
                let xr = subgroupShuffle(x[r / LANES][s], r % LANES);
                dots[r][0] += xr * y0[s];
                dots[r][1] += xr * y1[s];
            }
        }
    }
    return dots;
}
