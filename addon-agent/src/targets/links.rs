//! What is asked of the links at a target.
use peering_api::{
    names,
    peering::{ArtefactKind, PeerLink},
};

/// Whose the target of a link is, and what is wired to it: the link's, or the bundle's that several links share.
pub fn owner(cluster: &str, link: &PeerLink) -> String {
    match link.spec.kind {
        ArtefactKind::Data => link.spec.id.clone(),
        ArtefactKind::CaBundle => names::bundle_id(&link.spec.peering, &link.spec.artefact, cluster),
    }
}

/// The link does not go away.
pub fn is_live(link: &PeerLink) -> bool {
    link.metadata.deletion_timestamp.is_none()
}
