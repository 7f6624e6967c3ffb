// The type of stored values. Arithmetic and accumulation are f32 whatever this says.

alias Elem = f32;
alias Elem4 = vec4<f32>;
