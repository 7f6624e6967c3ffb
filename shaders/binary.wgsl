// y = a op b, and expand: y = scale * a broadcast to the shape of y. Four elements an invocation.
//
// Equal shapes are read as flat vec4s; the last one may pass the end of a tensor, whose buffer is padded. For NumPy
// broadcasting the host merges neighbouring axes that both operands step through alike and drops axes of length 1, so a
// bias of a matrix leaves two axes. An invocation finds its row by one division an axis and takes four elements of it.
// lib: grid elem

override WG: u32 = 64;

// n: invocations. cols: length of the last merged axis; a_step, b_step: 1, or 0 where broadcast. axes: how many lie
// before it, with their lengths and each operand's strides in elements, first to last, axes 0..3 in *_lo.
struct Params {
    n: u32, cols: u32, a_step: u32, b_step: u32, axes: u32, scale: f32,
    dims_lo: vec4u, dims_hi: vec4u,
    a_lo: vec4u, a_hi: vec4u,
    b_lo: vec4u, b_hi: vec4u,
}
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> y: array<Elem>;
@group(0) @binding(2) var<storage, read> a: array<Elem>;
@group(0) @binding(3) var<storage, read> b: array<Elem>;

@group(0) @binding(1) var<storage, read_write> y4: array<Elem4>;
@group(0) @binding(2) var<storage, read> a4: array<Elem4>;
@group(0) @binding(3) var<storage, read> b4: array<Elem4>;

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

fn index(at: At) -> u32 { return item_index(at.wid, at.nwg, at.lid, WG); }

fn pick(lo: vec4u, hi: vec4u, axis: u32) -> u32 { return select(hi[axis & 3u], lo[axis & 3u], axis < 4u); }

// Where up to four neighbours in one row of y start: element in y, a and b, and how many more follow the first.
struct Place { y: u32, a: u32, b: u32, more: u32 }

fn place(i: u32) -> Place {
    let fours = (p.cols + 3u) / 4u;
    var rest = i / fours;
    let col = (i - rest * fours) * 4u;
    var at = Place(rest * p.cols + col, col * p.a_step, col * p.b_step, min(3u, p.cols - 1u - col));
    for (var d = p.axes; d > 1u; d--) {
        let dim = pick(p.dims_lo, p.dims_hi, d - 1u);
        let above = rest / dim;
        let coordinate = rest - above * dim;
        at.a += coordinate * pick(p.a_lo, p.a_hi, d - 1u);
        at.b += coordinate * pick(p.b_lo, p.b_hi, d - 1u);
        rest = above;
    }
    at.a += rest * p.a_lo.x;
    at.b += rest * p.b_lo.x;
    return at;
}

// Four elements of an operand; past the end of the row the last one repeats.
fn lhs(at: Place) -> vec4f {
    let o = min(vec4u(0u, 1u, 2u, 3u), vec4u(at.more)) * p.a_step + vec4u(at.a);
    return vec4f(f32(a[o.x]), f32(a[o.y]), f32(a[o.z]), f32(a[o.w]));
}

fn rhs(at: Place) -> vec4f {
    let o = min(vec4u(0u, 1u, 2u, 3u), vec4u(at.more)) * p.b_step + vec4u(at.b);
    return vec4f(f32(b[o.x]), f32(b[o.y]), f32(b[o.z]), f32(b[o.w]));
}

fn store(at: Place, v: vec4f) {
    y[at.y] = Elem(v.x);
    if at.more > 0u { y[at.y + 1u] = Elem(v.y); }
    if at.more > 1u { y[at.y + 2u] = Elem(v.z); }
    if at.more > 2u { y[at.y + 3u] = Elem(v.w); }
}

// Equal shapes. Each invocation: one vec4.
@compute @workgroup_size(WG)
fn add(at: At) { let i = index(at); if i < p.n { y4[i] = Elem4(vec4f(a4[i]) + vec4f(b4[i])); } }
@compute @workgroup_size(WG)
fn sub(at: At) { let i = index(at); if i < p.n { y4[i] = Elem4(vec4f(a4[i]) - vec4f(b4[i])); } }
@compute @workgroup_size(WG)
fn mul(at: At) { let i = index(at); if i < p.n { y4[i] = Elem4(vec4f(a4[i]) * vec4f(b4[i])); } }
@compute @workgroup_size(WG)
fn div(at: At) { let i = index(at); if i < p.n { y4[i] = Elem4(vec4f(a4[i]) / vec4f(b4[i])); } }
// -a b: the gradient of a quotient by its denominator, from a = dy / denominator and b = quotient.
@compute @workgroup_size(WG)
fn neg_mul(at: At) { let i = index(at); if i < p.n { y4[i] = Elem4(-vec4f(a4[i]) * vec4f(b4[i])); } }

// Broadcasting. Each invocation: up to four elements of one row.
@compute @workgroup_size(WG)
fn add_broadcast(at: At) { let i = index(at); if i < p.n { let o = place(i); store(o, lhs(o) + rhs(o)); } }
@compute @workgroup_size(WG)
fn sub_broadcast(at: At) { let i = index(at); if i < p.n { let o = place(i); store(o, lhs(o) - rhs(o)); } }
@compute @workgroup_size(WG)
fn mul_broadcast(at: At) { let i = index(at); if i < p.n { let o = place(i); store(o, lhs(o) * rhs(o)); } }
@compute @workgroup_size(WG)
fn div_broadcast(at: At) { let i = index(at); if i < p.n { let o = place(i); store(o, lhs(o) / rhs(o)); } }
// 1 where a = b, else 0: marks the maxima that share a gradient.
@compute @workgroup_size(WG)
fn equal_broadcast(at: At) {
    let i = index(at);
    if i >= p.n { return; }
    let o = place(i);
    store(o, select(vec4f(0.0), vec4f(1.0), lhs(o) == rhs(o)));
}
@compute @workgroup_size(WG)
fn expand(at: At) { let i = index(at); if i < p.n { let o = place(i); store(o, p.scale * lhs(o)); } }
