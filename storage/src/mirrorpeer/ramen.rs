//! Ramen's configuration, for all `MirrorPeer`s at once: so that a hundred of them make one write, and none fights another.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use peering_api::{
    kube::ResourceExt,
    odf::{ClientInfo, DRCluster, MirrorPeer},
};

use super::{
    buckets::StoreKey,
    seen::{Foreign, Ramen, is_leaving},
};
use crate::{
    ramen::{Edited, RamenError, edit},
    store::Store,
};

/// What was seen of the Peering of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSeen {
    /// What its source has published, if that can be used.
    pub store: Option<Store>,
    /// The credentials have arrived in the namespace of Ramen's hub operator.
    pub delivered: bool,
    /// The Secrets in which they arrive, by cluster.
    pub secrets: BTreeMap<String, String>,
}

/// An edit of Ramen's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamenDecision {
    /// Namespace of its `ConfigMap`.
    pub namespace: String,
    /// The text that was seen.
    pub before: String,
    /// What it shall be.
    pub after: Edited,
}

/// Decides on an edit; `None` if there is nothing to write. `stores` are by name of their Peering.
pub fn decide(
    ramen: &Ramen,
    peers: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    stores: &BTreeMap<String, StoreSeen>,
    dr_clusters: &Foreign<BTreeMap<String, Arc<DRCluster>>>,
) -> Result<Option<RamenDecision>, RamenError> {
    let Ramen::Known {
        namespace,
        text: Some(text),
        record,
    } = ramen
    else {
        return Ok(None);
    };
    let mut live: Vec<_> = peers
        .iter()
        .filter(|peer| !is_leaving(peer.as_ref()) && peer.spec.manage_s3)
        .collect();
    live.sort_by_key(|peer| (peer.creation_timestamp().map(|at| at.0), peer.name_any()));
    let items = live
        .iter()
        .flat_map(|peer| peer.spec.items.iter().map(move |item| (peer, item)));
    let (mut wanted, mut keep) = (BTreeMap::new(), used(dr_clusters, record.profiles.keys()));
    for key in items.filter_map(|(peer, item)| StoreKey::of(&peer.spec, item, clients)) {
        let seen = stores.get(&key.peering()).cloned().unwrap_or_default();
        keep.insert(key.profile());
        if let (Some(store), true) = (&seen.store, seen.delivered) {
            let secret = seen.secrets.get(&key.cluster).cloned().unwrap_or_else(|| key.secret());
            wanted.entry(key.profile()).or_insert_with(|| key.ramen(store, &secret));
        }
    }
    let after = edit(text, record, &wanted, &keep)?;
    Ok(after.map(|after| RamenDecision {
        namespace: namespace.clone(),
        before: text.clone(),
        after,
    }))
}

/// Our entries that some `DRCluster` still uses, or may use as far as is known.
fn used<'r>(
    dr_clusters: &Foreign<BTreeMap<String, Arc<DRCluster>>>,
    ours: impl Iterator<Item = &'r String>,
) -> BTreeSet<String> {
    match dr_clusters {
        Foreign::Pending => ours.cloned().collect(),
        Foreign::Missing => BTreeSet::new(),
        Foreign::Known(clusters) => clusters
            .values()
            .map(|cluster| cluster.spec.s3_profile_name.clone())
            .collect(),
    }
}
