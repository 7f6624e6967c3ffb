// y = a op b with NumPy broadcasting, and expand: y = scale * a broadcast to the shape of y.
//
// The host merges neighbouring axes that both operands step through alike, and drops axes of length 1. So equal shapes
// are one axis, a bias of a matrix two; the loop in `operands` costs one division less than there are axes.
// lib: grid elem

override WG: u32 = 64;

// Lengths of the merged axes, first to last, and each operand's strides in elements (0: broadcast): axes 0..3 in *_lo.
struct Params {
    n: u32, axes: u32, scale: f32,
    dims_lo: vec4u, dims_hi: vec4u,
    a_lo: vec4u, a_hi: vec4u,
    b_lo: vec4u, b_hi: vec4u,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;
@group(0) @binding(2) var<storage, read> a: array<Elem>;
@group(0) @binding(3) var<storage, read> b: array<Elem>;

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

fn index(at: At) -> u32 { return item_index(at.wid, at.nwg, at.lid, WG); }

fn pick(lo: vec4u, hi: vec4u, axis: u32) -> u32 { return select(hi[axis & 3u], lo[axis & 3u], axis < 4u); }

// Where element i of y reads a and b: coordinates peeled off from the last axis to the first.
fn operands(i: u32) -> vec2u {
    var rest = i;
    var at = vec2u(0u);
    for (var d = p.axes - 1u; d > 0u; d--) {
        let dim = pick(p.dims_lo, p.dims_hi, d);
        let above = rest / dim;
        at += (rest - above * dim) * vec2u(pick(p.a_lo, p.a_hi, d), pick(p.b_lo, p.b_hi, d));
        rest = above;
    }
    return at + rest * vec2u(p.a_lo.x, p.b_lo.x);
}

// Each invocation of each entry point writes one element of y.
@compute @workgroup_size(WG)
fn add(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(f32(a[o.x]) + f32(b[o.y])); }
}

@compute @workgroup_size(WG)
fn sub(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(f32(a[o.x]) - f32(b[o.y])); }
}

@compute @workgroup_size(WG)
fn mul(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(f32(a[o.x]) * f32(b[o.y])); }
}

@compute @workgroup_size(WG)
fn div(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(f32(a[o.x]) / f32(b[o.y])); }
}

// -a b, the gradient of a quotient by its denominator from a = dy / denominator and b = quotient.
@compute @workgroup_size(WG)
fn neg_mul(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(-f32(a[o.x]) * f32(b[o.y])); }
}

// 1 where a = b, else 0: marks the maxima that share a gradient.
@compute @workgroup_size(WG)
fn equal(at: At) {
    let i = index(at);
    if i < p.n { let o = operands(i); y[i] = Elem(select(0.0, 1.0, f32(a[o.x]) == f32(b[o.y]))); }
}

@compute @workgroup_size(WG)
fn expand(at: At) {
    let i = index(at);
    if i < p.n { y[i] = Elem(p.scale * f32(a[operands(i).x])); }
}
