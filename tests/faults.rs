//! Keeps `docs/FAULTS.md` true: each row of the fault list that has tests, with their names. A test
//! covers a row by carrying its number: `f13_…`, or `f01_f03_…` for two.
//!
//! `BLESS=1 cargo test --test faults` writes the page anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/FAULTS.md";
const ROWS: usize = 80;

const ABOUT: &str = "\
# Faults

The fault list of the project has 80 rows of bad input, attacks and accidents, each with its right
answer. A row counts as covered when a test that `make test` runs carries its number. This page is
written by `tests/faults.rs`.

";

#[test]
fn the_page_lists_every_covered_row() {
    let expected = page(&covered());
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &expected).expect("docs/ can be written");
    }
    let found = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(found == expected, "{PAGE} is out of date: BLESS=1 cargo test --test faults");
}

fn covered() -> BTreeMap<usize, Vec<String>> {
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for file in ["src", "tests", "loadtest"].iter().flat_map(|root| rust_files(Path::new(root))) {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for name in text.lines().filter_map(test_name) {
            for row in rows_of(name) {
                let tests = rows.entry(row).or_default();
                tests.push(format!("`{}`: {name}", file.display()));
            }
        }
    }
    rows.values_mut().for_each(|tests| tests.sort());
    rows
}

fn test_name(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("fn ")?;
    let name = rest.split('(').next()?;
    rows_of(name).next().map(|_| name)
}

/// The numbers at the start of a name: 1 and 3 in `f01_f03_control_characters`.
fn rows_of(name: &str) -> impl Iterator<Item = usize> {
    name.split('_').map_while(|word| {
        let digits = word.strip_prefix('f').filter(|digits| digits.len() == 2)?;
        digits.parse().ok().filter(|row| (1..=ROWS).contains(row))
    })
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).expect("a source folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn page(rows: &BTreeMap<usize, Vec<String>>) -> String {
    let mut page = ABOUT.to_owned();
    writeln!(page, "**{} of {ROWS} rows are covered.**\n", rows.len()).expect("a String grows");
    page.push_str("| row | tests |\n|---|---|\n");
    for (row, tests) in rows {
        writeln!(page, "| {row} | {} |", tests.join("<br>")).expect("a String grows");
    }
    page
}
