//! What the controllers share: the hub as it is known now, the watches of this cluster, and what was done lately.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use addon_framework::runtime::{Clients, Queue, Recent};
use exchange::key::{KeyPair, KeyRing};
use peering_api::peering::{PeerExport, PeerLink, PeerMember};

use crate::{
    decide::member::Identity,
    hub::Hub,
    metrics::Metrics,
    probe::runner::Runner,
    spoke::{Place, Pool, pool::Queues, target_of},
};

/// The key pairs as they are stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The pairs.
    pub ring: KeyRing,
    /// What the annotation on the `PeerMember` said when the pair was replaced last: a restart must not replace it again.
    pub acted: Option<String>,
}

/// Shared by all tasks of the agent.
#[derive(Debug)]
pub struct Context {
    /// Name of this cluster on the hub.
    pub cluster: String,
    /// The agent's own namespace.
    pub namespace: String,
    /// The clients of this cluster.
    pub spoke: Clients,
    /// Watches of objects on this cluster.
    pub pool: Pool,
    /// Exports and targets to look at.
    pub queues: Queues,
    /// Wakes the report on the `PeerMember`.
    pub member: Queue<()>,
    /// Counters.
    pub metrics: Metrics,
    /// The probes that run.
    pub probes: Runner,
    /// The highest revision that was applied, per link.
    pub applied: Mutex<BTreeMap<String, i64>>,
    /// Last writes.
    pub exports: Recent<PeerExport>,
    /// Last writes.
    pub links: Recent<PeerLink>,
    /// Last writes.
    pub members: Recent<PeerMember>,
    /// Names of the signing requests that were made for an export and are not known to be gone, by name of the export.
    pub requests: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Where each link was last seen to write, by name.
    pub places: Mutex<BTreeMap<String, Place>>,
    keys: RwLock<Option<Stored>>,
    api_groups: OnceLock<Vec<String>>,
    identity: Mutex<Option<String>>,
    hub: RwLock<Option<Arc<Hub>>>,
    hub_seen: AtomicBool,
}

impl Context {
    /// A context that knows neither hub nor key pair yet.
    #[must_use]
    pub fn new(
        cluster: String,
        namespace: String,
        spoke: Clients,
        (pool, queues): (Pool, Queues),
        metrics: Metrics,
        probes: Runner,
    ) -> Self {
        Self {
            cluster,
            namespace,
            spoke,
            pool,
            member: queues.member.clone(),
            queues,
            metrics,
            probes,
            applied: Mutex::default(),
            exports: Recent::default(),
            links: Recent::default(),
            members: Recent::default(),
            requests: Mutex::default(),
            places: Mutex::default(),
            keys: RwLock::default(),
            api_groups: OnceLock::new(),
            identity: Mutex::default(),
            hub: RwLock::default(),
            hub_seen: AtomicBool::new(false),
        }
    }

    /// The hub, once its objects were listed. During an outage: as it was last seen.
    #[must_use]
    pub fn hub(&self) -> Option<Arc<Hub>> {
        self.hub.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a hub whose objects have been listed in place of the one before, and looks at everything again.
    pub fn set_hub(&self, hub: Hub) {
        let hub = Arc::new(hub);
        let before = {
            let mut slot = self.hub.write().unwrap_or_else(PoisonError::into_inner);
            slot.replace(hub.clone())
        };
        self.hub_seen.store(true, Ordering::Relaxed);
        for hub in before.iter().chain([&hub]) {
            hub.keys(&self.queues);
        }
        self.member.add(());
    }

    /// This agent's key pairs as they are stored, once they are there.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This agent's key pairs, once they are there.
    #[must_use]
    pub fn key_ring(&self) -> Option<KeyRing> {
        self.stored().map(|stored| stored.ring)
    }

    /// This agent's key pair, once it is there: the one that seals.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<KeyPair>> {
        self.key_ring().map(|ring| ring.current)
    }

    /// The key pair before it, while a rotation is under way: it still opens what was sealed to it.
    #[must_use]
    pub fn previous_keys(&self) -> Option<Arc<KeyPair>> {
        self.key_ring()?.previous
    }

    /// The key pairs were read, made or rotated: everything is looked at again.
    pub fn set_keys(&self, keys: Stored) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        self.member.add(());
        if let Some(hub) = self.hub() {
            hub.keys(&self.queues);
        }
    }

    /// The API groups that this cluster serves, once they were found.
    #[must_use]
    pub fn api_groups(&self) -> Option<&[String]> {
        self.api_groups.get().map(Vec::as_slice)
    }

    /// The API groups were found.
    pub fn set_api_groups(&self, groups: Vec<String>) {
        let _ = self.api_groups.set(groups);
        self.member.add(());
    }

    /// Something has changed that the key before may have been kept for.
    pub fn rotation_touched(&self) {
        if self.previous_keys().is_some() {
            self.member.add(());
        }
    }

    /// The Secret of the key pair is malformed.
    pub fn set_broken(&self, why: String) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.member.add(());
    }

    /// What is known of the own key pair.
    #[must_use]
    pub fn identity(&self) -> Identity {
        if let Some(keys) = self.keys() {
            let previous = self.previous_keys();
            return Identity::Known {
                key: keys.public().clone(),
                previous: previous.map(|keys| keys.public().clone()),
            };
        }
        let broken = self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        broken.map_or(Identity::Pending, Identity::Broken)
    }

    /// What keeps the agent from being ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.keys().is_none() {
            missing.push("the agent's key pair has not been read from this cluster yet".to_owned());
        }
        if !self.hub_seen.load(Ordering::Relaxed) {
            missing.push("the objects on the hub have not been listed yet".to_owned());
        }
        missing
    }

    /// Wakes the targets that a touched link concerns: where it writes, and where it wrote before.
    pub fn link_touched(&self, link: &PeerLink) {
        let place = target_of(&link.spec);
        let name = link.metadata.name.clone().unwrap_or_default();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = places.insert(name, place.clone())
            && before != place
        {
            self.queues.targets.add(before);
        }
        self.queues.targets.add(place);
        self.rotation_touched();
    }

    /// Wakes a touched export, and the bundles that its cluster's own certificates belong to.
    pub fn export_touched(&self, export: &PeerExport) {
        self.queues
            .exports
            .add(export.metadata.name.clone().unwrap_or_default());
        self.rotation_touched();
        if let Some(hub) = self.hub() {
            for place in hub.bundles(&export.spec) {
                self.queues.targets.add(place);
            }
        }
    }
}
