//! Pages lead somewhere: every link, every file and every make target that they name exists, every YAML block is valid, and of every
//! command it is known how it is tried. Trying them is done by the test `docs` of `tests/scenarios`.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    base,
    pages::{self, KNOWN, Page, What},
    schema,
    tests::repository,
};

/// Every page of the documentation.
fn pages() -> Vec<Page> {
    pages::pages(&repository()).unwrap()
}

/// The targets of the links of a page, without code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            continue;
        }
        // What stands between backticks is no link; odd parts of the split are code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let parts = prose.split("](").skip(1);
        links.extend(parts.filter_map(|part| Some(part.split_once(')')?.0.to_owned())));
    }
    links
}

/// The anchors of the headings of a page, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

/// Whether a file is among what `make book` writes: the pages, and two directories beside them.
fn is_in_the_book(path: &Path) -> bool {
    let mut place = PathBuf::new();
    for part in path {
        match part.to_str() {
            Some("..") => {
                place.pop();
            }
            _ => place.push(part),
        }
    }
    ["docs", "manifests", "charts"]
        .iter()
        .any(|part| place.starts_with(part))
}

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for link in links(&page.text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().unwrap_or(Path::new("")).join(path),
            };
            let found = root.join(&target);
            if page.path.starts_with("docs") && !is_in_the_book(&target) {
                broken.push(format!("{}: {link} is not part of the book", page.path.display()));
            }
            let has_anchor = || fs::read_to_string(&found).is_ok_and(|text| anchors(&text).contains(anchor));
            if !found.exists() || (!anchor.is_empty() && !has_anchor()) {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_check_of_links_finds_them_and_leaves_code_alone() {
    let text = "See [a](a.md#x) and `[b](b.md)`, [c](c.md).\n\n    [d](d.md)\n```\n[e](e.md)\n```\n[f](#f)";
    assert_eq!(links(text), ["a.md#x", "c.md", "#f"]);
    let anchors = anchors("# Peering: Accepted\n## ManagedClusterAddOn `tokenexchange`\n");
    assert_eq!(
        anchors.into_iter().collect::<Vec<_>>(),
        ["managedclusteraddon-tokenexchange", "peering-accepted"]
    );
}

#[test]
fn the_book_has_every_page_of_the_documentation() {
    let summary = fs::read_to_string(repository().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = links(&summary).into_iter().collect();
    for page in pages() {
        let Ok(page) = page.path.strip_prefix("docs") else {
            continue;
        };
        let page = page.to_str().unwrap();
        // Rows of a table are to be put into it.
        let part = page == "SUMMARY.md" || page.ends_with("-rows.md");
        assert!(part || listed.contains(page), "docs/{page} is not in docs/SUMMARY.md");
    }
}

#[test]
fn every_yaml_block_is_valid() {
    let hub = base::objects(&repository().join("manifests/hub")).unwrap();
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks().unwrap() {
            if block.language() != "yaml" {
                continue;
            }
            let place = format!("{}:{}", page.path.display(), block.line);
            let documents = base::documents(&page.path, &block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
            for object in documents {
                seen += 1;
                let crd = base::of_kind(&hub, "CustomResourceDefinition").find(|crd| {
                    crd["spec"]["names"]["kind"] == object["kind"] && object["apiVersion"] == api_version(crd)
                });
                let problems = crd.map(|crd| schema::problems(crd, &object)).unwrap_or_default();
                assert_eq!(problems, [""; 0], "{place}");
            }
        }
    }
    assert!(seen >= 8, "only {seen} documents were found");
}

fn api_version(crd: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}",
        text(&crd["spec"]["group"]),
        text(&crd["spec"]["versions"][0]["name"])
    )
}

#[test]
fn every_piece_of_code_is_a_part_of_the_file_that_it_names() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks().unwrap() {
            if block.language() != "rust" {
                continue;
            }
            seen += 1;
            let place = format!("{}:{}", page.path.display(), block.line);
            let file = block.mark().and_then(|mark| mark.strip_prefix("from="));
            let file = file.unwrap_or_else(|| panic!("{place}: which file is it from?"));
            let text = fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(text.contains(&block.text), "{place}: {file} does not say this");
        }
    }
    assert!(seen >= 3, "only {seen} pieces were found");
}

