// How blocks of A (M, K) and B (K, N) lie in workgroup memory for matrix units: each row of A, and each column of B, has its BK terms
// side by side and a gap behind them. A tile is then read in wide loads whichever way its operand lies in memory.
//
// Invocations bring a block in pieces. Where memory runs along k a piece is 8 terms of a row, one load of 16 bytes; where it runs
// along the rows a piece is 4 terms of 4 rows, four loads, and it is turned on its way. Positions along k are counted in vec4s.

override BK: u32 = 32;                  // terms of a step
override PITCH: u32 = BK / 4u + 2u;     // vec4s from row to row: 8 values more than BK, so that the rows of a tile lie in different banks

// The first vec4 along k, and the first row, of piece e.
fn piece(e: u32, along_k: bool) -> vec2u {
    if along_k { return vec2u(2u * (e % (BK / 8u)), e / (BK / 8u)); }
    // 4 neighbours read 32 bytes of a row, a memory sector.
    return vec2u(e / 4u % (BK / 4u), 4u * (e % 4u + e / BK * 4u));
}

// vec4s in a piece, and pieces in a block of `rows` rows.
fn quads(along_k: bool) -> u32 { return select(4u, 2u, along_k); }
fn pieces(rows: u32, along_k: bool) -> u32 { return rows * BK / 4u / quads(along_k); }

// Puts a piece into workgroup memory, its first vec4 at `at`.
fn put_piece_a(at: u32, x: mat4x4<f16>) {
    if A_ALONG_K {
        put_a(at, x[0]);
        put_a(at + 1u, x[1]);
    } else {
        for (var r = 0u; r < 4u; r++) { put_a(at + r * PITCH, vec4<f16>(x[0][r], x[1][r], x[2][r], x[3][r])); }
    }
}

fn put_piece_b(at: u32, x: mat4x4<f16>) {
    if B_ALONG_K {
        put_b(at, x[0]);
        put_b(at + 1u, x[1]);
    } else {
        for (var r = 0u; r < 4u; r++) { put_b(at + r * PITCH, vec4<f16>(x[0][r], x[1][r], x[2][r], x[3][r])); }
    }
}
