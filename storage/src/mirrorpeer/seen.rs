//! What was seen, at one moment, of everything that concerns one `MirrorPeer`.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use peering_api::{
    kube::ResourceExt,
    ocm::ManifestWork,
    odf::{ClientInfo, DRCluster, DRPolicy, MirrorPeer},
    peering::{PeerLink, Peering},
};

use crate::{
    ramen::Record,
    store::{Store, StoreError},
};

/// Objects of a kind whose CRD may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Foreign<T> {
    /// Not listed yet.
    #[default]
    Pending,
    /// The API server does not know the kind.
    Missing,
    /// What there is.
    Known(T),
}

impl<T> Foreign<T> {
    /// What there is, if that is known.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(objects) => Some(objects),
            Self::Pending | Self::Missing => None,
        }
    }

    /// Whether it is certain that there are none.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// What was seen of Ramen's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ramen {
    /// Not listed yet.
    #[default]
    Pending,
    /// There is none: Ramen's hub operator is not installed.
    Missing,
    /// There are several, in these namespaces.
    Ambiguous(Vec<String>),
    /// It is there.
    Known {
        /// Namespace of Ramen's hub operator.
        namespace: String,
        /// The text; `None` where the key is missing.
        text: Option<String>,
        /// What of it is ours.
        record: Record,
    },
}

/// How our agent stands on a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    /// Its addon is not there yet.
    #[default]
    Missing,
    /// Its addon is not there, and must not be installed by itself.
    OptedOut,
    /// Its addon is there.
    Installed,
    /// It ran and has fallen silent.
    Silent,
}

/// What is known about a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// It is a `ManagedCluster` and not being deleted.
    pub managed: bool,
    /// How our agent stands there.
    pub agent: Agent,
    /// Namespace of its `odf-info`, where the storage operator is, if it has told.
    pub odf_info: Option<String>,
}

/// Everything that concerns one `MirrorPeer`.
#[derive(Clone, Debug)]
pub struct Observed {
    /// It.
    pub peer: Arc<MirrorPeer>,
    /// All others.
    pub others: Vec<Arc<MirrorPeer>>,
    /// The clusters that it names.
    pub clusters: BTreeMap<String, Cluster>,
    /// The hub as a managed cluster of its own.
    pub hub: Option<String>,
    /// What clients there are, and who provides for them, by key of `odf-client-info`.
    pub clients: BTreeMap<String, ClientInfo>,
    /// Keys of clients that nobody tells of any more: they are known from the `MirrorPeer`s' own record.
    pub vanished: BTreeSet<String>,
    /// The `StorageConsumer`s that stand for its clients, by cluster of the provider.
    pub consumers: BTreeMap<String, String>,
    /// Works in which the Go orchestrator delivered tickets to its providers.
    pub legacy: Vec<Arc<ManifestWork>>,
    /// The works that tell providers which client belongs to which, by cluster.
    pub mappings: BTreeMap<String, Arc<ManifestWork>>,
    /// The Peerings that are made for it, by name.
    pub peerings: BTreeMap<String, Arc<Peering>>,
    /// Their links.
    pub links: Vec<Arc<PeerLink>>,
    /// What their sources have published about buckets, by Peering.
    pub stores: BTreeMap<String, Result<Store, StoreError>>,
    /// Ramen's configuration.
    pub ramen: Ramen,
    /// Ramen's clusters, by name.
    pub dr_clusters: Foreign<BTreeMap<String, Arc<DRCluster>>>,
    /// Ramen's policies.
    pub dr_policies: Foreign<Vec<Arc<DRPolicy>>>,
}

impl Observed {
    /// Nothing but the `MirrorPeer` itself.
    #[must_use]
    pub fn new(peer: Arc<MirrorPeer>) -> Self {
        Self {
            peer,
            others: Vec::new(),
            clusters: BTreeMap::new(),
            hub: None,
            clients: BTreeMap::new(),
            vanished: BTreeSet::new(),
            consumers: BTreeMap::new(),
            legacy: Vec::new(),
            mappings: BTreeMap::new(),
            peerings: BTreeMap::new(),
            links: Vec::new(),
            stores: BTreeMap::new(),
            ramen: Ramen::default(),
            dr_clusters: Foreign::default(),
            dr_policies: Foreign::default(),
        }
    }
}

/// Whether an object is being deleted.
pub fn is_leaving<K: ResourceExt>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether one `MirrorPeer` was there before another one.
#[must_use]
pub fn older(one: &MirrorPeer, other: &MirrorPeer) -> bool {
    let age = |peer: &MirrorPeer| (peer.creation_timestamp().map(|at| at.0), peer.name_any());
    age(one) < age(other)
}
