//! The choices of every class of adapters, taken on this one: results are those of the specification whichever class it is.

use crate::cases::{self, Sizes};
use crate::common::*;
use wgrad::gpu::{Class, Facts};
use wgrad::{DType, Error, Gpu};

/// A device that chooses as `class` does.
fn gpu_of(class: Class) -> Gpu {
    Gpu::builder().quiet().class(class).build().unwrap()
}

/// Every case of the table: products that fall to every block size and to split sums, rows and columns short, long, few and many.
#[test]
fn every_case() {
    for class in Class::ALL {
        let gpu = gpu_of(class);
        for op in cases::all(&Sizes::of(&gpu)) {
            op.check_rung(&gpu, DType::F32).unwrap_or_else(|wrong| panic!("{class}: {wrong}"));
        }
    }
}

/// Neighbours of one class are those of every other.
#[test]
fn neighbours() {
    let q = data(1, 150 * 20);
    let nearest = |class| {
        let q = gpu_of(class).tensor(&q, [150, 20]).unwrap();
        q.knn(&q, 7).1.to_vec_u32().unwrap()
    };
    let want = nearest(Class::Cpu);
    for class in Class::ALL {
        assert_eq!(nearest(class), want, "{class}");
    }
}

#[test]
fn a_class_overrides_preferences_and_not_what_the_adapter_can_do() {
    let own = gpu().info();
    for class in Class::ALL {
        let gpu = gpu_of(class);
        let info = gpu.info();
        assert_eq!(*gpu.facts(), Facts::of(class));
        assert_eq!(
            (info.is_cpu, info.subgroup_size, info.loop_iterations, info.workgroup_memory_bytes),
            (own.is_cpu, own.subgroup_size, own.loop_iterations, own.workgroup_memory_bytes)
        );
    }
}

#[test]
fn facts_that_no_kernel_can_take_are_refused_when_the_device_opens() {
    let facts = Facts { tile: 65, ..Facts::of(Class::Gpu) };
    let error = Gpu::builder().quiet().facts(facts).build().unwrap_err();
    assert!(matches!(&error, Error::Argument(line) if line.contains("32, 64 or 128")), "{error}");
}
