// Rows of another width, cut or filled up with zeros: y (rows, after) from x (rows, before), row by row.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32, before: u32, after: u32 }   // n: elements of y
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;
@group(0) @binding(2) var<storage, read> x: array<Elem>;

// One invocation, one element.
@compute @workgroup_size(WG)
fn pad_columns(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let c = i % p.after;
    var v = Elem();
    if c < p.before { v = x[i / p.after * p.before + c]; }
    y[i] = v;
}
