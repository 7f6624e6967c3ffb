//! A row a kernel and chip: as JSON in `benches/results/isa-CHIP.json`, as a table on the terminal, and in `shaders/README.md`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wgrad::gpu::FinalKernel;

use super::adapters::{CHIPS, Chip};
use super::code::{self, Mix};
use super::compile::{Device, Made};

/// What the compiler of a chip made of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `file/entry`, and its variant.
    pub(crate) kernel: String,
    /// Values of its `override` constants. Rows of one kernel differ in these, or in `lib`.
    pub(crate) overrides: BTreeMap<String, f64>,
    /// The files of `shaders/lib` in its text, without `.wgsl`.
    pub(crate) lib: Vec<String>,
    /// `matmul/8_subgroup`, of a rung's kernel.
    pub(crate) rung: Option<String>,
    /// Precisions of the training steps that launch it.
    pub(crate) steps: Vec<String>,
    /// Invocations.
    pub(crate) workgroup: u32,
    /// Lanes of a subgroup, as compiled; `None` where the code has no mask.
    pub(crate) lanes: Option<u32>,
    pub(crate) vgprs: u64,
    pub(crate) spilled_vgprs: u64,
    pub(crate) spilled_sgprs: u64,
    pub(crate) scratch_bytes: u64,
    pub(crate) lds_bytes: u64,
    /// Waves of 32 lanes on a SIMD at once, as registers and workgroup memory allow: of 64, half as many.
    pub(crate) waves: u64,
    pub(crate) instructions: u64,
    pub(crate) valu: u64,
    pub(crate) salu: u64,
    /// Pairs of vector instructions that are issued as one.
    pub(crate) vopd: u64,
    /// Instructions of matrix units.
    pub(crate) matrix: u32,
    /// The compiler's estimate of the cycles from a wave's begin to its end, for a number of rounds of each loop that it assumes.
    pub(crate) cycles: u64,
    /// Of them, those in which the wave keeps a unit busy.
    pub(crate) busy_cycles: u64,
    /// Instructions of the loop that does the most multiply-adds itself.
    pub(crate) busiest_loop: Option<Mix>,
    /// Loops inside it, whose instructions are counted once.
    pub(crate) loops_inside: usize,
    /// Vector instructions of the busiest loop for each multiply-add of an invocation.
    pub(crate) vector_per_multiply_add: Option<f64>,
}

impl Row {
    pub(crate) fn of(kernel: &FinalKernel, lib: Vec<String>, made: &Made) -> Result<Self, Box<dyn Error>> {
        let number = |name: &str| {
            made.statistics.get(name).copied().ok_or_else(|| format!("the driver does not tell `{name}`"))
        };
        let (busiest_loop, loops_inside) = code::busiest_loop(&made.code).unzip();
        Ok(Self {
            kernel: kernel.name.clone(),
            overrides: kernel.constants.clone(),
            lib,
            rung: None,
            steps: vec![],
            workgroup: kernel.workgroup_size,
            lanes: code::lanes(&made.code),
            vgprs: number("VGPRs")?,
            spilled_vgprs: number("Spilled VGPRs")?,
            spilled_sgprs: number("Spilled SGPRs")?,
            scratch_bytes: number("Scratch size")?,
            lds_bytes: number("LDS size")?,
            waves: number("Subgroups per SIMD")?,
            instructions: number("Instructions")?,
            valu: number("VALU")?,
            salu: number("SALU")?,
            vopd: number("VOPD")?,
            matrix: Mix::of(&made.code).matrix,
            cycles: number("Latency")?,
            busy_cycles: number("Inverse Throughput")?,
            vector_per_multiply_add: busiest_loop.and_then(|mix| mix.per_multiply_add()),
            busiest_loop,
            loops_inside: loops_inside.unwrap_or(0),
        })
    }

    /// Whether registers went to memory: to scratch, or scalar ones to the lanes of others.
    pub(crate) fn spills(&self) -> bool {
        self.spilled_vgprs + self.spilled_sgprs + self.scratch_bytes > 0
    }

    /// Kernel and overrides.
    pub(crate) fn label(&self) -> String {
        let overrides = self.overrides.iter().map(|(name, value)| format!(" {name}={value}"));
        self.kernel.clone() + &overrides.collect::<String>()
    }
}

