// Register tiles, no workgroup memory: each invocation holds 8 x 8 sums and streams both operands in vec4.
//
// Every 4 steps of k cost 16 vec4 loads and 256 multiply-adds. A CPU adapter pays for a load once a lane and for
// arithmetic once a vector of lanes, so fewer and wider loads are all that counts; workgroup memory would only copy.
//
//   nn: C = A B      a (M, K), b (K, N)
//   nt: C = A B^T    a (M, K), b (N, K)
//   tn: C = A^T B    a (K, M), b (K, N)
//
//   ragged: any of them by strides, scalar loads. The others want the last axes of a, b and c to be multiples of 4.
//
// Rows and columns past the edge are clamped when read, and not written. The store may do C = relu(A B + bias).
// lib: grid elem

override WG: u32 = 8;

// Split s sums k in [s chunk, (s + 1) chunk) and writes a partial C of its own. Of the WG lanes, `lanes_n` lie along N.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32,
    a_row: u32, a_k: u32, b_k: u32, b_col: u32, lanes_n: u32,
    add_bias: u32, relu: u32
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

// Where an invocation works: rows i.., vec4 columns j.., matrix `batch`, k in [k0, k1). Outside: i is past the last row.
struct Tile { i: u32, j: u32, batch: u32, slot: u32, k0: u32, k1: u32 }

fn tile_of(group: u32, lane: u32) -> Tile {
    let tiles_m = div_ceil(p.m, 8u * (WG / p.lanes_n));
    let tiles_n = div_ceil(p.n, 8u * p.lanes_n);
    let slot = group / (tiles_m * tiles_n);
    let i = (group / tiles_n % tiles_m * (WG / p.lanes_n) + lane / p.lanes_n) * 8u;
    let j = (group % tiles_n * p.lanes_n + lane % p.lanes_n) * 2u;
    let k0 = slot / p.batch * p.chunk;
    return Tile(select(p.m, i, slot < p.splits * p.batch), j, slot % p.batch, slot, k0, min(k0 + p.chunk, p.k));
}

fn div_ceil(x: u32, y: u32) -> u32 { return (x + y - 1u) / y; }

fn finish(sum: vec4f, j4: u32) -> vec4f {
    var x = sum;
    if p.add_bias != 0u { x += bias[j4]; }
    return select(x, vec4f(), vec4<bool>(p.relu != 0u) & (x <= vec4f()));
}

fn store(t: Tile, lo: array<vec4f, 8>, hi: array<vec4f, 8>) {
    let n4 = p.n / 4u;
    for (var r = 0u; r < 8u; r++) {
        let at = (t.slot * p.m + t.i + r) * n4 + t.j;
        if t.i + r < p.m && t.j < n4 { c[at] = Out4(finish(lo[r], t.j)); }
        if t.i + r < p.m && t.j + 1u < n4 { c[at + 1u] = Out4(finish(hi[r], t.j + 1u)); }
    }
}

@compute @workgroup_size(WG)
fn nn(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at), lid);
    let n4 = p.n / 4u;
    let j = vec2u(min(t.j, n4 - 1u), min(t.j + 1u, n4 - 1u)) + t.batch * p.k * n4;
    var row: array<u32, 8>;
    for (var r = 0u; r < 8u; r++) { row[r] = (t.batch * p.m + min(t.i + r, p.m - 1u)) * (p.k / 4u); }
    var lo: array<vec4f, 8>;
    var hi: array<vec4f, 8>;
    for (var l = t.k0; l < t.k1; l += 4u) {
        var x: array<vec4f, 8>;     // (rows, 4 k)
        for (var r = 0u; r < 8u; r++) { x[r] = vec4f(a[row[r] + l / 4u]); }
        for (var s = 0u; s < 4u; s++) {
            let y0 = vec4f(b[(l + s) * n4 + j.x]);
            let y1 = vec4f(b[(l + s) * n4 + j.y]);
            for (var r = 0u; r < 8u; r++) {
                lo[r] += x[r][s] * y0;
                hi[r] += x[r][s] * y1;
            }
        }
    }
    store(t, lo, hi);
}

