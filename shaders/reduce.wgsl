// Sums and maxima over one run of axes. x is (outer, reduced, inner); y is (outer, inner).
//
// Within one outer index x is a line of `size` = reduced * inner elements. Invocation j of `span` (a multiple of inner)
// takes elements j, j + span, j + 2 span, ...: neighbours read neighbours, whether a row or a column is reduced, and
// without workgroup memory. With span = inner the result is y; else the `span` values are the next pass's line. The order of
// additions depends on the sizes alone, so results repeat bit for bit.
// lib: grid elem

override WG: u32 = 64;

struct Params { n: u32, size: u32, span: u32, scale: f32 } // n = outer * span
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<Elem>;

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

// The larger, and NaN if either is NaN; WGSL's max may drop it.
fn larger(a: f32, b: f32) -> f32 {
    let b_is_nan = (bitcast<u32>(b) & 0x7fffffffu) > 0x7f800000u;
    return select(a, b, b > a || b_is_nan);
}

// One invocation: one value of y, the sum of its elements times scale. Four partial sums shorten the rounding chain.
@compute @workgroup_size(WG)
fn sum(at: At) {
    let i = item_index(at.wid, at.nwg, at.lid, WG);
    if i >= p.n { return; }
    let line = i / p.span;
    let end = (line + 1u) * p.size;
    var k = line * p.size + (i - line * p.span);
    var s = vec4f();
    for (; k + 3u * p.span < end; k += 4u * p.span) {
        s += vec4f(f32(x[k]), f32(x[k + p.span]), f32(x[k + 2u * p.span]), f32(x[k + 3u * p.span]));
    }
    for (; k < end; k += p.span) { s.x += f32(x[k]); }
    y[i] = Out(((s.x + s.y) + (s.z + s.w)) * p.scale);
}

// One invocation: one value of y, the maximum of its elements (there is at least one).
@compute @workgroup_size(WG)
fn max_value(at: At) {
    let i = item_index(at.wid, at.nwg, at.lid, WG);
    if i >= p.n { return; }
    let line = i / p.span;
    let end = (line + 1u) * p.size;
    var k = line * p.size + (i - line * p.span);
    var m = f32(x[k]);
    for (k += p.span; k < end; k += p.span) { m = larger(m, f32(x[k])); }
    y[i] = Out(m);
}
