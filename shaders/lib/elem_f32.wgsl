// Types of stored values. Elem: activations and their gradients. Out: what a kernel writes first (binding 1), which may
// be f32 where it adds up f16 values. Arithmetic and accumulation are f32 whatever this says.

alias Elem = f32;
alias Elem4 = vec4<f32>;
alias Out = f32;
alias Out4 = vec4<f32>;
