// Weight gradient of a convolution as an implicit GEMM in registers: 8 rows x 8 columns of dw per invocation.
//
//   dw[ky, kx, ci, co] = sum over (n, oy, ox) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] dy[n, oy, ox, co]
//
// Rows of the GEMM are (ky, kx, ci), columns co, and k runs over all output pixels. That is few tiles and a long sum, so
// k is split: split s sums the image lines (n, oy) in [s chunk, (s + 1) chunk) and writes a partial dw of its own.
// lib: grid elem

override WG: u32 = 8;

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dw: array<Out4>;    // (splits, KH, KW, Cin, Cout)
@group(0) @binding(2) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)
@group(0) @binding(1) var<storage, read_write> dw1: array<Out>;
@group(0) @binding(2) var<storage, read> x1: array<Elem>;
@group(0) @binding(3) var<storage, read> dy1: array<Elem>;

// Rows i.. and columns j.. of one split; lines [l0, l1). An item past the end has no lines and i past the last row.
struct Tile { i: u32, j: u32, split: u32, l0: u32, l1: u32 }

fn tile_of(item: u32) -> Tile {
    let rows = p.kh * p.kw * p.cin;
    let tiles_j = (p.cout + 7u) / 8u;
    let tiles = (rows + 7u) / 8u * tiles_j;
    let split = item / tiles;
    let l0 = min(split * p.chunk, p.n * p.oh);
    if split >= p.splits { return Tile(rows, 0u, 0u, 0u, 0u); }
    return Tile(item % tiles / tiles_j * 8u, item % tiles_j * 8u, split, l0, min(l0 + p.chunk, p.n * p.oh));
}

// The tap and channel of a row of dw: (ky - ph, kx - pw, ci), the first two wrapping.
fn tap_of(row: u32) -> vec3u {
    let i = min(row, p.kh * p.kw * p.cin - 1u);
    return vec3u(i / p.cin / p.kw - p.ph, i / p.cin % p.kw - p.pw, i % p.cin);
}

// Cin and Cout are multiples of 4, so rows i.. i + 3 share a tap and are one vec4 of x.
@compute @workgroup_size(WG)
fn weight_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first * WG + item_index(at, lid, WG));
    let tap0 = tap_of(t.i);
    let tap1 = tap_of(t.i + 4u);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    let j0 = t.j / 4u;
    let j1 = min(j0 + 1u, cout4 - 1u);
    var lo: array<vec4f, 8>;        // (rows, 4 columns)
    var hi: array<vec4f, 8>;
    for (var line = t.l0; line < t.l1; line++) {
        let n = line / p.oh;
        let iy = vec2u(tap0.x, tap1.x) + line % p.oh * p.sh;
        let x0 = (n * p.h + iy) * p.w;
        for (var ox = 0u; ox < p.ow; ox++) {
            let ix = vec2u(tap0.y, tap1.y) + ox * p.sw;
            let inside = iy < vec2u(p.h) & ix < vec2u(p.w);
            let e = select(vec2u(), (x0 + ix) * cin4 + vec2u(tap0.z, tap1.z) / 4u, inside);
            let v0 = select(vec4f(), vec4f(x[e.x]), inside.x);
            let v1 = select(vec4f(), vec4f(x[e.y]), inside.y);
            let u0 = vec4f(dy[(line * p.ow + ox) * cout4 + j0]);
            let u1 = vec4f(dy[(line * p.ow + ox) * cout4 + j1]);
            for (var r = 0u; r < 4u; r++) {
                lo[r] += v0[r] * u0;
                hi[r] += v0[r] * u1;
                lo[r + 4u] += v1[r] * u0;
                hi[r + 4u] += v1[r] * u1;
            }
        }
    }
    let rows = p.kh * p.kw * p.cin;
    for (var r = 0u; r < 8u; r++) {
        let e = (t.split * rows + t.i + r) * cout4 + j0;
        if t.i + r < rows { dw[e] = Out4(lo[r]); }
        if t.i + r < rows && j0 + 1u < cout4 { dw[e + 1u] = Out4(hi[r]); }
    }
}

// Any number of channels, scalar loads.
@compute @workgroup_size(WG)
fn weight_gradient_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first * WG + item_index(at, lid, WG));
    var tap: array<vec3u, 8>;
    for (var r = 0u; r < 8u; r++) { tap[r] = tap_of(t.i + r); }
    var sum: array<array<f32, 8>, 8>;       // (rows, columns)
    for (var line = t.l0; line < t.l1; line++) {
        for (var ox = 0u; ox < p.ow; ox++) {
            var u: array<f32, 8>;
            for (var q = 0u; q < 8u; q++) { u[q] = f32(dy1[(line * p.ow + ox) * p.cout + min(t.j + q, p.cout - 1u)]); }
            for (var r = 0u; r < 8u; r++) {
                let iy = tap[r].x + line % p.oh * p.sh;
                let ix = tap[r].y + ox * p.sw;
                let inside = iy < p.h && ix < p.w;
                let e = select(0u, ((line / p.oh * p.h + iy) * p.w + ix) * p.cin + tap[r].z, inside);
                let v = select(0.0, f32(x1[e]), inside);
                for (var q = 0u; q < 8u; q++) { sum[r][q] += v * u[q]; }
            }
        }
    }
    let rows = p.kh * p.kw * p.cin;
    for (var r = 0u; r < 8u; r++) {
        for (var q = 0u; q < 8u; q++) {
            if t.i + r < rows && t.j + q < p.cout { dw1[(t.split * rows + t.i + r) * p.cout + t.j + q] = Out(sum[r][q]); }
        }
    }
}