#[test]
fn of_every_command_it_is_known_how_it_is_tried() {
    let mut known = BTreeSet::new();
    let mut tried = 0;
    for page in pages() {
        for command in page.commands().unwrap() {
            match command.what {
                What::Known(position) => {
                    known.insert(KNOWN[position].0);
                }
                What::Kubectl { .. } | What::Make => tried += 1,
                What::Definition => {}
            }
        }
    }
    assert!(tried > 60, "only {tried} commands were found");
    let unused: Vec<_> = KNOWN.iter().filter(|(begin, _)| !known.contains(begin)).collect();
    assert!(unused.is_empty(), "no page has them any more: {unused:?}");
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let mut seen = 0;
    for page in pages() {
        for command in page.commands().unwrap() {
            let (What::Make, Some(targets)) = (&command.what, command.text.strip_prefix("make ")) else {
                continue;
            };
            let words = targets.split(' ').take_while(|word| !word.starts_with('#'));
            for target in words.filter(|word| !word.is_empty() && !word.contains('=')) {
                seen += 1;
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{}:{}: make {target}",
                    page.path.display(),
                    command.line
                );
            }
        }
    }
    assert!(seen > 20, "only {seen} targets were found");
}

#[test]
fn every_file_of_manifests_and_hack_that_a_page_names_exists() {
    let mut seen = 0;
    for page in pages() {
        let blocks = page
            .blocks()
            .unwrap()
            .into_iter()
            .filter(|block| block.language() == "sh");
        let code = blocks
            .map(|block| block.text)
            .chain(page.inline().into_iter().map(|(_, code)| code));
        for code in code {
            for word in code
                .split_whitespace()
                .filter(|word| word.starts_with("manifests/") || word.starts_with("hack/"))
            {
                if word.contains(['<', '*', '{', '…', '$']) {
                    continue;
                }
                seen += 1;
                let file = word.trim_end_matches([',', ')', ':']);
                assert!(repository().join(file).exists(), "{}: {word}", page.path.display());
            }
        }
    }
    assert!(seen > 10, "only {seen} files were found");
}

/// The page on the framework's parity with upstream's.
fn parity() -> Page {
    let mut pages = pages().into_iter();
    pages.find(|page| page.path.ends_with("framework-parity.md")).unwrap()
}

/// The tests that a file of tests has: the names of its functions with an attribute `test`.
fn tests_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let parts = text.split("test]\n").skip(1);
    let names = parts.filter_map(|part| part.lines().find_map(|line| line.trim().split_once("fn ")));
    names
        .filter_map(|(_, rest)| Some(rest.split_once('(')?.0.to_owned()))
        .collect()
}

#[test]
fn every_test_that_the_table_of_parity_names_exists() {
    let root = repository();
    let mut seen = BTreeSet::new();
    for (_, word) in parity().inline() {
        if let Some((module, test)) = word
            .split_once("::")
            .filter(|(module, _)| module.starts_with(char::is_lowercase))
        {
            let file = root.join(format!("tests/scenarios/tests/{module}.rs"));
            assert!(
                tests_of(&file).iter().any(|name| name == test),
                "there is no scenario {word}"
            );
        } else if Path::new(&word).extension().is_some_and(|end| end == "rs") || word.ends_with('/') {
            let known = root.join("addon-framework/src").join(&word).exists() || root.join(&word).exists();
            assert!(known, "there is no {word}");
        } else {
            continue;
        }
        seen.insert(word);
    }
    assert!(seen.len() > 40, "only {} tests were found", seen.len());
}

#[test]
fn no_row_of_the_table_of_parity_is_open() {
    let page = parity();
    let rows: Vec<&str> = page.text.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 60, "only {} rows were found", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let shown = cells[cells.len() - 2];
        assert!(
            !shown.is_empty() && !["–", "-", "not yet", "not run"].contains(&shown),
            "{row}"
        );
        assert!(
            !row.to_lowercase().contains("not run") && !row.to_lowercase().contains("not yet"),
            "{row}"
        );
    }
}
