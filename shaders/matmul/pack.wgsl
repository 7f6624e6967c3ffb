enable f16;
// Operand of a matrix unit: y[r, c] = f16(x[r, c]), the last axis padded with zeros to a multiple of 8.
//
// One invocation makes four values. Traffic: 4 + 2 bytes an element, 2 + 2 from f16. What is over 65,504 becomes infinite.
// lib: grid

override WG: u32 = 64;

struct Uniforms { rows: u32, columns: u32, padded: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f16>>;     // (rows, padded / 4)
@group(0) @binding(2) var<storage, read> x: array<f32>;                 // (rows, columns)
@group(0) @binding(2) var<storage, read> half: array<f16>;              // the same for `pack_f16`

@compute @workgroup_size(WG)
fn pack(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let quads = p.padded / 4u;
    if e >= p.rows * quads { return; }
    let c = e % quads * 4u;
    var v = vec4<f16>();
    for (var q = 0u; q < 4u; q++) {
        if c + q < p.columns { v[q] = f16(x[e / quads * p.columns + c + q]); }
    }
    y[e] = v;
}

@compute @workgroup_size(WG)
fn pack_f16(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = item_index(at, lid, WG);
    let quads = p.padded / 4u;
    if e >= p.rows * quads { return; }
    let c = e % quads * 4u;
    var v = vec4<f16>();
    for (var q = 0u; q < 4u; q++) {
        if c + q < p.columns { v[q] = half[e / quads * p.columns + c + q]; }
    }
    y[e] = v;
}
