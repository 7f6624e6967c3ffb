// Rows by index: gather them, add gradients back to where they came from, write them in place.
//
// Two indices may name one row, and floats have no atomics here. So `link` first chains equal indices in order;
// the head of a chain then adds up, or the tail of it writes, alone. Cost: the distance between equal indices, at most
// `count` compares an index.
// lib: grid elem

override WG: u32 = 64;

const NONE: u32 = 0xffffffffu;
const NAN_BITS: u32 = 0x7fc00000u;

struct Params { count: u32, rows: u32, width: u32 } // count indices into (rows, width)
@group(0) @binding(0) var<uniform> p: Params;

// gather, put: 4-byte words, so that f32 and u32 share the kernels.
@group(0) @binding(1) var<storage, read_write> words_out: array<u32>;
@group(0) @binding(2) var<storage, read> words_in: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;     // (count)
@group(0) @binding(4) var<storage, read> links: array<u32>;       // (count, 2)

@group(0) @binding(1) var<storage, read_write> links_out: array<u32>; // (count, 2): next of the same index, is head
@group(0) @binding(2) var<storage, read> to_link: array<u32>;         // (count)

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;   // (rows, width), zeroed
@group(0) @binding(2) var<storage, read> dy: array<Elem>;         // (count, width)

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

fn index(at: At) -> u32 { return item_index(at.wid, at.nwg, at.lid, WG); }

// One invocation: one element of the result (count, width). An index out of range gives a NaN, not another row.
@compute @workgroup_size(WG)
fn gather(at: At) {
    let i = index(at);
    if i >= p.count * p.width { return; }
    let row = indices[i / p.width];
    if row < p.rows { words_out[i] = words_in[row * p.width + i % p.width]; } else { words_out[i] = NAN_BITS; }
}

// One invocation: one index. Finds the next index equal to it, and whether an earlier one is.
@compute @workgroup_size(WG)
fn link(at: At) {
    let i = index(at);
    if i >= p.count { return; }
    let own = to_link[i];
    var next = i + 1u;
    while next < p.count && to_link[next] != own { next++; }
    var before = i;
    while before > 0u && to_link[before - 1u] != own { before--; }
    links_out[2u * i] = select(NONE, next, next < p.count);
    links_out[2u * i + 1u] = select(0u, 1u, before == 0u);
}

// One invocation: one element of (count, width). The head of a chain adds up the chain, first to last.
@compute @workgroup_size(WG)
fn gather_backward(at: At) {
    let i = index(at);
    let head = i / p.width;
    if head >= p.count || links[2u * head + 1u] == 0u || indices[head] >= p.rows { return; }
    var sum = 0.0;
    for (var j = head; j != NONE; j = links[2u * j]) { sum += f32(dy[j * p.width + i % p.width]); }
    dx[indices[head] * p.width + i % p.width] = Elem(sum);
}

// One invocation: one element of (count, width). Of rows with the same index the last one is written.
@compute @workgroup_size(WG)
fn put(at: At) {
    let i = index(at);
    let tail = i / p.width;
    if tail >= p.count || links[2u * tail] != NONE || indices[tail] >= p.rows { return; }
    words_out[indices[tail] * p.width + i % p.width] = words_in[i];
}
