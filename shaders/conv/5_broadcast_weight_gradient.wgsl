// Weight gradient of a convolution as an implicit GEMM in registers: a subgroup holds 64 rows x 16 columns of dw, 8 rows a
// lane, and its 8 lanes lend one another dy.
//
//   dw[ky, kx, ci, co] = sum over (n, oy, ox) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] dy[n, oy, ox, co]
//
// Rows of the GEMM are (ky, kx, ci), columns co, and k runs over all output pixels, split by image lines (n, oy): split s sums
// lines [s chunk, (s + 1) chunk) and writes a partial dw of its own. Two pixels cost 5 vec4 loads a lane for 256
// multiply-adds, against 8 for 128 in 2_register. Wants subgroups of 8, and Cin and Cout to be multiples of 4.
// lib: grid elem

const LANES = 8u;

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dw: array<Out4>;    // (splits, KH, KW, Cin, Cout)
@group(0) @binding(2) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)

// Four rows of dw share a tap and are one vec4 of x: tap (ky - ph, kx - pw), wrapping, and vec4 of channels.
struct Rows { first: u32, ky: u32, kx: u32, ci: u32 }

fn rows_of(vector: u32) -> Rows {
    let cin4 = p.cin / 4u;
    let i = min(vector, p.kh * p.kw * cin4 - 1u);
    return Rows(4u * vector, i / cin4 / p.kw - p.ph, i / cin4 % p.kw - p.pw, i % cin4);
}

// x under output pixel (line, ox), zero outside of the image and past the line.
fn load(r: Rows, line: u32, ox: u32) -> vec4f {
    let iy = line % p.oh * p.sh + r.ky;
    let ix = ox * p.sw + r.kx;
    let inside = iy < p.h && ix < p.w && ox < p.ow;
    let at = select(0u, ((line / p.oh * p.h + iy) * p.w + ix) * (p.cin / 4u) + r.ci, inside);
    return select(vec4f(), vec4f(x[at]), inside);
}

// dy of pixel (line, ox), zero past the line.
fn load_dy(line: u32, ox: u32, column: u32) -> vec4f {
    let cout4 = p.cout / 4u;
    return select(vec4f(), vec4f(dy[(line * p.ow + min(ox, p.ow - 1u)) * cout4 + min(column, cout4 - 1u)]), ox < p.ow);
}

@compute @workgroup_size(LANES)
fn weight_gradient(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let tiles_i = (p.kh * p.kw * p.cin + 63u) / 64u;
    let tiles_j = (p.cout + 15u) / 16u;
    let group = p.first + group_index(at);
    let split = group / (tiles_i * tiles_j);
    if split >= p.splits { return; }        // the whole subgroup
    let i = rows_of(group / tiles_j % tiles_i * 16u + lane);
    let i8 = rows_of(group / tiles_j % tiles_i * 16u + 8u + lane);
    let j0 = group % tiles_j * 4u;
    var sum: array<array<vec4f, 4>, 8>;         // (rows, columns)
    for (var line = split * p.chunk; line < min((split + 1u) * p.chunk, p.n * p.oh); line++) {
        for (var ox = 0u; ox < p.ow; ox += 2u) {
            // Lane l holds 4 columns of pixel ox + l / 4.
            let u_lane = load_dy(line, ox + lane / 4u, j0 + lane % 4u);
            for (var s = 0u; s < 2u; s++) {
                let v0 = load(i, line, ox + s);
                let v1 = load(i8, line, ox + s);
                for (var q = 0u; q < 4u; q++) {
                    let u = subgroupShuffle(u_lane, 4u * s + q);
                    for (var r = 0u; r < 4u; r++) {
                        sum[r][q] += v0[r] * u;
                        sum[r + 4u][q] += v1[r] * u;
                    }
                }
            }
        }
    }
    let rows = p.kh * p.kw * p.cin;
    let cout4 = p.cout / 4u;
    for (var r = 0u; r < 8u; r++) {
        let row = select(i.first + r, i8.first + r - 4u, r >= 4u);
        for (var q = 0u; q < 4u; q++) {
            if row < rows && j0 + q < cout4 { dw[(split * rows + row) * cout4 + j0 + q] = Out4(sum[r][q]); }
        }
    }
}

// At most 8 columns: 96 rows, 12 a lane.
@compute @workgroup_size(LANES)
fn weight_gradient_8(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let tiles_i = (p.kh * p.kw * p.cin + 95u) / 96u;
    let group = p.first + group_index(at);
    let split = group / tiles_i;
    if split >= p.splits { return; }
    let i = rows_of(group % tiles_i * 24u + lane);
    let i8 = rows_of(group % tiles_i * 24u + 8u + lane);
    let i16 = rows_of(group % tiles_i * 24u + 16u + lane);
    var sum: array<array<vec4f, 2>, 12>;
    for (var line = split * p.chunk; line < min((split + 1u) * p.chunk, p.n * p.oh); line++) {
        for (var ox = 0u; ox < p.ow; ox += 4u) {
            let u_lane = load_dy(line, ox + lane / 2u, lane % 2u);
            for (var s = 0u; s < 4u; s++) {
                let v0 = load(i, line, ox + s);
                let v1 = load(i8, line, ox + s);
                let v2 = load(i16, line, ox + s);
                for (var q = 0u; q < 2u; q++) {
                    let u = subgroupShuffle(u_lane, 2u * s + q);
                    for (var r = 0u; r < 4u; r++) {
                        sum[r][q] += v0[r] * u;
                        sum[r + 4u][q] += v1[r] * u;
                        sum[r + 8u][q] += v2[r] * u;
                    }
                }
            }
        }
    }
    let rows = p.kh * p.kw * p.cin;
    let cout4 = p.cout / 4u;
    for (var r = 0u; r < 12u; r++) {
        var row = i.first + r;
        if r >= 4u { row = i8.first + r - 4u; }
        if r >= 8u { row = i16.first + r - 8u; }
        for (var q = 0u; q < 2u; q++) {
            if row < rows && q < cout4 { dw[(split * rows + row) * cout4 + q] = Out4(sum[r][q]); }
        }
    }
}
