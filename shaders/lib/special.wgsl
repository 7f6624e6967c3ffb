// Special functions that WGSL lacks.
