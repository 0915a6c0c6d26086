//! Writes what users install: `packaging manifests [--check] REPOSITORY`, `packaging bundle …`, `packaging catalog …`,
//! `packaging sbom …`. The makefile calls it.
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use packaging::{
    DEFAULT_IMAGE, Error, Files, base,
    bundle::{self, bundle, catalog},
    csv::Release,
    read,
    sbom::sbom,
    workspace_version,
};

const USAGE: &str = "usage: packaging manifests [--check] --repository DIR
       packaging bundle --repository DIR --image IMAGE --version VERSION [--replaces CSV] --out DIR
       packaging catalog --repository DIR --version VERSION [--replaces CSV] [--previous VERSION] --out FILE
       packaging sbom --repository DIR --metadata FILE --out FILE";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("packaging: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Options by name; `--check` is the only one without a value.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(args: &[String]) -> Option<Self> {
        let mut options = BTreeMap::new();
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let name = name.strip_prefix("--")?;
            let value = if name == "check" {
                String::new()
            } else {
                args.next()?.clone()
            };
            options.insert(name.to_owned(), value);
        }
        Some(Self(options))
    }

    /// An option that is not empty.
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn need(&self, name: &str) -> Result<String, Error> {
        self.get(name)
            .ok_or_else(|| Error::Unexpected(format!("--{name} is missing\n{USAGE}")))
    }
}

fn run(args: &[String]) -> Result<ExitCode, Error> {
    let usage = || Error::Unexpected(USAGE.to_owned());
    let (command, args) = args.split_first().ok_or_else(usage)?;
    let options = Options::parse(args).ok_or_else(usage)?;
    let repository = PathBuf::from(options.need("repository")?);
    match command.as_str() {
        "manifests" => manifests(&repository, options.0.contains_key("check")),
        "bundle" => {
            let objects = base::objects(&repository.join("manifests/hub"))?;
            let release = release(&options)?;
            let files = bundle(&objects, &bundle::source(&repository)?, &release)?;
            let out = PathBuf::from(options.need("out")?);
            // What an earlier version made and this one does not must not be shipped.
            if out.is_dir() {
                fs::remove_dir_all(&out).map_err(|source| Error::File {
                    path: out.clone(),
                    source,
                })?;
            }
            put(&out, &files)?;
            Ok(ExitCode::SUCCESS)
        }
        "catalog" => {
            let newest = release(&options)?;
            let previous = options.get("previous").map(|version| Release {
                version,
                replaces: None,
                ..newest.clone()
            });
            let releases: Vec<Release> = previous.into_iter().chain([newest]).collect();
            let text = catalog(&bundle::source(&repository)?, &releases)?;
            write(Path::new(&options.need("out")?), &text)?;
            Ok(ExitCode::SUCCESS)
        }
        "sbom" => {
            let path = PathBuf::from(options.need("metadata")?);
            let metadata = serde_json::from_str(&read(&path)?).map_err(|error| Error::Yaml {
                path,
                message: error.to_string(),
            })?;
            let bill = sbom(
                &metadata,
                &read(&repository.join("Cargo.lock"))?,
                &version(&repository)?,
            )?;
            write(Path::new(&options.need("out")?), &format!("{bill:#}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(usage()),
    }
}

fn release(options: &Options) -> Result<Release, Error> {
    Ok(Release {
        image: options.get("image").unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        version: options.need("version")?,
        replaces: options.get("replaces"),
    })
}

fn version(repository: &Path) -> Result<String, Error> {
    workspace_version(&read(&repository.join("Cargo.toml"))?)
        .ok_or_else(|| Error::Unexpected("Cargo.toml names no version of the workspace".to_owned()))
}

/// Writes what is checked in, or tells whether it is up to date.
fn manifests(repository: &Path, check: bool) -> Result<ExitCode, Error> {
    let stale = packaging::stale(repository, &packaging::checked_in(repository, &version(repository)?)?)?;
    if check {
        for path in &stale {
            eprintln!("{} is not up to date: run `make manifests`", path.display());
        }
        return Ok(if stale.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let files = packaging::checked_in(repository, &version(repository)?)?;
    for path in stale.iter().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
    }
    put(repository, &files)?;
    Ok(ExitCode::SUCCESS)
}

fn put(directory: &Path, files: &Files) -> Result<(), Error> {
    files
        .iter()
        .try_for_each(|(path, text)| write(&directory.join(path), text))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
