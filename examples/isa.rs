//! Shows what a GPU's compiler makes of each kernel, without the GPU: registers, spills, waves, instructions, machine code.
//!
//!     cargo run --release --features isa --example isa -- matmul                          # a ladder, on three chips
//!     cargo run --release --features isa --example isa -- matmul/8_subgroup --chip navi31
//!     cargo run --release --features isa --example isa -- conv/7_matrix --save runs/isa    # WGSL, SPIR-V, MSL, HLSL, machine code
//!     cargo run --release --features isa --example isa -- --all                            # make isa
//!     cargo run --release --features isa --example isa -- --launches simclr --encoder resnet18 --batch 512 \
//!         --adapter-class nvidia --card 67e12,989e12,3.35e12
//!
//! Kernels are those of the ladders' rungs, of a SimCLR step in f32 and f16, and of every op of the benches, listed by running
//! them on an adapter that is described and executes nothing. naga translates each with its own override values, as wgpu
//! does, and RADV, Mesa's driver for AMD's GPUs, compiles it for cards that are not there: `navi21` (RDNA 2), `navi31` (RDNA 3),
//! `gfx1201` (RDNA 4). `.ci/radv` fetches that driver where the system's own is another version. What needs matrix units is left
//! out for a chip on which the driver has none.
//!
//! `a mul-add`: vector instructions for each multiply-add, in the machine code of the loop that does most of them. 1 is a loop of fused
//! multiply-adds alone, 0.5 one whose instructions are issued in pairs. Addresses and conversions in the loop count, and those of
//! a loop inside it once; what lies around it does not, nor does it show which multiply-adds a ragged edge wastes.
//!
//! `--launches` counts the launches of a training step of any method, in the program itself, and with the rates of a card (f32
//! operations, f16 operations of matrix units, bytes, each a second) how long they take at least: each launch the longer of
//! its bytes and its operations, as it states them. `--all` ends with an error if a kernel of the SimCLR steps spills registers.

#[path = "isa/adapters.rs"]
pub(crate) mod adapters;
#[path = "isa/code.rs"]
pub(crate) mod code;
#[path = "../benches/common/mod.rs"]
pub(crate) mod common;
#[path = "isa/compile.rs"]
pub(crate) mod compile;
#[path = "isa/ladders.rs"]
pub(crate) mod ladders;
#[path = "common/markers.rs"]
mod markers;
#[path = "common/methods.rs"]
pub(crate) mod methods;
#[path = "isa/radv.rs"]
mod radv;
#[path = "isa/rows.rs"]
pub(crate) mod rows;
#[path = "isa/step.rs"]
pub(crate) mod step;
#[path = "isa/translate.rs"]
pub(crate) mod translate;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use adapters::{Abilities, CHIPS, Chip};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use common::stamp;
use methods::METHODS;
use rows::{Results, Row};
use step::{Card, Step};
use translate::Translation;
use wgrad::gpu::{AdapterInfo, Class, FinalKernel};
use wgrad::nn::EncoderKind;
use wgrad::train::{Flags, parse, write_atomic};

/// Folder of the rows that the tables are made of.
const RESULTS: &str = "benches/results";
/// The file of the tables.
const README: &str = "shaders/README.md";

