//! What the documentation holds: its pages, their fenced blocks, what stands between backticks, and what can be done with each command.
//!
//! `docs_tests.rs` holds every page to this without an API server; the test `docs` of `tests/scenarios` gives YAML and commands to real ones.
use std::path::{Path, PathBuf};

use crate::{Error, read};

/// Pages outside of `docs/`.
const OTHERS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "addon-framework/README.md",
    "manifests/README.md",
];

/// The languages that a fenced block may have.
const LANGUAGES: [&str; 4] = ["rust", "sh", "text", "yaml"];

/// Commands that no test runs as they stand, by how they begin, and why not.
pub const KNOWN: [(&str, &str); 11] = [
    ("CRASH_ONLY=", "needs the points of a life that went wrong"),
    ("alias kubectl=", "printed by make demo; the test has its own"),
    ("cargo build --workspace --bins", "what `make test` begins with"),
    (
        "cargo run -p addon-framework --example helloworld",
        "a scenario runs it",
    ),
    (
        "cargo run -q --bin profile-lint -- my-profile.yaml",
        "`make lint` runs it on every profile",
    ),
    ("cargo test -p scenarios", "`make test` runs it"),
    ("ceph fs snapshot mirror", "for the toolbox of Rook"),
    ("export ", "names what only the reader knows"),
    ("grep fingerprint .demo/", "reads what `make demo` leaves"),
    (
        "helm install multicluster-orchestrator charts/",
        "`make chart-validate` runs Helm, and a test compares the chart with the manifests",
    ),
    ("rbd mirror pool", "for the toolbox of Rook"),
];

/// What stands for something that only the reader knows, and an example of it.
const PLACEHOLDERS: [(&str, &str); 3] = [
    ("<cluster>", "cluster1"),
    ("<agent's namespace>", "open-cluster-management-agent-addon"),
    ("<name>", "east-west"),
];

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its path in the repository.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its first fence, from 1.
    pub line: usize,
    /// What stands behind that fence: the language, then what the tests are to know.
    pub info: String,
    /// What stands inside, without the indentation of the fence.
    pub text: String,
}

impl Block {
    /// Its language.
    #[must_use]
    pub fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }

    /// What the tests are to know.
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        Some(self.info.split_once(' ')?.1.trim())
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its line in the page.
    pub line: usize,
    /// The command, with examples for placeholders.
    pub text: String,
    /// What can be done with it.
    pub what: What,
}

/// What can be done with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `kubectl`, or one of the functions of the user guide that call it.
    Kubectl {
        /// Whether it is to be run, as part of a story that the page tells (a block that is marked `sh run`), or only to be tried without effect.
        run: bool,
    },
    /// A function of the user guide.
    Definition,
    /// `make`.
    Make,
    /// One of [`KNOWN`], by its position.
    Known(usize),
}

