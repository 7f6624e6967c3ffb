// How many invocations a subgroup has, and whether two of them lend each other a register.

@group(0) @binding(1) var<storage, read_write> y: array<u32>;   // (1 + 64): size, then for each invocation its neighbour's number

@compute @workgroup_size(64)
fn subgroups(
    @builtin(local_invocation_index) lid: u32, @builtin(subgroup_size) size: u32, @builtin(subgroup_invocation_id) lane: u32
) {
    if lid == 0u { y[0] = size; }
    // The neighbour's lane, told by the neighbour: `lane` with its last bit turned over.
    y[1u + lid] = subgroupShuffleXor(lane, 1u) ^ lane;
}