#[derive(Parser, Clone)]
#[command(version)]
pub(crate) struct Args {
    /// Kernels by name or its beginning: matmul, conv/7_matrix, softmax/softmax
    #[arg(value_name = "KERNEL", required_unless_present_any = ["all", "launches", "serve"])]
    kernels: Vec<String>,
    /// Comma-separated chips; all three if left out
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(CHIPS.map(|chip| chip.name)))]
    chip: Vec<String>,
    /// Write WGSL, SPIR-V, MSL, HLSL and machine code of the kernels into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Compile every rung and both SimCLR steps, into benches/results and the tables of shaders/README.md
    #[arg(long, conflicts_with_all = ["kernels", "launches", "save"])]
    all: bool,
    /// List the launches of a training step of this method
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| m.0)))]
    launches: Option<String>,
    #[arg(long, value_name = "NAME", default_value = "resnet18", help = EncoderKind::names())]
    encoder: String,
    /// Images of the step
    #[arg(long, value_name = "N", default_value_t = 512)]
    batch: usize,
    /// f32 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "f16"])]
    precision: String,
    /// As for a training run; METHOD-cifar10 if left out
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// As for a training run; the synthetic images are of CIFAR's size
    #[arg(long, value_name = "SOURCE", default_value = "synthetic")]
    data: String,
    /// Class of the adapter that is described for --launches
    #[arg(long, value_name = "CLASS", default_value = "nvidia", value_parser = PossibleValuesParser::new(Class::ALL.map(Class::name)))]
    adapter_class: String,
    /// Rates of a card: operations a second in f32, in f16 on matrix units, and bytes a second
    #[arg(long, value_name = "F32,F16,BYTES", value_delimiter = ',', requires = "launches")]
    card: Vec<f64>,
    /// Write the launches into this file as JSON: in order, with the WGSL and overrides of each kernel
    #[arg(long, value_name = "FILE", requires = "launches")]
    json: Option<PathBuf>,
    /// What the driver states of the adapter, in place of a class
    #[arg(long, hide = true)]
    abilities: Option<String>,
    /// List the launches in this process, into this file
    #[arg(long, hide = true)]
    list_into: Option<PathBuf>,
    /// Compile kernels from stdin
    #[arg(long, hide = true)]
    serve: bool,
}

