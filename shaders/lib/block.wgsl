// The loop of a blocked matrix product C = A B: BM x BN of C per workgroup, 8 x 8 sums per invocation.
//
// A step takes BK terms. Its tiles lie in workgroup memory with k first, as vec4 of 4 rows or columns; for each term an
// invocation reads 4 vec4 and does 64 multiply-adds. The tiles are read from memory in blocks of 4 x 4, one an invocation
// (so (BM + BN) BK / 16 <= WG), into registers, while the step before is being summed. A computation with what was read
// would wait for it, so zeros are put in place of what does not count when the block is stored, a step later.
//
// The kernel file has, in the order of their calls in a step with l = l0 + BK step:
//   load_a(l), load_b(l)    the block at block_a() or block_b(): terms from l + 4 block.x on, zero or not
//   next_step(l)            counting on, by all invocations: what they all have in common may lie in scalar registers
//   there_a(), there_b()    whether element c of row r of the block that was read counts
// and A_ALONG_K and B_ALONG_K, which tell the axis that is contiguous in memory: neighbouring invocations read along it, and
// the 4 rows of a block lie along it.

override BM: u32 = 64;
override BN: u32 = 64;
override BK: u32 = 8;           // at most 16; more than 4 only where BN is 64 at least
override WG: u32 = 64;          // BM BN / 64
override A_VECTORS: u32 = 0;    // 1: rows of blocks of A are whole vec4s in memory
override B_VECTORS: u32 = 0;
override WHOLE: u32 = 0;        // 1: sums are whole steps long, and what the kernel file says of steps
override A_TILE: u32 = BK * BM / 4u;
override B_TILE: u32 = BK * BN / 4u;

var<workgroup> a_tile: array<vec4f, A_TILE>;    // (BK, BM)
var<workgroup> b_tile: array<vec4f, B_TILE>;    // (BK, BN)

// A block as it was read: what does not count was read elsewhere and may be anything. `there` is for there_a and there_b.
struct Block { rows: array<Elem4, 4>, there: u32 }

// What an exclusive or does to the place of a vec4 in row k of a tile. Without it, blocks that are neighbours along k would be
// stored to the same banks; padding would do the same, but 128 x 16 twice is all of the 16 KiB a workgroup surely has. An even
// number below 8, and 0 in tiles of 4 terms: an even vec4 and the next stay neighbours, and two that are BN / 8 apart stay so.
fn swap(k: u32) -> u32 { return k / 4u * (32u / BK) % 8u; }

// Block `e` of a tile `width` wide: which 4 terms, and which 4 rows or columns.
fn block_of(e: u32, width: u32, along_k: bool) -> vec2u {
    if along_k { return vec2u(e % (BK / 4u), e / (BK / 4u)); }
    return vec2u(e / (width / 4u), e % (width / 4u));
}

// The first invocations load A, the next ones B; what is left over reads a block of B again, and stores nothing.
fn reads_a(lid: u32) -> bool { return lid < BM * BK / 16u; }
fn reads_b(lid: u32) -> bool { return !reads_a(lid) && lid < (BM + BN) * BK / 16u; }
fn block_a(lid: u32) -> vec2u { return block_of(lid, BM, A_ALONG_K); }
fn block_b(lid: u32) -> vec2u { return block_of((lid - BM * BK / 16u) % (BN * BK / 16u), BN, B_ALONG_K); }

fn load(lid: u32, l: u32) -> Block {
    if reads_a(lid) { return load_a(l); }
    return load_b(l);
}

// Where the first row of an invocation's block lies in its tile.
fn place_of_block(lid: u32) -> u32 {
    if reads_a(lid) {
        let block = block_a(lid);
        return block.x * BM + (block.y ^ swap(4u * block.x));
    }
    let block = block_b(lid);
    return block.x * BN + (block.y ^ swap(4u * block.x));
}

fn stage(lid: u32, place: u32, x: Block) {
    if reads_a(lid) {
        var m: mat4x4f;
        for (var r = 0u; r < 4u; r++) {
            for (var c = 0u; c < 4u; c++) { m[r][c] = select(0.0, f32(x.rows[r][c]), there_a(x.there, r, c)); }
        }
        if A_ALONG_K { m = transpose(m); }
        for (var q = 0u; q < 4u; q++) { a_tile[place + q * (BM / 4u)] = m[q]; }
    } else if WG == (BM + BN) * BK / 16u || reads_b(lid) {
        var m: mat4x4f;
        for (var r = 0u; r < 4u; r++) {
            for (var c = 0u; c < 4u; c++) { m[r][c] = select(0.0, f32(x.rows[r][c]), there_b(x.there, r, c)); }
        }
        if B_ALONG_K { m = transpose(m); }
        for (var q = 0u; q < 4u; q++) { b_tile[place + q * (BN / 4u)] = m[q]; }
    }
}

// Place of an invocation among BM / 8 x BN / 8. As in matmul/8_subgroup, 32 neighbours make 4 x 8 of them (8 x 4 where BN is 32):
// they want (4 + 8) 2 vec4s for a term, those of a 2 x 16 layout (2 + 16) 2.
fn place_of(lid: u32) -> vec2u {
    let across = min(BN / 8u, 8u);
    let square = lid / 32u;
    let lane = lid % 32u;
    let squares = BN / 8u / across;
    return vec2u(square / squares * (32u / across) + lane / across, square % squares * across + lane % across);
}

// First row of the invocation's 8; first columns of its 4 and 4, which lie BN / 2 apart so that neighbours read, and
// write, neighbouring vec4.
fn own_row(lid: u32) -> u32 { return place_of(lid).x * 8u; }
fn own_column(lid: u32) -> u32 { return place_of(lid).y * 4u; }

// Sums over the terms [l0, l1): row r of the invocation in [2 r] and [2 r + 1]. 4 terms are unrolled, so that places in the tiles
// are made once for 256 multiply-adds.
fn blocked_product(lid: u32, l0: u32, l1: u32) -> array<vec4f, 16> {
    let row = own_row(lid) / 4u;
    let column = own_column(lid) / 4u;
    let place = place_of_block(lid);
    var sum: array<vec4f, 16>;
    var next = load(lid, l0);
    next_step(l0);
    for (var l = l0; l < l1; l += BK) {
        stage(lid, place, next);
        workgroupBarrier();
        next = load(lid, l + BK);       // past the last step, what does not count
        next_step(l + BK);
        for (var k = 0u; k < BK; k += 4u) {
            let a = k * (BM / 4u) + (row ^ swap(k));
            let b = k * (BN / 4u) + (column ^ swap(k));
            for (var q = 0u; q < 4u; q++) {
                let b0 = b_tile[b + q * (BN / 4u)];
                let b1 = b_tile[b + q * (BN / 4u) + BN / 8u];
                for (var half = 0u; half < 2u; half++) {
                    let four = a_tile[a + q * (BM / 4u) + half];
                    for (var r = 0u; r < 4u; r++) {
                        sum[8u * half + 2u * r] += four[r] * b0;
                        sum[8u * half + 2u * r + 1u] += four[r] * b1;
                    }
                }
            }
        }
        workgroupBarrier();
    }
    return sum;
}
