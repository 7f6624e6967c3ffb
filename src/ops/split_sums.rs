//! Long sums cut into parts: how many, where a kernel writes them, and the pass that adds them up.

use crate::gpu::{Facts, Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("matmul/sum_splits.wgsl");
static SUM_SPLITS: Kernel = SOURCE.kernel("sum_splits");

uniforms! {
    struct Uniforms { n: u32, splits: u32, columns: u32, add_bias: u32, relu: u32 }
}

/// The last step for each element of a product before it is stored: `relu(x + bias[column])`, without bias or ReLU where they are
/// not set.
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    pub(super) bias: Option<&'a Tensor>,
    pub(super) relu: bool,
}

impl Epilogue<'_> {
    pub(super) fn is_none(&self) -> bool {
        self.bias.is_none() && !self.relu
    }
}

/// Invocations of a product that keep a processor busy: each has the multiply-adds of many sums at once, so that few are enough.
/// Of smaller workgroups a processor takes several side by side; of larger ones, or of more, one after another.
const BUSY: u32 = 256;
/// What a workgroup takes besides its terms, in terms: nothing is multiplied until the first of them are loaded.
const START: f64 = 16.0;
/// What a part costs, in terms: an element of it is written and read again, 8 bytes in the time of 160 operations or 80
/// multiply-adds on a device that does 20 operations in the time it loads a byte.
const PART: f64 = 80.0;
/// What the launch costs that adds the parts up, in terms: 3 us, where 256 invocations take 75 ns for a term of 64 sums each.
const LAUNCH: f64 = 40.0;
/// Waves of workgroups, beyond those that whole sums take, that parts may make on one number of processors.
const WAVES: u64 = 16;

/// Sums of `k` terms each that `groups` workgroups of `invocations` make.
#[derive(Debug, Clone, Copy)]
struct Sums {
    groups: u64,
    invocations: u32,
    k: u64,
}

impl Sums {
    /// Workgroups at once on so many processors.
    fn slots(&self, processors: u32) -> u64 {
        u64::from(processors) * u64::from((BUSY / self.invocations.max(1)).max(1))
    }

    /// The time that they take in `parts` on so many processors, as terms of one workgroup.
    fn time(&self, parts: u64, processors: u32) -> f64 {
        let (groups, slots) = (self.groups * parts, self.slots(processors));
        let waves = groups.div_ceil(slots) as f64;
        let added = if parts > 1 { LAUNCH + PART * groups as f64 / slots as f64 } else { 0.0 };
        waves * (self.k.div_ceil(parts) as f64 + START) + added
    }

    /// The number of parts, `most` at most, that loses least against the best number for an adapter of so many processors as each
    /// of `cards`, on the one where it loses most; the fewest of those that come within a 16th of it.
    ///
    /// Only as many parts as fill the last wave of one of them come into question: fewer would leave processors idle, more
    /// begin another wave.
    fn parts(&self, cards: &[u32], most: u64) -> u64 {
        let full = |&card: &u32| {
            let (slots, groups) = (self.slots(card), self.groups.max(1));
            let whole = groups / slots;
            (whole + 1..=whole + WAVES).map(move |waves| (waves * slots / groups).clamp(1, most))
        };
        let mut counts: Vec<u64> = cards.iter().flat_map(full).collect();
        counts.push(1);
        counts.sort_unstable();
        counts.dedup();
        let best = |&card: &u32| counts.iter().map(|&n| self.time(n, card)).fold(f64::INFINITY, f64::min);
        let best: Vec<(u32, f64)> = cards.iter().map(|card| (*card, best(card))).collect();
        let loss = |n: u64| best.iter().map(|&(card, best)| self.time(n, card) / best).fold(1.0, f64::max);
        let losses: Vec<(u64, f64)> = counts.iter().map(|&n| (n, loss(n))).collect();
        let least = losses.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
        losses.iter().find(|(_, loss)| *loss <= least * (1.0 + 1.0 / 16.0)).map_or(1, |(n, _)| *n)
    }

    /// The number of parts by the facts of an adapter alone, so results are the same bits every time.
    fn parts_by(&self, facts: &Facts) -> u64 {
        let &Self { groups, invocations, k } = self;
        match facts.cards() {
            [] => facts.parts(groups, invocations, k),
            cards => self.parts(cards, facts.most_parts(groups, invocations, k)),
        }
    }
}

/// The number of parts that sums over `k` are cut into where a kernel has `groups` workgroups of `invocations` for whole sums: as
/// many as keep the processors of a GPU busy to the end, or on a CPU [`Facts::parts`]; and as many more as it takes to end before
/// [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations), since a kernel's inner loops may make ten iterations for each
/// step of `k`.
pub(super) fn splits(gpu: &Gpu, groups: u64, invocations: u32, k: u64) -> u32 {
    let longest = gpu.info().longest_loop(10) as u64;
    Sums { groups, invocations, k }.parts_by(gpu.facts()).max(k.div_ceil(longest)) as u32
}

/// The tensor that a kernel of `splits` parts writes: `y` itself, or as many copies of it, `[splits, y.len()]`.
pub(super) fn split_output(op: &str, y: &Tensor, splits: u32) -> Tensor {
    if splits == 1 {
        return y.clone();
    }
    Tensor::alloc(y.gpu(), op, &Shape::new(&[splits as usize, y.len()]), DType::F32)
}

/// Adds up the parts of [`split_output`] in fixed order; nothing is left to do where there is one.
pub(super) fn sum_splits(y: &Tensor, parts: &Tensor, splits: u32) {
    if splits > 1 {
        finish(y, parts, splits, Epilogue::default());
    }
}

