// A block of q . k for the contrastive kernels of GPUs: 64 rows of `a` against 16 BLOCK_KEYS rows of `b`, by a workgroup of
// 128 as 8 x 16 invocations of 8 rows x BLOCK_KEYS keys.
// The kernel declares `a`, `b` (rows of d4 vec4s), Uniforms { n: rows of a, m: rows of b, d4, .. } as `p`, and BLOCK_KEYS.
//
// Both tiles stay vec4s along d, as they lie in memory: nothing is transposed, and a dot product is four multiply-adds.
// A step of 4 in d costs an invocation 8 + BLOCK_KEYS reads of workgroup memory and 32 BLOCK_KEYS multiply-adds. While one
// step is computed, the next one's rows are on their way to registers. The stride of a d-step is BLOCK_ROWS + 2 vec4s, so that
// the four lanes that store one row meet four different banks.

const BLOCK_WG: u32 = 128;
const BLOCK_ROWS: u32 = 64;
const BLOCK_COLUMNS: u32 = 16 * BLOCK_KEYS;
const BLOCK_D4: u32 = 4;       // vec4s of d in a step
const A_STRIDE: u32 = BLOCK_ROWS + 2;
const B_STRIDE: u32 = BLOCK_COLUMNS + 2;
const A_LOADS: u32 = BLOCK_ROWS * BLOCK_D4 / BLOCK_WG;
const B_LOADS: u32 = BLOCK_COLUMNS * BLOCK_D4 / BLOCK_WG;

// (BLOCK_D4, A_STRIDE) of a, then (BLOCK_D4, B_STRIDE) of b. 16 KiB, all that a kernel has everywhere: what else it keeps it puts
// here between two blocks.
var<workgroup> block_memory: array<vec4f, 1024>;

alias Block = array<f32, 8 * BLOCK_KEYS>;  // [BLOCK_KEYS * (row of 8) + key]: row 8 (lid / 16) + r, key lid % 16 + 16 c

struct Step { a: array<vec4f, A_LOADS>, b: array<vec4f, B_LOADS> }

// Rows past the end are read from the last one; what they give is masked later. Past the end of d there are zeros.
fn load_step(i: u32, j: u32, c: u32, lid: u32) -> Step {
    var step: Step;
    let column = c + lid % BLOCK_D4;
    if column < p.d4 {
        for (var e = 0u; e < A_LOADS; e++) {
            let row = min(i + (lid + e * BLOCK_WG) / BLOCK_D4, p.n - 1);
            step.a[e] = vec4f(a[row * p.d4 + column]);
        }
        for (var e = 0u; e < B_LOADS; e++) {
            let row = min(j + (lid + e * BLOCK_WG) / BLOCK_D4, p.m - 1);
            step.b[e] = vec4f(b[row * p.d4 + column]);
        }
    }
    return step;
}

// Begins by overwriting the workgroup's memory and ends with a barrier: it is free again.
fn dot_block(i: u32, j: u32, lid: u32) -> Block {
    let ty = lid / 16;
    let tx = lid % 16;
    let column = lid % BLOCK_D4;
    var s: Block;
    var step = load_step(i, j, 0, lid);
    for (var c = 0u; c < p.d4; c += BLOCK_D4) {
        for (var e = 0u; e < A_LOADS; e++) {
            block_memory[column * A_STRIDE + (lid + e * BLOCK_WG) / BLOCK_D4] = step.a[e];
        }
        for (var e = 0u; e < B_LOADS; e++) {
            block_memory[BLOCK_D4 * A_STRIDE + column * B_STRIDE + (lid + e * BLOCK_WG) / BLOCK_D4] = step.b[e];
        }
        workgroupBarrier();
        step = load_step(i, j, c + BLOCK_D4, lid);
        for (var k = 0u; k < BLOCK_D4; k++) {
            var y: array<vec4f, BLOCK_KEYS>;
            for (var q = 0u; q < BLOCK_KEYS; q++) { y[q] = block_memory[BLOCK_D4 * A_STRIDE + k * B_STRIDE + tx + 16 * q]; }
            for (var r = 0u; r < 8; r++) {
                let x = block_memory[k * A_STRIDE + 8 * ty + r];
                for (var q = 0u; q < BLOCK_KEYS; q++) { s[r * BLOCK_KEYS + q] += dot(x, y[q]); }
            }
        }
        workgroupBarrier();
    }
    return s;
}
