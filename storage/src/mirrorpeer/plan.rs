//! What a `MirrorPeer` asks for: Peerings on profiles that stand in `manifests/profiles/`.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    kube::ResourceExt,
    odf::{MirrorPeer, PeerRef},
    peering::{Member, PeeringSpec},
};
use thiserror::Error;

use super::{
    buckets::{StoreKey, store, stores},
    client,
    mode::{self, Mode, ModeError},
    profiles::{CONVERGED_PROFILE, by_cluster, parameters},
    provider,
    seen::{Observed, is_leaving, older},
    wanted::{Plan, Tokens},
};
use crate::names;

/// Why a `MirrorPeer` cannot be served as it is written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// There are not two items.
    #[error("expected two items, seen {0}")]
    Count(usize),
    /// A name is empty.
    #[error("an item needs clusterName and storageClusterRef.name, seen an empty one")]
    Empty,
    /// Both items are the same.
    #[error("both items are storage cluster {1} of cluster {0}: name two")]
    Same(String, String),
    /// A cluster is not known.
    #[error(
        "cluster {0} is not a ManagedCluster of this hub, or is being detached: import it or correct items.clusterName"
    )]
    NotManaged(String),
    /// Somebody else pairs them already.
    #[error("MirrorPeer {0} pairs the same storage clusters already: delete one of the two")]
    Duplicate(String),
    /// The kind of storage cannot be told.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// A `StorageCluster` needs a namespace.
    #[error("storage cluster {1} of cluster {0} needs a namespace: set storageClusterRef.namespace")]
    NoNamespace(String, String),
}

/// Plans, or tells why that cannot be done. Nothing is taken back because of an error.
pub fn plan(seen: &Observed) -> Result<Plan, PlanError> {
    let (first, second) = validate(seen)?;
    let spec = &seen.peer.spec;
    let mode = mode::mode(
        spec,
        |item| seen.clients.get(&mode::key(item)).cloned(),
        |item| clients_of(seen, &item.cluster_name),
    )?;
    if mode == Mode::Client {
        return Ok(client::plan(seen, first, second));
    }
    let key = |item: &PeerRef| {
        let missing = || PlanError::NoNamespace(item.cluster_name.clone(), item.storage_cluster_ref.name.clone());
        StoreKey::of(spec, item, &seen.clients).ok_or_else(missing)
    };
    let tokens = if mode == Mode::Converged {
        Some(tokens(&seen.peer.name_any(), &key(first)?, &key(second)?))
    } else {
        None
    };
    let stores = if spec.manage_s3 {
        vec![store(seen, key(first)?), store(seen, key(second)?)]
    } else {
        Vec::new()
    };
    Ok(Plan {
        mode,
        tokens,
        stores,
        classes: None,
        agents: spec.items.iter().map(|item| item.cluster_name.clone()).collect(),
        trouble: None,
        mapped: BTreeMap::new(),
    })
}

fn validate(seen: &Observed) -> Result<(&PeerRef, &PeerRef), PlanError> {
    let items = seen.peer.spec.items.as_slice();
    let [first, second] = items else {
        return Err(PlanError::Count(items.len()));
    };
    let empty = |item: &PeerRef| item.cluster_name.is_empty() || item.storage_cluster_ref.name.is_empty();
    if empty(first) || empty(second) {
        return Err(PlanError::Empty);
    }
    if bare(first) == bare(second) {
        return Err(PlanError::Same(
            first.cluster_name.clone(),
            first.storage_cluster_ref.name.clone(),
        ));
    }
    let managed = |name: &str| seen.clusters.get(name).is_some_and(|cluster| cluster.managed);
    if let Some(item) = items.iter().find(|item| !managed(&item.cluster_name)) {
        return Err(PlanError::NotManaged(item.cluster_name.clone()));
    }
    let first_of_pair = seen
        .others
        .iter()
        .filter(|other| !is_leaving(other.as_ref()) && pair(other) == pair(&seen.peer) && older(other, &seen.peer));
    match first_of_pair.min_by_key(|other| other.creation_timestamp()) {
        Some(other) => Err(PlanError::Duplicate(other.name_any())),
        None => Ok((first, second)),
    }
}

fn clients_of(seen: &Observed, cluster: &str) -> Vec<String> {
    let ours = seen.clients.keys().filter_map(|key| key.strip_prefix(cluster));
    ours.filter_map(|rest| rest.strip_prefix('_'))
        .map(str::to_owned)
        .collect()
}

fn bare(item: &PeerRef) -> (&str, &str) {
    (&item.cluster_name, &item.storage_cluster_ref.name)
}

fn pair(peer: &MirrorPeer) -> BTreeSet<(&str, &str)> {
    peer.spec.items.iter().map(bare).collect()
}

/// Whether two `MirrorPeer`s pair the same storage clusters, in whatever order.
#[must_use]
pub fn protects_same(one: &MirrorPeer, other: &MirrorPeer) -> bool {
    pair(one) == pair(other)
}

fn tokens(name: &str, first: &StoreKey, second: &StoreKey) -> Tokens {
    let member = |key: &StoreKey| Member {
        cluster: key.cluster.clone(),
        parameters: parameters(&[("namespace", &key.namespace), ("storageCluster", &key.name)]),
        ..Member::default()
    };
    // What a member receives is named after the other one, as the Go orchestrator did.
    let secrets = [first, second].map(|key| {
        (
            key.cluster.as_str(),
            names::peer_secret(&key.cluster, &key.namespace, &key.name),
        )
    });
    Tokens {
        peering: names::token_peering(name),
        spec: PeeringSpec {
            profile: CONVERGED_PROFILE.to_owned(),
            members: vec![member(first), member(second)],
            parameters: parameters(&[("peerSecrets", &by_cluster(secrets))]),
            ..PeeringSpec::default()
        },
    }
}

/// Names of all Peerings that may be made for a `MirrorPeer`. Where a namespace is missing in an item, it is taken from `clients`.
#[must_use]
pub fn peerings(seen: &Observed) -> Vec<String> {
    let tokens = names::token_peering(&seen.peer.name_any());
    [tokens, names::class_peering(&seen.peer.name_any())]
        .into_iter()
        .chain(provider::peering(&seen.peer.spec, &seen.clients))
        .chain(stores(seen).iter().map(StoreKey::peering))
        .collect()
}

/// Whether a `MirrorPeer` names a cluster.
#[must_use]
pub fn concerned(peer: &MirrorPeer, cluster: &str) -> bool {
    peer.spec.items.iter().any(|item| item.cluster_name == cluster)
}
