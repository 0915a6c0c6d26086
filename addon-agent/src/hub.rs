//! What is known of the hub: the agent's objects in its cluster namespace, kept by three watches.
use std::{collections::BTreeSet, sync::Arc};

use addon_framework::runtime::{Clients, Watch};
use kube::{Api, ResourceExt};
use peering_api::peering::{ArtefactKind, PeerExport, PeerExportSpec, PeerLink, PeerMember};

use crate::spoke::{Place, pool::Queues, target_of};

/// The hub with credentials that were good at some time, and what is known of its objects.
#[derive(Debug)]
pub struct Hub {
    /// To write with.
    pub clients: Clients,
    /// The cluster namespace.
    pub namespace: String,
    /// This cluster as a member.
    pub members: Watch<PeerMember>,
    /// What this cluster hands over.
    pub exports: Watch<PeerExport>,
    /// What this cluster receives.
    pub links: Watch<PeerLink>,
}

impl Hub {
    /// Resolves when everything was listed once.
    pub async fn ready(&self) {
        tokio::join!(self.members.ready(), self.exports.ready(), self.links.ready());
    }

    /// The API for writing the status of our kinds in the cluster namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.clients.request.clone(), &self.namespace)
    }

    /// The `PeerMember` of that name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Arc<PeerMember>> {
        self.members.get(Some(&self.namespace), name)
    }

    /// The export of that name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Arc<PeerExport>> {
        self.exports.get(Some(&self.namespace), name)
    }

    /// The links that write to a place.
    #[must_use]
    pub fn links_at(&self, place: &Place) -> Vec<Arc<PeerLink>> {
        self.links
            .store
            .state_filter(|link: &PeerLink| target_of(&link.spec) == *place)
    }

    /// Whether there is a link of that id.
    #[must_use]
    pub fn has_link(&self, id: &str) -> bool {
        self.links.store.find(|link| link.spec.id == id).is_some()
    }

    /// This cluster's own share in a bundle.
    #[must_use]
    pub fn own_export(&self, peering: &str, artefact: &str) -> Option<Arc<PeerExport>> {
        self.exports.store.find(|export| {
            let spec = &export.spec;
            spec.peering == peering && spec.artefact == artefact && export.metadata.deletion_timestamp.is_none()
        })
    }

    /// The bundles that an export of this cluster belongs to.
    #[must_use]
    pub fn bundles(&self, export: &PeerExportSpec) -> BTreeSet<Place> {
        if export.kind != ArtefactKind::CaBundle {
            return BTreeSet::new();
        }
        let links = self.links.store.state();
        let links = links.iter().map(|link| &link.spec);
        links
            .filter(|link| link.peering == export.peering && link.artefact == export.artefact)
            .map(target_of)
            .collect()
    }

    /// Puts everything that is known into the queues.
    pub fn keys(&self, queues: &Queues) {
        for export in self.exports.store.state() {
            queues.exports.add(export.name_any());
        }
        for link in self.links.store.state() {
            queues.targets.add(target_of(&link.spec));
        }
    }
}
