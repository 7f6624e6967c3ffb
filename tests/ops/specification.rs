//! Every case of the table (`tests/cases`): value, gradients and NaN at all its shapes, in f32 and, where the op takes it, f16; and
//! that the table names every public op.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wgrad::DType;

use crate::cases::op::Op;
use crate::cases::{Sizes, all, elementwise, images, moves, products, rows};
use crate::common::*;
use crate::files::files_under;

/// A test an entry, by its name.
macro_rules! tests {
    ($file:ident: $($name:ident)*) => {$(
        #[test]
        fn $name() {
            check($file::$name(&Sizes::of(gpu())));
        }
    )*};
}
elementwise::entries!(tests);
rows::entries!(tests);
images::entries!(tests);
moves::entries!(tests);
products::entries!(tests);

/// Checks all of an entry before it fails.
fn check(ops: impl IntoIterator<Item = Op>) {
    let mut wrong = vec![];
    for op in ops {
        wrong.extend(op.check(gpu(), DType::F32).err());
        if gpu().info().f16 {
            wrong.extend(if op.takes_half() { op.check(gpu(), DType::F16) } else { refuses_half(&op) }.err());
        }
    }
    assert!(wrong.is_empty(), "{} cases differ from their specification:\n{}", wrong.len(), wrong.join("\n"));
}

/// An op for f32 alone panics, and says so.
fn refuses_half(op: &Op) -> Result<(), String> {
    let refused = catch_unwind(AssertUnwindSafe(|| op.check_briefly(gpu(), DType::F16)));
    let Err(panic) = refused else { return Err(format!("{} takes f16", op.name)) };
    let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    if why.contains("f32") || why.contains("f16") { Ok(()) } else { Err(format!("{}: {why}", op.name)) }
}

/// Losses of `ssl` that stand in the table for the kernels of `Contrastive`, which is no method of a tensor.
const OTHERS: [&str; 2] = ["info_nce", "nt_xent"];

#[test]
fn the_table_names_every_public_op() {
    let named: BTreeSet<String> = all(&Sizes::of(gpu())).iter().map(|op| op.method.to_owned()).collect();
    let public = public_ops();
    assert!(public.contains("softsign") && public.len() > 60, "public ops found: {public:?}");
    let without: Vec<_> = public.difference(&named).collect();
    assert!(without.is_empty(), "public ops without a case in tests/cases: {without:?}");
    let unknown: Vec<_> = named.difference(&public).filter(|name| !OTHERS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "cases in tests/cases of no public op: {unknown:?}");
}

/// Public methods in the `impl Tensor` blocks of `src/ops`.
fn public_ops() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in files_under("src/ops", &["rs"]) {
        for block in text.split("\nimpl Tensor {\n").skip(1) {
            let block = block.split("\n}").next().unwrap();
            for method in block.split("\n    pub fn ").skip(1) {
                names.insert(method.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }
    names
}
