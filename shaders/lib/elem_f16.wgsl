enable f16;
// elem_f32.wgsl for activations in f16: the engine takes this file where a tensor bound is f16, and the first one too.

alias Elem = f16;
alias Elem4 = vec4<f16>;
alias Out = f16;
alias Out4 = vec4<f16>;