/// Every page of the documentation.
pub fn pages(repository: &Path) -> Result<Vec<Page>, Error> {
    let mut paths: Vec<PathBuf> = OTHERS.map(PathBuf::from).into();
    let mut open = vec![PathBuf::from("docs")];
    while let Some(directory) = open.pop() {
        let absolute = repository.join(&directory);
        let unreadable = |source| Error::File {
            path: absolute.clone(),
            source,
        };
        let entries = std::fs::read_dir(&absolute).map_err(unreadable)?;
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        names.sort();
        for path in names.into_iter().map(|name| directory.join(name)) {
            if repository.join(&path).is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let page = |path: PathBuf| {
        let text = read(&repository.join(&path))?;
        Ok(Page { path, text })
    };
    paths.into_iter().map(page).collect()
}

/// A line of a page, by what it belongs to.
enum Part<'a> {
    /// Prose, or a heading, or a table.
    Prose(&'a str),
    /// The first fence of a block: its indentation and what stands behind it.
    Begin(usize, &'a str),
    /// Inside of a block.
    Inside(&'a str),
    /// The last fence of a block.
    End,
}

impl Page {
    /// A page with a text of its own, for tests.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            path: PathBuf::from("page.md"),
            text: text.to_owned(),
        }
    }

    fn error(&self, line: usize, what: &str) -> Error {
        Error::Unexpected(format!("{}:{line}: {what}", self.path.display()))
    }

    fn parts(&self) -> impl Iterator<Item = (usize, Part<'_>)> {
        let mut fenced = false;
        self.text.lines().enumerate().map(move |(index, line)| {
            let inner = line.trim_start();
            let part = match inner.strip_prefix("```") {
                Some(info) if !fenced => {
                    fenced = true;
                    Part::Begin(line.len() - inner.len(), info.trim())
                }
                Some(_) => {
                    fenced = false;
                    Part::End
                }
                None if fenced => Part::Inside(line),
                None => Part::Prose(line),
            };
            (index + 1, part)
        })
    }

    /// Its fenced blocks. One without a language is refused, and so is code that is only indented: nobody could tell what it is.
    pub fn blocks(&self) -> Result<Vec<Block>, Error> {
        let (mut blocks, mut open, mut after_blank) = (Vec::new(), None::<(Block, usize)>, true);
        for (line, part) in self.parts() {
            match part {
                Part::Prose(text) => {
                    if after_blank && text.starts_with("    ") {
                        return Err(self.error(line, "code that is only indented; fence it and name its language"));
                    }
                    after_blank = text.is_empty();
                }
                Part::Begin(indentation, info) => {
                    let (info, text) = (info.to_owned(), String::new());
                    open = Some((Block { line, info, text }, indentation));
                }
                Part::Inside(text) => {
                    if let Some((block, indentation)) = &mut open {
                        let blank = text.len() - text.trim_start().len();
                        block.text.push_str(&text[blank.min(*indentation)..]);
                        block.text.push('\n');
                    }
                }
                Part::End => blocks.extend(open.take().map(|(block, _)| block)),
            }
        }
        if let Some((block, _)) = open {
            return Err(self.error(block.line, "a block that does not end"));
        }
        match blocks.iter().find(|block| !LANGUAGES.contains(&block.language())) {
            Some(block) => Err(self.error(
                block.line,
                &format!("the language {:?} is none of {LANGUAGES:?}", block.language()),
            )),
            None => Ok(blocks),
        }
    }

    /// What stands between backticks, outside of blocks.
    #[must_use]
    pub fn inline(&self) -> Vec<(usize, String)> {
        let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
        for (line, part) in self.parts() {
            let Part::Prose(text) = part else {
                open = None;
                continue;
            };
            // It may go on in the next line, but not in the next paragraph.
            open = open.filter(|_| !text.is_empty());
            for (position, piece) in text.split('`').enumerate() {
                if position > 0 {
                    match open.take() {
                        // In a table a bar is escaped.
                        Some((line, code)) => found.push((line, code.replace("\\|", "|"))),
                        None => open = Some((line, String::new())),
                    }
                }
                if let Some((_, code)) = &mut open {
                    if position == 0 {
                        code.push(' ');
                    }
                    code.push_str(piece);
                }
            }
        }
        found
    }

    /// Its commands: every line of its `sh` blocks, and what between backticks begins like `kubectl` or `make`.
    pub fn commands(&self) -> Result<Vec<Command>, Error> {
        let mut commands = Vec::new();
        for block in self.blocks()?.into_iter().filter(|block| block.language() == "sh") {
            let run = match block.mark() {
                None => false,
                Some("run") => true,
                Some(other) => return Err(self.error(block.line, &format!("sh {other}; there is only `sh run`"))),
            };
            let mut lines = block
                .text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty());
            while let Some((index, first)) = lines.next() {
                let mut text = first.trim().to_owned();
                while let Some(begun) = text.strip_suffix('\\') {
                    let next = lines.next().map_or("", |(_, line)| line.trim());
                    text = format!("{begun}{next}");
                }
                let line = block.line + index + 1;
                let what = what(&text, run)
                    .ok_or_else(|| self.error(line, &format!("no test knows what to do with: {text}")))?;
                commands.push(self.command(line, &text, what)?);
            }
        }
        for (line, text) in self.inline() {
            // `kubectl apply -k` alone tells how, not what.
            let complete = !text.ends_with(" -k") && !text.ends_with(" -f");
            match what(&text, false) {
                Some(what @ (What::Kubectl { .. } | What::Make)) if complete => {
                    commands.push(self.command(line, &text, what)?);
                }
                _ => {}
            }
        }
        Ok(commands)
    }

    fn command(&self, line: usize, text: &str, what: What) -> Result<Command, Error> {
        let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
        let text = PLACEHOLDERS.into_iter().fold(text.to_owned(), replace);
        if matches!(what, What::Kubectl { .. } | What::Make) && text.contains('<') {
            return Err(self.error(line, &format!("a placeholder without an example: {text}")));
        }
        Ok(Command { line, text, what })
    }
}

/// What can be done with a command.
fn what(text: &str, run: bool) -> Option<What> {
    let first = text.split_once(' ').map(|(first, _)| first)?;
    match first {
        "kubectl" | "hub" | "c1" | "c2" => Some(What::Kubectl { run }),
        "make" => Some(What::Make),
        "hub()" | "c1()" | "c2()" => Some(What::Definition),
        _ => KNOWN
            .iter()
            .position(|(begin, _)| text.starts_with(begin))
            .map(What::Known),
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Page, What};

    #[test]
    fn blocks_are_found_with_their_lines() {
        let page =
            Page::new("# A\n\n1. b\n\n   ```sh run\n   kubectl get x\n\n     more\n   ```\n\n```yaml\na: 1\n```\n");
        let block = |line, info: &str, text: &str| Block {
            line,
            info: info.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(
            page.blocks().unwrap(),
            [
                block(5, "sh run", "kubectl get x\n\n  more\n"),
                block(11, "yaml", "a: 1\n")
            ]
        );
    }

    #[test]
    fn what_nobody_could_check_is_refused() {
        for (text, says) in [
            ("a\n\n    kubectl get x\n", "page.md:3: code that is only indented"),
            ("```\na\n```\n", "page.md:1: the language \"\" is none of"),
            ("```console\na\n```\n", "page.md:1: the language \"console\" is none of"),
            ("```sh\nkubectl get x\n", "page.md:1: a block that does not end"),
            (
                "```sh\nkubectl get x\nrm -r x\n```\n",
                "page.md:3: no test knows what to do with: rm -r x",
            ),
            (
                "```sh\nkubectl get <thing>\n```\n",
                "page.md:2: a placeholder without an example",
            ),
            ("```sh later\nkubectl get x\n```\n", "page.md:1: sh later"),
        ] {
            let error = Page::new(text).commands().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn commands_are_told_apart() {
        let page = Page::new(
            "See `kubectl get\na \\| b` and `make x`, `kubectl apply -k`, `b c`.\n\n```sh run\nhub get <cluster> \\\n  -A # all\nexport A=…\nc1() { x; }\n```\n",
        );
        let commands = page.commands().unwrap();
        let seen: Vec<_> = commands
            .iter()
            .map(|command| (command.line, command.text.as_str(), &command.what))
            .collect();
        assert_eq!(
            seen,
            [
                (5, "hub get cluster1 -A # all", &What::Kubectl { run: true }),
                (7, "export A=…", &What::Known(7)),
                (8, "c1() { x; }", &What::Definition),
                (1, "kubectl get a | b", &What::Kubectl { run: false }),
                (2, "make x", &What::Make),
            ]
        );
    }
}
