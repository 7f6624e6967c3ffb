//! The programs have one way with their command lines: `train::parse`, whose help is the head of the program itself.

#[path = "common/files.rs"]
mod files;

use files::{files_under, read};

#[test]
fn every_program_reads_its_command_line_in_one_way() {
    let programs =
        files_under("examples", &["rs"]).into_iter().filter(|(_, text)| text.contains("\nfn main()"));
    let mut count = 0;
    for (path, text) in programs {
        let name = path.trim_start_matches("examples/");
        let read = format!("(include_str!(\"{name}\")");
        assert!(text.contains(&read), "{path}: wants {read})");
        assert!(
            !text.contains("env::args") && !text.contains("::parse()"),
            "{path}: reads arguments in its own way"
        );
        assert!(
            text.starts_with("//! ") && text.lines().nth(1).is_some_and(|line| line.starts_with("//!")),
            "{path}"
        );
        count += 1;
    }
    assert!(count > 30, "{count} programs");
}

/// The numbered examples are to be read from top to bottom, and the README says how to run each.
#[test]
fn the_numbered_examples_are_short_and_known() {
    let readme = read("README.md");
    let programs = files_under("examples", &["rs"]);
    let numbered = programs.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix("examples/")?.strip_suffix(".rs")?;
        name.starts_with(|c: char| c.is_ascii_digit()).then_some((name, text))
    });
    let mut count = 0;
    for (name, text) in numbered {
        assert!(text.lines().count() < 100, "{name} has {} lines", text.lines().count());
        assert!(readme.contains(&format!("`examples/{name}.rs`")), "README does not name {name}");
        let command = readme.lines().any(|line| {
            line.starts_with("    cargo run ") && line.trim_end().ends_with(&format!("--example {name}"))
        });
        assert!(command, "README does not run {name}");
        count += 1;
    }
    assert!(count >= 3, "{count} numbered examples");
}

/// The help of a method begins with its name.
#[test]
fn a_method_says_what_it_is() {
    let methods =
        files_under("examples", &["rs"]).into_iter().filter(|(_, text)| text.contains("&Flags::from_args("));
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    };
    for (path, text) in methods {
        let name = path.trim_start_matches("examples/").trim_end_matches(".rs");
        let named = text.trim_start_matches("//! ").split(':').next().unwrap();
        assert_eq!(plain(named), plain(name), "{path}");
    }
}
