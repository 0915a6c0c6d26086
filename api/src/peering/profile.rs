//! `ExchangeProfile`: what is exchanged. Profiles are data: adding a storage vendor needs no Rust.
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is exchanged between the members of a [`Peering`](super::Peering).
///
/// Texts may hold `${ expression }`, where the expression is CEL over `params`, `source`, `destination` and `peering`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "ExchangeProfile",
    shortname = "xprofile",
    category = "orchestrator",
    doc = "What is exchanged between the members of a Peering.",
    printcolumn(name = "Artefacts", type_ = "string", json_path = ".spec.artefacts[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeProfileSpec {
    /// Values that a Peering or one of its members may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<Parameter>,
    /// The things that are handed over.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub artefacts: Vec<Artefact>,
}

/// A named value that expressions see as `params.<name>`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Name, as used in expressions.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// Value where neither the Peering nor the member sets one. Without a default the parameter is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default: Option<String>,
}

/// One thing that goes from a source to a destination.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind != 'CABundle' || self.deliver.kind == 'ConfigMap'")
        .message("a CABundle holds public certificates and is delivered as a ConfigMap: set deliver.kind to ConfigMap"),
    validation = Rule::new("self.kind != 'Secret' || self.deliver.kind == 'Secret'")
        .message("a Secret artefact must be delivered as a Secret: set deliver.kind to Secret"),
    validation = Rule::new("self.kind != 'Secret' || self.inputs.all(input, input.kind == 'Secret')")
        .message("a Secret artefact copies a Secret: set the kind of its input to Secret"),
    validation = Rule::new("self.kind != 'Secret' || self.confidential")
        .message("a Secret artefact is always confidential: remove 'confidential: false'"),
    validation = Rule::new("self.kind != 'CABundle' || !self.confidential")
        .message("a CABundle artefact is public, since destinations unite it with their own: set 'confidential: false'")
)]
pub struct Artefact {
    /// Name within the profile.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How the content of the inputs becomes the content of the target.
    pub kind: ArtefactKind,
    /// Between whom it flows.
    #[serde(default)]
    pub flow: Flow,
    /// Whether it is sealed to its recipient. Public artefacts stand readable on the hub.
    #[serde(default = "yes")]
    pub confidential: bool,
    /// Objects on the source cluster that it is made from.
    #[schemars(length(min = 1, max = 1))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["as".into()]))]
    pub inputs: Vec<Input>,
    /// What is written on the destination cluster.
    pub deliver: Deliver,
}

fn yes() -> bool {
    true
}

/// How inputs become a target.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtefactKind {
    /// The target holds the same keys and bytes as the source Secret.
    #[default]
    Secret,
    /// The target holds the union of the CA certificates of all members, foreign certificates in it kept.
    #[serde(rename = "CABundle")]
    CaBundle,
}

impl ArtefactKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::CaBundle => "CABundle",
        }
    }
}

/// Between whom an artefact flows.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flow {
    /// From every member to every other member.
    #[default]
    Both,
}

/// An object on the source cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.apiVersion == 'v1' && self.kind in ['Secret', 'ConfigMap']")
    .message("inputs are objects of apiVersion v1 and kind Secret or ConfigMap"))]
pub struct Input {
    /// Name of the input within the artefact.
    #[serde(rename = "as")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub alias: String,
    /// Group and version of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace on the source cluster; may hold expressions.
    #[schemars(length(min = 1, max = 1024))]
    pub namespace: String,
    /// Name on the source cluster; may hold expressions.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Keys of the object's data that are read. Empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
}

/// What is written on the destination cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deliver {
    /// Kind of the target.
    pub kind: TargetKind,
    /// Namespace on the destination cluster, which must exist; may hold expressions.
    #[schemars(length(min = 1, max = 1024))]
    pub namespace: String,
    /// Name on the destination cluster; may hold expressions.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Type of a Secret target. Default: the type of the source Secret.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub type_: Option<String>,
    /// Key of a `CABundle` target under which the certificates stand. Default `ca-bundle.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
    /// Labels on the target, besides our own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What happens when the target exists and is not ours.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What happens to the target when the link is withdrawn.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Kind of a target.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TargetKind {
    /// A `v1` Secret.
    #[default]
    Secret,
    /// A `v1` `ConfigMap`.
    ConfigMap,
}

impl TargetKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// The plural resource name in RBAC rules.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

/// What happens when a target exists and is not ours.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// It stays untouched and the link reports `TargetConflict`.
    #[default]
    Refuse,
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
