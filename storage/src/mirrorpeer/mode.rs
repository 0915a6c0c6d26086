//! Which kind of storage a `MirrorPeer` pairs. It is not in the object: it follows from what is found.
use std::collections::BTreeMap;

use peering_api::odf::{ClientInfo, MirrorPeerSpec, PeerRef, ReplicationType};
use thiserror::Error;

use crate::{names, odf_info};

/// From this version on providers are told of each other by tickets, and no longer by Ceph's tokens.
const TICKETS_SINCE: (u32, u32) = (4, 19);

/// How many names an error tells.
const TOLD: usize = 8;

/// Which kind of storage is paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Two `StorageCluster`s, each with a Ceph of its own, that exchange Ceph's tokens.
    Converged,
    /// Two `StorageCluster`s on an external Ceph: nothing is to be mirrored.
    External,
    /// Two `StorageClient`s, whose providers exchange tickets.
    Client,
}

/// Why the kind of storage cannot be told.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModeError {
    /// Without a namespace it is a storage client, and that one is not known.
    #[error(
        "storage client {client} of cluster {cluster} is not known, known there: {known}; correct storageClusterRef.name, or set storageClusterRef.namespace if a StorageCluster is meant"
    )]
    UnknownClient {
        /// The cluster.
        cluster: String,
        /// The client.
        client: String,
        /// Clients that are known there.
        known: String,
    },
}

/// Tells which kind of storage is paired.
pub fn mode(
    spec: &MirrorPeerSpec,
    client: impl Fn(&PeerRef) -> Option<ClientInfo>,
    known: impl Fn(&PeerRef) -> Vec<String>,
) -> Result<Mode, ModeError> {
    let found: Vec<_> = spec.items.iter().map(|item| (item, client(item))).collect();
    let external = |info: &ClientInfo| info.provider_info.deployment_type == "external";
    if spec.type_ == ReplicationType::Sync || found.iter().any(|(_, info)| info.as_ref().is_some_and(external)) {
        return Ok(Mode::External);
    }
    if let Some((item, _)) = found
        .iter()
        .find(|(item, info)| namespace(item).is_none() && info.is_none())
    {
        let mut names = known(item);
        names.truncate(TOLD);
        return Err(ModeError::UnknownClient {
            cluster: item.cluster_name.clone(),
            client: item.storage_cluster_ref.name.clone(),
            known: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        });
    }
    let tickets = |info: &ClientInfo| odf_info::minor(&info.provider_info.version) >= Some(TICKETS_SINCE);
    let by_ticket = found
        .iter()
        .any(|(item, info)| namespace(item).is_none() || info.as_ref().is_some_and(tickets));
    Ok(if by_ticket { Mode::Client } else { Mode::Converged })
}

/// The same by what is known of clients; `None` where it cannot be told.
#[must_use]
pub fn known(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> Option<Mode> {
    mode(spec, |item| clients.get(&key(item)).cloned(), |_| Vec::new()).ok()
}

/// The namespace of a storage cluster; an empty one is none.
pub(super) fn namespace(item: &PeerRef) -> Option<&str> {
    let namespace = item.storage_cluster_ref.namespace.as_deref();
    namespace.filter(|namespace| !namespace.is_empty())
}

/// Key of an item in `odf-client-info`.
pub(super) fn key(item: &PeerRef) -> String {
    names::client_key(&item.cluster_name, &item.storage_cluster_ref.name)
}
