// Segments: how the kernels on a model's flat buffer find the tensor they are in and its hyper-parameters.
// A segment starts at a multiple of 64 floats, so a vec4 never spans two.

// The 64-float block that vec4 `i` of the flat buffer lies in.
fn block_of(i: u32) -> u32 { return i / 16u; }

// A group is (weight decay factor, learning rate factor, learning rate added, 1 where LARS adapts).
fn group_decay(group: vec4f, weight_decay: f32) -> f32 { return group.x * weight_decay; }
fn group_lr(group: vec4f, lr: f32) -> f32 { return group.y * lr + group.z; }
