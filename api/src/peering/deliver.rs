//! What is written on the destination cluster.
use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is written on the destination cluster, as a profile states it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind in ['Secret', 'ConfigMap'] == (self.apiVersion == 'v1')")
        .message("a Secret or ConfigMap has apiVersion v1; any other target is named by its own apiVersion and kind"),
    validation = Rule::new("self.kind in ['Secret', 'ConfigMap'] || has(self.template)")
        .message("a target of another kind than Secret and ConfigMap is made from a template: set deliver.template"),
    validation = Rule::new("!(self.kind in ['Secret', 'ConfigMap']) || !has(self.template)")
        .message("a Secret or ConfigMap holds the payload: set deliver.data instead of deliver.template"),
    validation = Rule::new("!(self.kind in ['Secret', 'ConfigMap']) || has(self.namespace)")
        .message("a Secret or ConfigMap stands in a namespace: set deliver.namespace"),
    validation = Rule::new("self.kind == 'Secret' || !has(self.type)")
        .message("only a Secret has a type: remove deliver.type"),
    validation = Rule::new("self.kind in ['Secret', 'ConfigMap'] || !has(self.data)")
        .message("only a Secret or ConfigMap has data: use deliver.template"),
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('peering.open-cluster-management.io/'))")
        .message("labels that start with peering.open-cluster-management.io/ are ours: choose others")
)]
pub struct Deliver {
    /// Group and version of the target.
    #[serde(default = "core_v1")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$")
    )]
    pub api_version: String,
    /// Kind of the target: Secret, `ConfigMap`, or any other with a template.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][a-zA-Z0-9]*$"))]
    pub kind: String,
    /// Plural name of the kind in the API, for rights. Default: guessed from the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub resource: Option<String>,
    /// Namespace on the destination cluster, which must exist; may hold expressions. None for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: Option<String>,
    /// Name on the destination cluster; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
    /// Type of a Secret target. Default: the type of the source Secret.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub type_: Option<String>,
    /// Key of a `CABundle` target under which the certificates stand. Default `ca-bundle.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
    /// Keys and values of a Secret or `ConfigMap`, as texts with expressions over `payload`, evaluated on the destination.
    /// Default: the payload as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::texts")]
    pub data: BTreeMap<String, String>,
    /// The target of any other kind, its strings being texts with expressions over `payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::object_template")]
    pub template: Option<Value>,
    /// Labels on the target, besides our own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::label_map")]
    pub labels: BTreeMap<String, String>,
    /// What happens when the target exists and is not ours.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What happens to the target when the link is withdrawn.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// CEL over `self`, the target: from the moment that it is true the content has served. Its source issues no more of it,
    /// and what was sealed leaves the hub. For what is used once, such as a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub used_when: Option<String>,
}

pub(super) fn core_v1() -> String {
    "v1".to_owned()
}

/// An object by kind, namespace and name, all resolved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Group and version.
    #[serde(default = "core_v1")]
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Plural name of the kind in the API, for rights. Default: guessed from the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub resource: Option<String>,
    /// Namespace. None for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: Option<String>,
    /// Name.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
}

impl ObjectRef {
    /// API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Plural name of the kind in the API.
    #[must_use]
    pub fn plural(&self) -> String {
        self.resource
            .clone()
            .unwrap_or_else(|| crate::names::plural(&self.kind))
    }

    /// The same without its plural name, which says nothing more: fit to be compared.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            resource: None,
            ..self.clone()
        }
    }

    /// A Secret of the core group.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.api_version == "v1" && self.kind == "Secret"
    }

    /// A `ConfigMap` of the core group.
    #[must_use]
    pub fn is_config_map(&self) -> bool {
        self.api_version == "v1" && self.kind == "ConfigMap"
    }

    /// An object of the core group.
    #[must_use]
    pub fn core(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: core_v1(),
            kind: kind.to_owned(),
            resource: None,
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What happens when a target exists and is not ours.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// It stays untouched and the link reports `TargetConflict`.
    #[default]
    Refuse,
    /// It is taken over. What another link delivered is never taken over.
    Adopt,
}

/// What happens to a target when its link is withdrawn.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It is deleted (of a CA bundle: our certificates are taken out, and an empty bundle is deleted).
    #[default]
    Delete,
    /// It stays as it is, without our labels.
    Orphan,
}

/// An object to be applied, its strings being texts with expressions.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectTemplate {
    /// The object: apiVersion, kind, metadata and whatever belongs to it.
    #[schemars(schema_with = "super::object_template")]
    pub template: Value,
    /// Plural name of the kind in the API, for rights. Default: guessed from the kind as kubectl users would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub resource: Option<String>,
    /// What happens when a provisioned object exists and is not ours. What another artefact provisioned is never taken over.
    #[serde(default)]
    pub on_conflict: OnConflict,
}
