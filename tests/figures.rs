//! The figures whose answer theory gives come out, whatever the seed.

#[path = "../examples/common/figures.rs"]
mod figures;

use figures::EXACT;
use wgrad::train::figure::Args;

fn comes_out(seed: u32) {
    let dir = tempfile::tempdir().unwrap();
    for (name, draw, text) in EXACT {
        let args = Args { out: dir.path().to_owned(), seed, adapter: None };
        let figure = draw(&args).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(figure.name, *name);
        let wrong: Vec<_> = figure.findings.iter().filter(|finding| !finding.holds).collect();
        assert!(!figure.findings.is_empty() && wrong.is_empty(), "{name}, seed {seed}: {wrong:#?}");
        let file = |end: &str| std::fs::read_to_string(dir.path().join(format!("{name}.{end}"))).unwrap();
        let rows = file("csv").lines().count();
        assert!(rows > 3 && file("svg").contains("<svg") && text.starts_with("//! "), "{name}: {rows} rows");
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
