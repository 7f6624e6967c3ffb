// Lane: the neighbouring columns that one invocation takes, and Cell: how they are stored. One column, for any number of them.

const LANE: u32 = 1;
alias Lane = f32;
alias Cell = Elem;

fn lane_at(v: Lane, k: u32) -> f32 { return v; }
