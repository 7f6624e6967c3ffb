// Register tiles shared by a subgroup: its 8 lanes hold 16 x 64 sums, 2 vec4 of columns a lane, and lend one another
// the elements of A.
//
// A CPU adapter pays for a load once a lane, whatever the lanes read, and for arithmetic and a shuffle once a vector of
// lanes. In 9_register every lane loads the same rows of A; here each loads another and they are broadcast. So 4 steps
// of k cost 10 vec4 loads a lane for 512 multiply-adds a lane: 2.5 times fewer than 8 x 8 tiles of 9_register.
//
//   nn: C = A B      a (M, K), b (K, N)
//   nt: C = A B^T    a (M, K), b (N, K)
//   tn: C = A^T B    a (K, M), b (K, N)
//
//   ragged: any of them by strides, scalar loads. The others want the last axes of a, b and c to be multiples of 4. A product of
//           few columns is made as C^T = B^T A^T, whose few rows fit the tile better.
//
// Rows and columns past the edge are clamped when read, and not written. The store may do C = relu(A B + bias). Wants subgroups of 8.
// lib: grid elem

const LANES = 8u;
const ROWS = 16u;
const VECTORS = 2u;     // of columns, a lane

// Split s sums k in [s chunk, (s + 1) chunk) and writes a partial C of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32,
    a_row: u32, a_k: u32, b_k: u32, b_col: u32,
    add_bias: u32, relu: u32,
    transposed: u32     // ragged: 1 if C, and what bias there is, belong to the transposed product
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Out4>;     // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<Elem4>;
@group(0) @binding(3) var<storage, read> b: array<Elem4>;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;       // (N); any buffer without add_bias
@group(0) @binding(1) var<storage, read_write> c1: array<Out>;
@group(0) @binding(2) var<storage, read> a1: array<Elem>;
@group(0) @binding(3) var<storage, read> b1: array<Elem>;
@group(0) @binding(4) var<storage, read> bias1: array<f32>;

// Where a subgroup works: rows i.., columns j.., matrix `batch`, k in [k0, k1). Outside: i is past the last row.
struct Tile { i: u32, j: u32, batch: u32, slot: u32, k0: u32, k1: u32 }

fn tile_of(group: u32) -> Tile {
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let tiles_n = (p.n + 4u * LANES * VECTORS - 1u) / (4u * LANES * VECTORS);
    let slot = group / (tiles_m * tiles_n);
    let i = select(p.m, group / tiles_n % tiles_m * ROWS, slot < p.splits * p.batch);
    let k0 = slot / p.batch * p.chunk;
    return Tile(i, group % tiles_n * 4u * LANES * VECTORS, slot % p.batch, slot, k0, min(k0 + p.chunk, p.k));
}

alias Sums = array<array<vec4f, VECTORS>, ROWS>;

// What does not depend on the row is outside the loop over rows, which is unrolled: 32 times bias and guards compile for longer
// than the product.
fn store(t: Tile, lane: u32, sums: Sums) {
    if t.i >= p.m { return; }
    let n4 = p.n / 4u;
    let rows = p.m - t.i;
    let first = (t.slot * p.m + t.i) * n4;
    let relu = vec4<bool>(p.relu != 0u);
    for (var v = 0u; v < VECTORS; v++) {
        let j4 = t.j / 4u + v * LANES + lane;
        if j4 >= n4 { continue; }
        var add = vec4f();
        if p.add_bias != 0u { add = bias[j4]; }
        for (var r = 0u; r < ROWS; r++) {
            let x = sums[r][v] + add;
            if r < rows { c[first + r * n4 + j4] = Out4(select(x, vec4f(), relu & (x <= vec4f()))); }
        }
    }
}

// The vec4 columns of a lane in a matrix of `n4` vec4s a row, from row 0 of this batch on.
fn columns(t: Tile, lane: u32, rows: u32, n4: u32) -> vec2u {
    return min(vec2u(t.j / 4u + lane) + vec2u(0u, LANES), vec2u(n4 - 1u)) + t.batch * rows * n4;
}

@compute @workgroup_size(LANES)
fn nn(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = tile_of(p.first + group_index(at));
    let n4 = p.n / 4u;
    let j = columns(t, lane, p.k, n4);
    var row: array<u32, ROWS / LANES>;
    for (var q = 0u; q < ROWS / LANES; q++) { row[q] = (t.batch * p.m + min(t.i + q * LANES + lane, p.m - 1u)) * (p.k / 4u); }
    var sums: Sums;
    for (var l = t.k0; l < t.k1; l += 4u) {
        var x: array<vec4f, ROWS / LANES>;      // row q LANES + lane, 4 k
        for (var q = 0u; q < ROWS / LANES; q++) { x[q] = vec4f(a[row[q] + l / 4u]); }
        for (var s = 0u; s < 4u; s++) {
            let y0 = vec4f(b[(l + s) * n4 + j.x]);
            let y1 = vec4f(b[(l + s) * n4 + j.y]);
            for (var r = 0u; r < ROWS; r++) {
                let xr = subgroupShuffle(x[r / LANES][s], r % LANES);
                sums[r][0] += xr * y0;
                sums[r][1] += xr * y1;
            }
        }
    }
    store(t, lane, sums);
}

