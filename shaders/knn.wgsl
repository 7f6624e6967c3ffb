// k nearest neighbours by dot product, with a running top-k.
//
// The similarities come in strips S (C, N): C rows of the bank against N queries, one strip at a time, so the whole
// (M, N) matrix never exists. Each query keeps its k best in rising bank index. A strip replaces them by the k best of kept
// and strip together: all above the k-th largest value t, and of those equal to t the first ones.
//
// t is found by counting. How many candidates are at least x falls as x rises; a pass over them counts for three x that
// cut the interval where t lies in four. Candidates are only read until t is known, neighbouring invocations read
// neighbours and stay in step: about ten passes, where a heap a query would move log2(k) entries for each candidate that
// enters, while its neighbours wait.
// lib: grid elem lane

override WG: u32 = 64;

struct Uniforms {
    n: u32,       // lanes of queries; queries where they are sorted
    k: u32,       // neighbours kept
    rows: u32,    // bank rows in this strip
    base: u32,    // bank index of the strip's first row; at 0 nothing is kept yet
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> kept_out: array<f32>;     // (K, N) similarities
@group(0) @binding(2) var<storage, read_write> slot_out: array<u32>;     // (K, N) bank indices
@group(0) @binding(3) var<storage, read> kept: array<Lane>;              // as kept_out, of the strips before
@group(0) @binding(4) var<storage, read> slot: array<Bits>;              // as slot_out
@group(0) @binding(5) var<storage, read> strip: array<Cell>;             // (C, N)

@group(0) @binding(1) var<storage, read_write> similarity: array<f32>;   // (N, K)
@group(0) @binding(2) var<storage, read_write> index: array<u32>;        // (N, K)
@group(0) @binding(3) var<storage, read> chosen: array<f32>;             // as kept_out
@group(0) @binding(4) var<storage, read> chosen_slot: array<u32>;        // as slot_out

const EMPTY: f32 = -3.4e38;

// Rises with v; `value` is its inverse.
fn key(v: Lane) -> Bits {
    let bits = bitcast<Bits>(v);
    return select(bits | Bits(0x80000000u), ~bits, bits >= Bits(0x80000000u));
}

fn value(key: Bits) -> Lane {
    return bitcast<Lane>(select(~key, key & Bits(0x7fffffffu), key >= Bits(0x80000000u)));
}

// How many candidates of queries i are at least a, b and c: `held` kept ones and the strip. A NaN is not.
struct Counts { a: Bits, b: Bits, c: Bits }

fn add(n: Counts, v: Lane, a: Lane, b: Lane, c: Lane) -> Counts {
    let one = Bits(1u);
    return Counts(
        n.a + select(Bits(), one, v >= a), n.b + select(Bits(), one, v >= b), n.c + select(Bits(), one, v >= c),
    );
}

fn count(i: u32, held: u32, a: Lane, b: Lane, c: Lane) -> Counts {
    var n: Counts;
    for (var j = 0u; j < held; j++) { n = add(n, kept[j * p.n + i], a, b, c); }
    var at = i;
    for (var row = 0u; row < p.rows / 2u; row++) {
        n = add(n, Lane(strip[at]), a, b, c);
        n = add(n, Lane(strip[at + p.n]), a, b, c);
        at += 2u * p.n;
    }
    if p.rows % 2u == 1u { n = add(n, Lane(strip[at]), a, b, c); }
    return n;
}

// Where t lies: lo is the largest key known to have k candidates at or above it, hi the least known not to, with
// `above` of them. `exact`: lo has k, so that t needs no closer look.
struct Search { lo: Bits, hi: Bits, above: Bits, exact: Bits }

fn narrowed(s: Search, cut: Bits, n: Bits) -> Search {
    let enough = (n >= Bits(p.k)) & (s.exact == Bits()) & (cut < s.hi);
    let lower = (n < Bits(p.k)) & (cut < s.hi);
    return Search(
        select(s.lo, cut, enough), select(s.hi, cut, lower), select(s.above, n, lower),
        select(s.exact, Bits(1u), enough & (n == Bits(p.k))),
    );
}

// Writes the similarity and bank index of each query of lane i that keeps them.
fn keep(i: u32, which: Bits, end: Bits, v: Lane, index: Bits) {
    for (var l = 0u; l < LANE; l++) {
        let at = bits_at(end, l) * p.n * LANE + i * LANE + l;
        if bits_at(which, l) != 0u {
            kept_out[at] = lane_at(v, l);
            slot_out[at] = bits_at(index, l);
        }
    }
}

// One invocation a lane of queries: the k best of those kept and the strip.
@compute @workgroup_size(WG)
fn knn_select(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let held = select(p.k, 0u, p.base == 0u);

    // Bounds: at least k candidates are at least `low`, unless there are fewer numbers; none is above `top`.
    var top = Lane(EMPTY);
    var bottom = Lane(-EMPTY);
    var numbers = Bits();
    for (var row = 0u; row < p.rows; row++) {
        let v = Lane(strip[row * p.n + i]);
        top = select(top, v, v > top);
        bottom = select(bottom, v, v < bottom);
        numbers += select(Bits(), Bits(1u), v > Lane(EMPTY));
    }
    var low = select(Lane(EMPTY), bottom, numbers >= Bits(p.k));
    if held > 0u {
        low = Lane(-EMPTY);
        for (var j = 0u; j < held; j++) {
            let v = kept[j * p.n + i];
            low = min(low, v);
            top = max(top, v);
        }
    }

    var s = Search(key(low), key(top) + Bits(1u), Bits(), Bits());
    while any((s.hi - s.lo > Bits(1u)) & (s.exact == Bits())) {
        let step = max((s.hi - s.lo) / Bits(4u), Bits(1u));
        let last = max(s.hi, s.lo + Bits(1u)) - Bits(1u);
        let a = min(s.lo + step, last);
        let b = min(s.lo + step + step, last);
        let c = min(s.lo + step + step + step, last);
        let n = count(i, held, value(a), value(b), value(c));
        s = narrowed(narrowed(narrowed(s, a, n.a), b, n.b), c, n.c);
    }

    let t = value(s.lo);
    var ties = select(Bits(p.k) - s.above, Bits(p.k), s.exact == Bits(1u));
    var end = Bits();
    for (var j = 0u; j < held; j++) {
        let v = kept[j * p.n + i];
        let which = select(Bits(), Bits(1u), (v > t) | ((v == t) & (ties > Bits())));
        keep(i, which, end, v, slot[j * p.n + i]);
        ties -= select(Bits(), which, v == t);
        end += which;
    }
    for (var row = 0u; row < p.rows; row++) {
        let v = Lane(strip[row * p.n + i]);
        let which = select(Bits(), Bits(1u), (v > t) | ((v == t) & (ties > Bits())));
        keep(i, which, end, v, Bits(p.base + row));
        ties -= select(Bits(), which, v == t);
        end += which;
    }
    while any(end < Bits(p.k)) {     // fewer than k numbers so far
        let which = select(Bits(), Bits(1u), end < Bits(p.k));
        keep(i, which, end, Lane(EMPTY), Bits(0xffffffffu));
        end += which;
    }
}

// One invocation: eight neighbours of a query's k, to their places in the result, best first: as many places from the front
// as there are better ones. Of equal ones the first is better.
@compute @workgroup_size(WG)
fn knn_sort(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    let q = i % p.n;
    let first = i / p.n * 8u;
    if first >= p.k { return; }
    let end = min(first + 8u, p.k);
    let place_a = vec4u(0u, 1u, 2u, 3u) + first;
    let place_b = place_a + 4u;
    let a = four(q, place_a);
    let b = four(q, place_b);
    var rank_a = vec4u();
    var rank_b = vec4u();
    for (var j = 0u; j < first; j++) {
        let v = vec4f(chosen[j * p.n + q]);
        rank_a += select(vec4u(), vec4u(1u), v >= a);
        rank_b += select(vec4u(), vec4u(1u), v >= b);
    }
    for (var j = first; j < end; j++) {
        let v = vec4f(chosen[j * p.n + q]);
        rank_a += select(vec4u(), vec4u(1u), (v > a) | ((v == a) & (vec4u(j) < place_a)));
        rank_b += select(vec4u(), vec4u(1u), (v > b) | ((v == b) & (vec4u(j) < place_b)));
    }
    for (var j = end; j < p.k; j++) {
        let v = vec4f(chosen[j * p.n + q]);
        rank_a += select(vec4u(), vec4u(1u), v > a);
        rank_b += select(vec4u(), vec4u(1u), v > b);
    }
    for (var l = 0u; l < 4u; l++) {
        put(q, place_a[l], a[l], rank_a[l]);
        put(q, place_b[l], b[l], rank_b[l]);
    }
}

fn four(q: u32, place: vec4u) -> vec4f {
    let at = min(place, vec4u(p.k - 1u)) * p.n + q;
    return vec4f(chosen[at.x], chosen[at.y], chosen[at.z], chosen[at.w]);
}

fn put(q: u32, place: u32, v: f32, rank: u32) {
    if place >= p.k { return; }
    similarity[q * p.k + rank] = v;
    index[q * p.k + rank] = chosen_slot[place * p.n + q];
}