/// Adds up `splits` parts, one or more, and applies the epilogue.
pub(super) fn finish(y: &Tensor, parts: &Tensor, splits: u32, epilogue: Epilogue<'_>) {
    let n = y.len() as u32;
    let columns = y.shape().last().map_or(1, |&columns| columns as u32);
    let [add_bias, relu] = [epilogue.bias.is_some(), epilogue.relu].map(u32::from);
    let bias = epilogue.bias.unwrap_or(parts);
    let work = Work::new((parts.bytes() + y.bytes()) as u64, parts.len() as u64);
    let p = Uniforms { n, splits, columns, add_bias, relu };
    y.gpu().run(&SUM_SPLITS, &[y, parts, bias], &p, Grid::items(n), work);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Class;
    use std::fmt::Write as _;

    /// A product's name, C, the block of C that a workgroup makes, the workgroup's invocations, and the terms of a sum.
    type Product = (&'static str, [u64; 2], [u64; 2], u32, u64);

    /// Of a ResNet-18 step of 1024 images of 32 x 32, and others.
    const PRODUCTS: [Product; 7] = [
        ("gradient of w, 3x3x64x64 at 32 x 32", [576, 64], [128, 64], 128, 1 << 20),
        ("gradient of w, 3x3x128x128 at 16 x 16", [1152, 128], [128, 128], 256, 1 << 18),
        ("gradient of w, 3x3x256x256 at 8 x 8", [2304, 256], [128, 128], 256, 1 << 16),
        ("gradient of w, 3x3x512x512 at 4 x 4", [4608, 512], [128, 128], 256, 1 << 14),
        ("1536x1536, 1536x1536", [1536, 1536], [128, 128], 256, 1536),
        ("1024x512, 512x2048", [1024, 2048], [128, 128], 256, 512),
        ("1024x2048, 2048x128", [1024, 128], [64, 64], 128, 2048),
    ];

    /// Share of the slots of all waves in which a workgroup of some part runs.
    fn busy(sums: &Sums, parts: u64, processors: u32) -> f64 {
        let (groups, slots) = (sums.groups * parts, sums.slots(processors));
        groups as f64 / (groups.div_ceil(slots) * slots) as f64
    }

    fn products() -> impl Iterator<Item = (&'static str, Sums)> {
        PRODUCTS.into_iter().map(|(name, [rows, columns], [block_rows, block_columns], invocations, k)| {
            let groups = rows.div_ceil(block_rows) * columns.div_ceil(block_columns);
            (name, Sums { groups, invocations, k })
        })
    }

    /// The table in `shaders/README.md` is what the choice gives.
    #[test]
    fn the_table_of_waves_is_the_choice() {
        let facts = Facts::of(Class::Gpu);
        let mut table =
            "| product | workgroups | parts | 20 | 60 | 84 | 132 |\n|---|---:|---:|---:|---:|---:|---:|\n"
                .to_owned();
        for (name, sums) in products() {
            let Sums { groups, invocations, k } = sums;
            let pair = [facts.parts(groups, invocations, k), sums.parts_by(&facts)];
            let _ = write!(table, "| {name} | {groups} of {invocations} | {} / {} |", pair[0], pair[1]);
            for processors in [20, 60, 84, 132] {
                let [before, after] = pair.map(|parts| 100.0 * busy(&sums, parts, processors));
                let _ = write!(table, " {before:.0} / {after:.0} |");
            }
            table.push('\n');
        }
        let readme = include_str!("../../shaders/README.md");
        assert!(readme.contains(&table), "shaders/README.md wants this table:\n{table}");
    }

    /// No adapter loses more than a third against the best choice for it alone, and one whose processors are known no more than the
    /// 16th that fewer parts are worth.
    #[test]
    fn little_is_lost_where_the_processors_are_not_known() {
        for processors in [20_u32, 60, 84, 132] {
            let (unknown, known) = (Facts::of(Class::Gpu), Facts { processors, ..Facts::of(Class::Gpu) });
            for (name, sums) in products() {
                let most = known.most_parts(sums.groups, sums.invocations, sums.k);
                let best = (1..=most).map(|n| sums.time(n, processors)).fold(f64::INFINITY, f64::min);
                for (facts, allowed) in [(unknown, 4.0 / 3.0), (known, 1.0626)] {
                    let lost = sums.time(sums.parts_by(&facts), processors) / best;
                    assert!(lost <= allowed, "{name} on {processors} processors: {lost}");
                }
            }
        }
    }

    /// CPU adapters cut by `fill`, whatever else is set; GPUs not at all where it is reached four times over, and never into
    /// parts that are short.
    #[test]
    fn parts_are_bounded() {
        for facts in Class::ALL.map(Facts::of) {
            for invocations in [8, 32, 64, 128, 256] {
                for groups in [0, 1, 7, 64, 144, 1000, 1 << 20] {
                    for k in [0, 1, 64, 1000, 1 << 20] {
                        let sums = Sums { groups, invocations, k };
                        let parts = sums.parts_by(&facts);
                        if facts.likely_processors.is_empty() {
                            let known = Facts { processors: 4, ..facts };
                            assert_eq!(parts, facts.parts(groups, invocations, k));
                            assert_eq!(parts, sums.parts_by(&known));
                        }
                        assert!(parts >= 1 && (parts == 1 || k / parts >= u64::from(facts.part)));
                        let all = parts * groups.max(1) * u64::from(invocations.min(facts.side_by_side));
                        assert!(parts == 1 || all <= 4 * u64::from(facts.fill), "{sums:?}: {parts}");
                    }
                }
            }
        }
    }
}