@compute @workgroup_size(LANES)
fn nt(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = tile_of(p.first + group_index(at));
    let k4 = p.k / 4u;
    var row: array<u32, ROWS / LANES>;
    for (var q = 0u; q < ROWS / LANES; q++) { row[q] = (t.batch * p.m + min(t.i + q * LANES + lane, p.m - 1u)) * k4; }
    // Columns 4 lane.. of either half of the tile.
    let first = t.j + 4u * lane + vec4u(0u, 1u, 2u, 3u);
    let near = (t.batch * p.n + min(first, vec4u(p.n - 1u))) * k4;
    let far = (t.batch * p.n + min(first + 4u * LANES, vec4u(p.n - 1u))) * k4;
    var sums: Sums;
    for (var l = t.k0 / 4u; l < t.k1 / 4u; l++) {
        var x: array<vec4f, ROWS / LANES>;
        for (var q = 0u; q < ROWS / LANES; q++) { x[q] = vec4f(a[row[q] + l]); }
        let y0 = transpose(mat4x4f(vec4f(b[near.x + l]), vec4f(b[near.y + l]), vec4f(b[near.z + l]), vec4f(b[near.w + l])));
        let y1 = transpose(mat4x4f(vec4f(b[far.x + l]), vec4f(b[far.y + l]), vec4f(b[far.z + l]), vec4f(b[far.w + l])));
        for (var s = 0u; s < 4u; s++) {
            for (var r = 0u; r < ROWS; r++) {
                let xr = subgroupShuffle(x[r / LANES][s], r % LANES);
                sums[r][0] += xr * y0[s];
                sums[r][1] += xr * y1[s];
            }
        }
    }
    store(t, lane, sums);
}

@compute @workgroup_size(LANES)
fn tn(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = tile_of(p.first + group_index(at));
    let m4 = p.m / 4u;
    let n4 = p.n / 4u;
    let j = columns(t, lane, p.k, n4);
    var i: array<u32, ROWS / 4u>;
    for (var q = 0u; q < ROWS / 4u; q++) { i[q] = t.batch * p.k * m4 + min(t.i / 4u + q, m4 - 1u); }
    var sums: Sums;
    for (var l = t.k0; l < t.k1; l += LANES) {
        let past = l + lane >= t.k1;
        var x: array<vec4f, ROWS / 4u>;         // rows 4 q.., k = l + lane
        for (var q = 0u; q < ROWS / 4u; q++) { x[q] = select(vec4f(a[min(l + lane, t.k1 - 1u) * m4 + i[q]]), vec4f(), past); }
        for (var s = 0u; s < LANES; s++) {
            let k = min(l + s, t.k1 - 1u);
            let y0 = select(vec4f(), vec4f(b[k * n4 + j.x]), l + s < t.k1);
            let y1 = select(vec4f(), vec4f(b[k * n4 + j.y]), l + s < t.k1);
            for (var r = 0u; r < ROWS; r++) {
                let xr = subgroupShuffle(x[r / 4u][r % 4u], s);
                sums[r][0] += xr * y0;
                sums[r][1] += xr * y1;
            }
        }
    }
    store(t, lane, sums);
}

@compute @workgroup_size(LANES)
fn ragged(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = tile_of(p.first + group_index(at));
    var row: array<u32, ROWS / LANES>;
    for (var q = 0u; q < ROWS / LANES; q++) { row[q] = t.batch * p.m * p.k + min(t.i + q * LANES + lane, p.m - 1u) * p.a_row; }
    var column: array<u32, LANES>;
    for (var q = 0u; q < LANES; q++) { column[q] = t.batch * p.n * p.k + min(t.j + q * LANES + lane, p.n - 1u) * p.b_col; }
    var sums: array<array<f32, LANES>, ROWS>;
    for (var l = t.k0; l < t.k1; l++) {
        var x: array<f32, ROWS / LANES>;
        for (var q = 0u; q < ROWS / LANES; q++) { x[q] = f32(a1[row[q] + l * p.a_k]); }
        var y: array<f32, LANES>;
        for (var q = 0u; q < LANES; q++) { y[q] = f32(b1[column[q] + l * p.b_k]); }
        for (var r = 0u; r < ROWS; r++) {
            let xr = subgroupShuffle(x[r / LANES], r % LANES);
            for (var q = 0u; q < LANES; q++) { sums[r][q] += xr * y[q]; }
        }
    }
    if t.i >= p.m { return; }
    let rows = p.m - t.i;
    let strides = select(vec2u(p.n, 1u), vec2u(1u, p.m), p.transposed != 0u);
    let by_column = p.add_bias != 0u && p.transposed == 0u;
    let by_row = p.add_bias != 0u && p.transposed != 0u;
    let relu = p.relu != 0u;
    for (var q = 0u; q < LANES; q++) {
        let j = t.j + q * LANES + lane;
        if j >= p.n { continue; }
        let first = t.slot * p.m * p.n + t.i * strides.x + j * strides.y;
        var add = 0.0;
        if by_column { add = bias1[j]; }
        for (var r = 0u; r < ROWS; r++) {
            var x = sums[r][q] + add;
            if r < rows {
                if by_row { x += bias1[t.i + r]; }
                c1[first + r * strides.x] = Out(select(x, 0.0, relu && x <= 0.0));
            }
        }
    }
}
