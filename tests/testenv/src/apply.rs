//! Applying YAML: documents, files, directories and kustomizations that only list resources.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::APIResourceList,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::Value;

use crate::wait;

/// The field manager of everything that tests apply.
pub const FIELD_MANAGER: &str = "testenv";

/// How long a CRD may take to be served.
const ESTABLISHED: Duration = Duration::from_mins(2);

/// How long discovery may take to show what is served.
const SERVED: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Kustomization {
    #[serde(default)]
    resources: Vec<PathBuf>,
}

/// The documents of a YAML text.
pub fn parse(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| anyhow!("parse YAML: {error}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The documents of a file, of a kustomization's `resources`, or of all YAML files of a directory in order of name.
pub fn load(path: &Path) -> Result<Vec<Value>> {
    if !path.is_dir() {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        return parse(&text).with_context(|| path.display().to_string());
    }
    let kustomization = path.join("kustomization.yaml");
    let files = if kustomization.is_file() {
        let text = std::fs::read_to_string(&kustomization)?;
        let kustomization: Kustomization =
            serde_saphyr::from_str(&text).map_err(|error| anyhow!("parse {}: {error}", kustomization.display()))?;
        kustomization
            .resources
            .into_iter()
            .map(|resource| path.join(resource))
            .collect()
    } else {
        yaml_files(path)?
    };
    files
        .iter()
        .map(|file| load(file))
        .collect::<Result<Vec<_>>>()
        .map(|documents| documents.concat())
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
    });
    files.sort();
    Ok(files)
}

/// Applies objects: namespaces and CRDs first, the others in their order once the CRDs are served. Strictly: a field that a
/// kind does not have is an error.
pub async fn objects(client: &Client, objects: Vec<Value>) -> Result<Vec<DynamicObject>> {
    let (first, rest): (Vec<Value>, Vec<Value>) = objects
        .into_iter()
        .partition(|object| matches!(object["kind"].as_str(), Some("Namespace" | "CustomResourceDefinition")));
    let mut discovery = Discovery {
        client,
        cache: BTreeMap::new(),
    };
    let mut applied = Vec::new();
    for object in first {
        applied.push(discovery.apply(object).await?);
    }
    for object in &applied {
        if object
            .types
            .as_ref()
            .is_some_and(|types| types.kind == "CustomResourceDefinition")
        {
            await_established(client, object.metadata.name.as_deref().unwrap_or_default()).await?;
        }
    }
    for object in rest {
        applied.push(discovery.apply(object).await?);
    }
    Ok(applied)
}

async fn await_established(client: &Client, name: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let what = format!("CRD {name} to be established");
    wait::until(&what, ESTABLISHED, || async {
        let conditions = api
            .get(name)
            .await?
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let established = conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True");
        Ok(established.then_some(()))
    })
    .await
}

/// What the API server serves, asked once per group version.
struct Discovery<'a> {
    client: &'a Client,
    cache: BTreeMap<String, APIResourceList>,
}

impl Discovery<'_> {
    async fn apply(&mut self, object: Value) -> Result<DynamicObject> {
        let (api_version, kind) = (text(&object["apiVersion"])?, text(&object["kind"])?);
        let name = text(&object["metadata"]["name"]).with_context(|| format!("{kind} without a name"))?;
        let (resource, namespaced) = self.resource(&api_version, &kind).await?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let api: Api<DynamicObject> = if namespaced {
            Api::namespaced_with(self.client.clone(), &namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        };
        let params = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("apply {kind} {name}"))
    }

    async fn resource(&mut self, api_version: &str, kind: &str) -> Result<(ApiResource, bool)> {
        // A CRD is established a moment before discovery shows it.
        wait::until(&format!("{api_version} {kind} to be served"), SERVED, || {
            let (client, cached) = (self.client.clone(), self.cache.get(api_version).cloned());
            async move {
                // What was served a moment ago may lack a kind whose CRD has been applied since.
                let list = match cached.filter(|list| find(list, api_version, kind).is_some()) {
                    Some(list) => list,
                    None if api_version.contains('/') => client.list_api_group_resources(api_version).await?,
                    None => client.list_core_api_resources(api_version).await?,
                };
                Ok(find(&list, api_version, kind).map(|found| (found, list)))
            }
        })
        .await
        .map(|(found, list)| {
            self.cache.insert(api_version.to_owned(), list);
            found
        })
    }
}

fn find(list: &APIResourceList, api_version: &str, kind: &str) -> Option<(ApiResource, bool)> {
    let resource = list
        .resources
        .iter()
        .find(|resource| resource.kind == kind && !resource.name.contains('/'))?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Some((
        ApiResource::from_gvk_with_plural(&gvk, &resource.name),
        resource.namespaced,
    ))
}

fn text(value: &Value) -> Result<String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => bail!("an object needs apiVersion, kind and metadata.name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kustomization_lists_files_and_directories() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        std::fs::create_dir(directory.path().join("more")).unwrap();
        write("kustomization.yaml", "kind: Kustomization\nresources: [b.yaml, more]\n");
        write("a.yaml", "kind: NotListed\n");
        write("b.yaml", "# a comment\n---\nkind: One\n---\nkind: Two\n");
        write("more/c.yaml", "kind: Three\n");
        let kinds: Vec<Value> = load(directory.path())
            .unwrap()
            .into_iter()
            .map(|object| object["kind"].clone())
            .collect();
        assert_eq!(kinds, ["One", "Two", "Three"]);
    }
}
