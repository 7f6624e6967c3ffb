//! Reading machine code: the text that the driver's disassembler writes of RDNA's instructions, a line each.
//!
//! ```text
//! BB3:
//!     ds_load_b128 v[4:7], v20                                ; dbfc0000 04000014
//!     v_fmac_f32_e32 v0, v4, v8                               ; 56001104
//!     s_cbranch_scc1 BB3                                      ; bfa2fffd
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Instructions by kind. What only orders others (waits, delays, clauses, no-ops) is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mix {
    /// Vector instructions, those of matrix units included; a pair that is issued as one (VOPD) is one.
    pub(crate) vector: u32,
    /// Of them, pairs.
    pub(crate) pairs: u32,
    /// Of them, those of matrix units.
    pub(crate) matrix: u32,
    /// Scalar instructions, branches and barriers included.
    pub(crate) scalar: u32,
    /// Loads and stores of workgroup memory.
    pub(crate) workgroup: u32,
    /// Vector loads and stores of memory.
    pub(crate) memory: u32,
    /// Scalar loads.
    pub(crate) scalar_loads: u32,
    /// Multiply-adds of an invocation: 1 of each fused one (`v_fma_mix` included, by which f16 values are also only added), 2 of a
    /// packed one or a dot product of two, and of a 16 x 16 x 16 product of matrix units 4,096 shared by the lanes of the subgroup.
    pub(crate) multiply_adds: u32,
}

impl Mix {
    /// Counts the lines of a text.
    pub(crate) fn of(code: &str) -> Self {
        code.lines().fold(Self::default(), |mut mix, line| {
            mix.count(line);
            mix
        })
    }

    fn count(&mut self, line: &str) {
        let text = instruction(line);
        let name = mnemonic(text);
        let waits = [
            "s_wait",
            "s_delay",
            "s_clause",
            "s_nop",
            "s_code_end",
            "s_inst_prefetch",
            "s_set_inst_prefetch",
            "v_nop",
        ];
        if name.is_empty() || waits.iter().any(|wait| name.starts_with(wait)) {
            return;
        }
        if name.starts_with("v_") {
            self.vector += 1;
            self.pairs += u32::from(text.contains("::"));
            self.matrix += u32::from(name.starts_with("v_wmma"));
            self.multiply_adds += text.split("::").map(|half| multiply_adds(half.trim())).sum::<u32>();
        } else if name.starts_with("ds_") {
            self.workgroup += 1;
        } else if name.starts_with("s_load") || name.starts_with("s_buffer_load") {
            self.scalar_loads += 1;
        } else if name.starts_with("s_") {
            self.scalar += 1;
        } else {
            self.memory += 1; // buffer_, global_, flat_, scratch_, image_
        }
    }

    /// Vector instructions for each multiply-add.
    pub(crate) fn per_multiply_add(&self) -> Option<f64> {
        (self.multiply_adds > 0).then(|| f64::from(self.vector) / f64::from(self.multiply_adds))
    }
}

/// The loop that does the most multiply-adds itself, not in a loop inside it, and how many loops are inside; none of a kernel
/// without multiply-adds in a loop.
///
/// A loop is what lies between a label and the last branch back to it. Its instructions are counted once each: those that a
/// branch may pass over, those of a loop inside, and multiply-adds that a bound makes useless.
pub(crate) fn busiest_loop(code: &str) -> Option<(Mix, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let label = |line: &str| line.strip_suffix(':').filter(|l| l.starts_with("BB")).map(str::to_owned);
    let labels: BTreeMap<String, usize> =
        lines.iter().enumerate().filter_map(|(i, line)| Some((label(line.trim())?, i))).collect();
    // The last branch back to each label.
    let mut loops: BTreeMap<usize, usize> = BTreeMap::new();
    for (end, line) in lines.iter().enumerate() {
        let text = instruction(line);
        if !mnemonic(text).contains("branch") {
            continue;
        }
        let target = text.split_whitespace().next_back().and_then(|name| labels.get(name));
        if let Some(&begin) = target.filter(|&&begin| begin <= end) {
            loops.insert(begin, end);
        }
    }
    let inside = |begin: usize, end: usize| {
        loops.iter().filter(move |&(&b, &e)| (b, e) != (begin, end) && begin <= b && e <= end)
    };
    let of_lines = |begin: usize, end: usize| Mix::of(&lines[begin..=end].join("\n"));
    let mut busiest: Option<(u32, Mix, usize)> = None;
    for (&begin, &end) in &loops {
        let inner: Vec<_> = inside(begin, end).collect();
        let own = (begin..=end).filter(|line| !inner.iter().any(|&(b, e)| (b..=e).contains(&line)));
        let own = own.map(|line| Mix::of(lines[line]).multiply_adds).sum();
        if own > busiest.map_or(0, |(most, ..)| most) {
            busiest = Some((own, of_lines(begin, end), inner.len()));
        }
    }
    busiest.map(|(_, mix, inner)| (mix, inner))
}

/// Lanes of the subgroup that code is compiled for, from the width of its masks; `None` where it has none. Halves of a mask, and
/// `vcc` outside of comparisons and choices, may be any scalars.
pub(crate) fn lanes(code: &str) -> Option<u32> {
    let mut lanes = None;
    for text in code.lines().map(instruction) {
        let masked = ["v_cmp", "v_cndmask", "v_dual_cndmask"].iter().any(|name| text.starts_with(name));
        for word in text.split([' ', ',', '\t']) {
            match word {
                "exec" => return Some(64),
                "vcc" if masked => return Some(64),
                "exec_lo" => lanes = Some(32),
                "vcc_lo" if masked => lanes = Some(32),
                _ => {}
            }
        }
    }
    lanes
}

/// A line without its encoding.
fn instruction(line: &str) -> &str {
    let text = line.split(';').next().unwrap_or_default().trim();
    if text.ends_with(':') { "" } else { text }
}

fn mnemonic(instruction: &str) -> &str {
    instruction.split_whitespace().next().unwrap_or_default()
}

/// Multiply-adds that a vector instruction does for each invocation.
fn multiply_adds(instruction: &str) -> u32 {
    let name = mnemonic(instruction).trim_start_matches("v_").trim_start_matches("dual_");
    if name.starts_with("wmma") {
        // Of 256 sums each register of the result holds one a lane, two where they are f16.
        let registers = instruction.split_whitespace().nth(1).map_or(0, registers);
        let lanes = if name.starts_with("wmma_f16") { 512 } else { 256 } / registers.max(1);
        return 4096 / lanes.max(1);
    }
    let float = name.contains("_f32") || name.contains("_f16");
    let is = |stems: &[&str]| float && stems.iter().any(|stem| name.starts_with(stem));
    if is(&["pk_fma", "dot2"]) {
        2
    } else {
        u32::from(is(&["fma_", "fmac_", "fmaak_", "fmamk_", "mad_f", "mac_", "mad_mix", "madak_", "madmk_"]))
    }
}

/// Number of registers that an operand names: 4 of `v[76:79],`, 1 of `v3,`.
fn registers(operand: &str) -> u32 {
    let range = operand.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(range, _)| range);
    let ends = range.and_then(|range| range.split_once(':'));
    let ends = ends.and_then(|(low, high)| Some((low.parse::<u32>().ok()?, high.parse::<u32>().ok()?)));
    ends.map_or(1, |(low, high)| high.saturating_sub(low) + 1)
}
