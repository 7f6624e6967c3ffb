// 3x3 convolution of stride 1 by Winograd's F(2x2, 3x3) (Lavin & Gray 2015): 16 multiplications for 2 x 2 outputs and not 36.
//
//   y tile = A^T [ sum over ci of (G g G^T) o (B^T d B) ] A,   d: 4 x 4 of x, g: 3 x 3 of w, both of one channel
//
// The sums over ci at the 16 places of a tile are 16 matrix products, which the matmul ladder does between the transforms
// of this file: V (16, tiles, Cin) U (16, Cin, Cout). Against direct that saves 2.25 of the FLOPs and costs V and the
// products, each 4 times the size of an image, written and read. With `rotate`, x is dy, y is dx, w is turned by 180
// degrees and its channels trade places: the input gradient.
// lib: grid elem

override WG: u32 = 64;

// x (N, H, W, Cin) padded by ph, pw above and to the left gives y (N, OH, OW, Cout), in th x tw tiles an image. Channels are
// multiples of 4.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, th: u32, tw: u32, rotate: u32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> v: array<vec4f>;         // (16, tiles, Cin)
@group(0) @binding(2) var<storage, read> x: array<Elem4>;

@group(0) @binding(1) var<storage, read_write> u: array<f32>;           // (16, Cin, Cout)
@group(0) @binding(2) var<storage, read> w: array<Elem>;                // (3, 3, Cin, Cout), or with `rotate` (3, 3, Cout, Cin)

@group(0) @binding(1) var<storage, read_write> y: array<Out4>;
@group(0) @binding(2) var<storage, read> products: array<vec4f>;        // (16, tiles, Cout)

fn input_1d(d: array<vec4f, 4>) -> array<vec4f, 4> {
    return array<vec4f, 4>(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
}

fn weights_1d(g: vec3f) -> vec4f {
    return vec4f(g.x, 0.5 * (g.x + g.y + g.z), 0.5 * (g.x - g.y + g.z), g.z);
}

fn output_1d(m: array<vec4f, 4>) -> array<vec4f, 2> {
    return array<vec4f, 2>(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
}

// One invocation takes 4 channels of one tile; it reads 16 vec4, of which 12 belong to neighbouring tiles too.
@compute @workgroup_size(WG)
fn transform_input(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let c4 = p.cin / 4u;
    let items = p.n * p.th * p.tw * c4;
    if e >= items { return; }
    let n = e / c4 / p.tw / p.th;
    let iy = e / c4 / p.tw % p.th * 2u - p.ph;         // wraps above the image
    let ix = e / c4 % p.tw * 2u - p.pw;
    var columns: array<array<vec4f, 4>, 4>;             // B^T d, by column
    for (var j = 0u; j < 4u; j++) {
        var d: array<vec4f, 4>;
        for (var i = 0u; i < 4u; i++) {
            let inside = iy + i < p.h && ix + j < p.w;
            let from_x = select(0u, ((n * p.h + iy + i) * p.w + ix + j) * c4 + e % c4, inside);
            d[i] = select(vec4f(), vec4f(x[from_x]), inside);
        }
        columns[j] = input_1d(d);
    }
    for (var i = 0u; i < 4u; i++) {
        let row = input_1d(array<vec4f, 4>(columns[0][i], columns[1][i], columns[2][i], columns[3][i]));
        for (var j = 0u; j < 4u; j++) { v[(4u * i + j) * items + e] = row[j]; }
    }
}

// One invocation takes one pair of channels.
@compute @workgroup_size(WG)
fn transform_weights(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let pairs = p.cin * p.cout;
    if e >= pairs { return; }
    let rotate = p.rotate == 1u;
    let pair = select(e, e % p.cout * p.cin + e / p.cout, rotate);
    var columns: array<vec4f, 3>;                       // G g, by column
    for (var kx = 0u; kx < 3u; kx++) {
        var g: vec3f;
        for (var ky = 0u; ky < 3u; ky++) {
            let tap = select(3u * ky + kx, 8u - 3u * ky - kx, rotate);
            g[ky] = f32(w[tap * pairs + pair]);
        }
        columns[kx] = weights_1d(g);
    }
    for (var i = 0u; i < 4u; i++) {
        let row = weights_1d(vec3f(columns[0][i], columns[1][i], columns[2][i]));
        for (var j = 0u; j < 4u; j++) { u[(4u * i + j) * pairs + e] = row[j]; }
    }
}

// One invocation takes 4 channels of one tile: 16 vec4 in, up to 4 out.
@compute @workgroup_size(WG)
fn transform_output(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let c4 = p.cout / 4u;
    let items = p.n * p.th * p.tw * c4;
    if e >= items { return; }
    let n = e / c4 / p.tw / p.th;
    let oy = e / c4 / p.tw % p.th * 2u;
    let ox = e / c4 % p.tw * 2u;
    var columns: array<array<vec4f, 2>, 4>;             // A^T m, by column
    for (var j = 0u; j < 4u; j++) {
        var m: array<vec4f, 4>;
        for (var i = 0u; i < 4u; i++) { m[i] = products[(4u * i + j) * items + e]; }
        columns[j] = output_1d(m);
    }
    for (var i = 0u; i < 2u; i++) {
        let row = output_1d(array<vec4f, 4>(columns[0][i], columns[1][i], columns[2][i], columns[3][i]));
        for (var j = 0u; j < 2u; j++) {
            if oy + i < p.oh && ox + j < p.ow { y[((n * p.oh + oy + i) * p.ow + ox + j) * c4 + e % c4] = Out4(row[j]); }
        }
    }
}
