// 64 invocations add up 1 to 64 by way of workgroup memory, with a barrier after each step: 2,080. Drivers have left out barriers.

@group(0) @binding(1) var<storage, read_write> y: array<u32>;   // (1)

var<workgroup> sums: array<u32, 64>;

@compute @workgroup_size(64)
fn barriers(@builtin(local_invocation_index) lid: u32) {
    sums[lid] = lid + 1u;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lid < half { sums[lid] += sums[lid + half]; }
        workgroupBarrier();
    }
    if lid == 0u { y[0] = sums[0]; }
}
