//! `ExchangeProfile`: what is exchanged. Profiles are data: adding a storage vendor or a mesh needs no Rust.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    deliver::{Deliver, ObjectTemplate},
    probe::Probe,
    source::{Input, Refresh},
    wire::Wire,
};

/// What is exchanged between the members of a [`Peering`](super::Peering).
///
/// Texts may hold `${ expression }`, where the expression is CEL. On the source it sees `params`, `source`, `peering` and
/// the `inputs`; in names of the target also `destination`; on the destination also `payload` and `target`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "ExchangeProfile",
    shortname = "xprofile",
    category = "orchestrator",
    status = "ExchangeProfileStatus",
    doc = "What is exchanged between the members of a Peering.",
    printcolumn(name = "Artefacts", type_ = "string", json_path = ".spec.artefacts[*].name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeProfileSpec {
    /// Values that a Peering or one of its members may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<Parameter>,
    /// The things that are handed over.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub artefacts: Vec<Artefact>,
}

/// What the manager found in a profile.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeProfileStatus {
    /// `Accepted`: every expression of the profile can be evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A named value that expressions see as `params.<name>`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.default) || !has(self.required) || !self.required")
    .message("a parameter with a default is never required: remove 'default' or 'required: true'"))]
pub struct Parameter {
    /// Name, as used in expressions.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Value where neither the Peering nor the member sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default: Option<String>,
    /// Whether a value must be set. Default: yes, if there is no default. A value that is neither set nor required is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// One thing that goes from a source to a destination.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind != 'CABundle' || self.deliver.kind == 'ConfigMap'")
        .message("a CABundle holds public certificates and is delivered as a ConfigMap: set deliver.kind to ConfigMap"),
    validation = Rule::new("self.kind != 'CABundle' || !self.confidential")
        .message("a CABundle artefact is public, since destinations unite it with their own: set 'confidential: false'"),
    validation = Rule::new("self.kind != 'CABundle' || !has(self.inputs) || self.inputs.all(i, !has(i.tokenRequest) && !has(i.certificate) && !has(i.httpRequest))")
        .message("a CABundle is made of certificates that stand in objects: remove tokenRequest, certificate and httpRequest inputs"),
    validation = Rule::new("self.kind != 'CABundle' || !has(self.deliver.data) && !has(self.deliver.template)")
        .message("a CABundle is delivered as it is: remove deliver.data and deliver.template"),
    validation = Rule::new("self.kind == 'CABundle' || !has(self.deliver.key)")
        .message("deliver.key names the key of a CABundle: use deliver.data for other artefacts"),
    validation = Rule::new("self.confidential || !has(self.inputs) || self.inputs.all(i, !has(i.kind) || i.kind != 'Secret')")
        .message("what is made of a Secret is confidential: remove 'confidential: false', or read a ConfigMap"),
    validation = Rule::new("self.confidential || !has(self.inputs) || self.inputs.all(i, !has(i.tokenRequest) && !has(i.certificate) && !has(i.httpRequest))")
        .message("tokens, certificates and answers of services are confidential: remove 'confidential: false'"),
    validation = Rule::new("!has(self.deliver.usedWhen) || self.kind == 'Data' && self.confidential && (!has(self.provision) || size(self.provision) == 0)")
        .message("what is used up is confidential data without anything provisioned for it: remove usedWhen, or make two artefacts"),
    validation = Rule::new("self.confidential || self.deliver.kind != 'Secret'")
        .message("what is delivered as a Secret is confidential: remove 'confidential: false', or deliver a ConfigMap"),
    validation = Rule::new("!self.confidential || self.deliver.kind != 'ConfigMap'")
        .message("a ConfigMap is readable by many: set 'confidential: false', or deliver a Secret"),
    validation = Rule::new("(has(self.inputs) && size(self.inputs) > 0) || (has(self.payload) && size(self.payload) > 0)")
        .message("an artefact needs something to hand over: set inputs or payload"),
    validation = Rule::new("!has(self.inputs) || size(self.inputs.filter(i, has(i.certificate))) <= 1")
        .message("an artefact holds one certificate at most: make a second artefact of the other one")
)]
pub struct Artefact {
    /// Name within the profile.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How the content becomes the target.
    #[serde(default)]
    pub kind: ArtefactKind,
    /// Between whom it flows.
    #[serde(default)]
    pub flow: Flow,
    /// Whether it is sealed to its recipient. Public artefacts stand readable on the hub.
    #[serde(default = "yes")]
    pub confidential: bool,
    /// Objects that the source's agent applies first and removes last, such as a claim that makes a credential.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub provision: Vec<ObjectTemplate>,
    /// What the content is made from, on the source cluster. A later input may use earlier ones in its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["as".into()]))]
    pub inputs: Vec<Input>,
    /// CEL over `inputs` and `params`: nothing is handed over before it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ready_when: Option<String>,
    /// Keys and values of the content, as texts with expressions. Default: the data of the only input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::texts")]
    pub payload: BTreeMap<String, String>,
    /// What is written on the destination cluster.
    pub deliver: Deliver,
    /// What is changed in consumers on the destination cluster once the target stands, and undone when the link goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub wire: Vec<Wire>,
    /// When tokens and certificates are renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// What proves on the destination cluster that the delivered thing works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub probes: Vec<Probe>,
}

pub(super) fn yes() -> bool {
    true
}

/// How inputs become a target.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtefactKind {
    /// One source, one target: the target holds what the source handed over.
    #[default]
    Data,
    /// The target holds the union of the CA certificates of all members, foreign certificates in it kept.
    #[serde(rename = "CABundle")]
    CaBundle,
}

impl ArtefactKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::CaBundle => "CABundle",
        }
    }
}

/// Between whom an artefact flows.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flow {
    /// Mesh: from every member to every other. Star: between hub-role members and the others, both ways.
    #[default]
    Both,
    /// From the members without the hub role to those with it.
    ToHubRole,
    /// From the members with the hub role to those without it.
    FromHubRole,
    /// From every member to the OCM hub itself, which must be a managed cluster of its own (`local-cluster`).
    ToHubCluster,
}
