//! What storage operators tell about themselves: who has to be asked, what is known, and what the console reads of it.
use std::collections::{BTreeMap, BTreeSet};

use addon_framework::runtime::{Queue, write as request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use peering_api::{
    ocm::ManagedClusterAddOn,
    odf::{BACKUP_LABEL, ODF_INFO_CLAIM},
    peering::ReportRequest,
};
use serde_json::json;
use storage::{client_info, mirrorpeer::ends, odf_info};

use super::{MirrorPeerError, known::Clients, watches::Storage, write::MANAGER};
use crate::{
    peering::{Hub, create_addon},
    touched::Key,
};

/// Label of a `ManagedCluster`: the id by which storage operators know it.
const CLUSTER_ID: &str = "clusterID";

/// Looks at everything that tells of storage clients: the `MirrorPeer`s' own records, then what others keep on the hub, then
/// what clusters report. Returns whether it is something new.
pub(super) fn refresh(hub: &Hub, storage: &Storage) -> bool {
    let members = hub.all_members();
    let ids = hub.labelled(CLUSTER_ID);
    let (reported, errors) = odf_info::reported(members.iter().map(AsRef::as_ref), &ids);
    let mut told: BTreeMap<_, _> = storage
        .client_maps()
        .iter()
        .flat_map(|map| client_info::foreign(map))
        .collect();
    told.extend(reported.clone());
    let peers = storage.all_peers();
    let mut all: BTreeMap<_, _> = peers.iter().flat_map(|peer| odf_info::recorded(peer)).collect();
    let vanished = all.keys().filter(|key| !told.contains_key(*key)).cloned().collect();
    all.extend(told);
    let new = storage.known.take(Clients {
        all,
        reported,
        vanished,
    });
    if new {
        for (cluster, error) in errors {
            tracing::warn!(cluster, error = error.to_string(), "a part of odf-info is left out");
        }
    }
    new
}

/// What the agent of a cluster is asked to report, while there are `MirrorPeer`s.
pub(super) fn wanted(hub: &Hub, storage: &Storage, cluster: &str) -> Vec<ReportRequest> {
    if !storage.is_known() {
        let member = hub.members.get(Some(cluster), cluster);
        return member.map(|member| member.spec.reports.clone()).unwrap_or_default();
    }
    let peers = storage.all_peers();
    if peers.is_empty() {
        return Vec::new();
    }
    let claim = hub.cluster_claim(cluster, ODF_INFO_CLAIM);
    let info = claim.and_then(|claim| odf_info::request(&claim));
    let known = storage.known.now();
    let providers = peers.iter().filter_map(|peer| ends(&peer.spec, &known.all));
    let here = providers
        .flat_map(|ends| ends.providers)
        .filter(|provider| provider.cluster == cluster);
    let namespaces: BTreeSet<_> = here.map(|provider| provider.namespace).collect();
    let consumers = namespaces.iter().map(|namespace| odf_info::consumer_request(namespace));
    info.into_iter().chain(consumers).collect()
}

/// Asks all clusters that have something to tell, takes in what they say, and writes what the console reads.
pub(super) async fn pass(hub: &Hub, storage: &Storage, keys: &Queue<Key>) -> Result<(), MirrorPeerError> {
    // Whom to ask for clients follows from who provides for them.
    if refresh(hub, storage) {
        keys.add(Key::All);
    }
    ask(hub, storage).await?;
    tell(hub, storage)
        .await
        .map_err(|source| MirrorPeerError::Info(Box::new(source)))
}

async fn ask(hub: &Hub, storage: &Storage) -> Result<(), MirrorPeerError> {
    let used = !storage.all_peers().is_empty();
    let mut failed = None;
    for (cluster, claim) in hub.cluster_claims(ODF_INFO_CLAIM).into_iter().filter(|_| used) {
        let known = hub.cluster(&cluster);
        if odf_info::request(&claim).is_none() || known.opted_out || known.addon.is_some() {
            continue;
        }
        let api = Api::<ManagedClusterAddOn>::namespaced(hub.client.clone(), &cluster);
        match create_addon(&api).await {
            Ok(()) => tracing::info!(cluster, "installing the agent, to read odf-info"),
            // One cluster never holds up the others.
            Err(source) => {
                failed = Some(MirrorPeerError::Addon {
                    cluster,
                    source: Box::new(source),
                });
            }
        }
    }
    for member in hub.all_members() {
        let cluster = &member.spec.cluster;
        if member.spec.reports != wanted(hub, storage, cluster) {
            storage.members.add(cluster.clone());
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn tell(hub: &Hub, storage: &Storage) -> Result<(), kube::Error> {
    let maps = storage.client_maps();
    let ours = maps
        .iter()
        .find(|map| map.namespace().as_ref() == Some(&storage.namespace));
    let change = match client_info::decide(&storage.known.now().reported, ours.map(AsRef::as_ref)) {
        Ok(change) => change,
        Err(size) => {
            tracing::warn!(
                size,
                "odf-client-info has no room for what all clusters report, so it stays as it is"
            );
            return Ok(());
        }
    };
    let api = Api::<ConfigMap>::namespaced(hub.client.clone(), &storage.namespace);
    match (change, ours) {
        (Some(client_info::Change::Apply(data)), _) => {
            let mut metadata = json!({"name": client_info::NAME});
            if !data.is_empty() {
                metadata["labels"] = json!({BACKUP_LABEL: ""});
                metadata["annotations"] = json!({client_info::KEYS_ANNOTATION: client_info::keys(data.keys())});
            }
            // A key that is ours and is not stated any more goes; those of others are not ours to state.
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
            let written = request::apply(&api, client_info::NAME, MANAGER, &body).await?;
            storage.wrote_client_map(written);
            tracing::info!(keys = data.len(), "wrote odf-client-info");
        }
        (Some(client_info::Change::Delete), Some(map)) => {
            request::delete(&api, map.as_ref()).await?;
            tracing::info!("removed odf-client-info");
        }
        _ => {}
    }
    Ok(())
}
