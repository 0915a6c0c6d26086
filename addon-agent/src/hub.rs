//! The hub, at its edge: three watches in the cluster namespace, made anew when the credentials change.
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use addon_framework::{
    agent::hub::Config,
    runtime::{Clients, Watch, clients, error_chain, watch},
};
use kube::{Api, ResourceExt};
use peering_api::peering::{ArtefactKind, PeerExport, PeerExportSpec, PeerLink, PeerMember};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{context::Context, spoke::Place, spoke::pool::Queues};

/// The hub with credentials that were good at some time, and what is known of its objects.
#[derive(Debug)]
pub struct Hub {
    clients: Clients,
    namespace: String,
    members: Watch<PeerMember>,
    exports: Watch<PeerExport>,
    links: Watch<PeerLink>,
}

impl Hub {
    /// Starts the watches; whoever is touched is put into the queues.
    fn start(clients: Clients, context: &Arc<Context>, tasks: &TaskTracker, token: &CancellationToken) -> Self {
        let namespace = context.cluster.clone();
        let client = || clients.watch.clone();
        let member = context.member.clone();
        let members = watch(
            tasks,
            token,
            "hub-peermembers",
            Api::namespaced(client(), &namespace),
            kube_runtime::watcher::Config::default(),
            move |_: &PeerMember| member.add(()),
        );
        let touched = context.clone();
        let exports = watch(
            tasks,
            token,
            "hub-peerexports",
            Api::namespaced(client(), &namespace),
            kube_runtime::watcher::Config::default(),
            move |export: &PeerExport| touched.export_touched(export),
        );
        let touched = context.clone();
        let links = watch(
            tasks,
            token,
            "hub-peerlinks",
            Api::namespaced(client(), &namespace),
            kube_runtime::watcher::Config::default(),
            move |link: &PeerLink| touched.link_touched(link),
        );
        Self {
            clients,
            namespace,
            members,
            exports,
            links,
        }
    }

    async fn ready(&self) {
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
            .state_filter(|link: &PeerLink| Place::target(&link.spec) == *place)
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
            .map(Place::target)
            .collect()
    }

    /// Puts everything that is known into the queues.
    pub fn keys(&self, queues: &Queues) {
        for export in self.exports.store.state() {
            queues.exports.add(export.name_any());
        }
        for link in self.links.store.state() {
            queues.targets.add(Place::target(&link.spec));
        }
    }
}

/// Keeps the context's hub up to date with the credentials in `dir`. Until new ones have proved themselves by complete
/// lists, the old watches go on, and what they know stays in use: a hub outage or a bad renewal stalls nothing local.
pub async fn keep(dir: PathBuf, context: Arc<Context>, tasks: TaskTracker, token: CancellationToken) {
    let Some(mut config) = Config::wait(dir, &token).await else {
        return;
    };
    loop {
        let connected = connect(&config, &context, &tasks, &token);
        let next = async {
            connected.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = token.cancelled() => return,
            () = next => {}
            changed = config.changed() => config = changed,
        }
    }
}

async fn connect(config: &Config, context: &Arc<Context>, tasks: &TaskTracker, token: &CancellationToken) {
    let clients = match clients(config.kube.clone()) {
        Ok(clients) => clients,
        Err(error) => {
            error!(
                error = error_chain(&error),
                "the hub credentials cannot be used, waiting for others"
            );
            return;
        }
    };
    let hub = Hub::start(clients, context, tasks, token);
    hub.ready().await;
    if token.is_cancelled() {
        return;
    }
    info!(server = %config.kube.cluster_url, namespace = context.cluster, "hub objects listed");
    context.set_hub(hub);
}
