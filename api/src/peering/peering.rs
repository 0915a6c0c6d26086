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
    validation = Rule::new("(has(self.spec.members) && size(self.spec.members) > 0) || has(self.spec.placementRef)")
        .message("a Peering needs clusters: set spec.members or spec.placementRef"),
    validation = Rule::new("has(self.spec.placementRef) || !has(self.spec.members) || size(self.spec.members) != 1")
        .message("an exchange needs two clusters at least: add a member, or set spec.placementRef"),
    validation = Rule::new("self.spec.topology != 'Star' || (has(self.spec.members) && self.spec.members.exists(m, m.role == 'Hub'))")
        .message("a Star has a centre: give at least one member 'role: Hub'"),
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cluster".into()]))]
    pub members: Vec<Member>,
    /// A Placement whose decisions take part too, as members without the hub role. `members` win where both name a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_ref: Option<PlacementRef>,
    /// Values for the profile's parameters, for all members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::parameter_values")]
    pub parameters: BTreeMap<String, String>,
    /// While true, nothing of this Peering is made, changed or withdrawn; what was delivered stays. Deletion works all the same.
    #[serde(default)]
    pub paused: bool,
    /// What is trusted, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// A Placement of OCM.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementRef {
    /// Namespace of the Placement.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the Placement.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// What is trusted, and for how long.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// How long a CA certificate stays in the bundles after its source has dropped it. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::optional_duration_schema")]
    pub overlap: Option<String>,
    /// CA certificates of members that are handed over instead of what their sources hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cluster".into()]))]
    pub ca_overrides: Vec<CaOverride>,
}

/// CA certificates of one member.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaOverride {
    /// Name of the member.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// The certificates, in PEM form.
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: String,
}

/// Who talks to whom.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topology {
    /// Everybody with everybody. A pair is a mesh of two.
    #[default]
    Mesh,
    /// Members with the hub role with those without it.
    Star,
}

/// The part that a member plays.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The centre of a star, or where artefacts of flow `ToHubRole` go and those of `FromHubRole` come from.
    Hub,
    /// Everybody else.
    #[default]
    Spoke,
}

/// One cluster that takes part.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Name of the `ManagedCluster`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,
    /// The part that it plays.
    #[serde(default)]
    pub role: Role,
    /// Values for the profile's parameters on this cluster; they win over those of the Peering.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::parameter_values")]
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
    /// The members and the key by which each is known: a member that comes back with another one must be confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["cluster".into()]))]
    pub members: Vec<KnownMember>,
    /// `Accepted`, `Ready` and `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A member and the key by which it is known.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownMember {
    /// Name of the `ManagedCluster`.
    pub cluster: String,
    /// Fingerprint of the key that was first seen, confirmed, or rotated to.
    pub fingerprint: String,
}

/// How many links there are.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounts {
    /// All links of the Peering.
    pub total: i64,
    /// Those whose `Ready` is `True`.
    pub ready: i64,
}
