//! The kinds of storage disaster recovery: `MirrorPeer`, which is ours, and what we read or write of others.
//!
//! Section numbers in this module are those of the feature map of the Go orchestrator, from which `docs/mirrorpeer-parity.md`
//! is made. Of foreign kinds only the fields that somebody here looks at are named; everything else is kept in `extra`.
//! None of their CRDs has to be there when the manager starts.
// `printcolumn(…)` repeats its keys, which clippy takes for a doubled attribute.
#![allow(clippy::duplicated_attributes)]
mod classes;
mod info;
mod mirror_peer;
mod ramen;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use self::{
    classes::{ReplicationClass, ReplicationClassSpec},
    info::{
        BlockPool, ClientInfo, InfoClient, InfoStorageCluster, NamespacedName, ODF_INFO_CLAIM, OdfInfo, ProviderInfo,
        ProviderName,
    },
    mirror_peer::{
        LinkState, MirrorLinks, MirrorPeer, MirrorPeerSpec, MirrorPeerStatus, PeerRef, Phase, ReplicationType,
        StorageClusterRef,
    },
    ramen::{
        DRCluster, DRClusterSpec, DRPolicy, DRPolicySpec, LabelSelector, RAMEN_CONFIG_KEY, RAMEN_CONFIG_MAP,
        S3SecretRef, S3StoreProfile,
    },
};

/// Label on what is made for `MirrorPeer`s, as the Go orchestrator has it (A.1).
pub const CREATED_BY_LABEL: &str = "multicluster.odf.openshift.io/created-by";
/// Its value on what this controller makes.
pub const CREATED_BY: &str = "odf-multicluster-orchestrator";
/// Finalizer on a `MirrorPeer` until what was made for it has gone (3.1.5).
pub const FINALIZER: &str = "hub.multicluster.odf.openshift.io";
/// End of the finalizers that agents of the Go orchestrator left on a `MirrorPeer` (3.9); ours set none.
pub const SPOKE_FINALIZER_SUFFIX: &str = ".spoke.multicluster.odf.openshift.io";
/// Label by which the hub's backup takes an object along (A.1).
pub const BACKUP_LABEL: &str = "cluster.open-cluster-management.io/backup";
/// Its value on a `MirrorPeer` and on what a restored hub cannot make again.
pub const BACKUP_RESOURCE: &str = "resource";

/// The CRDs of our own kinds here.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![MirrorPeer::crd()]
}

#[cfg(test)]
mod tests;