fn main() -> ExitCode {
    match run(&parse(include_str!("isa.rs"))) {
        Ok(spilled) if spilled.is_empty() => ExitCode::SUCCESS,
        Ok(spilled) => {
            eprintln!(
                "{} kernels of a training step spill registers:\n{}",
                spilled.len(),
                spilled.join("\n")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for; with `--all`, the kernels of the training steps that spill.
pub(crate) fn run(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let card = card(&args.card)?;
    if args.serve {
        compile::serve()?;
    } else if let Some(file) = &args.list_into {
        fs::write(file, serde_json::to_string(&list(args)?)?)?;
    } else if let Some(method) = &args.launches {
        let step = counted(args)?;
        if let Some(file) = &args.json {
            fs::write(file, serde_json::to_string(&step)?).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        println!(
            "A step of {method}: {}, {} images, {}, on an adapter of the class {}; bytes and operations as launches state them.",
            args.encoder, args.batch, args.precision, args.adapter_class
        );
        print!("{}", step.table(card.as_ref()));
    } else if args.all {
        return all(args);
    } else {
        look(args)?;
    }
    Ok(vec![])
}

fn card(rates: &[f64]) -> Result<Option<Card>, String> {
    match *rates {
        [] => Ok(None),
        [f32, f16, bytes] if rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) => {
            Ok(Some(Card { f32, f16, bytes }))
        }
        _ => Err("--card: three rates above 0, as 67e12,989e12,3.35e12".to_owned()),
    }
}

fn chips(args: &Args) -> impl Iterator<Item = &'static Chip> {
    CHIPS.iter().filter(|chip| args.chip.is_empty() || args.chip.iter().any(|name| name == chip.name))
}

/// The launches of a step, in this process, which says what the method's program says.
pub(crate) fn list(args: &Args) -> Result<Step, Box<dyn Error>> {
    let method = args.launches.as_deref().ok_or("--list-into: needs --launches")?;
    let (_, train) = METHODS.iter().find(|(name, _)| *name == method).ok_or("no such method")?;
    let class = Class::ALL.into_iter().find(|class| class.name() == args.adapter_class);
    let info: AdapterInfo = match &args.abilities {
        Some(abilities) => adapters::with(&serde_json::from_str(abilities)?),
        None => adapters::typical(class.ok_or("no such class")?),
    };
    let flags = Flags {
        recipe: Some(args.recipe.clone().unwrap_or_else(|| format!("{method}-cifar10"))),
        data: Some(args.data.clone()),
        encoder: Some(args.encoder.clone()),
        batch: Some(args.batch),
        precision: Some(args.precision.clone()),
        steps: Some(100),
        ..Flags::default()
    };
    Step::list(*train, &flags, &info, tempfile::tempdir()?.path())
}

/// [`list`] in a process of its own, whose accuracies of nothing nobody sees.
fn counted(args: &Args) -> Result<Step, Box<dyn Error>> {
    let file = tempfile::NamedTempFile::new()?;
    let method = args.launches.as_deref().unwrap_or_default();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--launches", method, "--encoder", &args.encoder, "--precision", &args.precision]);
    command.args(["--data", &args.data, "--adapter-class", &args.adapter_class]);
    command.args(["--batch", &args.batch.to_string()]);
    command.args(args.recipe.iter().flat_map(|recipe| ["--recipe", recipe]));
    command.args(args.abilities.iter().flat_map(|abilities| ["--abilities", abilities]));
    let status = command.arg("--list-into").arg(file.path()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("the step of {method} could not be listed: {status}").into());
    }
    Ok(serde_json::from_str(&fs::read_to_string(file.path())?)?)
}

/// A kernel to compile, and where it comes from.
struct Wanted {
    kernel: FinalKernel,
    rung: Option<String>,
    steps: Vec<String>,
}

/// The kernels of a chip: of every rung, of both SimCLR steps, and, if `ops`, of every op.
fn wanted(args: &Args, abilities: &Abilities, ops: bool) -> Result<Vec<Wanted>, Box<dyn Error>> {
    let info = adapters::with(abilities);
    let mut all: Vec<Wanted> = vec![];
    let mut add = |kernel: &FinalKernel, rung: Option<&str>, step: Option<&str>| {
        let at = all.iter().position(|there| there.kernel == *kernel).unwrap_or_else(|| {
            all.push(Wanted { kernel: kernel.clone(), rung: None, steps: vec![] });
            all.len() - 1
        });
        all[at].rung = all[at].rung.take().or(rung.map(str::to_owned));
        all[at].steps.extend(step.map(str::to_owned));
    };
    for rung in ladders::every(&info)? {
        let name = format!("{}/{}", rung.family, rung.file);
        rung.kernels.iter().for_each(|kernel| add(kernel, Some(&name), None));
    }
    for precision in ["f32", "f16"] {
        let step = counted(&Args {
            launches: Some("simclr".to_owned()),
            precision: precision.to_owned(),
            abilities: Some(serde_json::to_string(abilities)?),
            ..args.clone()
        })?;
        step.kernels.iter().for_each(|kernel| add(kernel, None, Some(precision)));
    }
    if ops {
        ladders::ops(&info)?.iter().for_each(|kernel| add(kernel, None, None));
    }
    // A rung of the lent description, such as shuffles on a CPU, may come with matrix units that this chip has not.
    all.retain(|wanted| !wanted.kernel.matrix_units || !abilities.tiles.is_empty());
    Ok(all)
}

/// Compiles kernels for a chip; with a folder, writes their texts there.
fn compiled(
    args: &Args,
    chip: &Chip,
    choose: impl FnOnce(&Abilities) -> Result<Vec<Wanted>, Box<dyn Error>>,
) -> Result<Results, Box<dyn Error>> {
    let (device, _) = compile::compile(chip.name, &[])?;
    let wanted = choose(&device.abilities)?;
    let kernels: Vec<_> = wanted.iter().map(|wanted| &wanted.kernel).collect();
    let (device, made) = compile::compile(chip.name, &kernels)?;
    let library = library()?;
    let mut rows = vec![];
    for (wanted, made) in wanted.into_iter().zip(&made) {
        let kernel = &wanted.kernel;
        let lib = library.iter().filter(|(_, text)| kernel.text.contains(text.as_str()));
        let lib = lib.map(|(name, _)| name.clone()).collect();
        let row = Row { rung: wanted.rung, steps: wanted.steps, ..Row::of(kernel, lib, made)? };
        if let Some(folder) = &args.save {
            save(folder, chip, &row.label(), kernel, &made.code)?;
        }
        rows.push(row);
    }
    let program =
        format!("a SimCLR step ({}, {} images, two views each, f32 and f16)", args.encoder, args.batch);
    Ok(Results::new(chip, &device, stamp::today(), program, rows))
}

/// The files of `shaders/lib`, by name; in a checkout.
fn library() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut files = vec![];
    for entry in fs::read_dir("shaders/lib").map_err(|e| format!("shaders/lib: {e}"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(&path)?));
    }
    files.sort();
    Ok(files)
}

