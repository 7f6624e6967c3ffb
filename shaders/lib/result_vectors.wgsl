// How a block of C (lib/store.wgsl) is stored: in vec4s, where its rows are whole ones. `result_scalars.wgsl` is the same for any.

alias Result = Out4;

// Up to four neighbours from element `at` on; `left` of the row's.
fn store(at: u32, left: u32, x: vec4f) { c[at / 4u] = Out4(x); }
