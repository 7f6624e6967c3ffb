// y = x / (1 + |x|) and dx = dy / (1 + |x|)^2, element by element, four elements an invocation. The last four may pass the end
// of a tensor; its buffer is padded. NaN passes through, and infinity gives NaN, as in PyTorch.
// lib: grid elem

override WG: u32 = 64;

// n: groups of four.
struct Uniforms { n: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Elem4>;
@group(0) @binding(2) var<storage, read> x: array<Elem4>;

// Backward, which reads x as well.
@group(0) @binding(1) var<storage, read_write> dx: array<Elem4>;
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;

// An invocation computes four elements of y, a workgroup 4 WG.
@compute @workgroup_size(WG)
fn softsign_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let v = vec4f(x[i]);
    y[i] = Elem4(v / (1.0 + abs(v)));
}

// An invocation computes four elements of dx, a workgroup 4 WG.
@compute @workgroup_size(WG)
fn softsign_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let slope = 1.0 / (1.0 + abs(vec4f(x[i])));
    dx[i] = Elem4(vec4f(dy[i]) * slope * slope);
}