/// Writes a kernel's texts: what naga cannot translate has no file.
fn save(
    folder: &Path,
    chip: &Chip,
    label: &str,
    kernel: &FinalKernel,
    code: &str,
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|e| format!("--save {}: {e}", folder.display()))?;
    let name = label.replace(['/', ' '], "-");
    let write = |ending: &str, text: &[u8]| fs::write(folder.join(format!("{name}.{ending}")), text);
    let translation = Translation::of(kernel)?;
    let words = translation.spirv()?;
    write("wgsl", kernel.text.as_bytes())?;
    write("spv", &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())?;
    write("metal", translation.msl()?.as_bytes())?;
    if let Ok(text) = translation.hlsl() {
        write("hlsl", text.as_bytes())?;
    }
    write(&format!("{}.s", chip.name), code.as_bytes())?;
    Ok(())
}

/// Shows the kernels that are named, on each chip.
fn look(args: &Args) -> Result<(), Box<dyn Error>> {
    let is = |kernel: &str, name: &str| {
        kernel.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '_', ' ']))
    };
    let (mut files, mut found) = (BTreeSet::new(), BTreeSet::new());
    for chip in chips(args) {
        let results = compiled(args, chip, |abilities| {
            let mut all = wanted(args, abilities, true)?;
            files.extend(all.iter().filter_map(|w| Some(w.kernel.name.rsplit_once('/')?.0.to_owned())));
            all.retain(|wanted| {
                let names: Vec<_> =
                    args.kernels.iter().filter(|name| is(&wanted.kernel.name, name)).collect();
                found.extend(names.iter().map(|name| name.as_str()));
                !names.is_empty()
            });
            Ok(all)
        })?;
        if results.rows.is_empty() {
            println!("{} ({}): has none of what these need", chip.name, chip.architecture);
        } else {
            print!("{}", results.table());
        }
    }
    match args.kernels.iter().find(|name| !found.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let files: Vec<_> = files.into_iter().collect();
            Err(format!("no kernel is named {name}; there are {}", files.join(", ")).into())
        }
    }
}

/// Everything, on every chip: into the files and tables.
fn all(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let folder = Path::new(RESULTS);
    if !folder.is_dir() || !Path::new(README).exists() {
        return Err(
            format!("--all: writes {RESULTS} and {README}, so it runs in the root of a checkout").into()
        );
    }
    let mut spilled = vec![];
    for chip in chips(args) {
        let results = compiled(args, chip, |abilities| wanted(args, abilities, false))?;
        let path = Results::path(folder, chip.name);
        write_atomic(&path, results.json()?.as_bytes())?;
        println!("{}kept in {}\n", results.table(), path.display());
        let of_steps = results.rows.iter().filter(|row| !row.steps.is_empty() && row.spills());
        spilled.extend(of_steps.map(|row| format!("{}: {}", chip.name, rows::why(row))));
    }
    markers::replace(Path::new(README), "isa", &rows::markdown(&rows::read(folder)?))?;
    Ok(spilled)
}
