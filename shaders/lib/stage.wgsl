// How blocks of A (M, K) and B (K, N) lie in workgroup memory for matrix units: as they lie in memory, so that four
// neighbours stay neighbours, with gaps between the rows. Blocks are BK deep and `b` wide.

const BK = 32u;
const PAD = 8u;         // f16 values between rows, so that the rows of a tile lie in different banks

// Where vec4 e of a staged block lies: x along k, y along the rows of A or the columns of B.
fn within_block(e: u32, along_k: bool, b: u32) -> vec2u {
    if along_k { return vec2u(4u * (e % (BK / 4u)), e / (BK / 4u)); }
    return vec2u(e / (b / 4u), 4u * (e % (b / 4u)));
}

// The same in workgroup memory.
fn offset(at: vec2u, along_k: bool, b: u32) -> u32 {
    if along_k { return at.y * (BK + PAD) + at.x; }
    return at.x * (b + PAD) + at.y;
}
