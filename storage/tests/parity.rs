//! `docs/mirrorpeer-parity.md` names every row of upstream's lists, and no test that is not there.
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// How many rows upstream's lists have: unit tests, integration tests, tests of removed features, fixes.
const ROWS: [(&str, u32); 4] = [("U", 67), ("I", 12), ("H", 14), ("", 56)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> io::Result<String> {
    fs::read_to_string(root().join("docs/mirrorpeer-parity.md"))
}

/// The rows that a cell such as `U05–U08, U12` names.
fn rows(cell: &str, letter: &str) -> Option<Vec<u32>> {
    let number = |text: &str| -> Option<u32> { text.trim().strip_prefix(letter)?.parse().ok() };
    let mut all = Vec::new();
    for part in cell.split(',') {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        all.extend(number(first)?..=number(last)?);
    }
    Some(all)
}

#[test]
fn every_row_is_there_once() -> io::Result<()> {
    let page = page()?;
    let cells: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect();
    for (letter, count) in ROWS {
        let mut seen: Vec<u32> = cells.iter().filter_map(|cell| rows(cell, letter)).flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=count).collect::<Vec<_>>(), "rows {letter:?}");
    }
    Ok(())
}

fn sources(directory: &Path, all: &mut String) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, all)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}

#[test]
fn every_test_that_is_named_exists() -> io::Result<()> {
    let page = page()?;
    let quoted = page.split('`').skip(1).step_by(2);
    let is_test = |text: &&str| {
        text.matches('_').count() >= 2
            && text
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || "_0123456789".contains(letter))
    };
    let named: BTreeSet<_> = quoted.filter(is_test).collect();
    assert!(named.len() > 50, "{}", named.len());
    let mut code = String::new();
    for directory in [
        "api",
        "storage",
        "exchange",
        "addon-framework",
        "addon-manager",
        "addon-agent",
        "tests",
    ] {
        sources(&root().join(directory), &mut code)?;
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

#[test]
fn every_file_that_is_named_exists() -> io::Result<()> {
    let page = page()?;
    let files = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.contains('/') && text.contains('.') && !text.contains('…'));
    let missing: Vec<_> = files
        .filter(|file| !file.starts_with("red-hat-storage/") && !root().join(file).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}
