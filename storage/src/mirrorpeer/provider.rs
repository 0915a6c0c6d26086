//! Who provides for the clients of a `MirrorPeer`.
use std::collections::BTreeMap;

use peering_api::odf::{ClientInfo, MirrorPeer, MirrorPeerSpec, PeerRef};

use super::mode::{self, Mode};
use crate::names;

/// The storage cluster that provides for a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provider {
    /// Its cluster.
    pub cluster: String,
    /// Namespace of the `StorageCluster`.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Provider {
    /// The provider of an item's client; `None` where that is not told.
    #[must_use]
    pub fn of(item: &PeerRef, info: &ClientInfo) -> Option<Self> {
        let provider = &info.provider_info;
        let told = Some(&provider.provider_managed_cluster_name).filter(|cluster| !cluster.is_empty());
        let named = &provider.namespaced_name;
        (!named.namespace.is_empty() && !named.name.is_empty()).then(|| Self {
            cluster: told.unwrap_or(&item.cluster_name).clone(),
            namespace: named.namespace.clone(),
            name: named.name.clone(),
        })
    }

    pub(super) fn key(&self) -> [&str; 3] {
        [&self.cluster, &self.namespace, &self.name]
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "storage cluster {}/{} of cluster {}",
            self.namespace, self.name, self.cluster
        )
    }
}

/// Both ends of a pair of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The providers, in the order of the items.
    pub providers: [Provider; 2],
    /// Ids of the clients.
    pub clients: [String; 2],
}

/// Who provides for the clients of a `MirrorPeer`, and under which ids it knows them; or what is missing.
pub(super) fn resolve(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> Result<Ends, String> {
    let mut ends = Vec::new();
    for item in &spec.items {
        let (cluster, name) = (&item.cluster_name, &item.storage_cluster_ref.name);
        let Some(info) = clients.get(&mode::key(item)) else {
            return Err(format!(
                "nothing is known of storage cluster {name} of cluster {cluster}: its odf-info has not been reported; see Reported of its PeerMember"
            ));
        };
        let Some(provider) = Provider::of(item, info) else {
            return Err(format!(
                "it is not known which storage cluster provides for client {name} of cluster {cluster}"
            ));
        };
        if info.client_id.is_empty() {
            return Err(format!(
                "{provider} has no client {name}: onboard one on cluster {cluster}"
            ));
        }
        ends.push((provider, info.client_id.clone()));
    }
    let [(one, own), (other, others)] = ends.as_slice() else {
        return Err(format!("expected two items, seen {}", ends.len()));
    };
    if one.cluster == other.cluster {
        return Err(format!(
            "both clients are provided for by cluster {}: storage is mirrored between two clusters; name a client of another one",
            one.cluster
        ));
    }
    Ok(Ends {
        providers: [one.clone(), other.clone()],
        clients: [own.clone(), others.clone()],
    })
}

/// The ends of a `MirrorPeer` that pairs clients; `None` if it does not, or they are not known.
#[must_use]
pub fn ends(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> Option<Ends> {
    (mode::known(spec, clients) == Some(Mode::Client)).then(|| resolve(spec, clients).ok())?
}

/// The Peering by which the providers of a `MirrorPeer` exchange tickets.
#[must_use]
pub fn peering(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> Option<String> {
    let [one, other] = ends(spec, clients)?.providers;
    Some(names::ticket_peering(one.key(), other.key()))
}

/// Whether a `MirrorPeer` has to do with a cluster because a client of it is provided for there.
#[must_use]
pub fn provided_by(peer: &MirrorPeer, cluster: &str, clients: &BTreeMap<String, ClientInfo>) -> bool {
    let infos = peer.spec.items.iter().filter_map(|item| clients.get(&mode::key(item)));
    infos
        .into_iter()
        .any(|info| info.provider_info.provider_managed_cluster_name == cluster)
}

/// The clusters that provide for the clients of a `MirrorPeer`.
#[must_use]
pub fn provider_clusters(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> Vec<String> {
    let infos = spec.items.iter().filter_map(|item| clients.get(&mode::key(item)));
    let names = infos.map(|info| info.provider_info.provider_managed_cluster_name.clone());
    names.filter(|name| !name.is_empty()).collect()
}
