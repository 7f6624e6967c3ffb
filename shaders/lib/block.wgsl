// The loop of a blocked matrix product C = A B: BM x BN of C per workgroup, 8 x 8 sums per invocation.
//
// A step takes BK terms. Its tiles lie in workgroup memory with k first, as vec4 of 4 rows or columns; for each term an
// invocation reads 4 vec4 and does 64 multiply-adds. The tiles are read from memory in blocks of 4 x 4, one an invocation
// (so (BM + BN) BK / 16 <= WG), into registers, while the step before is still being summed.
//
// The kernel file has load_a(k) and load_b(k), called once a step with k = l0 + BK step: the block at block_a() or
// block_b(), column q of the matrix the terms k + 4 block.x + q, zero outside A and B. It says in A_ALONG_K and B_ALONG_K
// which axis is contiguous in memory: neighbouring invocations read along it.

override BM: u32 = 64;
override BN: u32 = 64;
override BK: u32 = 8;
override WG: u32 = 64;          // BM BN / 64
override A_SIZE: u32 = 128;     // BM BK / 4
override B_SIZE: u32 = 128;     // BN BK / 4

var<workgroup> a_tile: array<vec4f, A_SIZE>;      // (BK, BM)
var<workgroup> b_tile: array<vec4f, B_SIZE>;      // (BK, BN)

// Place of vec4 c in row k of a tile `width` wide. Without the exclusive or, blocks that are neighbours along k would be
// stored to the same banks; padding would do the same, but 128 x 16 twice is all of the 16 KiB a workgroup surely has.
fn tile_at(k: u32, c: u32, width: u32) -> u32 { return k * (width / 4u) + (c ^ (k / 4u % 4u * 2u)); }

// Block `e` of a tile `width` wide: which 4 terms, and which 4 rows or columns.
fn block_of(e: u32, width: u32, along_k: bool) -> vec2u {
    if along_k { return vec2u(e % (BK / 4u), e / (BK / 4u)); }
    return vec2u(e / (width / 4u), e % (width / 4u));
}

// The first invocations load A, the next ones B.
fn reads_a(lid: u32) -> bool { return lid < BM * BK / 16u; }
fn reads_b(lid: u32) -> bool { return !reads_a(lid) && lid < (BM + BN) * BK / 16u; }
fn block_a(lid: u32) -> vec2u { return block_of(lid, BM, A_ALONG_K); }
fn block_b(lid: u32) -> vec2u { return block_of(lid - BM * BK / 16u, BN, B_ALONG_K); }

fn load(lid: u32, k: u32) -> mat4x4f {
    if reads_a(lid) { return load_a(k); }
    if reads_b(lid) { return load_b(k); }
    return mat4x4f();
}

fn stage(lid: u32, block: mat4x4f) {
    for (var q = 0u; q < 4u; q++) {
        if reads_a(lid) {
            let at = block_a(lid);
            a_tile[tile_at(4u * at.x + q, at.y, BM)] = block[q];
        } else if reads_b(lid) {
            let at = block_b(lid);
            b_tile[tile_at(4u * at.x + q, at.y, BN)] = block[q];
        }
    }
}

// First row of the invocation's 8; first columns of its 4 and 4, which lie BN / 2 apart so that neighbours read, and
// write, neighbouring vec4.
fn own_row(lid: u32) -> u32 { return lid / (BN / 8u) * 8u; }
fn own_column(lid: u32) -> u32 { return lid % (BN / 8u) * 4u; }

// Sums over the terms [l0, l1): row r of the invocation in [2 r] and [2 r + 1].
fn blocked_product(lid: u32, l0: u32, l1: u32) -> array<vec4f, 16> {
    let row = own_row(lid) / 4u;
    let column = own_column(lid) / 4u;
    var sum: array<vec4f, 16>;
    // One round more than there are steps: each reads a step's blocks and sums the step before.
    for (var l = l0; l < l1 + BK; l += BK) {
        let next = load(lid, l);
        for (var k = 0u; k < BK && l > l0; k++) {
            let a0 = a_tile[tile_at(k, row, BM)];
            let a1 = a_tile[tile_at(k, row + 1u, BM)];
            let b0 = b_tile[tile_at(k, column, BN)];
            let b1 = b_tile[tile_at(k, column + BN / 8u, BN)];
            for (var r = 0u; r < 4u; r++) {
                sum[2u * r] += a0[r] * b0;
                sum[2u * r + 1u] += a0[r] * b1;
                sum[2u * r + 8u] += a1[r] * b0;
                sum[2u * r + 9u] += a1[r] * b1;
            }
        }
        workgroupBarrier();
        stage(lid, next);
        workgroupBarrier();
    }
    return sum;
}
