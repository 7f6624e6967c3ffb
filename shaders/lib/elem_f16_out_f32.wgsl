enable f16;
// elem_f32.wgsl for sums over f16 values: a tensor bound is f16, and the first one is f32.

alias Elem = f16;
alias Elem4 = vec4<f16>;
alias Out = f32;
alias Out4 = vec4<f32>;