@compute @workgroup_size(WG)
fn nt(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at), lid);
    let k4 = p.k / 4u;
    var row: array<u32, 8>;
    var col: array<u32, 8>;
    for (var r = 0u; r < 8u; r++) {
        row[r] = (t.batch * p.m + min(t.i + r, p.m - 1u)) * k4;
        col[r] = (t.batch * p.n + min(4u * t.j + r, p.n - 1u)) * k4;
    }
    var lo: array<vec4f, 8>;
    var hi: array<vec4f, 8>;
    for (var l = t.k0 / 4u; l < t.k1 / 4u; l++) {
        let y0 = transpose(mat4x4f(vec4f(b[col[0] + l]), vec4f(b[col[1] + l]), vec4f(b[col[2] + l]), vec4f(b[col[3] + l])));
        let y1 = transpose(mat4x4f(vec4f(b[col[4] + l]), vec4f(b[col[5] + l]), vec4f(b[col[6] + l]), vec4f(b[col[7] + l])));
        for (var r = 0u; r < 8u; r++) {
            let x = vec4f(a[row[r] + l]);
            lo[r] += y0 * x;
            hi[r] += y1 * x;
        }
    }
    store(t, lo, hi);
}

@compute @workgroup_size(WG)
fn tn(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at), lid);
    let m4 = p.m / 4u;
    let n4 = p.n / 4u;
    let i = vec2u(min(t.i / 4u, m4 - 1u), min(t.i / 4u + 1u, m4 - 1u)) + t.batch * p.k * m4;
    let j = vec2u(min(t.j, n4 - 1u), min(t.j + 1u, n4 - 1u)) + t.batch * p.k * n4;
    var lo: array<vec4f, 8>;
    var hi: array<vec4f, 8>;
    for (var l = t.k0; l < t.k1; l++) {
        let y0 = vec4f(b[l * n4 + j.x]);
        let y1 = vec4f(b[l * n4 + j.y]);
        let x0 = vec4f(a[l * m4 + i.x]);
        let x1 = vec4f(a[l * m4 + i.y]);
        for (var r = 0u; r < 4u; r++) {
            lo[r] += x0[r] * y0;
            hi[r] += x0[r] * y1;
            lo[r + 4u] += x1[r] * y0;
            hi[r + 4u] += x1[r] * y1;
        }
    }
    store(t, lo, hi);
}

@compute @workgroup_size(WG)
fn ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at), lid);
    var row: array<u32, 8>;
    var col: array<u32, 8>;
    for (var r = 0u; r < 8u; r++) {
        row[r] = t.batch * p.m * p.k + min(t.i + r, p.m - 1u) * p.a_row;
        col[r] = t.batch * p.n * p.k + min(4u * t.j + r, p.n - 1u) * p.b_col;
    }
    var sum: array<array<f32, 8>, 8>;
    for (var l = t.k0; l < t.k1; l++) {
        var y: array<f32, 8>;
        for (var q = 0u; q < 8u; q++) { y[q] = f32(b1[col[q] + l * p.b_k]); }
        for (var r = 0u; r < 8u; r++) {
            let x = f32(a1[row[r] + l * p.a_k]);
            for (var q = 0u; q < 8u; q++) { sum[r][q] += x * y[q]; }
        }
    }
    for (var r = 0u; r < 8u; r++) {
        for (var q = 0u; q < 8u; q++) {
            let j = 4u * t.j + q;
            if t.i + r >= p.m || j >= p.n { continue; }
            var x = sum[r][q];
            if p.add_bias != 0u { x += bias1[j]; }
            c1[(t.slot * p.m + t.i + r) * p.n + j] = Out(select(x, 0.0, p.relu != 0u && x <= 0.0));
        }
    }
}
