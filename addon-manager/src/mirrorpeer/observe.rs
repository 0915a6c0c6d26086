//! Snapshots: what the crate `storage` decides on.
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use addon_framework::runtime::write::is_missing;
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::ListParams};
use peering_api::{
    ocm::ManifestWork,
    odf::{DRCluster, DRPolicy, MirrorPeer, ODF_INFO_CLAIM, RAMEN_CONFIG_KEY},
    peering::{PeerExport, is_true, reasons},
};
use storage::{
    mirrorpeer::{
        Agent, Cluster, Foreign, Observed, Ramen, S3_PROFILE, StoreSeen, ends, peerings, provider_clusters,
        stated_secret,
    },
    names, odf_info,
    ramen::Record,
    store::{self, Store, StoreError},
};

use super::watches::Storage;
use crate::peering::Hub;

/// As much of a snapshot as is needed to name Peerings.
pub(super) fn named(storage: &Storage, peer: &Arc<MirrorPeer>) -> Observed {
    let known = storage.known.now();
    Observed {
        clients: known.all.clone(),
        vanished: known.vanished.clone(),
        ..Observed::new(peer.clone())
    }
}

/// Everything that concerns one `MirrorPeer`.
pub(super) fn of(hub: &Hub, storage: &Storage, peer: &Arc<MirrorPeer>) -> Observed {
    let mut seen = named(storage, peer);
    let name = peer.name_any();
    seen.others = storage.all_peers();
    seen.others.retain(|other| other.name_any() != name);
    let clusters = peer.spec.items.iter().map(|item| item.cluster_name.clone());
    let providers = provider_clusters(&peer.spec, &seen.clients);
    seen.mappings = providers
        .iter()
        .filter_map(|name| Some((name.clone(), storage.mapping(name)?)))
        .collect();
    seen.consumers = consumers(hub, &seen);
    seen.clusters = clusters
        .chain(providers)
        .map(|name| (name.clone(), cluster(hub, &name)))
        .collect();
    seen.hub = hub.itself();
    for name in peerings(&seen) {
        let Some(peering) = hub.peering(&name) else {
            continue;
        };
        seen.links.extend(hub.links_of(&name));
        if let Some(found) = published(&hub.exports_of(&name)) {
            seen.stores.insert(name.clone(), found);
        }
        seen.peerings.insert(name, peering);
    }
    seen.ramen = ramen(storage);
    seen.dr_clusters = storage.dr_clusters();
    seen.dr_policies = storage.dr_policies();
    seen
}

/// The `StorageConsumer`s that stand for the clients of a `MirrorPeer`.
fn consumers(hub: &Hub, seen: &Observed) -> BTreeMap<String, String> {
    let Some(ends) = ends(&seen.peer.spec, &seen.clients) else {
        return BTreeMap::new();
    };
    let found = ends
        .providers
        .iter()
        .zip(&ends.clients)
        .filter_map(|(provider, client)| {
            let member = hub.members.get(Some(&provider.cluster), &provider.cluster)?;
            let consumer = odf_info::consumer(&member, &provider.namespace, client)?;
            Some((provider.cluster.clone(), consumer))
        });
    found.collect()
}

/// Asks the hub what of Ramen there is, before anything is taken back.
///
/// A watch of a kind that was missing looks again after half a minute at most. A policy that was made meanwhile must hold a
/// deletion up all the same, as must one that was made a moment ago.
pub(super) async fn confirm(hub: &Hub, seen: &mut Observed) -> Result<(), kube::Error> {
    seen.dr_policies = listed(Api::<DRPolicy>::all(hub.client.clone())).await?;
    seen.dr_clusters = match listed(Api::<DRCluster>::all(hub.client.clone())).await? {
        Foreign::Known(all) => Foreign::Known(all.into_iter().map(|cluster| (cluster.name_any(), cluster)).collect()),
        Foreign::Pending | Foreign::Missing => Foreign::Missing,
    };
    Ok(())
}

