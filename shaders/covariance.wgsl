// The pieces of the covariance of the columns of x [n, d] around two matrix products, s = 1 / sqrt(n - 1):
//   a = s (x - mean),  cov = aᵀ a
//   dx = a h,  h = s (dcov + dcovᵀ)
// dx needs no centring: the columns of a sum to zero, so those of a h do.
//
// And of two regularisers (Bardes et al. 2022, "VICReg", eq. 1 and 4), each a mean over the d columns:
//   penalty = sum_(i != j) cov_ij^2 / d          h = (4 s / d) dpenalty offdiag(cov),  dx = a h
//   hinge   = sum_j max(0, gamma - std_j) / d    std_j = sqrt(var_j + eps), var unbiased
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32, d: u32, s: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> a: array<Elem>;           // (n, d)
@group(0) @binding(2) var<storage, read> x: array<Elem>;                 // (n, d)
@group(0) @binding(3) var<storage, read> mean: array<f32>;               // column means first, (>= d)

@group(0) @binding(1) var<storage, read_write> h: array<f32>;            // (d, d)
@group(0) @binding(2) var<storage, read> dcov: array<f32>;               // (d, d)

// One invocation an element of a.
@compute @workgroup_size(WG)
fn covariance_center(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n * p.d { return; }
    a[i] = Elem((f32(x[i]) - mean[i % p.d]) * p.s);
}

// One invocation an element of h.
@compute @workgroup_size(WG)
fn covariance_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.d * p.d { return; }
    h[i] = (dcov[i] + dcov[(i % p.d) * p.d + i / p.d]) * p.s;
}

@group(0) @binding(1) var<storage, read_write> term: array<f32>;         // (d)
@group(0) @binding(2) var<storage, read> cov: array<f32>;                // (d, d)
@group(0) @binding(3) var<storage, read> dterm: array<f32>;              // one number

// One invocation a column: its squares off the diagonal, over d. Neighbours read along a row.
@compute @workgroup_size(WG)
fn covariance_penalty(at: At, @builtin(local_invocation_index) lid: u32) {
    let j = item_index(at, lid, WG);
    if j >= p.d { return; }
    var sum = 0.0;
    for (var i = 0u; i < p.d; i++) {
        let v = select(cov[i * p.d + j], 0.0, i == j);
        sum += v * v;
    }
    term[j] = sum / f32(p.d);
}

// One invocation an element of h.
@compute @workgroup_size(WG)
fn covariance_penalty_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.d * p.d { return; }
    h[i] = select(4.0 * p.s / f32(p.d) * dterm[0] * cov[i], 0.0, i / p.d == i % p.d);
}

struct Hinge { n: u32, d: u32, gamma: f32, unbias: f32 }                 // unbias = sqrt(n / (n - 1))
@group(0) @binding(0) var<uniform> q: Hinge;
@group(0) @binding(2) var<storage, read> stats: array<f32>;              // (4, d): mean, 1 / sqrt(biased var + eps (n - 1) / n), ..

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;          // (n, d)
@group(0) @binding(3) var<storage, read> stats_of_x: array<f32>;         // as `stats`
@group(0) @binding(4) var<storage, read> dhinge: array<f32>;             // one number

// One invocation a column.
@compute @workgroup_size(WG)
fn variance_hinge(at: At, @builtin(local_invocation_index) lid: u32) {
    let j = item_index(at, lid, WG);
    if j >= q.d { return; }
    let term_j = q.gamma - q.unbias / stats[q.d + j];
    term[j] = select(term_j, 0.0, term_j < 0.0) / f32(q.d); // NaN stays
}

// One invocation an element: -dhinge (x - mean) / (d (n - 1) std) in columns whose std is below gamma.
@compute @workgroup_size(WG)
fn variance_hinge_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= q.n * q.d { return; }
    let j = i % q.d;
    let deviation = q.unbias / stats_of_x[q.d + j];
    let slope = dhinge[0] / (f32(q.d) * f32(q.n - 1u) * deviation);
    dx[i] = Elem(select(0.0, -slope * (f32(x[i]) - stats_of_x[j]), deviation < q.gamma));
}
