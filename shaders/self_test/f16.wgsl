enable f16;
// Numbers that f16 holds exactly, through f16 in memory and in registers and back.

@group(0) @binding(1) var<storage, read_write> y: array<f16>;   // (64)
@group(0) @binding(2) var<storage, read> x: array<f32>;         // (64)

@compute @workgroup_size(64)
fn f16_round_trip(@builtin(local_invocation_index) lid: u32) {
    y[lid] = f16(f32(f16(x[lid])) * 2.0) * 0.5h;
}
