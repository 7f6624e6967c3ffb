//! The figures whose answer theory gives come out, whatever the seed. `make figures` checks the trained ones.

#[path = "../examples/common/figures.rs"]
mod figures;

use std::fs;
use std::path::Path;

use figures::FIGURES;
use wgrad::train::figure::Args;

fn comes_out(seed: u32) {
    let dir = tempfile::tempdir().unwrap();
    for entry in FIGURES.iter().filter(|entry| !entry.trained) {
        let name = entry.name;
        let args = Args { out: dir.path().to_owned(), seed, adapter: None };
        let figure = (entry.draw)(&args).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(figure.name, name);
        let wrong: Vec<_> = figure.findings.iter().filter(|finding| !finding.holds).collect();
        assert!(!figure.findings.is_empty() && wrong.is_empty(), "{name}, seed {seed}: {wrong:#?}");
        let file = |end: &str| fs::read_to_string(dir.path().join(format!("{name}.{end}"))).unwrap();
        let rows = file("csv").lines().count();
        assert!(rows > 3 && file("svg").contains("<svg"), "{name}: {rows} rows");
    }
}

#[test]
fn every_exact_figure_comes_out() {
    comes_out(0);
}

#[test]
fn and_on_another_seed() {
    comes_out(1);
}

/// What the page is made of: every figure in the folder, each with a title, the line that runs it, an equation and a source.
#[test]
fn every_figure_is_on_the_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files
        .filter_map(|file| Some(file.strip_prefix("figure_")?.strip_suffix(".rs")?.to_owned()))
        .collect();
    let mut listed: Vec<_> = FIGURES.iter().map(|entry| entry.name).collect();
    names.sort();
    listed.sort_unstable();
    assert_eq!(names, listed);
    for figures::Entry { name, source, .. } in FIGURES {
        let head: Vec<_> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let run = format!("     cargo run --release --example figure_{name}");
        assert!(head[0].ends_with('.') && head[1].is_empty() && head[2] == run, "{name}: {:?}", &head[..3]);
        let equations = head[3..].iter().filter(|line| line.starts_with("     ")).count();
        let cited = (1980..2040).any(|year| head.iter().any(|line| line.contains(&year.to_string())));
        assert!(equations > 0 && cited, "{name}: an equation and its source");
        assert!(source.lines().count() < 150, "{name}: {} lines", source.lines().count());
    }
}

/// A folder that cannot be made is said at once, not after the work.
#[test]
fn a_wrong_folder_is_refused_first() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for entry in FIGURES {
        let args = Args { out: file.path().join("folder"), seed: 0, adapter: None };
        let error = (entry.draw)(&args).unwrap_err().to_string();
        assert!(error.starts_with(&file.path().display().to_string()), "{}: {error}", entry.name);
    }
}
