// Lane: the neighbouring columns that one invocation takes; Cell: how they are stored, OutCell: where they are the first
// output; Bits: as many words. One column, for any number of them.

const LANE: u32 = 1;
alias Lane = f32;
alias Cell = Elem;
alias OutCell = Out;
alias Bits = u32;

fn lane_at(v: Lane, k: u32) -> f32 { return v; }
fn bits_at(v: Bits, k: u32) -> u32 { return v; }
