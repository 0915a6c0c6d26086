//! The buckets that `MirrorPeer`s with `manageS3` keep metadata in: whose they are, which Peering makes them known to the hub,
//! and who uses them.
use std::collections::BTreeMap;

use peering_api::{
    kube::ResourceExt,
    odf::{ClientInfo, MirrorPeer, MirrorPeerSpec, PeerRef, S3SecretRef, S3StoreProfile},
    peering::{Member, PeeringSpec},
};

use super::{
    mode::{self, Mode},
    profiles::{S3_PROFILE, by_cluster, parameters},
    provider::Provider,
    seen::{Observed, Ramen, is_leaving},
};
use crate::{names, store::Store};

/// A storage cluster that keeps metadata in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreKey {
    /// The cluster.
    pub cluster: String,
    /// Namespace of the `StorageCluster`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The storage client whose metadata it keeps, where clients are paired.
    pub client: Option<StoreClient>,
}

/// A storage client whose metadata a provider keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreClient {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// The clusters of both clients that are paired, sorted.
    pub pair: [String; 2],
    /// The Secret with the credentials, as the Go orchestrator named it.
    pub secret: String,
}

impl StoreKey {
    /// The store of an item of a `MirrorPeer`; `None` where it is not known where that is.
    #[must_use]
    pub fn of(spec: &MirrorPeerSpec, item: &PeerRef, clients: &BTreeMap<String, ClientInfo>) -> Option<Self> {
        let known = clients.get(&mode::key(item));
        if mode::known(spec, clients) == Some(Mode::Client) {
            return Self::of_client(spec, Provider::of(item, known?)?, item);
        }
        let told = known.map(|client| client.provider_info.namespaced_name.namespace.as_str());
        let namespace = mode::namespace(item).or(told.filter(|namespace| !namespace.is_empty()))?;
        Some(Self {
            cluster: item.cluster_name.clone(),
            namespace: namespace.to_owned(),
            name: item.storage_cluster_ref.name.clone(),
            client: None,
        })
    }

    fn of_client(spec: &MirrorPeerSpec, provider: Provider, item: &PeerRef) -> Option<Self> {
        let [first, second] = spec.items.as_slice() else {
            return None;
        };
        let mut pair = [first.cluster_name.clone(), second.cluster_name.clone()];
        pair.sort_unstable();
        Some(Self {
            client: Some(StoreClient {
                cluster: item.cluster_name.clone(),
                name: item.storage_cluster_ref.name.clone(),
                pair,
                secret: names::client_s3_secret(&provider.cluster, first, second),
            }),
            cluster: provider.cluster,
            namespace: provider.namespace,
            name: provider.name,
        })
    }

    /// The Peering that makes it known to the hub.
    #[must_use]
    pub fn peering(&self) -> String {
        match &self.client {
            None => names::store_peering(&self.cluster, &self.namespace, &self.name),
            Some(client) => names::client_store_peering(
                [&self.cluster, &self.namespace, &self.name],
                [&client.pair[0], &client.pair[1]],
            ),
        }
    }

    /// The cluster that Ramen protects with it: that of the client, where clients are paired.
    #[must_use]
    pub fn dr_cluster(&self) -> &str {
        self.client.as_ref().map_or(&self.cluster, |client| &client.cluster)
    }

    /// Its entry in Ramen's configuration.
    #[must_use]
    pub fn profile(&self) -> String {
        let name = self.client.as_ref().map_or(&self.name, |client| &client.name);
        names::s3_profile(self.dr_cluster(), name)
    }

    /// The Secret with its credentials, in the namespace of Ramen's hub operator, unless it is there under another name.
    #[must_use]
    pub fn secret(&self) -> String {
        match &self.client {
            None => names::s3_secret(&self.cluster, &self.namespace, &self.name),
            Some(client) => client.secret.clone(),
        }
    }

    /// What Ramen is told of it. `secret` holds the credentials.
    #[must_use]
    pub fn ramen(&self, store: &Store, secret: &str) -> S3StoreProfile {
        S3StoreProfile {
            s3_profile_name: self.profile(),
            s3_bucket: store.bucket.clone(),
            s3_region: store.region.clone(),
            s3_compatible_endpoint: store.endpoint.clone(),
            s3_secret_ref: S3SecretRef {
                name: secret.to_owned(),
            },
            ca_certificates: store.ramen_ca(),
        }
    }
}

/// A store that a `MirrorPeer` uses.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreUse {
    /// Whose it is.
    pub key: StoreKey,
    /// Name of the Peering.
    pub peering: String,
    /// What it says; `None` while that cannot be told, as long as Ramen is not there or the hub does not manage itself.
    pub spec: Option<PeeringSpec>,
    /// Which entry Ramen uses for the cluster: another one where an older `MirrorPeer` brought it.
    pub profile: String,
    /// The Secret with the credentials, in the namespace of Ramen's hub operator.
    pub secret: String,
}

