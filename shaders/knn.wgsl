// k nearest neighbours by dot product, with a running top-k.
//
// The similarities come in strips S (C, N): C rows of the bank against N queries, one strip at a time, so the whole
// (M, N) matrix never exists. Each query keeps its k best in rising bank index. A strip replaces them by the k best of kept
// and strip together: all above the k-th largest value t, and of those equal to t the first ones.
//
// t is found by counting. How many candidates are at least x falls as x rises; a pass over them counts for four x that
// cut the interval where t lies in five. Candidates are only read until t is known, and neighbouring invocations read
// neighbours and stay in step, which a heap a query would not: about eight passes where a heap moves log2(k) entries
// for each candidate that enters.
// lib: grid elem

override WG: u32 = 64;

struct Params {
    n: u32,       // queries
    k: u32,       // neighbours kept
    rows: u32,    // bank rows in this strip
    base: u32,    // bank index of the strip's first row; at 0 nothing is kept yet
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> kept: array<f32>;         // (K, N) similarities
@group(0) @binding(2) var<storage, read_write> slot: array<u32>;         // (K, N) bank indices
@group(0) @binding(3) var<storage, read> strip: array<Elem>;             // (C, N)

@group(0) @binding(1) var<storage, read_write> similarity: array<f32>;   // (N, K)
@group(0) @binding(2) var<storage, read_write> index: array<u32>;        // (N, K)
@group(0) @binding(3) var<storage, read> chosen: array<f32>;             // as kept
@group(0) @binding(4) var<storage, read> chosen_slot: array<u32>;        // as slot

const EMPTY: f32 = -3.4e38;

// Rises with v; `value` is its inverse.
fn key(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value(key: vec4u) -> vec4f {
    return bitcast<vec4f>(select(~key, key & vec4u(0x7fffffffu), key >= vec4u(0x80000000u)));
}

fn at_least(v: f32, x: vec4f) -> vec4u { return select(vec4u(), vec4u(1u), vec4f(v) >= x); }

// How many candidates of query q are at least each x, of `held` kept ones and the strip. A NaN is not.
fn count(q: u32, held: u32, x: vec4f) -> vec4u {
    var sum = vec4u();
    for (var j = 0u; j < held; j++) { sum += at_least(kept[j * p.n + q], x); }
    var at = q;
    for (var c = 0u; c < p.rows / 4u; c++) {
        sum += at_least(f32(strip[at]), x);
        sum += at_least(f32(strip[at + p.n]), x);
        sum += at_least(f32(strip[at + 2u * p.n]), x);
        sum += at_least(f32(strip[at + 3u * p.n]), x);
        at += 4u * p.n;
    }
    for (var c = p.rows & ~3u; c < p.rows; c++) { sum += at_least(f32(strip[c * p.n + q]), x); }
    return sum;
}

// One invocation a query: its k best of those kept and the strip.
@compute @workgroup_size(WG)
fn knn_select(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let q = item_index(wid, nwg, lid, WG);
    if q >= p.n { return; }
    let held = select(p.k, 0u, p.base == 0u);

    // Bounds: at least k candidates are at least `low`, none is above `top`.
    var top = EMPTY;
    var bottom = -EMPTY;
    var numbers = 0u;
    for (var c = 0u; c < p.rows; c++) {
        let v = f32(strip[c * p.n + q]);
        top = select(top, v, v > top);
        bottom = select(bottom, v, v < bottom);
        numbers += select(0u, 1u, v > EMPTY);
    }
    var low = select(EMPTY, bottom, numbers >= p.k);
    if held > 0u {
        low = -EMPTY;
        for (var j = 0u; j < held; j++) { low = min(low, kept[j * p.n + q]); }
        if top <= low { return; }     // an equal one comes after those kept
        for (var j = 0u; j < held; j++) { top = max(top, kept[j * p.n + q]); }
    }

    // lo: the largest key known to have k candidates at or above it; hi: the least known not to; above: how many at hi.
    var lo = key(low);
    var hi = key(top) + 1u;
    var above = 0u;
    var exact = false;
    while hi - lo > 1u && !exact {
        let step = max((hi - lo) / 5u, 1u);
        let cut = min(vec4u(lo) + vec4u(1u, 2u, 3u, 4u) * step, vec4u(hi - 1u));
        let counts = count(q, held, value(cut));
        for (var j = 0u; j < 4u && !exact; j++) {
            if counts[j] >= p.k {
                lo = cut[j];
                exact = counts[j] == p.k;
            } else if cut[j] < hi {
                hi = cut[j];
                above = counts[j];
            }
        }
    }

    let t = value(vec4u(lo)).x;
    var ties = select(p.k - above, p.k, exact);
    var end = 0u;
    for (var j = 0u; j < held; j++) {
        let v = kept[j * p.n + q];
        if v > t || (v == t && ties > 0u) {
            ties -= select(0u, 1u, v == t);
            kept[end * p.n + q] = v;
            slot[end * p.n + q] = slot[j * p.n + q];
            end++;
        }
    }
    for (var c = 0u; c < p.rows; c++) {
        let v = f32(strip[c * p.n + q]);
        if v > t || (v == t && ties > 0u) {
            ties -= select(0u, 1u, v == t);
            kept[end * p.n + q] = v;
            slot[end * p.n + q] = p.base + c;
            end++;
        }
    }
    for (; end < p.k; end++) {     // fewer than k numbers so far
        kept[end * p.n + q] = EMPTY;
        slot[end * p.n + q] = 0xffffffffu;
    }
}

// One invocation: eight of a query's k, every (k / 8)th, to their places in the result, best first: as many places from the
// front as there are better ones.
@compute @workgroup_size(WG)
fn knn_sort(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    let parts = (p.k + 7u) / 8u;
    let q = i % p.n;
    let part = i / p.n;
    if part >= parts { return; }
    let at_a = vec4u(0u, 1u, 2u, 3u) * parts + part;
    let at_b = at_a + 4u * parts;
    let a = four(q, at_a);
    let b = four(q, at_b);
    var rank_a = vec4u();
    var rank_b = vec4u();
    for (var j = 0u; j < p.k; j++) {
        let v = vec4f(chosen[j * p.n + q]);
        rank_a += select(vec4u(), vec4u(1u), (v > a) | ((v == a) & (vec4u(j) < at_a)));
        rank_b += select(vec4u(), vec4u(1u), (v > b) | ((v == b) & (vec4u(j) < at_b)));
    }
    for (var l = 0u; l < 4u; l++) {
        put(q, at_a[l], a[l], rank_a[l]);
        put(q, at_b[l], b[l], rank_b[l]);
    }
}

fn four(q: u32, at: vec4u) -> vec4f {
    let o = min(at, vec4u(p.k - 1u)) * p.n + q;
    return vec4f(chosen[o.x], chosen[o.y], chosen[o.z], chosen[o.w]);
}

fn put(q: u32, at: u32, v: f32, rank: u32) {
    if at >= p.k { return; }
    similarity[q * p.k + rank] = v;
    index[q * p.k + rank] = chosen_slot[at * p.n + q];
}

// ---- the vote ----

struct Vote {
    n: u32,          // queries
    k: u32,          // neighbours
    classes: u32,
    bank: u32,       // rows of the bank
    tau: f32,
}
@group(0) @binding(0) var<uniform> v: Vote;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;          // (N, CLASSES)
@group(0) @binding(2) var<storage, read> near_similarity: array<f32>;       // (N, K)
@group(0) @binding(3) var<storage, read> near_index: array<u32>;            // (N, K)
@group(0) @binding(4) var<storage, read> labels: array<u32>;                // (M)

// One invocation: eight classes of a query. It sums exp((s - 1) / tau) over the neighbours of each class, best first.
@compute @workgroup_size(WG)
fn knn_vote(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    let parts = (v.classes + 7u) / 8u;
    let q = i / parts;
    if q >= v.n { return; }
    let kind_a = vec4u(0u, 1u, 2u, 3u) + i % parts * 8u;
    let kind_b = kind_a + 4u;
    var a = vec4f();
    var b = vec4f();
    for (var j = q * v.k; j < (q + 1u) * v.k; j++) {
        let row = near_index[j];
        if row >= v.bank { continue; }     // a NaN similarity leaves an empty slot behind
        let label = vec4u(labels[row]);
        let weight = vec4f(exp((near_similarity[j] - 1.0) / v.tau));
        a += select(vec4f(), weight, label == kind_a);
        b += select(vec4f(), weight, label == kind_b);
    }
    for (var l = 0u; l < 4u; l++) {
        if kind_a[l] < v.classes { scores[q * v.classes + kind_a[l]] = a[l]; }
        if kind_b[l] < v.classes { scores[q * v.classes + kind_b[l]] = b[l]; }
    }
}
