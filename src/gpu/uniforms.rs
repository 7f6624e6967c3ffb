//! The uniforms of a launch: Rust twins of the `struct Uniforms` of WGSL files.

/// Uniforms of a launch, the same for all of its invocations: named scalars in the order of the WGSL struct.
/// Made by [`uniforms!`](crate::uniforms).
pub trait Uniforms: Copy {
    /// Calls `field` with the name and type of each field, in order; a struct within is its fields.
    fn fields(field: &mut dyn FnMut(&'static str, Scalar));
    /// Appends the fields in WGSL layout (only scalars and `[u32; 4]`, which aligns to 16 bytes) to uniforms that began at
    /// `start`.
    fn write(self, start: usize, out: &mut Vec<u8>);
}

impl Uniforms for () {
    fn fields(_field: &mut dyn FnMut(&'static str, Scalar)) {}
    fn write(self, _start: usize, _out: &mut Vec<u8>) {}
}

/// Type of a field of [`Uniforms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
    /// `vec4u`
    Vec4U,
}

/// A Rust type that can be a field of [`Uniforms`]: a scalar, or [`Uniforms`] whose fields stand in its place.
pub trait UniformField: Copy {
    /// Calls `field` with the name and type of each field that it is in WGSL.
    fn fields(name: &'static str, field: &mut dyn FnMut(&'static str, Scalar));
    /// Appends the value to uniforms that began at `start`.
    fn write(self, start: usize, out: &mut Vec<u8>);
}

impl<U: Uniforms> UniformField for U {
    fn fields(_name: &'static str, field: &mut dyn FnMut(&'static str, Scalar)) {
        U::fields(field);
    }
    fn write(self, start: usize, out: &mut Vec<u8>) {
        Uniforms::write(self, start, out);
    }
}

macro_rules! uniform_field {
    ($rust:ty, $scalar:ident, $align:literal) => {
        impl UniformField for $rust {
            fn fields(name: &'static str, field: &mut dyn FnMut(&'static str, Scalar)) {
                field(name, Scalar::$scalar);
            }
            fn write(self, start: usize, out: &mut Vec<u8>) {
                out.resize(start + (out.len() - start).next_multiple_of($align), 0);
                out.extend_from_slice(bytemuck::bytes_of(&self));
            }
        }
    };
}
uniform_field!(u32, U32, 4);
uniform_field!(i32, I32, 4);
uniform_field!(f32, F32, 4);
uniform_field!([u32; 4], Vec4U, 16);

/// Declares the uniforms of a kernel: the Rust twin of its WGSL `struct Uniforms`, compared with it by name, type and
/// order at each launch.
///
/// A field may be uniforms again, for those that several kernels share. In WGSL its fields stand in its place, under their own
/// names.
///
/// ```
/// wgrad::uniforms! { struct Size { rows: u32, columns: u32 } }
/// wgrad::uniforms! { struct Uniforms { size: Size, alpha: f32 } } // WGSL: struct Uniforms { rows: u32, columns: u32, alpha: f32 }
/// let p = Uniforms { size: Size { rows: 3, columns: 4 }, alpha: 0.5 };
/// # let mut names = vec![];
/// # <Uniforms as wgrad::gpu::Uniforms>::fields(&mut |name, _| names.push(name));
/// # assert_eq!(names, ["rows", "columns", "alpha"]);
/// # let mut bytes = vec![];
/// # wgrad::gpu::Uniforms::write(p, 0, &mut bytes);
/// # assert_eq!(bytes, [3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0x3f]);
/// ```
#[macro_export]
macro_rules! uniforms {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        $vis struct $name { $($vis $field: $ty),+ }
        impl $crate::gpu::Uniforms for $name {
            fn fields(field: &mut dyn FnMut(&'static str, $crate::gpu::Scalar)) {
                $(<$ty as $crate::gpu::UniformField>::fields(stringify!($field), field);)+
            }
            fn write(self, start: usize, out: &mut Vec<u8>) {
                $($crate::gpu::UniformField::write(self.$field, start, out);)+
            }
        }
    };
}
