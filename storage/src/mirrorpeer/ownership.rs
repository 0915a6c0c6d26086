//! Whose an object is.
use peering_api::{
    kube::ResourceExt,
    odf::{CREATED_BY, CREATED_BY_LABEL, DRCluster},
};

/// Whether we have made an object.
pub(super) fn is_ours<K: ResourceExt>(object: &K) -> bool {
    object.labels().get(CREATED_BY_LABEL).map(String::as_str) == Some(CREATED_BY)
}

/// Whether a `DRCluster` was made for a `MirrorPeer`, by us or by the Go orchestrator.
pub(super) fn is_managed(cluster: &DRCluster) -> bool {
    is_ours(cluster) || owned_by_peer(cluster)
}

pub(super) fn owned_by_peer(cluster: &DRCluster) -> bool {
    cluster
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "MirrorPeer")
}
