enable f16;
// Operand of 12_split_f32: f32 values as sums of two f16, under a power of two a row of A or a column of B.
//
//   x[r, l] = 2^e[r] (hi + lo / 2^11),   hi = nearest(x 2^-e),   lo = nearest((x 2^-e - hi) 2^11)
//
// e brings the largest |x| of the row to [2^14, 2^15): f16 then has 28 binades below it before values become denormal,
// and hi and lo together keep 22 bits of each. `scales` finds e, `split` makes the parts, with the last axis padded with
// zeros to a multiple of 8. Traffic: 4 bytes an element to find e, 4 + 4 to split.
// lib: grid

override WG: u32 = 64;

var<workgroup> most: array<u32, WG>;    // (rows, lanes)

// Row r is x[r / rows * rows * k + r % rows * step + l * k_step]. `lanes` invocations share it.
struct Uniforms { count: u32, rows: u32, k: u32, step: u32, k_step: u32, lanes: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> e: array<i32>;           // (count)
@group(0) @binding(2) var<storage, read> x: array<f32>;

// A workgroup takes WG / lanes rows. The bits of |x| order like |x|.
@compute @workgroup_size(WG)
fn scales(at: At, @builtin(local_invocation_index) lid: u32) {
    let rows = WG / p.lanes;
    let lane = select(lid / rows, lid % p.lanes, p.k_step == 1u);       // neighbours read along the contiguous axis
    let row = select(lid % rows, lid / p.lanes, p.k_step == 1u);
    let r = group_index(at) * rows + row;
    var largest = 0u;
    if r < p.count {
        let start = r / p.rows * p.rows * p.k + r % p.rows * p.step;
        for (var l = lane; l < p.k; l += p.lanes) {
            largest = max(largest, bitcast<u32>(x[start + l * p.k_step]) & 0x7fffffffu);
        }
    }
    most[row * p.lanes + lane] = largest;
    workgroupBarrier();
    for (var s = p.lanes / 2u; s > 0u; s /= 2u) {
        if lane < s { most[row * p.lanes + lane] = max(most[row * p.lanes + lane], most[row * p.lanes + lane + s]); }
        workgroupBarrier();
    }
    if lane == 0u && r < p.count { e[r] = i32(clamp(most[row * p.lanes] >> 23u, 1u, 254u)) - 127 - 14; }
}

// As scaled by `scales`: (count, columns), k along the columns, or down the rows with `rows` columns a matrix.
struct SplitUniforms { count: u32, columns: u32, k: u32, along_k: u32 }
@group(0) @binding(0) var<uniform> q: SplitUniforms;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f16>>;     // (2, count, columns / 8 rounded up, 2): hi, lo
@group(0) @binding(2) var<storage, read> f: array<f32>;                 // (count, columns)
@group(0) @binding(3) var<storage, read> scale: array<i32>;

fn power(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }

// The f16 nearest to v, by its bits: compilers may, and Mesa does, take f32(f16(v)) for v.
fn nearest(v: f32) -> f32 {
    let bits = bitcast<u32>(v);
    let exponent = (bits >> 23u) & 255u;
    if exponent < 103u { return 0.0; }      // below 2^-24, the least denormal number of f16
    if exponent == 255u { return v; }       // infinite or not a number
    let drop = 126u - min(exponent, 113u);  // 13 bits, and one more for every power of two below 2^-14
    return bitcast<f32>(((bits + (1u << (drop - 1u))) >> drop) << drop);
}

// One invocation makes four values of hi and of lo.
@compute @workgroup_size(WG)
fn split(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let quads = (q.columns + 7u) / 8u * 2u;
    if e >= q.count * quads { return; }
    let r = e / quads;
    var hi = vec4<f16>();
    var lo = vec4<f16>();
    for (var s = 0u; s < 4u; s++) {
        let c = e % quads * 4u + s;
        if c < q.columns {
            let n = -scale[select(r / q.k * q.columns + c, r, q.along_k == 1u)];
            let v = f[r * q.columns + c] * power(n / 2) * power(n - n / 2);     // 2^n itself may be out of range
            hi[s] = f16(nearest(v));
            lo[s] = f16(nearest((v - nearest(v)) * 2048.0));
        }
    }
    y[e] = hi;
    y[q.count * quads + e] = lo;
}
