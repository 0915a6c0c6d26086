//! `Peering`: who exchanges what. The one object that a user writes.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which clusters exchange the artefacts of a profile.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "Peering",
    status = "PeeringStatus",
    category = "orchestrator",
    doc = "Which clusters exchange the artefacts of a profile.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name of a Peering must not be longer than 63 characters"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Links", type_ = "integer", json_path = ".status.links.total"),
    printcolumn(name = "Ready-Links", type_ = "integer", json_path = ".status.links.ready"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.nextExpiration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PeeringSpec {
    /// Name of the `ExchangeProfile`.
    #[schemars(length(min = 1, max = 253))]
    pub profile: String,
    /// Who talks to whom.
    #[serde(default)]
    pub topology: Topology,
    /// The clusters that take part.
    #[schemars(length(min = 2, max = 250))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cluster".into()]))]
    pub members: Vec<Member>,
    /// Values for the profile's parameters, for all members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// Who talks to whom.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topology {
    /// Everybody with everybody. A pair is a mesh of two.
    #[default]
    Mesh,
}

/// One cluster that takes part.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Name of the `ManagedCluster`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,
    /// Values for the profile's parameters on this cluster; they win over those of the Peering.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// What the manager found and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeeringStatus {
    /// How many links there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<LinkCounts>,
    /// When the first of the delivered artefacts expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_expiration: Option<Time>,
    /// `Accepted` and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// How many links there are.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounts {
    /// All links of the Peering.
    pub total: i64,
    /// Those whose `Ready` is `True`.
    pub ready: i64,
}
