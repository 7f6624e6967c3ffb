// y = a op b, and expand: y = scale * a broadcast to the shape of y.
//
// Equal shapes are read as flat vec4s; the last one may pass the end of a tensor, whose buffer is padded. For NumPy
// broadcasting the host merges neighbouring axes that both operands step through alike and drops axes of length 1, so a
// bias of a matrix leaves two axes: rows and columns. An invocation takes one lane of columns of a strip of rows. It finds
// where its strip begins by a division an axis, then only steps; an operand that is the same in every row is read once.
// lib: grid elem lane strip

override WG: u32 = 64;
override A: u32 = 0; // how each operand is read along columns and rows
override B: u32 = 0;

const EACH: u32 = 0; // a lane of elements a row
const ROW: u32 = 1;  // one lane of elements, the same for all rows
const ONE: u32 = 2;  // one element a row, the same for all columns
const ALL: u32 = 3;  // one element

const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const DIV: u32 = 3;
const EQUAL: u32 = 4;

// n: invocations. lanes, rows: lengths of the last two merged axes. a_row, b_row: each operand's elements from row to row.
// axes: how many lie before them, with their lengths and each operand's strides in elements, first to last.
struct Uniforms {
    n: u32, lanes: u32, rows: u32, strips: u32, interleaved: u32, a_row: u32, b_row: u32, scale: f32,
    axes: u32, dims: vec4u, a_strides: vec4u, b_strides: vec4u,
}
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> y: array<Cell>;
@group(0) @binding(2) var<storage, read> a: array<Cell>;
@group(0) @binding(3) var<storage, read> b: array<Cell>;

// Equal shapes.
struct Flat { fours: u32 }
@group(0) @binding(0) var<uniform> flat: Flat;
@group(0) @binding(1) var<storage, read_write> y4: array<Elem4>;
@group(0) @binding(2) var<storage, read> a4: array<Elem4>;
@group(0) @binding(3) var<storage, read> b4: array<Elem4>;

fn index(at: At, lid: u32) -> u32 { return item_index(at, lid, WG); }

// Equal shapes. Each invocation: one vec4.
@compute @workgroup_size(WG)
fn add(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < flat.fours { y4[i] = Elem4(vec4f(a4[i]) + vec4f(b4[i])); }
}

@compute @workgroup_size(WG)
fn sub(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < flat.fours { y4[i] = Elem4(vec4f(a4[i]) - vec4f(b4[i])); }
}

@compute @workgroup_size(WG)
fn mul(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < flat.fours { y4[i] = Elem4(vec4f(a4[i]) * vec4f(b4[i])); }
}

@compute @workgroup_size(WG)
fn div(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < flat.fours { y4[i] = Elem4(vec4f(a4[i]) / vec4f(b4[i])); }
}
// -a b: the gradient of a quotient by its denominator, from a = dy / denominator and b = quotient.
@compute @workgroup_size(WG)
fn neg_mul(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < flat.fours { y4[i] = Elem4(-vec4f(a4[i]) * vec4f(b4[i])); }
}

// Where an invocation begins, in cells of y and elements of a and b, and its steps from row to row.
struct Walk { y: u32, a: u32, b: u32, y_step: u32, a_step: u32, b_step: u32, count: u32 }

fn walk(i: u32) -> Walk {
    let strip = i / p.lanes;
    let col = i - strip * p.lanes;
    var rest = strip / p.strips;
    let rows = strip_of(strip - rest * p.strips, 0u, p.strips, p.rows, 1u, p.interleaved);
    var w = Walk(
        (rest * p.rows + rows.at) * p.lanes + col,
        rows.at * p.a_row + select(col * LANE, 0u, A >= ONE),
        rows.at * p.b_row + select(col * LANE, 0u, B >= ONE),
        rows.stride * p.lanes, rows.stride * p.a_row, rows.stride * p.b_row, rows.count,
    );
    for (var d = p.axes; d > 0u; d--) {
        let above = rest / p.dims[d - 1u];
        let coordinate = rest - above * p.dims[d - 1u];
        w.a += coordinate * p.a_strides[d - 1u];
        w.b += coordinate * p.b_strides[d - 1u];
        rest = above;
    }
    return w;
}

fn lane_of_a(at: u32) -> Lane {
    let cell = Lane(a[at / LANE]);
    if A >= ONE { return Lane(lane_at(cell, at % LANE)); }
    return cell;
}

fn lane_of_b(at: u32) -> Lane {
    let cell = Lane(b[at / LANE]);
    if B >= ONE { return Lane(lane_at(cell, at % LANE)); }
    return cell;
}

fn apply(op: u32, a: Lane, b: Lane) -> Lane {
    switch op {
        case ADD: { return a + b; }
        case SUB: { return a - b; }
        case MUL: { return a * b; }
        case DIV: { return a / b; }
        default: { return select(Lane(), Lane(1.0), a == b); }
    }
}

// One invocation: one lane of columns of a strip of rows.
fn broadcast(i: u32, op: u32) {
    if i >= p.n { return; }
    let w = walk(i);
    var left = lane_of_a(w.a);
    var right = lane_of_b(w.b);
    for (var k = 0u; k < w.count; k++) {
        if A % 2u == 0u { left = lane_of_a(w.a + k * w.a_step); }
        if B % 2u == 0u { right = lane_of_b(w.b + k * w.b_step); }
        y[w.y + k * w.y_step] = Cell(apply(op, left, right));
    }
}

@compute @workgroup_size(WG)
fn add_broadcast(at: At, @builtin(local_invocation_index) lid: u32) { broadcast(index(at, lid), ADD); }
@compute @workgroup_size(WG)
fn sub_broadcast(at: At, @builtin(local_invocation_index) lid: u32) { broadcast(index(at, lid), SUB); }
@compute @workgroup_size(WG)
fn mul_broadcast(at: At, @builtin(local_invocation_index) lid: u32) { broadcast(index(at, lid), MUL); }
@compute @workgroup_size(WG)
fn div_broadcast(at: At, @builtin(local_invocation_index) lid: u32) { broadcast(index(at, lid), DIV); }
// 1 where a = b, else 0: marks the maxima that share a gradient.
@compute @workgroup_size(WG)
fn equal_broadcast(at: At, @builtin(local_invocation_index) lid: u32) { broadcast(index(at, lid), EQUAL); }

@compute @workgroup_size(WG)
fn expand(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let w = walk(i);
    var v = p.scale * lane_of_a(w.a);
    for (var k = 0u; k < w.count; k++) {
        if A % 2u == 0u { v = p.scale * lane_of_a(w.a + k * w.a_step); }
        y[w.y + k * w.y_step] = Cell(v);
    }
}
