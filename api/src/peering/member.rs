//! `PeerMember`: a managed cluster as a party to exchanges. One per cluster, in its cluster namespace, named after it.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A managed cluster whose agent takes part in exchanges. Made by the manager, its status filled in by the agent.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "PeerMember",
    namespaced,
    status = "PeerMemberStatus",
    category = "orchestrator",
    doc = "A managed cluster as a party to exchanges, with the public key of its agent.",
    printcolumn(name = "Fingerprint", type_ = "string", json_path = ".status.fingerprint"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agentVersion"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PeerMemberSpec {
    /// Name of the `ManagedCluster`.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Fingerprint of the agent's key that all Peerings reckon with. While it is another one than the agent's, the agent
    /// keeps the key before, or a person has to confirm the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub known_fingerprint: Option<String>,
    /// What of its cluster the agent shows in the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub reports: Vec<ReportRequest>,
}

/// Something of the cluster that the hub wants to know. It is public from then on to all who may read `PeerMember`s.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.objects)")
    .message("a report shows a ConfigMap or something of all objects of a kind: set configMap or objects"))]
pub struct ReportRequest {
    /// Name of the report.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of what is shown.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of a `ConfigMap` whose data is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map: Option<String>,
    /// Objects of which one value each is shown, under their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ReportedObjects>,
}

/// All objects of a kind in the namespace, and what is shown of each. A kind that the cluster does not know has no objects.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedObjects {
    /// Group and version.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind. No Secrets.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][a-zA-Z0-9]*$"))]
    #[x_kube(validation = Rule::new("self != 'Secret'").message("what a member reports is public: no Secrets"))]
    pub kind: String,
    /// Plural name of the kind in the API.
    #[schemars(length(min = 1, max = 63))]
    pub resource: String,
    /// A text over `self`, the object. Objects that it fails on are left out.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// What the agent found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the report.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The data of the `ConfigMap`, or the values of the objects, as it was when they could last be read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

/// What the agent tells about itself.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerMemberStatus {
    /// Public key (X25519, base64) to which envelopes for this cluster are sealed and with which its own are authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub public_key: Option<String>,
    /// The public key before it, while envelopes that are sealed to it or by it may still be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub previous_public_key: Option<String>,
    /// Fingerprint of the public key, to be compared by people on both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The API groups that the cluster serves, as the agent found them at its start. Kinds that are installed later are found
    /// by those who need them, without being told here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub api_groups: Vec<String>,
    /// What was asked for in `spec.reports`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub reports: Vec<Report>,
    /// `Ready`: the agent runs and its key pair exists. `Reported`: everything in `spec.reports` is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
