//! Snapshots: what the crate `storage` decides on.
use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::ListParams};
use peering_api::{
    odf::{DRCluster, DRPolicy, MirrorPeer, RAMEN_CONFIG_KEY},
    peering::{PeerExport, is_true, reasons},
};
use storage::{
    mirrorpeer::{Agent, Cluster, Foreign, Observed, Ramen, S3_PROFILE, StoreSeen, peerings},
    ramen::Record,
    store::{self, Store, StoreError},
};

use super::watches::Storage;
use crate::peering::Hub;

/// As much of a snapshot as is needed to name Peerings.
pub(super) fn named(storage: &Storage, peer: &Arc<MirrorPeer>) -> Observed {
    Observed {
        clients: storage.clients(),
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
    seen.clusters = clusters.map(|name| (name.clone(), cluster(hub, &name))).collect();
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

async fn listed<K>(api: Api<K>) -> Result<Foreign<Vec<Arc<K>>>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Foreign::Known(list.items.into_iter().map(Arc::new).collect())),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Foreign::Missing),
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
        };
        (name, seen)
    });
    stores.collect()
}
