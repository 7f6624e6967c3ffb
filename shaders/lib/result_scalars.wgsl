// How a block of C (lib/store.wgsl) is stored: one value at a time, where its rows are no whole vec4s.

alias Result = Out;

fn store(at: u32, left: u32, x: vec4f) { for (var q = 0u; q < min(left, 4u); q++) { c[at + q] = Out(x[q]); } }
