// lane_1.wgsl for four columns, where their number is a multiple of four: the engine takes this file for `Kernel::wide`.

const LANE: u32 = 4;
alias Lane = vec4f;
alias Cell = Elem4;
alias OutCell = Out4;
alias Bits = vec4u;

fn lane_at(v: Lane, k: u32) -> f32 { return v[k]; }
fn bits_at(v: Bits, k: u32) -> u32 { return v[k]; }
