// Sums and maxima over one run of axes. x is (outer, m, c), m the axis reduced; y is (outer, strips, c).
//
// The m rows of an outer index are cut in strips (lib/strip.wgsl); an invocation reduces one lane of columns of one strip, so
// that neighbours read neighbours. One strip: y is the result; else its strips are the next pass's rows. The host
// gives a run of elements without columns after it as rows of four, which the last pass then adds up.
// The order of additions depends on the sizes and the adapter's class alone, so results repeat bit for bit.
// lib: grid elem lane strip

override WG: u32 = 64;

struct Uniforms { n: u32, m: u32, c: u32, strips: u32, interleaved: u32, scale: f32 } // n: invocations. c: lanes
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<OutCell>;
@group(0) @binding(2) var<storage, read> x: array<Cell>;

// The strip and lane of columns of invocation i, which is also its place in y.
fn strip_at(i: u32) -> Strip {
    let row = i / p.c;
    let outer = row / p.strips;
    var s = strip_of(row - outer * p.strips, i - row * p.c, p.strips, p.m, p.c, p.interleaved);
    s.at += outer * p.m * p.c;
    return s;
}

// The larger, and NaN if either is NaN; WGSL's max may drop it.
fn larger(a: Lane, b: Lane) -> Lane {
    let b_is_nan = (bitcast<Bits>(b) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
    return select(a, b, (b > a) | b_is_nan);
}

// One invocation: the sums of its elements times scale. Four partial sums shorten the rounding chain.
@compute @workgroup_size(WG)
fn sum(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let s = strip_at(i);
    var k = s.at;
    var s0 = Lane();
    var s1 = Lane();
    var s2 = Lane();
    var s3 = Lane();
    for (var left = s.count / 4u; left > 0u; left--) {
        s0 += Lane(x[k]);
        s1 += Lane(x[k + s.stride]);
        s2 += Lane(x[k + 2u * s.stride]);
        s3 += Lane(x[k + 3u * s.stride]);
        k += 4u * s.stride;
    }
    for (var left = s.count % 4u; left > 0u; left--) {
        s0 += Lane(x[k]);
        k += s.stride;
    }
    y[i] = OutCell(((s0 + s1) + (s2 + s3)) * p.scale);
}

// One invocation: the maxima of its elements (there is at least one).
@compute @workgroup_size(WG)
fn max_value(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let s = strip_at(i);
    var m = Lane(x[s.at]);
    for (var k = 1u; k < s.count; k++) { m = larger(m, Lane(x[s.at + k * s.stride])); }
    y[i] = OutCell(m);
}
