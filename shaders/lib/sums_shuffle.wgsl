// sums_memory.wgsl in the registers of a subgroup, of which LANES is a part: chosen where no subgroup is smaller.

fn row_sum(v: vec2f, lid: u32) -> vec2f {
    var sum = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) { sum += subgroupShuffleXor(sum, half); }
    return sum;
}

fn row_max(v: f32, lid: u32) -> f32 {
    var top = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) { top = max(top, subgroupShuffleXor(top, half)); }
    return top;
}
