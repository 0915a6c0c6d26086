//! Pages lead somewhere: every link, every file and every make target that they name exists, and every YAML block is valid.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{base, schema, tests::repository};

/// Every page of the documentation, by its path in the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "manifests/README.md",
    ]
    .map(PathBuf::from)
    .into();
    let mut open = vec![PathBuf::from("docs")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root.join(&path).is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text)
    };
    paths.into_iter().map(read).collect()
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

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let mut broken = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap_or(Path::new("")).join(path),
            };
            let found = root.join(&target);
            let has_anchor = || fs::read_to_string(&found).is_ok_and(|text| anchors(&text).contains(anchor));
            if !found.exists() || (!anchor.is_empty() && !has_anchor()) {
                broken.push(format!("{}: {link}", page.display()));
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
    for (page, _) in pages() {
        let Ok(page) = page.strip_prefix("docs") else { continue };
        let page = page.to_str().unwrap();
        // Rows of a table are to be put into it.
        let part = page == "SUMMARY.md" || page.ends_with("-rows.md");
        assert!(part || listed.contains(page), "docs/{page} is not in docs/SUMMARY.md");
    }
}

/// The fenced YAML blocks of a page.
fn blocks(text: &str) -> Vec<String> {
    let parts = text.split("\n```yaml\n").skip(1);
    parts
        .filter_map(|part| Some(part.split_once("\n```")?.0.to_owned()))
        .collect()
}

#[test]
fn every_yaml_block_is_valid() {
    let hub = base::objects(&repository().join("manifests/hub")).unwrap();
    let mut seen = 0;
    for (page, text) in pages() {
        for block in blocks(&text) {
            let documents = base::documents(&page, &block).unwrap_or_else(|error| panic!("{error}:\n{block}"));
            for object in documents {
                seen += 1;
                let crd = base::of_kind(&hub, "CustomResourceDefinition").find(|crd| {
                    crd["spec"]["names"]["kind"] == object["kind"] && object["apiVersion"] == api_version(crd)
                });
                let problems = crd.map(|crd| schema::problems(crd, &object)).unwrap_or_default();
                assert_eq!(problems, [""; 0], "{}:\n{block}", page.display());
            }
        }
    }
    assert!(seen >= 5, "only {seen} documents were found");
}

fn api_version(crd: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{}/{}",
        text(&crd["spec"]["group"]),
        text(&crd["spec"]["versions"][0]["name"])
    )
}

/// What stands between backticks, and the lines of indented code.
fn code(text: &str) -> Vec<String> {
    let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
    let inline = text.lines().filter(|line| !line.starts_with("    "));
    let inline = inline.flat_map(|line| {
        line.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    indented.map(str::to_owned).chain(inline).collect()
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let mut seen = 0;
    // The roadmap names what does not exist yet.
    for (page, text) in pages().into_iter().filter(|(page, _)| !page.ends_with("roadmap.md")) {
        for code in code(&text) {
            let Some(targets) = code.trim().strip_prefix("make ") else {
                continue;
            };
            let words = targets.split(' ').take_while(|word| !word.starts_with('#'));
            for target in words.filter(|word| !word.is_empty() && !word.contains('=')) {
                seen += 1;
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{}: make {target}",
                    page.display()
                );
            }
        }
    }
    assert!(seen > 20, "only {seen} targets were found");
}

#[test]
fn every_file_of_manifests_and_hack_that_a_page_names_exists() {
    let mut seen = 0;
    for (page, text) in pages() {
        for code in code(&text) {
            for word in code
                .split(' ')
                .filter(|word| word.starts_with("manifests/") || word.starts_with("hack/"))
            {
                if word.contains(['<', '*', '{', '…', '$']) {
                    continue;
                }
                seen += 1;
                let file = word.trim_end_matches([',', ')', ':']);
                assert!(repository().join(file).exists(), "{}: {word}", page.display());
            }
        }
    }
    assert!(seen > 10, "only {seen} files were found");
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
    let page = fs::read_to_string(root.join("docs/framework-parity.md")).unwrap();
    let mut seen = BTreeSet::new();
    for word in code(&page) {
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
    let page = fs::read_to_string(repository().join("docs/framework-parity.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
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
