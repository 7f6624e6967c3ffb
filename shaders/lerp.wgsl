// y += weight (x - y) in place: the moving average of a teacher. As PyTorch, it starts from the nearer end, so that
// weight 0 leaves y and weight 1 copies x exactly.
// y += weight (mean of the rows of x - y): that of a centre.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32, weight: f32 } // n: groups of four
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem4>;
@group(0) @binding(2) var<storage, read> x: array<Elem4>;

struct MeanUniforms { rows: u32, c: u32, weight: f32 }
@group(0) @binding(0) var<uniform> of_mean: MeanUniforms;
@group(0) @binding(1) var<storage, read_write> center: array<f32>;  // (c)
@group(0) @binding(2) var<storage, read> batch: array<f32>;         // (rows, c)

const RUN = 32u; // rows added up before the sum joins the others, so that rounding errors stay small

// One invocation updates four elements.
@compute @workgroup_size(WG)
fn lerp(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let from_y = vec4f(y[i]);
    let to_x = vec4f(x[i]);
    let step = to_x - from_y;
    y[i] = Elem4(select(from_y + p.weight * step, to_x - (1.0 - p.weight) * step, vec4<bool>(p.weight >= 0.5)));
}

// One invocation moves one column.
@compute @workgroup_size(WG)
fn lerp_mean(at: At, @builtin(local_invocation_index) lid: u32) {
    let j = item_index(at, lid, WG);
    if j >= of_mean.c { return; }
    var sum = 0.0;
    for (var start = 0u; start < of_mean.rows; start += RUN) {
        let end = min(start + RUN, of_mean.rows);
        var part = 0.0;
        for (var i = start; i < end; i += 1u) { part += batch[i * of_mean.c + j]; }
        sum += part;
    }
    center[j] += of_mean.weight * (sum / f32(of_mean.rows) - center[j]);
}
