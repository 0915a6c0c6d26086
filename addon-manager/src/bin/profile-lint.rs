//! `profile-lint`: says what is wrong with `ExchangeProfile`s in files, before they are applied. Reads YAML, and the YAML
//! blocks of Markdown; other kinds are passed over. Exit code 1 where there is an error.
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use exchange::lint::{Finding, Severity, lint};
use peering_api::{names, peering::ExchangeProfileSpec};
use serde_json::Value;

/// Says what is wrong with `ExchangeProfile`s: `file: place: severity: message`, one finding a line.
#[derive(Parser)]
#[command(name = "profile-lint", version)]
struct Args {
    /// YAML or Markdown files. None: standard input.
    files: Vec<PathBuf>,
}

/// A text with YAML documents, and what findings in it are told by.
struct Source {
    name: String,
    yaml: String,
}

fn main() -> Result<ExitCode> {
    let sources = read(&Args::parse().files)?;
    let mut out = io::stdout().lock();
    let (mut profiles, mut bad) = (0, false);
    for source in &sources {
        for object in documents(source)? {
            profiles += 1;
            for finding in findings(&object) {
                bad |= finding.severity == Severity::Error;
                writeln!(out, "{}: {finding}", source.name)?;
            }
        }
    }
    ensure!(
        profiles > 0,
        "expected ExchangeProfiles, seen none: name files that hold some"
    );
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(files: &[PathBuf]) -> Result<Vec<Source>> {
    if files.is_empty() {
        let mut yaml = String::new();
        io::stdin().read_to_string(&mut yaml).context("read standard input")?;
        let name = "-".to_owned();
        return Ok(vec![Source { name, yaml }]);
    }
    let mut sources = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let name = file.display().to_string();
        if is_markdown(file) {
            sources.extend(blocks(&name, &text));
        } else {
            sources.push(Source { name, yaml: text });
        }
    }
    Ok(sources)
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

/// The YAML blocks of a Markdown text, named by the line that each starts at.
fn blocks(name: &str, text: &str) -> Vec<Source> {
    let mut blocks: Vec<Source> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match (inside, line.trim()) {
            (false, "```yaml") => {
                inside = true;
                blocks.push(Source {
                    name: format!("{name}:{}", index + 2),
                    yaml: String::new(),
                });
            }
            (true, "```") => inside = false,
            (true, _) => {
                if let Some(block) = blocks.last_mut() {
                    block.yaml.push_str(line);
                    block.yaml.push('\n');
                }
            }
            (false, _) => {}
        }
    }
    blocks
}

/// The profiles of a text. A block of a guide that only hints at an object is no YAML and passed over with the other kinds.
fn documents(source: &Source) -> Result<Vec<Value>> {
    if !source.yaml.contains("ExchangeProfile") {
        return Ok(Vec::new());
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&source.yaml).map_err(|error| anyhow!("{}: {error}", source.name))?;
    let ours = |object: &Value| {
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'));
        object["kind"] == "ExchangeProfile" && group.is_some_and(|(group, _)| group == names::GROUP)
    };
    Ok(documents.into_iter().filter(ours).collect())
}

/// Everything that is wrong with a profile: first what cannot be read or is not known at all.
fn findings(object: &Value) -> Vec<Finding> {
    let error = |place: &str, message: String| Finding {
        severity: Severity::Error,
        place: place.to_owned(),
        message,
    };
    let spec = &object["spec"];
    let parsed = match serde_json::from_value::<ExchangeProfileSpec>(spec.clone()) {
        Ok(parsed) => parsed,
        Err(problem) => return vec![error("spec", problem.to_string())],
    };
    let mut unknown = Vec::new();
    // A profile always serialises.
    let known = serde_json::to_value(&parsed).unwrap_or_default();
    unknown_fields("", spec, &known, &mut unknown);
    let unknown = unknown.iter().map(|place| {
        error(
            place,
            "there is no such field: correct its name or remove it".to_owned(),
        )
    });
    unknown.chain(lint(&parsed)).collect()
}

/// The places of fields that were not taken over. An empty list or map may be left out.
fn unknown_fields(place: &str, written: &Value, known: &Value, unknown: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (name, value) in written {
                let place = if place.is_empty() {
                    name.clone()
                } else {
                    format!("{place}.{name}")
                };
                match known.get(name) {
                    Some(known) => unknown_fields(&place, value, known, unknown),
                    None if is_empty(value) => {}
                    None => unknown.push(place),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                unknown_fields(&format!("{place}[{index}]"), written, known, unknown);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
