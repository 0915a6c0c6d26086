//! `PeerLink`: the receiving half of one directed hand-over, in the destination's cluster namespace.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ArtefactKind, DeletionPolicy, OnConflict, deliver::ObjectRef, probe::Probe, wire::Wire};

/// One artefact on its way from one cluster to another. Made by the manager; the destination's agent fills in the status.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "PeerLink",
    namespaced,
    status = "PeerLinkStatus",
    category = "orchestrator",
    doc = "One directed hand-over of one artefact from one cluster to another.",
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from.cluster"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to.cluster"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Artefact", type_ = "string", json_path = ".spec.artefact"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PeerLinkSpec {
    /// Id of the link: what envelopes are bound to and targets are labelled with.
    #[schemars(length(min = 32, max = 32))]
    pub id: String,
    /// Name of the `Peering`.
    pub peering: String,
    /// Name of the `ExchangeProfile`.
    pub profile: String,
    /// Name of the artefact in the profile.
    pub artefact: String,
    /// How the content becomes the target.
    pub kind: ArtefactKind,
    /// Whether the content travels sealed.
    pub confidential: bool,
    /// The cluster that hands over.
    pub from: LinkEnd,
    /// The cluster that receives.
    pub to: LinkEnd,
    /// Values of the profile's parameters for the destination cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Name of the Secret or `ConfigMap` in the agent's namespace that brings the envelope.
    pub carrier: String,
    /// The certificate that the destination has to ask for, where the artefact holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSubject>,
    /// What is written on the receiving cluster.
    pub target: Target,
    /// The object that the link wrote before its target got another name: it is removed once the new one stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ObjectRef>,
    /// What is changed in consumers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub wire: Vec<Wire>,
    /// Objects that the link has changed or applied in consumers before and no longer does: what it left there is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub unwire: Vec<FormerConsumer>,
    /// What proves that the delivered thing works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub probes: Vec<Probe>,
    /// How long a CA certificate stays after its source has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
}

/// An object that a link wired before and no longer does.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerConsumer {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Whether the link has applied it, so that it is deleted, and not only changed in it.
    #[serde(default)]
    pub applied: bool,
}

/// The subject of a certificate, all names resolved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSubject {
    /// Common name: the user's name.
    pub common_name: String,
    /// Organisations: the user's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// DNS names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
}

/// One end of a link.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkEnd {
    /// Name of the `ManagedCluster`.
    pub cluster: String,
    /// Public key of its agent (base64), once it has published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The key before it, while envelopes by it may still be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_public_key: Option<String>,
}

/// What is written on the receiving cluster, all names resolved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Type of a Secret. Default: the type of the source Secret.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Key under which the certificates of a CA bundle stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Keys and values of the object's data, as texts with expressions over `payload`. Empty: the payload as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// The object of any other kind, its strings being texts with expressions over `payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::object_template")]
    pub template: Option<Value>,
    /// Labels besides our own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What happens when the object exists and is not ours.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What happens to the object when the link is withdrawn.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// CEL over `self`, the object: from the moment that it is true the content has served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub used_when: Option<String>,
}

/// What the destination's agent did. The conditions `SourceReady` and `Ready` are the manager's.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerLinkStatus {
    /// Revision that the target holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_revision: Option<i64>,
    /// Content hash of that revision, as its source states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_hash: Option<String>,
    /// When the delivered content expires, where that can be told from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// SHA-256 fingerprints of the CA certificates that this link brought.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_fingerprints: Vec<String>,
    /// Until when CA certificates that their sources have dropped are kept at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_until: Option<Time>,
    /// What the destination wants to have signed (PEM). Its key never leaves the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub certificate_request: Option<String>,
    /// Set once the content has served (`target.usedWhen`): a digest of what the target is made by. It stays as long as the
    /// target stands and is to be made in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub used: Option<String>,
    /// The objects in which this link has changed something, or that it has applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wired: Vec<ObjectRef>,
    /// `Delivered`, `Wired`, `Trusted`, `Fresh`, `Connected` and, while the link goes away, `Withdrawn` by the agent; `SourceReady` and `Ready` by the manager.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