/// Asks the hub for works in which the Go orchestrator delivered tickets. They bear no label that could be watched.
pub(super) async fn legacy(hub: &Hub, storage: &Storage, seen: &mut Observed) -> Result<(), kube::Error> {
    let Some(ends) = ends(&seen.peer.spec, &seen.clients) else {
        return Ok(());
    };
    let uid = seen.peer.uid().unwrap_or_default();
    for cluster in ends.providers.map(|provider| provider.cluster) {
        let looked = (uid.clone(), cluster.clone());
        let clean = || storage.clean.lock().unwrap_or_else(PoisonError::into_inner);
        if clean().contains(&looked) {
            continue;
        }
        let api = Api::<ManifestWork>::namespaced(hub.client.clone(), &cluster);
        match api.get_opt(&names::legacy_peer_work(&cluster)).await? {
            Some(work) => seen.legacy.push(Arc::new(work)),
            None => drop(clean().insert(looked)),
        }
    }
    Ok(())
}

async fn listed<K>(api: Api<K>) -> Result<Foreign<Vec<Arc<K>>>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Foreign::Known(list.items.into_iter().map(Arc::new).collect())),
        Err(kube::Error::Api(status)) if is_missing(&status) => Ok(Foreign::Missing),
        Err(error) => Err(error),
    }
}

fn cluster(hub: &Hub, name: &str) -> Cluster {
    let known = hub.cluster(name);
    let agent = match &known.addon {
        Some(addon) if addon.silent => Agent::Silent,
        Some(_) => Agent::Installed,
        None if known.opted_out => Agent::OptedOut,
        None => Agent::Missing,
    };
    Cluster {
        managed: known.managed,
        agent,
        odf_info: hub
            .cluster_claim(name, ODF_INFO_CLAIM)
            .and_then(|claim| Some(odf_info::claimed(&claim).ok()?.0.to_owned())),
    }
}

/// What the source of a store has published about it; `None` as long as it has published nothing.
fn published(exports: &[Arc<PeerExport>]) -> Option<Result<Store, StoreError>> {
    let export = exports.iter().find(|export| export.spec.artefact == store::ARTEFACT)?;
    let envelope = export.status.as_ref()?.public_envelope.as_deref()?;
    Some(Store::read(envelope, Timestamp::now()))
}

/// Ramen's configuration.
pub(super) fn ramen(storage: &Storage) -> Ramen {
    let maps = match storage.ramen() {
        Foreign::Known(maps) => maps,
        Foreign::Pending | Foreign::Missing => return Ramen::Pending,
    };
    match maps.as_slice() {
        [] => Ramen::Missing,
        [map] => Ramen::Known {
            namespace: map.namespace().unwrap_or_default(),
            text: map.data.as_ref().and_then(|data| data.get(RAMEN_CONFIG_KEY)).cloned(),
            record: Record::read(map.annotations().get(Record::ANNOTATION)),
        },
        several => Ramen::Ambiguous(several.iter().filter_map(|map| map.namespace()).collect()),
    }
}

/// All stores, by name of their Peering.
pub(super) fn stores(hub: &Hub) -> BTreeMap<String, StoreSeen> {
    let peerings = hub
        .all_peerings()
        .into_iter()
        .filter(|peering| peering.spec.profile == S3_PROFILE);
    let stores = peerings.map(|peering| {
        let name = peering.name_any();
        let links = hub.links_of(&name);
        let mut credentials = links.iter().filter(|link| link.spec.artefact == store::CREDENTIALS);
        let delivered = credentials.any(|link| {
            let status = link.status.as_ref();
            status.is_some_and(|status| is_true(&status.conditions, reasons::DELIVERED))
        });
        let seen = StoreSeen {
            store: published(&hub.exports_of(&name)).and_then(Result::ok),
            delivered,
            secrets: peering
                .spec
                .members
                .iter()
                .filter_map(|member| Some((member.cluster.clone(), stated_secret(&peering.spec, &member.cluster)?)))
                .collect(),
        };
        (name, seen)
    });
    stores.collect()
}
