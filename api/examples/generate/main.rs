//! Writes what is generated from the types into the repository: the CRDs and the catalogue of conditions. With `--check`
//! tells whether what is there is up to date. Run by `make generate` and `make lint`.
mod messages;

use std::{env, fs, path::Path, process::ExitCode};

use peering_api::{odf, peering};

const HEAD: &str = "# Generated from api/src/peering by `make generate`. Do not edit.\n";

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let check = args.iter().any(|arg| arg == "--check");
    let Some(root) = args.iter().find(|arg| !arg.starts_with("--")) else {
        eprintln!("usage: generate [--check] REPOSITORY");
        return ExitCode::from(2);
    };
    let mut stale = false;
    for (name, text) in files() {
        let path = Path::new(root).join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            eprintln!("{} is not up to date: run `make generate`", path.display());
            stale = true;
        } else if let Err(error) = fs::write(&path, text) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Every generated file: its path in the repository and its text.
fn files() -> Vec<(String, String)> {
    let crds = [peering::crds(), odf::crds()].concat();
    let names: Vec<_> = crds
        .iter()
        .map(|crd| format!("{}.yaml", crd.metadata.name.as_deref().unwrap_or_default()))
        .collect();
    let mut files: Vec<_> = crds
        .iter()
        .zip(&names)
        .filter_map(|(crd, name)| {
            let text = format!("{HEAD}{}", serde_saphyr::to_string(crd).ok()?);
            Some((format!("manifests/crds/{name}"), text))
        })
        .collect();
    let head = format!("{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:");
    let kustomization = names.iter().fold(head, |list, name| list + "\n- " + name) + "\n";
    files.push(("manifests/crds/kustomization.yaml".to_owned(), kustomization));
    files.push(("docs/messages.md".to_owned(), messages::page()));
    files
}
