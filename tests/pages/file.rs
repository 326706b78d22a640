//! A generated file of the repository: as it should be, or brought up to date.

use std::path::Path;

/// Brings all of them up to date.
const COMMAND: &str = "HOLDFAST_UPDATE=1 cargo test --lib --bins current";

/// The root of the repository, seen from any of its crates.
fn root() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("Cargo.lock").is_file()).expect("a crate lies below the root")
}

/// Fails if the file is not this text. With `HOLDFAST_UPDATE` in the environment it is written instead.
pub fn assert_current(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        return std::fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let mut lines = found.lines().zip(text.lines()).enumerate();
    if let Some((index, (found, wanted))) = lines.find(|(_, (found, wanted))| found != wanted) {
        let number = index + 1;
        panic!("{path}:{number} is out of date; run `{COMMAND}`\n  it has:  {found}\n  not:     {wanted}");
    }
    assert!(found == text, "{path} is out of date at its end; run `{COMMAND}`");
}

/// The same for the part of a file between the lines `<!-- NAME -->` and `<!-- /NAME -->`.
#[allow(dead_code, reason = "not everybody who shares this file has parts")]
pub fn assert_current_part(path: &str, name: &str, text: &str) {
    let file = root().join(path);
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let parts = found.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("{path} has no part {name}"));
    assert_current(path, &format!("{before}{begin}\n{text}{end}{after}"));
}
