// What this adapter can do at best: a copy for bandwidth, a chain of multiply-adds for f32 arithmetic.
// lib: grid

override WG: u32 = 64;

struct Uniforms { n: u32, rounds: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;

// One invocation copies 16 bytes: 32 bytes moved.
@compute @workgroup_size(WG)
fn copy(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    y[i] = x[i];
}

// One invocation does 8 independent chains of `rounds` vec4 multiply-adds: 64 flops a round.
@compute @workgroup_size(WG)
fn multiply_add(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let a = x[i];
    var s0 = a; var s1 = a + 1.0; var s2 = a + 2.0; var s3 = a + 3.0;
    var s4 = a + 4.0; var s5 = a + 5.0; var s6 = a + 6.0; var s7 = a + 7.0;
    for (var r = 0u; r < p.rounds; r++) {
        s0 = fma(s0, a, a); s1 = fma(s1, a, a); s2 = fma(s2, a, a); s3 = fma(s3, a, a);
        s4 = fma(s4, a, a); s5 = fma(s5, a, a); s6 = fma(s6, a, a); s7 = fma(s7, a, a);
    }
    y[i] = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}