/// The rows of a chip.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) chip: String,
    pub(crate) architecture: String,
    pub(crate) device: String,
    pub(crate) driver: String,
    pub(crate) date: String,
    pub(crate) wgrad: String,
    /// The training steps whose kernels are told by `steps`.
    pub(crate) program: String,
    pub(crate) rows: Vec<Row>,
}

impl Results {
    pub(crate) fn new(chip: &Chip, device: &Device, date: String, program: String, rows: Vec<Row>) -> Self {
        Self {
            chip: chip.name.to_owned(),
            architecture: chip.architecture.to_owned(),
            device: device.name.clone(),
            driver: device.driver.clone(),
            date,
            wgrad: env!("CARGO_PKG_VERSION").to_owned(),
            program,
            rows,
        }
    }

    /// Where the rows of a chip are kept.
    pub(crate) fn path(folder: &Path, chip: &str) -> PathBuf {
        folder.join(format!("isa-{chip}.json"))
    }

    /// As JSON, a row a line.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let head = Self { rows: vec![], ..self.clone() };
        let head = serde_json::to_string_pretty(&head)?;
        let rows = self.rows.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
        Ok(head.replace("\"rows\": []", &format!("\"rows\": [\n    {}\n  ]", rows.join(",\n    "))) + "\n")
    }

    /// A table for the terminal.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{} ({}), {}\n", self.chip, self.architecture, self.driver);
        let heads = [
            "invocations",
            "lanes",
            "registers",
            "spilled",
            "scratch",
            "memory",
            "waves",
            "instr.",
            "vector",
            "pairs",
            "matrix",
            "cycles",
            "a mul-add",
        ];
        let width = self.rows.iter().map(|row| row.label().len()).max().unwrap_or(0).max(6);
        let _ = write!(out, "{:<width$}", "kernel");
        heads.iter().for_each(|head| out.push_str(&format!(" {head:>w$}", w = head.len().max(6))));
        out.push('\n');
        for row in &self.rows {
            let cells = [
                row.workgroup.to_string(),
                row.lanes.map_or("-".to_owned(), |n| n.to_string()),
                row.vgprs.to_string(),
                (row.spilled_vgprs + row.spilled_sgprs).to_string(),
                row.scratch_bytes.to_string(),
                row.lds_bytes.to_string(),
                row.waves.to_string(),
                row.instructions.to_string(),
                row.valu.to_string(),
                row.vopd.to_string(),
                row.matrix.to_string(),
                row.cycles.to_string(),
                row.vector_per_multiply_add.map_or("-".to_owned(), |n| format!("{n:.2}")),
            ];
            let _ = write!(out, "{:<width$}", row.label());
            for (head, cell) in heads.iter().zip(cells) {
                let _ = write!(out, " {cell:>w$}", w = head.len().max(6));
            }
            out.push('\n');
        }
        out
    }
}

/// The tables of `shaders/README.md`: a table a ladder, cells with a number a chip.
pub(crate) fn markdown(results: &[Results]) -> String {
    let Some(first) = results.first() else { return "Not compiled.\n".to_owned() };
    let chips: Vec<_> = results.iter().map(|r| format!("{} ({})", r.chip, r.architecture)).collect();
    let mut out = format!(
        "By {}, {}. Numbers in a cell are of {}; – where a chip has none of what the kernel needs.\n",
        first.driver,
        first.date,
        chips.join(" / ")
    );
    // In the order of the chip that has most of them.
    let of = |r: &'_ Results| -> Vec<String> {
        let mut rungs: Vec<_> = r.rows.iter().filter_map(|row| row.rung.clone()).collect();
        rungs.dedup();
        rungs
    };
    let rungs = results.iter().map(of).max_by_key(Vec::len).unwrap_or_default();
    for family in rungs.chunk_by(|a, b| a.split('/').next() == b.split('/').next()) {
        let name = family[0].split('/').next().unwrap_or_default();
        let _ = writeln!(
            out,
            "\n| {name} | invocations | registers | waves a SIMD | vector instructions | for each multiply-add |\n|---|---:|---:|---:|---:|---:|"
        );
        for rung in family {
            for row in shown(results, rung, name == "matmul") {
                let of_chips = |cell: &dyn Fn(&Row) -> String| {
                    let same = |r: &Results| r.rows.iter().find(|other| same(other, row)).map(cell);
                    let cells: Vec<_> = results.iter().map(|r| same(r).unwrap_or("–".to_owned())).collect();
                    cells.join(" / ")
                };
                let ratio =
                    |row: &Row| row.vector_per_multiply_add.map_or("–".to_owned(), |n| format!("{n:.2}"));
                let _ = writeln!(
                    out,
                    "| `{}` | {} | {} | {} | {} | {} |",
                    short(row, rung),
                    row.workgroup,
                    of_chips(&|row| row.vgprs.to_string()),
                    of_chips(&|row| row.waves.to_string()),
                    of_chips(&|row| row.valu.to_string()),
                    of_chips(&ratio),
                );
            }
        }
    }
    out + &spilled(results)
}

