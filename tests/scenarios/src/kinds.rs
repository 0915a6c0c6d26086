//! Kinds that a scenario brings along, as a storage or mesh operator would: what targets, consumers and probes are made of
//! besides Secrets.
use anyhow::{Context, Result};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{Scenario, Side};

/// A kind `Pool` in a group of its own, which keeps whatever is in `spec` and `status`.
pub struct Pools {
    /// Group and version.
    pub api_version: String,
    kind: ApiResource,
    namespace: String,
}

impl Pools {
    /// The kind of a scenario; it is not installed yet.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let group = format!("{}.example.io", scenario.name);
        let kind = GroupVersionKind::gvk(&group, "v1", "Pool");
        Self {
            api_version: format!("{group}/v1"),
            kind: ApiResource::from_gvk_with_plural(&kind, "pools"),
            namespace: scenario.name.clone(),
        }
    }

    /// Installs it on a side, and waits until it is served.
    pub async fn install(&self, scenario: &Scenario, side: Side) -> Result<()> {
        let client = scenario.client(side);
        let name = format!("pools.{}", self.kind.group);
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {
                "group": self.kind.group, "scope": "Namespaced",
                "names": {"kind": "Pool", "listKind": "PoolList", "plural": "pools", "singular": "pool"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
                }],
            },
        });
        let crds: Api<DynamicObject> = Api::all_with(
            client.clone(),
            &ApiResource::from_gvk(&GroupVersionKind::gvk(
                "apiextensions.k8s.io",
                "v1",
                "CustomResourceDefinition",
            )),
        );
        apply(&crds, &name, &crd).await?;
        let api = self.on(client);
        scenario
            .until(&format!("{name} to be served"), || async {
                Ok(api
                    .list_metadata(&kube::api::ListParams::default())
                    .await
                    .ok()
                    .map(drop))
            })
            .await
    }

    /// All of a scenario's on a cluster.
    #[must_use]
    pub fn on(&self, client: Client) -> Api<DynamicObject> {
        Api::namespaced_with(client, &self.namespace, &self.kind)
    }

    /// One, as its owner applies it.
    pub async fn apply(&self, client: Client, name: &str, spec: &Value) -> Result<DynamicObject> {
        let object = json!({
            "apiVersion": self.api_version, "kind": "Pool",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        });
        apply(&self.on(client), name, &object).await
    }

    /// Sets the status of one, as its controller does.
    pub async fn set_status(&self, client: Client, name: &str, status: &Value) -> Result<()> {
        let patch = json!({"status": status});
        let params = PatchParams::default();
        self.on(client)
            .patch_status(name, &params, &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// A reference as profiles write it.
    #[must_use]
    pub fn reference(&self, name: &str) -> Value {
        json!({"apiVersion": self.api_version, "kind": "Pool", "namespace": self.namespace, "name": name})
    }
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<DynamicObject> {
    let params = PatchParams::apply("scenario").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("apply {name}"))
}

/// The version of an object as a number. Objects of one cluster are versioned in one sequence, whatever their kinds: etcd's
/// revisions. So it tells what happened first.
pub fn version<K: kube::Resource>(object: &K) -> Result<u64> {
    let version = object.resource_version().context("no resourceVersion")?;
    version.parse().with_context(|| format!("resourceVersion {version:?}"))
}
