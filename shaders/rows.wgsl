// Rows by index: gather them, add gradients back to where they came from, write them in place.
//
// Two indices may name one row, and floats have no atomics here. So indices are taken in blocks, one launch after
// another, and `link` chains equal indices within a block: the head of a chain adds it up, or the tail writes, alone.
// Order is that of the indices, work grows with count * block at most, and no loop is longer than a block (some CPU
// drivers end loops after 65,535 turns).
//
// A row is moved in pieces, of four elements where its width is a multiple of four; an invocation takes every `takers`th piece
// of its row, so that where the row lies is found once for several pieces and neighbours move neighbours.
// lib: grid elem lane

override WG: u32 = 64;

const NONE: u32 = 0xffffffffu;
const NAN_BITS: u32 = 0x7fc07fc0u;    // NaN as one f32, and as two f16

// `count` indices into (rows, width), width in pieces; `first`: of the block that a launch works on.
struct Uniforms { count: u32, rows: u32, width: u32, takers: u32, block: u32, first: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// gather, put: 4-byte words, so that f32, u32 and pairs of f16 share the kernels.
@group(0) @binding(1) var<storage, read_write> words_out: array<Bits>;
@group(0) @binding(2) var<storage, read> words_in: array<Bits>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;     // (count)
@group(0) @binding(4) var<storage, read> links: array<vec2u>;      // (count)

@group(0) @binding(1) var<storage, read_write> links_out: array<vec2u>; // (count): next of equal index, is head
@group(0) @binding(2) var<storage, read> to_link: array<vec4u>;        // (count), four together

@group(0) @binding(1) var<storage, read_write> dx: array<OutCell>;    // (rows, width), zeroed; f32 where dy is f16
@group(0) @binding(2) var<storage, read> dy: array<Cell>;         // (count, width)

// Moves `length` elements from `at` on to `to` and on.
struct Run { length: u32, to: u32, at: u32 }
@group(0) @binding(0) var<uniform> run: Run;
@group(0) @binding(1) var<storage, read_write> run_out: array<Elem>;
@group(0) @binding(2) var<storage, read> run_in: array<Elem>;

fn index(at: At, lid: u32) -> u32 { return item_index(at, lid, WG); }

// One invocation: pieces of one row of the result (count, width). An index out of range gives NaNs, not another row.
@compute @workgroup_size(WG)
fn gather(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    let n = i / p.takers;
    if n >= p.count { return; }
    let row = indices[n];
    let end = select(0u, p.width, row < p.rows);
    var c = i - n * p.takers;
    for (; c < end; c += p.takers) { words_out[n * p.width + c] = words_in[row * p.width + c]; }
    for (; c < p.width; c += p.takers) { words_out[n * p.width + c] = Bits(NAN_BITS); }
}

// One invocation: one index. Finds the next one equal to it in its block, and whether an earlier one is.
@compute @workgroup_size(WG)
fn link(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.count { return; }
    let own = to_link[i / 4u][i % 4u];
    let begin = i / p.block * p.block;
    let end = min(begin + p.block, p.count);
    var next = vec4u(NONE);
    var before = vec4<bool>();
    for (var four = begin / 4u; four < (end + 3u) / 4u; four++) {
        let candidates = vec4u(0u, 1u, 2u, 3u) + 4u * four;
        let same = (to_link[four] == vec4u(own)) & (candidates < vec4u(end));
        next = min(next, select(vec4u(NONE), candidates, same & (candidates > vec4u(i))));
        before |= same & (candidates < vec4u(i));
    }
    links_out[i] = vec2u(min(min(next.x, next.y), min(next.z, next.w)), select(1u, 0u, any(before)));
}

// One invocation: pieces of one row of the block's (block, width). The head of a chain adds it to its row, first to last.
@compute @workgroup_size(WG)
fn gather_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    let head = p.first + i / p.takers;
    if head >= min(p.first + p.block, p.count) || links[head].y == 0u || indices[head] >= p.rows { return; }
    let row = indices[head] * p.width;
    for (var j = head; j != NONE; j = links[j].x) {
        for (var c = i % p.takers; c < p.width; c += p.takers) {
            dx[row + c] = OutCell(Lane(dx[row + c]) + Lane(dy[j * p.width + c]));
        }
    }
}

// One invocation: pieces of one row of the block's (block, width). The tail of a chain is what stays.
@compute @workgroup_size(WG)
fn put(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    let tail = p.first + i / p.takers;
    if tail >= min(p.first + p.block, p.count) || links[tail].x != NONE || indices[tail] >= p.rows { return; }
    let row = indices[tail] * p.width;
    for (var c = i % p.takers; c < p.width; c += p.takers) { words_out[row + c] = words_in[tail * p.width + c]; }
}

// One invocation: one element of the run.
@compute @workgroup_size(WG)
fn copy_run(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < run.length { run_out[run.to + i] = run_in[run.at + i]; }
}