/// What a `MirrorPeer` wants of a store.
pub(super) fn store(seen: &Observed, key: StoreKey) -> StoreUse {
    let users = users(seen, &key);
    let peering = key.peering();
    let secret = secret(seen, &key, &users);
    let spec = match (&seen.ramen, &seen.hub) {
        (Ramen::Known { namespace, .. }, Some(hub)) if *hub != key.cluster => {
            // The bucket that is there stays, in whatever order items are written and whoever came first.
            let known = seen.peerings.get(&peering).map(|peering| &peering.spec.parameters);
            let known = known.and_then(|known| known.get("bucket")).cloned();
            let bucket = known.or_else(|| users.first().and_then(|user| legacy_bucket(user)));
            bucket.map(|bucket| PeeringSpec {
                profile: S3_PROFILE.to_owned(),
                members: [&key.cluster, hub]
                    .map(|cluster| Member {
                        cluster: cluster.clone(),
                        ..Member::default()
                    })
                    .to_vec(),
                parameters: parameters(&[
                    ("namespace", &key.namespace),
                    ("bucket", &bucket),
                    ("secrets", &by_cluster([(key.cluster.as_str(), secret.clone())])),
                    ("hubNamespace", namespace),
                ]),
                ..PeeringSpec::default()
            })
        }
        _ => None,
    };
    StoreUse {
        profile: profile(seen, &key),
        key,
        peering,
        secret,
        spec,
    }
}

/// The Secret with the credentials of a store: the one that is there stays, else the oldest user names it.
fn secret(seen: &Observed, key: &StoreKey, users: &[&MirrorPeer]) -> String {
    let known = seen.peerings.get(&key.peering());
    let known = known.and_then(|known| stated_secret(&known.spec, &key.cluster));
    let oldest = users.first().and_then(|user| {
        let mut keys = user
            .spec
            .items
            .iter()
            .filter_map(|item| StoreKey::of(&user.spec, item, &seen.clients));
        keys.find(|known| known.peering() == key.peering())
    });
    known.unwrap_or_else(|| oldest.as_ref().unwrap_or(key).secret())
}

/// The Secret that a store's Peering delivers for a cluster.
#[must_use]
pub fn stated_secret(spec: &PeeringSpec, cluster: &str) -> Option<String> {
    let names = spec.parameters.get("secrets")?;
    serde_json::from_str::<BTreeMap<String, String>>(names)
        .ok()?
        .remove(cluster)
}

/// The entry that Ramen shall use for the cluster of a store. Ramen knows one per cluster and lets nobody change it: the one
/// in use stays as long as anybody brings it, and then the oldest `MirrorPeer` names the next.
fn profile(seen: &Observed, key: &StoreKey) -> String {
    let brought = live(seen, |_, item| item.cluster_name == key.dr_cluster());
    let items = brought
        .iter()
        .flat_map(|peer| peer.spec.items.iter().map(move |item| (peer, item)));
    let brought = items
        .filter(|(_, item)| item.cluster_name == key.dr_cluster())
        .filter_map(|(peer, item)| StoreKey::of(&peer.spec, item, &seen.clients).map(|key| key.profile()));
    let known = seen.dr_clusters.known().and_then(|known| known.get(key.dr_cluster()));
    let used = known.map(|cluster| cluster.spec.s3_profile_name.as_str());
    let all: Vec<_> = brought.collect();
    let stays = all.iter().find(|profile| Some(profile.as_str()) == used);
    stays.or(all.first()).cloned().unwrap_or_else(|| key.profile())
}

fn legacy_bucket(peer: &MirrorPeer) -> Option<String> {
    let [first, second] = peer.spec.items.as_slice() else {
        return None;
    };
    Some(names::bucket(&first.cluster_name, &second.cluster_name))
}

/// All live `MirrorPeer`s with `manageS3` that fit, the oldest first.
fn live(seen: &Observed, fits: impl Fn(&MirrorPeer, &PeerRef) -> bool) -> Vec<&MirrorPeer> {
    let all = seen.others.iter().chain([&seen.peer]).map(AsRef::as_ref);
    let mut found: Vec<&MirrorPeer> = all
        .filter(|peer| !is_leaving(*peer) && peer.spec.manage_s3 && peer.spec.items.iter().any(|item| fits(peer, item)))
        .collect();
    found.sort_by_key(|peer| (peer.creation_timestamp().map(|at| at.0), peer.name_any()));
    found
}

/// The live `MirrorPeer`s that use a store, the oldest first.
pub(super) fn users<'s>(seen: &'s Observed, key: &StoreKey) -> Vec<&'s MirrorPeer> {
    let peering = key.peering();
    live(seen, |peer, item| {
        StoreKey::of(&peer.spec, item, &seen.clients).is_some_and(|key| key.peering() == peering)
    })
}

/// The stores that the items of a `MirrorPeer` stand for, whether it manages S3 or not.
pub(super) fn stores(seen: &Observed) -> Vec<StoreKey> {
    let items = seen.peer.spec.items.iter();
    let spec = &seen.peer.spec;
    items
        .filter_map(|item| StoreKey::of(spec, item, &seen.clients))
        .collect()
}