/// The rows of a rung that the table shows, of the first chip that has some: of products the first (A B in the largest block), of
/// others all.
fn shown<'a>(results: &'a [Results], rung: &str, one: bool) -> Vec<&'a Row> {
    let of = |r: &'a Results| -> Vec<&'a Row> {
        r.rows.iter().filter(|row| row.rung.as_deref() == Some(rung)).collect()
    };
    let rows = results.iter().map(of).find(|rows| !rows.is_empty()).unwrap_or_default();
    let count = if one { 1 } else { rows.len() };
    rows.into_iter().take(count).collect()
}

/// Whether rows of two chips are of one kernel. Overrides that the adapter gives may differ.
fn same(a: &Row, b: &Row) -> bool {
    let own = |row: &Row| {
        let mut overrides = row.overrides.clone();
        overrides.remove("SUBGROUP");
        overrides
    };
    (&a.kernel, own(a), &a.lib) == (&b.kernel, own(b), &b.lib)
}

/// `8_subgroup`, `4_block_forward 128 x 64`, `3_workgroup PASS=1`: what tells a kernel from the others of its ladder.
fn short(row: &Row, rung: &str) -> String {
    let family = rung.split('/').next().unwrap_or_default();
    let kernel = row.kernel.trim_start_matches(family).trim_start_matches('/');
    let (file, entry) = kernel.split_once('/').unwrap_or((kernel, ""));
    let entry = entry.split(' ').next().unwrap_or_default();
    let entry = entry.trim_start_matches(family).trim_start_matches('_');
    let entry = if entry == "nn" || file.ends_with(entry) { String::new() } else { format!(" {entry}") };
    let value = |name: &str| row.overrides.get(name);
    let pass = value("PASS").map_or(String::new(), |pass| format!(" PASS={pass}"));
    let block = value("BM").zip(value("BN")).map_or(String::new(), |(m, n)| format!(" {m} x {n}"));
    format!("{file}{entry}{pass}{block}")
}

/// A line on the kernels of the training steps whose registers do not suffice.
fn spilled(results: &[Results]) -> String {
    let mut out = String::new();
    for result in results {
        let default: Vec<_> = result.rows.iter().filter(|row| !row.steps.is_empty()).collect();
        let spilled: Vec<_> = default.iter().filter(|row| row.spills()).map(|row| why(row)).collect();
        let _ = write!(out, "\n{}: of the {} kernels of {}, ", result.chip, default.len(), result.program);
        let _ = match spilled.len() {
            0 => writeln!(out, "none spills a register or uses scratch memory."),
            n => writeln!(out, "{n} spill: {}.", spilled.join("; ")),
        };
    }
    out
}

/// What a kernel that spills does.
pub(crate) fn why(row: &Row) -> String {
    format!(
        "`{}`: {} vector and {} scalar registers, {} B of scratch memory",
        row.label(),
        row.spilled_vgprs,
        row.spilled_sgprs,
        row.scratch_bytes
    )
}

/// Reads the rows of every chip that were kept in a folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Results>, Box<dyn Error>> {
    let paths = CHIPS.iter().map(|chip| Results::path(folder, chip.name)).filter(|path| path.exists());
    paths
        .map(|path| {
            let text = std::fs::read_to_string(&path)?;
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()).into())
        })
        .collect()
}
