// A teacher's moving average whose window follows how much of the gradient is signal, in two launches a step.
//
//   move     t += (1 - m) (w - t);  b += A (g - b);  by chunk the sums of b^2 and g^2
//   decide   R = (1 - A)^2 R + A^2 |g|^2;  r = (1 - A)^2 r + A^2;  s += A (1 - s)
//            x = (|b|^2 - R) / (s^2 - r) / (R / r), in [TINY, 1]; 1 at the first step
//            1 - m = max(1 - longest, (1 - shortest) x^(1/3)), for the next step
//
// b is the sum of u_i g_i with weights u_i, s the sum of u_i, r of u_i^2 and R of u_i^2 |g_i|^2: |b|^2 - R are the products of
// different gradients, whose noise is independent.
// t teacher, w student after its step, g the gradient of that step, b its average, of the whole model.
// `move` reads t, w, g and b, and writes t and b: 24 bytes an element.
// lib: grid row sums

override WG: u32 = 64;
override LANES: u32 = 64;       // as WG: a workgroup adds up together

const CHUNK: u32 = 1024;        // vec4s that a workgroup moves
const A: f32 = 0.02;            // part of the newest gradient in the averages
const TINY: f32 = 1e-12;

struct State {
    momentum: f32,  // that of the newest move
    weight: f32,    // 1 - m of the next
    signal: f32,    // x
    squares: f32,   // R
    sum: f32,       // s
    sum_2: f32,     // r
}

struct Move { n: u32 } // vec4s
@group(0) @binding(0) var<uniform> p: Move;
@group(0) @binding(1) var<storage, read_write> teacher: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> average: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec2f>;      // (chunks): of b^2, of g^2
@group(0) @binding(4) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(5) var<storage, read> student: array<vec4f>;
@group(0) @binding(6) var<storage, read> decided: State;
@group(0) @binding(7) var<storage, read> guard: vec4f;                  // see loss_scale.wgsl; z != 0: the step is skipped

// One workgroup: one chunk of the model. As in lerp.wgsl, weight 0 leaves the teacher and weight 1 copies the student.
@compute @workgroup_size(WG)
fn ema_move(at: At, @builtin(local_invocation_index) lid: u32) {
    let chunk = group_index(at);
    let weight = decided.weight;
    let skipped = vec4<bool>(guard.z != 0.0);
    var sum = vec2f();
    for (var i = chunk * CHUNK + lid; i < min((chunk + 1u) * CHUNK, p.n); i += WG) {
        let t = teacher[i];
        let w = student[i];
        teacher[i] = select(t + weight * (w - t), w - (1.0 - weight) * (w - t), vec4<bool>(weight >= 0.5));
        let g = gradient[i];
        let b = average[i];
        let next = select(b + A * (g - b), b, skipped);
        average[i] = next;
        sum += vec2f(dot(next, next), dot(g, g));
    }
    sum = row_sum(sum, lid);
    if lid == 0u && chunk * CHUNK < p.n { sums[chunk] = sum; }
}

struct Decide { chunks: u32, shortest: f32, longest: f32 }              // of the last two 1 - m
@group(0) @binding(0) var<uniform> d: Decide;
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(2) var<storage, read> all_sums: array<vec2f>;        // (chunks)
@group(0) @binding(3) var<storage, read> guard_of_all: vec4f;

// By its bits: a compiler may assume that no value is infinite or NaN.
fn finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

// One workgroup in all. A step that is skipped decides nothing, nor do sums that are not finite.
@compute @workgroup_size(WG)
fn ema_decide(at: At, @builtin(local_invocation_index) lid: u32) {
    var sum = vec2f();
    for (var k = lid; k < d.chunks; k += WG) { sum += all_sums[k]; }
    sum = row_sum(sum, lid);
    if lid > 0u { return; }
    state.momentum = 1.0 - state.weight;
    if guard_of_all.z != 0.0 || !finite(sum.x) || !finite(sum.y) { return; }
    const KEEP = (1.0 - A) * (1.0 - A);
    state.squares = KEEP * state.squares + A * A * sum.y;
    state.sum_2 = KEEP * state.sum_2 + A * A;
    state.sum += A * (1.0 - state.sum);
    let alone = state.sum_2 / (state.sum * state.sum);
    let share = (sum.x / state.squares - 1.0) * alone / (1.0 - alone);
    // One gradient does not tell signal from noise, nor do gradients of zero.
    state.signal = select(1.0, clamp(share, TINY, 1.0), alone < 0.999 && state.squares > 0.0);
    state.weight = max(d.longest, d.shortest * pow(state.signal, 1.0 / 3.0));
}
