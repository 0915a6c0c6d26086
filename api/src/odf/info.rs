//! What storage operators tell about themselves (2.6): `odf-info` on a managed cluster, `odf-client-info` on the hub.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Claim of a `ManagedCluster` that says where its `odf-info` is: `<namespace>/<name>`.
pub const ODF_INFO_CLAIM: &str = "odfinfo.odf.openshift.io";

/// One key of `odf-info`: a storage cluster and its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OdfInfo {
    /// Version of the operator.
    pub version: String,
    /// `internal` or `external`.
    pub deployment_type: String,
    /// Who uses the storage.
    pub clients: Vec<InfoClient>,
    /// The storage cluster.
    pub storage_cluster: InfoStorageCluster,
}

/// Who uses a storage cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InfoClient {
    /// Name of the `StorageClient`.
    pub name: String,
    /// Id of the cluster that it is on.
    pub cluster_id: String,
    /// Id of the client.
    pub client_id: String,
}

/// A storage cluster in `odf-info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InfoStorageCluster {
    /// Its name.
    pub namespaced_name: NamespacedName,
    /// Where its provider server is reached from within.
    pub storage_provider_endpoint: String,
    /// Id of the Ceph cluster; empty until that is there.
    #[serde(rename = "cephClusterFSID")]
    pub ceph_cluster_fsid: String,
    /// Uid of the `StorageCluster`.
    #[serde(rename = "storageClusterUID")]
    pub storage_cluster_uid: String,
    /// Annotations of the `StorageCluster`.
    pub annotations: BTreeMap<String, String>,
    /// Its pools.
    pub info_ceph_block_pools: Vec<BlockPool>,
}

/// A name within a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespacedName {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockPool {
    /// Its name.
    pub name: String,
    /// Whether it is mirrored.
    pub mirror_enabled: bool,
}

/// One key of `odf-client-info`: a client and its provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientInfo {
    /// Id of the cluster that the client is on.
    pub cluster_id: String,
    /// Name of the client.
    pub name: String,
    /// Id of the client.
    pub client_id: String,
    /// The `ManagedCluster` that the client is on.
    pub client_managed_cluster_name: String,
    /// Its provider.
    pub provider_info: ProviderInfo,
}

/// A provider of storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderInfo {
    /// Version of the operator.
    pub version: String,
    /// `internal` or `external`.
    pub deployment_type: String,
    /// The `ManagedCluster` that it is on.
    pub provider_managed_cluster_name: String,
    /// The storage cluster.
    pub namespaced_name: ProviderName,
    /// Where its provider server is reached from within.
    pub storage_provider_endpoint: String,
    /// Id of the Ceph cluster.
    #[serde(rename = "cephClusterFSID")]
    pub ceph_cluster_fsid: String,
    /// Where its provider server is reached from other clusters.
    pub storage_provider_public_endpoint: String,
    /// Its pools.
    pub info_ceph_block_pools: Vec<BlockPool>,
}

/// A name within a namespace, in capitals: the Go struct has no tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProviderName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}
