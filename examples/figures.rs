//! Draws every figure and writes the page that explains them: `examples/figures.md`, its pictures beside it.
//!
//!     cargo run --release --example figures
//!     cargo run --release --example figures -- --seed 1    # do they come out with other draws? The page stays

#[path = "common/figures.rs"]
mod figures;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use figures::FIGURES;
use wgrad::train::figure::{Args, Figure};
use wgrad::train::parse;

/// The page, and the folder of its pictures as it links to them.
const PAGE: &str = "examples/figures.md";
const PICTURES: &str = "images/figures";
/// What the page opens with.
const INTRODUCTION: &str = "# The theory, as figures that run\n
Contrastive learning makes an encoder without labels: it is asked which two views come from the same image. This page goes \
through what is known of why that works, and of how it fails, a claim at a time. Each section is the head of a program in this \
folder of less than 150 lines, its picture, and what theory says beside what was measured; dashed lines are theory. \
`make figures` draws it all again and writes this page.\n";
/// What closes the page.
const EXERCISES: &str = include_str!("common/exercises.md");

fn main() -> ExitCode {
    match draw(&parse(include_str!("figures.rs"))) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("did not come out: {}", wrong.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Draws all; the names of those of which a claim does not hold.
fn draw(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let mut page = INTRODUCTION.to_owned();
    let (mut wrong, mut seconds) = (vec![], [0.0; 2]);
    for figures::Entry { name, trained, draw, source } in FIGURES {
        println!("\n== {name}");
        let began = Instant::now();
        let figure = draw(args)?;
        let took = began.elapsed().as_secs_f64();
        page += &section(&figure, source, took);
        seconds[usize::from(*trained)] += took;
        if !figure.holds() {
            wrong.push((*name).to_owned());
        }
    }
    page += EXERCISES;
    let [exact, trained] = seconds;
    println!("\n{exact:.0} s for the figures without training, {trained:.0} s for the others");
    if args.seed != Args::SEED {
        println!("{PAGE} stays: it is of seed {}", Args::SEED);
    } else if Path::new(PAGE).parent().is_some_and(Path::exists) {
        let pictures = Path::new("examples").join(PICTURES);
        fs::create_dir_all(&pictures)?;
        for figures::Entry { name, .. } in FIGURES {
            fs::copy(args.out.join(format!("{name}.svg")), pictures.join(format!("{name}.svg")))?;
        }
        fs::write(PAGE, page)?;
        println!("\nwritten to {PAGE}");
    }
    Ok(wrong)
}

/// A section of the page.
fn section(figure: &Figure, source: &str, seconds: f64) -> String {
    let head = source.lines().map_while(|line| line.strip_prefix("//!"));
    let head: Vec<&str> = head.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let (name, title) = (figure.name, head[0].trim_end_matches('.'));
    let mut out = format!("\n## {title}\n\n");
    out += head[1..].join("\n").trim_matches('\n');
    let _ = write!(
        out,
        "\n\n![{title}]({PICTURES}/{name}.svg)\n\n| | expected | measured | |\n|---|---|---|---|\n"
    );
    for finding in &figure.findings {
        let verdict = if finding.holds { "holds" } else { "**does not hold**" };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {verdict} |",
            finding.what.replace('|', "\\|"),
            finding.expected,
            finding.measured
        );
    }
    let kernels: Vec<String> = figure.kernels.iter().map(|kernel| format!("`{kernel}`")).collect();
    let kernels =
        if kernels.is_empty() { "no timestamps on this adapter".to_owned() } else { kernels.join(", ") };
    let _ = writeln!(out, "\nMost time in: {kernels}. {seconds:.0} s on {}.", figure.adapter);
    out
}
