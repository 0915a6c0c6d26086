//! What users install is made from `manifests/`: the OLM bundle, the Helm chart. Everything here is a pure function of the
//! repository's files; `main.rs` reads and writes them. A test compares what is checked in with what comes out.
pub mod base;
pub mod bundle;
pub mod chart;
pub mod csv;
#[cfg(test)]
mod deny_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod minikube_tests;
pub mod pages;
pub mod sbom;
pub mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Files by their path below some directory.
pub type Files = BTreeMap<String, String>;

/// The image that the manifests name.
pub const DEFAULT_IMAGE: &str = "quay.io/multicluster-orchestrator/multicluster-orchestrator:latest";

/// Name of the OLM package.
pub const PACKAGE: &str = "odf-multicluster-orchestrator";

/// Why something cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not YAML.
    #[error("{path} is not YAML: {message}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// Something cannot be written as YAML or JSON.
    #[error("cannot write {what}: {message}")]
    Write {
        /// What was to be written.
        what: String,
        /// What the writer says.
        message: String,
    },
    /// The manifests are not what packaging reckons with.
    #[error("{0}")]
    Unexpected(String),
}

/// Reads a file of the repository.
pub fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

/// A value as YAML.
pub fn yaml(what: &str, value: &serde_json::Value) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Write {
        what: what.to_owned(),
        message: error.to_string(),
    })
}

/// The version of the workspace, from its `Cargo.toml`.
#[must_use]
pub fn workspace_version(cargo_toml: &str) -> Option<String> {
    let section = cargo_toml.split("[workspace.package]").nth(1)?;
    let line = section.lines().find(|line| line.starts_with("version"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

/// Everything that is checked in, by its path in the repository.
pub fn checked_in(repository: &Path, version: &str) -> Result<Files, Error> {
    let objects = base::objects(&repository.join("manifests/hub"))?;
    let release = csv::Release {
        image: DEFAULT_IMAGE.to_owned(),
        version: version.to_owned(),
        replaces: None,
    };
    let bundle = bundle::bundle(&objects, &bundle::source(repository)?, &release)?;
    let chart = chart::chart(&objects, version)?;
    let under = |directory: &'static str| move |(path, text): (String, String)| (format!("{directory}/{path}"), text);
    Ok(bundle
        .into_iter()
        .map(under("bundle"))
        .chain(chart.into_iter().map(under("charts/multicluster-orchestrator")))
        .collect())
}

/// The paths that are missing, differ, or are there without being generated.
pub fn stale(repository: &Path, files: &Files) -> Result<Vec<PathBuf>, Error> {
    let mut stale: Vec<PathBuf> = files
        .iter()
        .map(|(path, text)| (repository.join(path), text))
        .filter(|(path, text)| !std::fs::read_to_string(path).is_ok_and(|old| old == **text))
        .map(|(path, _)| path)
        .collect();
    let generated = [
        "bundle/manifests",
        "bundle/metadata",
        "charts/multicluster-orchestrator/templates",
    ];
    for directory in generated.map(|directory| repository.join(directory)) {
        let found = files_below(&directory)?;
        stale.extend(found.into_iter().filter(|path| {
            let relative = path.strip_prefix(repository).ok().and_then(Path::to_str);
            !relative.is_some_and(|relative| files.contains_key(relative))
        }));
    }
    Ok(stale)
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(|source| Error::File {
                path: path.clone(),
                source,
            })?;
            if entry.path().is_dir() { &mut open } else { &mut files }.push(entry.path());
        }
    }
    Ok(files)
}
