// Rows by index: gather them, add gradients back to where they came from, write them in place.
//
// Two indices may name one row, and floats have no atomics here. So indices are taken in blocks, one launch after
// another, and `link` chains equal indices within a block: the head of a chain adds it up, or the tail writes, alone.
// Order is that of the indices, work grows with count * block at most, and no loop is longer than a block (some CPU
// drivers end loops after 65,535 turns).
// lib: grid elem

override WG: u32 = 64;

const NONE: u32 = 0xffffffffu;
const NAN_BITS: u32 = 0x7fc07fc0u;    // NaN as one f32, and as two f16

// `count` indices into (rows, width); `first`: of the block that a launch works on.
struct Params { count: u32, rows: u32, width: u32, block: u32, first: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// gather, put: 4-byte words, so that f32, u32 and pairs of f16 share the kernels.
@group(0) @binding(1) var<storage, read_write> words_out: array<u32>;
@group(0) @binding(2) var<storage, read> words_in: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;     // (count)
@group(0) @binding(4) var<storage, read> links: array<vec2u>;      // (count)

@group(0) @binding(1) var<storage, read_write> links_out: array<vec2u>; // (count): next of equal index, is head
@group(0) @binding(2) var<storage, read> to_link: array<u32>;          // (count)

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;   // (rows, width), zeroed
@group(0) @binding(2) var<storage, read> dy: array<Elem>;         // (count, width)

// Moves `length` elements from `at` on to `to` and on.
struct Run { length: u32, to: u32, at: u32 }
@group(0) @binding(0) var<uniform> run: Run;
@group(0) @binding(1) var<storage, read_write> run_out: array<Elem>;
@group(0) @binding(2) var<storage, read> run_in: array<Elem>;

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

// One invocation: one index. Finds the next one equal to it in its block, and whether an earlier one is.
@compute @workgroup_size(WG)
fn link(at: At) {
    let i = index(at);
    if i >= p.count { return; }
    let own = to_link[i];
    let begin = i / p.block * p.block;
    let end = min(begin + p.block, p.count);
    var next = i + 1u;
    while next < end && to_link[next] != own { next++; }
    var before = i;
    while before > begin && to_link[before - 1u] != own { before--; }
    links_out[i] = vec2u(select(NONE, next, next < end), select(0u, 1u, before == begin));
}

// One invocation: one element of the block's (block, width). The head of a chain adds it to its row, first to last.
@compute @workgroup_size(WG)
fn gather_backward(at: At) {
    let i = index(at);
    let head = p.first + i / p.width;
    if head >= min(p.first + p.block, p.count) || links[head].y == 0u || indices[head] >= p.rows { return; }
    let column = i % p.width;
    var sum = 0.0;
    for (var j = head; j != NONE; j = links[j].x) { sum += f32(dy[j * p.width + column]); }
    let place = indices[head] * p.width + column;
    dx[place] = Elem(f32(dx[place]) + sum);
}

// One invocation: one element of the block's (block, width). The tail of a chain is what stays.
@compute @workgroup_size(WG)
fn put(at: At) {
    let i = index(at);
    let tail = p.first + i / p.width;
    if tail >= min(p.first + p.block, p.count) || links[tail].x != NONE || indices[tail] >= p.rows { return; }
    let column = i % p.width;
    words_out[indices[tail] * p.width + column] = words_in[tail * p.width + column];
}

// One invocation: one element of the run.
@compute @workgroup_size(WG)
fn copy_run(at: At) {
    let i = index(at);
    if i < run.length { run_out[run.to + i] = run_in[run.at + i]; }
}
