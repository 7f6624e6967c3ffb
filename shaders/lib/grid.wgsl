// Flat indices. A launch of more than 65,535 workgroups is folded into y and z, so kernels never read the id directly.

fn group_index(wid: vec3u, nwg: vec3u) -> u32 {
    return wid.x + nwg.x * (wid.y + nwg.y * wid.z);
}

fn item_index(wid: vec3u, nwg: vec3u, lid: u32, wg: u32) -> u32 {
    return group_index(wid, nwg) * wg + lid;
}
