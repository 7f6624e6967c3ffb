// Flat indices. A launch of more than 65,535 workgroups is folded into y and z, so kernels never read the id directly.

// The workgroup of an invocation: the first argument of every entry point. The invocation's own index is an argument beside it,
// because a compiler may take a struct to differ within a workgroup as soon as one member does, and refuse a barrier that hangs
// on it.
struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
}

// The workgroup's among all.
fn group_index(at: At) -> u32 {
    return at.wid.x + at.nwg.x * (at.wid.y + at.nwg.y * at.wid.z);
}

// The index among all invocations of invocation `lid` of a workgroup of `wg`.
fn item_index(at: At, lid: u32, wg: u32) -> u32 {
    return group_index(at) * wg + lid;
}

// Row and column of block `i` of a matrix of `down` x `across` of them: bands of 8 rows, each column by column. Blocks that are made at
// the same time then share rows and columns of the operands in a cache: 132 of 32 x 32 blocks want 8 + 17 panels, row by row 5 + 32.
fn banded(i: u32, down: u32, across: u32) -> vec2u {
    let band = i / (8u * across);
    let rows = min(8u, down - 8u * band);
    let at = i - band * 8u * across;
    return vec2u(8u * band + at % rows, at / rows);
}
