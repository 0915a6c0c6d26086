//! `MirrorPeer` (2.1): two storage clusters that protect each other, as users of the Go orchestrator write it.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two storage clusters that protect each other.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "multicluster.odf.openshift.io",
    version = "v1alpha1",
    kind = "MirrorPeer",
    status = "MirrorPeerStatus",
    doc = "Two storage clusters that protect each other.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MirrorPeerSpec {
    /// Whether data is mirrored from time to time (`async`), or both clusters use one external storage (`sync`).
    #[serde(rename = "type", default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.type is immutable."))]
    pub type_: ReplicationType,
    /// The two clusters.
    #[schemars(length(min = 2, max = 2))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["clusterName".into()]),
        validation = Rule::new("self.all(x, oldSelf.exists_one(y, x.clusterName == y.clusterName && x.storageClusterRef.name == y.storageClusterRef.name))")
            .message("items.clusterName and items.storageClusterRef.name fields are immutable.")
    )]
    pub items: Vec<PeerRef>,
    /// Whether buckets for Ramen's metadata are made and Ramen is configured to use them.
    #[serde(rename = "manageS3", default)]
    pub manage_s3: bool,
}

/// How data is replicated.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicationType {
    /// Mirrored from time to time.
    #[default]
    Async,
    /// Both clusters use one external storage.
    Sync,
}

/// A storage cluster on a managed cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRef {
    /// Name of the `ManagedCluster`.
    #[schemars(length(min = 1, max = 253))]
    pub cluster_name: String,
    /// The `StorageCluster` there, or the `StorageClient`.
    pub storage_cluster_ref: StorageClusterRef,
}

/// A `StorageCluster`, or a `StorageClient`, which has no namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageClusterRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
}

/// What became of a `MirrorPeer`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorPeerStatus {
    /// `Initializing`, `Configuring`, `Ready`, `Failed` or `Deleting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// One of a few fixed texts that scripts wait for; the conditions say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The links between the two clusters and to the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<MirrorLinks>,
    /// `Validated`, `Configured`, `Compatible`; while it is being deleted `Deleted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The links that a `MirrorPeer` needs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorLinks {
    /// All of them.
    pub total: i64,
    /// Those whose `Ready` is `True`.
    pub ready: i64,
    /// The others, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub not_ready: Vec<LinkState>,
}

/// A link that is not ready.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkState {
    /// What it hands over.
    pub artefact: String,
    /// The cluster that hands over.
    pub from: String,
    /// The cluster that receives.
    pub to: String,
    /// Reason of its condition `Ready`.
    pub reason: String,
    /// Message of its condition `Ready`.
    pub message: String,
}

/// Phases at the end of the Go orchestrator's history (2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Seen, nothing decided yet.
    Initializing,
    /// Under way.
    Configuring,
    /// All is set up.
    Ready,
    /// It cannot be served as it is written.
    Failed,
    /// It is being deleted.
    Deleting,
}

impl Phase {
    /// As it stands in the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "Initializing",
            Self::Configuring => "Configuring",
            Self::Ready => "Ready",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}
