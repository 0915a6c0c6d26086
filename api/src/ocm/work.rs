//! Group `work.open-cluster-management.io`: objects which the hub wants on a managed cluster.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Extra;

/// The size limit of all manifests of a work together, in bytes of JSON: OCM's webhook refuses more.
pub const MAX_MANIFESTS_SIZE: usize = 500 * 1024;

/// Objects for the cluster whose namespace it is in.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "work.open-cluster-management.io",
    version = "v1",
    kind = "ManifestWork",
    namespaced,
    status = "ManifestWorkStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct ManifestWorkSpec {
    /// The objects.
    pub workload: Workload,
    /// What becomes of the objects when the work is deleted; none: they are deleted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_option: Option<DeleteOption>,
    /// How some objects are applied and what is reported about them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifest_configs: Vec<ManifestConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

absent_is_default!(ManifestWorkSpec);

/// The objects of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// Whole objects, in no particular order: the work agent sorts them by kind.
    pub manifests: Vec<Value>,
}

/// What becomes of a work's objects when it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOption {
    /// `Foreground` (default), `Orphan` or `SelectivelyOrphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<String>,
    /// The objects which stay, for `SelectivelyOrphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selectively_orphans: Option<SelectivelyOrphan>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The objects which stay when a work is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectivelyOrphan {
    /// One rule per object.
    pub orphaning_rules: Vec<ResourceIdentifier>,
}

/// How one object, or several by wildcards, is applied and reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestConfig {
    /// Which object.
    pub resource_identifier: ResourceIdentifier,
    /// `Update` (default), `CreateOnly`, `ServerSideApply` or `ReadOnly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// What to report.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feedback_rules: Vec<Value>,
    /// `Poll` (the API server fills it in) or `Watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback_scrape_type: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How an object is applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateStrategy {
    /// `Update`, `CreateOnly`, `ServerSideApply` or `ReadOnly`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An object on the managed cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceIdentifier {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the work agent has found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestWorkStatus {
    /// Conditions, by type; their `observedGeneration` tells whether they are about this spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per object.
    pub resource_status: ResourceStatus,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is known about the objects of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceStatus {
    /// One entry per object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestStatus>,
}

/// What is known about one object of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestStatus {
    /// Which object.
    pub resource_meta: ResourceMeta,
    /// Conditions, by type: `Applied`, `Available`, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which object of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceMeta {
    /// Its position among the manifests.
    pub ordinal: i32,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}
