// y[b, j, i] = x[b, i, j]: the last two axes swapped, for each of `batch` matrices of (rows, cols).
//
// Either reading or writing goes down a column. `transpose_tile` turns a tile in workgroup memory so that both run along
// rows; `transpose_block` turns a 4 x 4 block in registers, which a CPU adapter does faster.
// lib: grid elem

override TILE: u32 = 32;
override ROWS: u32 = 8; // rows of the tile that a workgroup moves at once
override WG: u32 = 64;

struct Uniforms { batch: u32, rows: u32, cols: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;
@group(0) @binding(2) var<storage, read> x: array<Elem>;

var<workgroup> tile: array<f32, TILE * (TILE + 1)>; // (TILE, TILE + 1): the extra column avoids bank conflicts

// One workgroup turns one tile of (TILE, TILE).
@compute @workgroup_size(TILE, ROWS)
fn transpose_tile(at: At, @builtin(local_invocation_index) lid: u32) {
    let across = (p.cols + TILE - 1u) / TILE;
    let down = (p.rows + TILE - 1u) / TILE;
    let group = group_index(at);
    let b = group / (across * down);
    let row = group / across % down * TILE;
    let col = group % across * TILE;
    let first = b * p.rows * p.cols;
    let tx = lid % TILE;
    for (var ty = lid / TILE; ty < TILE; ty += ROWS) {
        if b < p.batch && row + ty < p.rows && col + tx < p.cols {
            tile[ty * (TILE + 1u) + tx] = f32(x[first + (row + ty) * p.cols + col + tx]);
        }
    }
    workgroupBarrier();
    for (var ty = lid / TILE; ty < TILE; ty += ROWS) {
        if b < p.batch && col + ty < p.cols && row + tx < p.rows {
            y[first + (col + ty) * p.rows + row + tx] = Elem(tile[tx * (TILE + 1u) + ty]);
        }
    }
}

fn load(i: u32) -> vec4f { return vec4f(f32(x[i]), f32(x[i + 1u]), f32(x[i + 2u]), f32(x[i + 3u])); }

fn store(i: u32, v: vec4f) {
    y[i] = Elem(v.x);
    y[i + 1u] = Elem(v.y);
    y[i + 2u] = Elem(v.z);
    y[i + 3u] = Elem(v.w);
}

// One invocation turns one block of (4, 4).
@compute @workgroup_size(WG)
fn transpose_block(at: At, @builtin(local_invocation_index) lid: u32) {
    let across = (p.cols + 3u) / 4u;
    let down = (p.rows + 3u) / 4u;
    let i = item_index(at, lid, WG);
    let b = i / (across * down);
    if b >= p.batch { return; }
    let row = i / across % down * 4u;
    let col = i % across * 4u;
    let first = b * p.rows * p.cols;
    if row + 4u <= p.rows && col + 4u <= p.cols {
        let source = first + row * p.cols + col;
        let e = first + col * p.rows + row;
        let r0 = load(source);
        let r1 = load(source + p.cols);
        let r2 = load(source + 2u * p.cols);
        let r3 = load(source + 3u * p.cols);
        store(e, vec4f(r0.x, r1.x, r2.x, r3.x));
        store(e + p.rows, vec4f(r0.y, r1.y, r2.y, r3.y));
        store(e + 2u * p.rows, vec4f(r0.z, r1.z, r2.z, r3.z));
        store(e + 3u * p.rows, vec4f(r0.w, r1.w, r2.w, r3.w));
        return;
    }
    for (var c = col; c < min(col + 4u, p.cols); c++) {
        for (var r = row; r < min(row + 4u, p.rows); r++) {
            y[first + c * p.rows + r] = x[first + r * p.cols + c];
        }
    }
}
