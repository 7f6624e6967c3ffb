//! Text between markers of a Markdown file.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Puts `text` between `<!-- name -->` and `<!-- /name -->` of a file.
pub(crate) fn replace(file: &Path, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let [open, close] = [format!("<!-- {name} -->"), format!("<!-- /{name} -->")];
    let old = fs::read_to_string(file)?;
    let missing = || format!("{}: no {open} ... {close}", file.display());
    let (head, rest) = old.split_once(&open).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(&close).ok_or_else(missing)?;
    fs::write(file, format!("{head}{open}\n{text}{close}{tail}"))?;
    Ok(())
}
