//! The OLM bundle: the `ClusterServiceVersion`, the CRDs and what else OLM can install, with the bundle's metadata. And the catalog's
//! package and channel.
use std::path::Path;

use serde_json::{Value, json};

use crate::{
    DEFAULT_IMAGE, Error, Files, PACKAGE,
    base::{self, kind, name, of_kind},
    csv::{Release, Source, csv},
    read, yaml,
};

/// The channel of the package.
pub const CHANNEL: &str = "alpha";

/// What the `ClusterServiceVersion` holds or OLM makes by itself.
const IN_CSV: [&str; 7] = [
    "Namespace",
    "Deployment",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Kinds that stand in a bundle beside the `ClusterServiceVersion`.
const BESIDE_CSV: [&str; 3] = ["CustomResourceDefinition", "PodDisruptionBudget", "PriorityClass"];

/// Kinds that OLM refuses to install: the network policy is optional, and the `ClusterManagementAddOn` a step of its own
/// (docs/install.md).
pub const NOT_BY_OLM: [&str; 2] = ["NetworkPolicy", "ClusterManagementAddOn"];

const HEAD: &str = "# Generated from manifests/hub and bundle/source by `make manifests`. Do not edit.\n";

/// Reads `bundle/source`, with the samples of the kinds that people write.
pub fn source(repository: &Path) -> Result<Source, Error> {
    let directory = repository.join("bundle/source");
    let files = [
        "manifests/profiles/ca-bundle.yaml",
        "manifests/samples/peering.yaml",
        "bundle/source/examples/peermember.yaml",
        "bundle/source/examples/peerexport.yaml",
        "bundle/source/examples/peerlink.yaml",
    ];
    let mut examples = Vec::new();
    for file in files {
        let path = repository.join(file);
        examples.extend(base::documents(&path, &read(&path)?)?);
    }
    Ok(Source {
        description: read(&directory.join("description.md"))?,
        icon: read(&directory.join("icon.svg"))?,
        examples,
    })
}

/// The files of a bundle.
pub fn bundle(objects: &[Value], source: &Source, release: &Release) -> Result<Files, Error> {
    let mut objects = objects.to_vec();
    for object in &mut objects {
        base::replace(object, DEFAULT_IMAGE, &release.image);
    }
    let known = |object: &&Value| [&IN_CSV[..], &BESIDE_CSV, &NOT_BY_OLM].concat().contains(&kind(object));
    if let Some(object) = objects.iter().find(|object| !known(object)) {
        return Err(Error::Unexpected(format!(
            "{} {} of the base has no place in a bundle: say in bundle.rs what OLM does with it",
            kind(object),
            name(object)
        )));
    }
    let mut files = Files::new();
    let mut put = |path: String, value: &Value| -> Result<(), Error> {
        files.insert(path.clone(), format!("{HEAD}{}", yaml(&path, value)?));
        Ok(())
    };
    put(
        format!("manifests/{PACKAGE}.clusterserviceversion.yaml"),
        &csv(&objects, source, release)?,
    )?;
    for object in BESIDE_CSV.iter().flat_map(|kind| of_kind(&objects, kind)) {
        let mut object = object.clone();
        // OLM chooses the namespace.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        let suffix = match kind(&object) {
            "CustomResourceDefinition" => String::new(),
            other => format!(".{}", other.to_lowercase()),
        };
        put(format!("manifests/{}{suffix}.yaml", name(&object)), &object)?;
    }
    let annotations = annotations();
    put(
        "metadata/annotations.yaml".to_owned(),
        &json!({"annotations": annotations}),
    )?;
    files.insert("bundle.Containerfile".to_owned(), containerfile(&annotations));
    Ok(files)
}

fn annotations() -> Value {
    json!({
        "operators.operatorframework.io.bundle.channel.default.v1": CHANNEL,
        "operators.operatorframework.io.bundle.channels.v1": CHANNEL,
        "operators.operatorframework.io.bundle.manifests.v1": "manifests/",
        "operators.operatorframework.io.bundle.mediatype.v1": "registry+v1",
        "operators.operatorframework.io.bundle.metadata.v1": "metadata/",
        "operators.operatorframework.io.bundle.package.v1": PACKAGE,
    })
}

fn containerfile(annotations: &Value) -> String {
    let labels = annotations.as_object().into_iter().flatten();
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("LABEL {name}={}", value.as_str().unwrap_or_default()))
        .collect();
    format!(
        "{HEAD}FROM scratch\n{}\nCOPY manifests /manifests/\nCOPY metadata /metadata/\n",
        labels.join("\n")
    )
}

/// Package and channel of the catalog. The bundles are added to it by `opm render`.
pub fn catalog(source: &Source, releases: &[Release]) -> Result<String, Error> {
    let package = json!({
        "schema": "olm.package",
        "name": PACKAGE,
        "defaultChannel": CHANNEL,
        "description": source.description,
    });
    let entries = releases.iter().map(|release| {
        let mut entry = json!({
            "name": release.name(),
            "skipRange": format!(">={0}-0 <{0}", release.version),
        });
        if let Some(replaces) = &release.replaces {
            entry["replaces"] = replaces.as_str().into();
        }
        entry
    });
    let channel = json!({
        "schema": "olm.channel",
        "package": PACKAGE,
        "name": CHANNEL,
        "entries": entries.collect::<Vec<_>>(),
    });
    Ok(format!(
        "---\n{}---\n{}",
        yaml("the package", &package)?,
        yaml("the channel", &channel)?
    ))
}
