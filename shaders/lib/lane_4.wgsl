// lane_1.wgsl for four columns, where their number is a multiple of four.

const LANE: u32 = 4;
alias Lane = vec4f;
alias Cell = Elem4;
alias OutCell = Out4;
alias Bits = vec4u;

fn lane_at(v: Lane, k: u32) -> f32 { return v[k]; }
fn bits_at(v: Bits, k: u32) -> u32 { return v[k]; }
fn lane_sum(v: Lane) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn lane_max(v: Lane) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

fn lane_hit(at: u32, wanted: u32) -> Lane {
    return select(vec4f(), vec4f(1.0), vec4u(wanted) == 4u * at + vec4u(0u, 1u, 2u, 3u));
}
