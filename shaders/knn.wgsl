// k nearest neighbours by dot product, with a running top-k.
//
// The similarities come in strips S (C, N): C rows of the bank against N queries, one strip at a time, so the whole
// (M, N) matrix never exists. Each query keeps its k best in a binary min-heap: the root is the worst of the k, so most
// candidates cost one comparison; one that enters costs log2(k) moves, and about k (1 + ln(M / k)) of M enter.
// "Better" is a larger similarity, or the same one at a lower index: the order is total, so the result is unique.
// lib: grid elem

override WG: u32 = 64;

struct Params {
    n: u32,       // queries
    k: u32,       // neighbours kept
    rows: u32,    // bank rows in this strip
    base: u32,    // bank index of the strip's first row; 0 also empties the heaps
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> heap: array<f32>;      // (K, N) similarities
@group(0) @binding(2) var<storage, read_write> slot: array<u32>;      // (K, N) bank indices
@group(0) @binding(3) var<storage, read> strip: array<Elem>;          // (C, N)

@group(0) @binding(3) var<storage, read_write> similarity: array<f32>;   // (N, K)
@group(0) @binding(4) var<storage, read_write> index: array<u32>;        // (N, K)

const EMPTY: f32 = -3.4e38;

fn worse(s: f32, i: u32, t: f32, j: u32) -> bool {
    return s < t || (s == t && i > j);
}

// Puts (s, i) at the root of query q's heap of `size` entries and moves it down to its place.
fn replace_root(q: u32, s: f32, i: u32, size: u32) {
    var at = 0u;
    loop {
        var child = 2u * at + 1u;
        if child >= size { break; }
        var cs = heap[child * p.n + q];
        var ci = slot[child * p.n + q];
        if child + 1u < size {
            let rs = heap[(child + 1u) * p.n + q];
            let ri = slot[(child + 1u) * p.n + q];
            if worse(rs, ri, cs, ci) {
                child += 1u;
                cs = rs;
                ci = ri;
            }
        }
        if !worse(cs, ci, s, i) { break; }
        heap[at * p.n + q] = cs;
        slot[at * p.n + q] = ci;
        at = child;
    }
    heap[at * p.n + q] = s;
    slot[at * p.n + q] = i;
}

// One invocation a query: offers it every row of the strip. Lanes read neighbouring queries of one row.
@compute @workgroup_size(WG)
fn knn_push(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let q = item_index(wid, nwg, lid, WG);
    if q >= p.n { return; }
    if p.base == 0u {
        for (var j = 0u; j < p.k; j++) {
            heap[j * p.n + q] = EMPTY;
            slot[j * p.n + q] = 0xffffffffu;
        }
    }
    var root = heap[q];
    for (var c = 0u; c < p.rows; c++) {
        let s = f32(strip[c * p.n + q]);
        if s > root {     // rows come in rising index: an equal one is worse than the root
            replace_root(q, s, p.base + c, p.k);
            root = heap[q];
        }
    }
}

// One invocation a query: empties its heap, worst first, into the rows of the result, best first.
@compute @workgroup_size(WG)
fn knn_sort(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let q = item_index(wid, nwg, lid, WG);
    if q >= p.n { return; }
    for (var size = p.k; size > 0u; size--) {
        similarity[q * p.k + size - 1u] = heap[q];
        index[q * p.k + size - 1u] = slot[q];
        let last = size - 1u;
        replace_root(q, heap[last * p.n + q], slot[last * p.n + q], last);
    }
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

// One invocation a query and class: sums exp((s - 1) / tau) over the neighbours of that class, best first.
@compute @workgroup_size(WG)
fn knn_vote(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= v.n * v.classes { return; }
    let q = i / v.classes;
    let kind = i % v.classes;
    var sum = 0.0;
    for (var j = 0u; j < v.k; j++) {
        let b = near_index[q * v.k + j];
        if b < v.bank && labels[b] == kind {     // a NaN similarity leaves an empty slot behind
            sum += exp((near_similarity[q * v.k + j] - 1.0) / v.tau);
        }
    }
    scores[i] = sum;
}
