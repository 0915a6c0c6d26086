//! `PeerExport`: the source half of one artefact of one peering, in the source's cluster namespace.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ArtefactKind;

/// What a source cluster has to hand over, and to whom. Made by the manager; the source's agent fills in the status.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "peering.open-cluster-management.io",
    version = "v1alpha1",
    kind = "PeerExport",
    namespaced,
    status = "PeerExportStatus",
    category = "orchestrator",
    doc = "What a source cluster has to hand over for one artefact of one Peering, and to whom.",
    printcolumn(name = "Peering", type_ = "string", json_path = ".spec.peering"),
    printcolumn(name = "Artefact", type_ = "string", json_path = ".spec.artefact"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"SourceReady\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"SourceReady\")].reason"
    ),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.revision"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PeerExportSpec {
    /// Name of the `Peering`.
    pub peering: String,
    /// Name of the `ExchangeProfile`.
    pub profile: String,
    /// Name of the artefact in the profile.
    pub artefact: String,
    /// How the source becomes the content.
    pub kind: ArtefactKind,
    /// Whether the content is sealed to each recipient.
    pub confidential: bool,
    /// The object to read.
    pub source: ObjectSource,
    /// For whom the content is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["link".into()]))]
    pub recipients: Vec<Recipient>,
}

/// An object on the source cluster, all names resolved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSource {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace on the source cluster.
    pub namespace: String,
    /// Name on the source cluster.
    pub name: String,
    /// Keys that are read. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
}

/// One destination of the content.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Id of the link.
    #[schemars(length(min = 32, max = 32))]
    pub link: String,
    /// Name of the destination cluster.
    pub cluster: String,
    /// Public key of the destination's agent (base64), once it has published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// What the source's agent published.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerExportStatus {
    /// Grows with every change of the content: the greater of the previous revision + 1 and the time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Keyed hash of the content; only the source's agent holds the key, so nobody can test guesses against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// When the content expires, where that can be told from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// The sealed content, one envelope a link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["link".into()]))]
    pub envelopes: Vec<SealedEnvelope>,
    /// The plain envelope of a public artefact (base64), the same for all links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_envelope: Option<String>,
    /// `SourceReady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The content, sealed to one recipient.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedEnvelope {
    /// Id of the link.
    pub link: String,
    /// Fingerprint of the key that it is sealed to.
    pub recipient_fingerprint: String,
    /// The envelope (base64).
    pub data: String,
}
