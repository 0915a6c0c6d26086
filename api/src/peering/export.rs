//! `PeerExport`: the source half of one artefact of one peering, in the source's cluster namespace.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    ArtefactKind,
    deliver::ObjectTemplate,
    source::{Input, Refresh},
};

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
    /// Values of the profile's parameters for the source cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Objects that the agent applies first and removes last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub provision: Vec<ObjectTemplate>,
    /// What the content is made from. Names are resolved where they do not depend on other inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["as".into()]))]
    pub inputs: Vec<Input>,
    /// CEL: nothing is handed over before it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_when: Option<String>,
    /// Keys and values of the content, as texts with expressions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub payload: BTreeMap<String, String>,
    /// When tokens and certificates are renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// The API server of the source cluster, as the hub knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ApiServer>,
    /// CA certificates (PEM) that are handed over instead of what the source holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_override: Option<String>,
    /// The highest revision that a destination has reported: the next one must be higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_floor: Option<i64>,
    /// For whom the content is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 250))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["link".into()]))]
    pub recipients: Vec<Recipient>,
}

/// How an API server is reached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiServer {
    /// Its URL.
    pub url: String,
    /// Its CA certificates, in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
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
    /// What the destination wants to have signed (PEM), for an artefact with a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub certificate_request: Option<String>,
    /// The destination has used the content and needs no more of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
}

/// What the source's agent published.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerExportStatus {
    /// Grows with every change of the content: the greater of the previous revision + 1 and the time in milliseconds. Where
    /// the content differs from recipient to recipient: the highest of their revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Keyed hash of the content; only the source's agent holds the key, so nobody can test guesses against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Keyed hash of what tokens were made from: while it stays, they are kept until they are to be renewed. Certificates
    /// have one for each recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_hash: Option<String>,
    /// When the content expires, where that can be told from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the first of the tokens and certificates in the content is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_after: Option<Time>,
    /// The sealed content, one envelope a link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["link".into()]))]
    pub envelopes: Vec<SealedEnvelope>,
    /// The plain envelope of a public artefact (base64), the same for all links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_envelope: Option<String>,
    /// `SourceReady` and, while the export goes away, `Withdrawn`.
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
    /// Fingerprint of the source's key that it is authenticated with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sender_fingerprint: String,
    /// Revision of its content, where it differs from recipient to recipient (certificates).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// SHA-256 of the request that was signed, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
    /// Keyed hash of what the certificate in it was made from, where there is one: while it stays, the certificate is kept
    /// until it is to be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs_hash: Option<String>,
    /// When its content expires, where that differs from recipient to recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the certificate in it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_after: Option<Time>,
    /// The envelope (base64).
    pub data: String,
}
