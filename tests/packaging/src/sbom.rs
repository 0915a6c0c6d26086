//! The bill of materials of the image, as `CycloneDX` 1.5: the crates that are linked into the two binaries.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::Error;

/// The binaries of the image.
const BINARIES: [&str; 2] = ["addon-manager", "addon-agent"];

/// Makes the bill from `cargo metadata` (with `--filter-platform`) and the checksums of `Cargo.lock`.
pub fn sbom(metadata: &Value, lock: &str, version: &str) -> Result<Value, Error> {
    let packages: BTreeMap<&str, &Value> = entries(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = entries(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let roots = packages
        .iter()
        .filter(|(_, package)| package["name"].as_str().is_some_and(|name| BINARIES.contains(&name)));
    let mut open: Vec<&str> = roots.map(|(id, _)| *id).collect();
    if open.len() != BINARIES.len() {
        return Err(Error::Unexpected(format!("cargo metadata does not name {BINARIES:?}")));
    }
    let mut linked = BTreeSet::new();
    while let Some(id) = open.pop() {
        if linked.insert(id) {
            open.extend(
                entries(&nodes[id]["deps"])
                    .filter(|dep| is_linked(dep))
                    .filter_map(|dep| dep["pkg"].as_str()),
            );
        }
    }
    // A procedural macro runs in the compiler; it is no part of the binary.
    linked.retain(|id| !is_macro(packages[id]));
    let checksums = checksums(lock);
    let components: Vec<Value> = linked.iter().map(|id| component(packages[id], &checksums)).collect();
    let dependencies: Vec<Value> = linked
        .iter()
        .map(|id| {
            let on = entries(&nodes[id]["deps"]).filter(|dep| is_linked(dep));
            let on = on
                .filter_map(|dep| dep["pkg"].as_str())
                .filter(|id| linked.contains(id));
            json!({"ref": purl(packages[id]), "dependsOn": on.map(|id| purl(packages[id])).collect::<BTreeSet<_>>()})
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "container", "name": "multicluster-orchestrator", "version": version, "bom-ref": "multicluster-orchestrator",
        }},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether a dependency is a normal one: not for tests or build scripts only.
fn is_linked(dependency: &Value) -> bool {
    entries(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
}

fn is_macro(package: &Value) -> bool {
    entries(&package["targets"]).any(|target| entries(&target["kind"]).any(|kind| kind == "proc-macro"))
}

fn purl(package: &Value) -> String {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    format!("pkg:cargo/{}@{}", text("name"), text("version"))
}

fn component(package: &Value, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let text = |field: &str| package[field].as_str().unwrap_or_default();
    let mut component = json!({
        "type": "library", "name": text("name"), "version": text("version"), "purl": purl(package), "bom-ref": purl(package),
    });
    if let Some(license) = package["license"].as_str() {
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(checksum) = checksums.get(&(text("name"), text("version"))) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// Name and version to checksum, from the text of a `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    lock.split("[[package]]")
        .filter_map(|block| {
            let value = |name: &str| {
                let line = block
                    .lines()
                    .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" = ")))?;
                line.split('"').nth(1)
            };
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}
