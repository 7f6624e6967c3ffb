// 2-D convolution and its two gradients, one invocation per output element: the definition, and an oracle.
//
//   y[n, oy, ox, co]   = sum over (ky, kx, ci) of x[n, iy, ix, ci] w[ky, kx, ci, co]
//   dx[n, iy, ix, ci]  = sum over (ky, kx, co) of dy[n, oy, ox, co] w[ky, kx, ci, co]
//   dw[ky, kx, ci, co] = sum over (n, oy, ox)  of x[n, iy, ix, ci] dy[n, oy, ox, co]
//
// where iy = oy sh - ph + ky and ix = ox sw - pw + kx; terms outside the image are zero. Indices are u32: one that would
// be negative wraps to a huge value, so a single `< size` tests both ends.
//
// Split s of a weight gradient sums the image lines (n, oy) in [s chunk, (s + 1) chunk) and writes a partial dw of its own.
// lib: grid elem

override WG: u32 = 64;

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> y: array<Out>;       // (N, OH, OW, Cout)
@group(0) @binding(2) var<storage, read> x: array<Elem>;            // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> w: array<Elem>;            // (KH, KW, Cin, Cout)

@group(0) @binding(1) var<storage, read_write> dx: array<Out>;
@group(0) @binding(1) var<storage, read_write> dw: array<Out>;      // (splits, KH, KW, Cin, Cout)
@group(0) @binding(2) var<storage, read> dy_of_dx: array<Elem>;
@group(0) @binding(3) var<storage, read> dy_of_dw: array<Elem>;

@compute @workgroup_size(WG)
fn forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = p.first * WG + item_index(at, lid, WG);
    if e >= p.n * p.oh * p.ow * p.cout { return; }
    let co = e % p.cout;
    let ox = e / p.cout % p.ow;
    let oy = e / p.cout / p.ow % p.oh;
    let n = e / p.cout / p.ow / p.oh;
    var sum = 0.0;
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let iy = oy * p.sh + ky - p.ph;
            let ix = ox * p.sw + kx - p.pw;
            if iy >= p.h || ix >= p.w { continue; }
            let x0 = ((n * p.h + iy) * p.w + ix) * p.cin;
            let w0 = (ky * p.kw + kx) * p.cin;
            for (var ci = 0u; ci < p.cin; ci++) { sum += f32(x[x0 + ci]) * f32(w[(w0 + ci) * p.cout + co]); }
        }
    }
    y[e] = Out(sum);
}

@compute @workgroup_size(WG)
fn input_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = p.first * WG + item_index(at, lid, WG);
    if e >= p.n * p.h * p.w * p.cin { return; }
    let ci = e % p.cin;
    let ix = e / p.cin % p.w;
    let iy = e / p.cin / p.w % p.h;
    let n = e / p.cin / p.w / p.h;
    var sum = 0.0;
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let ty = iy + p.ph - ky;        // oy sh
            let tx = ix + p.pw - kx;        // ox sw
            if ty % p.sh != 0u || tx % p.sw != 0u || ty / p.sh >= p.oh || tx / p.sw >= p.ow { continue; }
            let y0 = ((n * p.oh + ty / p.sh) * p.ow + tx / p.sw) * p.cout;
            let w0 = ((ky * p.kw + kx) * p.cin + ci) * p.cout;
            for (var co = 0u; co < p.cout; co++) { sum += f32(dy_of_dx[y0 + co]) * f32(w[w0 + co]); }
        }
    }
    dx[e] = Out(sum);
}

@compute @workgroup_size(WG)
fn weight_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = p.first * WG + item_index(at, lid, WG);
    let split = e / (p.kh * p.kw * p.cin * p.cout);
    if split >= p.splits { return; }
    let co = e % p.cout;
    let ci = e / p.cout % p.cin;
    let kx = e / p.cout / p.cin % p.kw;
    let ky = e / p.cout / p.cin / p.kw % p.kh;
    var sum = 0.0;
    for (var row = split * p.chunk; row < min((split + 1u) * p.chunk, p.n * p.oh); row++) {
        let iy = row % p.oh * p.sh + ky - p.ph;
        if iy >= p.h { continue; }
        for (var ox = 0u; ox < p.ow; ox++) {
            let ix = ox * p.sw + kx - p.pw;
            if ix >= p.w { continue; }
            sum += f32(x[((row / p.oh * p.h + iy) * p.w + ix) * p.cin + ci]) * f32(dy_of_dw[(row * p.ow + ox) * p.cout + co]);
        }
    }
    dw[e] = Out(sum);
}
