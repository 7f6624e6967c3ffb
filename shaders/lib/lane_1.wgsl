// Lane: the neighbouring columns that one invocation takes; Cell: how they are stored, OutCell: where they are the first
// output; Bits: as many words. One column, for any number of them.

const LANE: u32 = 1;
alias Lane = f32;
alias Cell = Elem;
alias OutCell = Out;
alias Bits = u32;

fn lane_at(v: Lane, k: u32) -> f32 { return v; }
fn bits_at(v: Bits, k: u32) -> u32 { return v; }
fn lane_sum(v: Lane) -> f32 { return v; }
fn lane_max(v: Lane) -> f32 { return v; }

// 1 in the column that is element `wanted`, where the lane is cell `at`.
fn lane_hit(at: u32, wanted: u32) -> Lane { return select(0.0, 1.0, at == wanted); }
