//! The hub side: watches what concerns our addons, and runs one controller per concern. Each file here is one controller;
//! what they decide is in the pure modules beside this directory.
mod approval;
mod configs;
mod deploy;
mod hooks;
mod hosted;
mod registration;
mod removal;
mod render;
mod status;
mod unready;
mod waiting;
mod watches;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::{api::rbac::v1::RoleBinding, apimachinery::pkg::apis::meta::v1::Condition},
    kube::{self, Api, ResourceExt},
    ocm::{
        ManagedCluster, ManagedClusterAddOn, ManifestWork,
        addon::ConfigReference,
        names::{ADDON_NAME_LABEL, ADDON_NAMESPACE_LABEL},
    },
};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use self::{
    hosted::Hosted,
    render::Memo,
    unready::Unready,
    waiting::Waiting,
    watches::{Watches, is_managed},
};
use crate::{
    addon::Addon,
    config::{self, Resolution},
    error::AddonError,
    health,
    options::Options,
    rbac,
    runtime::{
        Clients, Outcome, Queue, Recent, RunOptions, WatchState,
        conditions::{self, Wanted},
        run, write,
    },
    work::{self, Part, WorkError},
};

/// Reconciles that run at once, per controller: enough to keep an API server busy over a slow network.
const CONCURRENCY: usize = 16;

/// How long one reconcile may take: a few requests of at most [`crate::runtime::clients::READ_TIMEOUT`] each.
const DEADLINE: Duration = Duration::from_mins(1);

/// Why a manager cannot be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Two addons of one name.
    #[error("there are two addons named {0}; give each its own name")]
    Duplicate(String),
    /// Nothing to do.
    #[error("there is no addon; add one")]
    Empty,
}

/// Why a reconcile failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The API server refused, or did not answer.
    #[error("cannot {action}")]
    Request { action: String, source: kube::Error },
    /// The addon cannot say what it wants.
    #[error("the addon failed")]
    Addon(#[from] AddonError),
    /// The addon wants something that no work can hold.
    #[error("the manifests cannot be deployed")]
    Work(#[from] WorkError),
}

impl Error {
    /// Whether trying again will hardly help, so that a condition should tell it. A lost connection, a conflict or an
    /// overloaded API server comes and goes; writing each of them would be writes for nothing.
    fn lasts(&self) -> bool {
        match self {
            Self::Request {
                source: source @ kube::Error::Api(status),
                ..
            } => !write::is_outdated(source) && !matches!(status.code, 429 | 503 | 504),
            Self::Request { .. } => false,
            Self::Addon(_) | Self::Work(_) => true,
        }
    }

    fn request(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Request { action, source }
    }
}

/// One addon on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    cluster: String,
    addon: String,
}

impl Key {
    fn new(cluster: impl Into<String>, addon: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            addon: addon.into(),
        }
    }

    /// Of an object in a cluster's namespace with the addon's label.
    fn labelled(object: &impl ResourceExt) -> Option<Self> {
        Some(Self::new(object.namespace()?, object.labels().get(ADDON_NAME_LABEL)?))
    }

    /// Of a work, which may be in the namespace of another cluster.
    fn of_work(work: &ManifestWork) -> Option<Self> {
        let key = Self::labelled(work)?;
        Some(match work.labels().get(ADDON_NAMESPACE_LABEL) {
            Some(cluster) => Self::new(cluster, key.addon),
            None => key,
        })
    }
}

/// Collects addons for a [`Manager`].
pub struct Builder {
    clients: Clients,
    addons: Vec<Arc<dyn Addon>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.addons.iter().map(|addon| addon.name()).collect();
        f.debug_struct("Builder")
            .field("addons", &names)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Adds an addon.
    #[must_use]
    pub fn addon(mut self, addon: Arc<dyn Addon>) -> Self {
        self.addons.push(addon);
        self
    }

    /// The manager of these addons.
    pub fn build(self) -> Result<Manager, BuildError> {
        let mut addons = BTreeMap::new();
        for addon in self.addons {
            let options = Arc::new(addon.options());
            let ours = Ours { addon, options };
            if let Some(other) = addons.insert(ours.addon.name().to_owned(), ours) {
                return Err(BuildError::Duplicate(other.addon.name().to_owned()));
            }
        }
        if addons.is_empty() {
            return Err(BuildError::Empty);
        }
        let shared = Shared {
            clients: self.clients,
            addons,
            queues: Queues::default(),
            waiting: Waiting::default(),
            works: Mutex::default(),
            bindings: Mutex::default(),
            memo: Memo::default(),
            recent: Recent::default(),
            unready: Unready::default(),
            hosted: Hosted::default(),
            watches: OnceLock::new(),
        };
        Ok(Manager {
            shared: Arc::new(shared),
        })
    }
}

/// Deploys and registers addons on all clusters of a hub. Clones share one manager.
#[derive(Clone)]
pub struct Manager {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.shared.addons.keys().collect();
        f.debug_struct("Manager")
            .field("addons", &names)
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Starts to build a manager for the hub of these clients.
    #[must_use]
    pub fn builder(clients: Clients) -> Builder {
        Builder {
            clients,
            addons: vec![],
        }
    }

    /// Looks again at an addon on a cluster: for when something has changed that the framework does not watch.
    pub fn trigger(&self, cluster: &str, addon: &str) {
        let key = Key::new(cluster, addon);
        self.shared.memo.forget(&key);
        self.shared.touch(&key);
    }

    /// The CAs that servers have to trust to accept the certificates of a signer in [`Options::signing_cas`], as PEM: the one
    /// that signs now, those in `ca.crt` of its Secret, and those before that this manager has seen, as long as they are valid.
    #[must_use]
    pub fn trusted_cas(&self, addon: &str, signer: &str) -> String {
        let watches = self.shared.watches.get();
        watches
            .map(|watches| watches.trusted_cas(addon, signer, Timestamp::now()))
            .unwrap_or_default()
    }

    /// What the watches are doing, by name; empty until [`Manager::run`]. Ready to work when all have been `Synced`.
    #[must_use]
    pub fn watches(&self) -> Vec<(String, WatchState)> {
        self.shared.watches.get().map(Watches::states).unwrap_or_default()
    }

    /// Works until `token` is cancelled. Waits until all kinds that it needs can be watched; a missing CRD is waited for.
    ///
    /// Run it once; a second run of the same manager returns at once.
    pub async fn run(&self, token: CancellationToken) {
        let (tasks, token) = (TaskTracker::new(), token.child_token());
        // Dropping this future stops the watches too.
        let _stop = token.clone().drop_guard();
        if self
            .shared
            .watches
            .set(Watches::start(&self.shared, &tasks, &token))
            .is_err()
        {
            return;
        }
        let Some(watches) = self.shared.watches.get() else {
            return;
        };
        if token.run_until_cancelled(watches.ready()).await.is_some() {
            info!(addons = ?self.shared.addons.keys(), "addon manager started");
            let queues = &self.shared.queues;
            tokio::join!(
                self.control("registration", &queues.registration, &token, registration::reconcile),
                self.control("deploy", &queues.deploy, &token, deploy::reconcile),
                self.control("removal", &queues.removal, &token, removal::reconcile),
                self.control("csr-approval", &queues.requests, &token, approval::reconcile),
                self.control("configs", &queues.configs, &token, configs::reconcile),
            );
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn control<K, F, Fut>(&self, name: &'static str, queue: &Queue<K>, token: &CancellationToken, reconcile: F)
    where
        K: crate::runtime::queue::Key,
        F: Fn(Arc<Shared>, K) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, Error>> + Send + 'static,
    {
        let options = RunOptions {
            name,
            concurrency: CONCURRENCY,
            deadline: DEADLINE,
        };
        let shared = Arc::clone(&self.shared);
        run(queue.clone(), options, token.clone(), move |key| {
            reconcile(Arc::clone(&shared), key)
        })
        .await;
    }
}

#[derive(Default)]
struct Queues {
    registration: Queue<Key>,
    deploy: Queue<Key>,
    removal: Queue<Key>,
    requests: Queue<String>,
    /// Names of addons.
    configs: Queue<String>,
}

/// One of the manager's addons. Its options never change.
struct Ours {
    addon: Arc<dyn Addon>,
    options: Arc<Options>,
}

/// What all controllers share.
struct Shared {
    clients: Clients,
    addons: BTreeMap<String, Ours>,
    queues: Queues,
    waiting: Waiting,
    /// Namespaces and names of an addon's works that were seen: the watch finds them by name only.
    works: Mutex<HashMap<Key, BTreeSet<(String, String)>>>,
    /// Names of an addon's `RoleBinding`s that were seen, as above.
    bindings: Mutex<HashMap<Key, BTreeSet<String>>>,
    memo: Memo,
    recent: Recent<ManagedClusterAddOn>,
    unready: Unready,
    hosted: Hosted,
    watches: OnceLock<Watches>,
}

impl Shared {
    /// Everything that is known about one addon on one cluster, if it is one of ours.
    fn observed(&self, key: &Key) -> Option<Observed> {
        let ours = self.addons.get(&key.addon)?;
        let watches = self.watches.get()?;
        let known = watches.addons.get(&key.addon)?.open(Some(&key.cluster), &key.addon);
        let Some(known) = known else {
            self.unready.forget(key);
            self.hosted.note(key, None);
            return None;
        };
        let object = self.recent.newest(Arc::new(known));
        let managed = is_managed(watches.definition(&key.addon).as_deref());
        let find = |kind: &_, config: &_| watches.find_config(kind, config);
        let observed = Observed {
            addon: Arc::clone(&ours.addon),
            options: Arc::clone(&ours.options),
            configs: config::resolve(&ours.options.configs, &object, managed, &find),
            object,
            cluster: self.cluster(&key.cluster),
        };
        let host = observed
            .cluster
            .as_ref()
            .and_then(|cluster| observed.hosting_cluster(cluster));
        self.hosted.note(key, host);
        Some(observed)
    }

    /// The configuration references of an addon with hashes and generations, if those differ.
    fn references(&self, observed: &Observed) -> Option<Vec<ConfigReference>> {
        let watches = self.watches.get()?;
        let find = |kind: &_, config: &_| watches.find_config(kind, config);
        config::observed(&observed.options.configs, &observed.object, &find)
    }

    fn addon_api(&self, cluster: &str) -> Api<ManagedClusterAddOn> {
        Api::namespaced(self.clients.request.clone(), cluster)
    }

    fn touch(&self, key: &Key) {
        if !self.addons.contains_key(&key.addon) {
            return;
        }
        self.queues.registration.add(key.clone());
        self.queues.deploy.add(key.clone());
        self.queues.removal.add(key.clone());
        for request in self.waiting.take(key) {
            self.queues.requests.add(request);
        }
    }

    fn touch_cluster(&self, cluster: &str) {
        for addon in self.addons.keys() {
            self.touch(&Key::new(cluster, addon));
        }
    }

    fn saw_work(&self, key: &Key, work: &ManifestWork) {
        let (namespace, name) = (work.namespace().unwrap_or_default(), work.name_any());
        let watches = self.watches.get();
        let gone = watches.is_some_and(|watches| watches.works.get(Some(&namespace), &name).is_none());
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        if !gone {
            works.entry(key.clone()).or_default().insert((namespace, name));
        } else if let Some(seen) = works.get_mut(key) {
            seen.remove(&(namespace, name));
            if seen.is_empty() {
                works.remove(key);
            }
        }
    }

    fn saw_binding(&self, key: &Key, name: &str) {
        if rbac::is_ours(&key.addon, name) {
            let mut seen = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(key.clone()).or_default().insert(name.to_owned());
        }
    }

    /// Our `RoleBinding`s of an addon on a cluster that are there.
    fn bindings(&self, key: &Key) -> Vec<RoleBinding> {
        let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(seen), Some(watches)) = (bindings.get_mut(key), self.watches.get()) else {
            return vec![];
        };
        let mut found = vec![];
        seen.retain(|name| {
            let binding = watches.bindings.open(Some(&key.cluster), name);
            let there = binding.is_some();
            found.extend(binding);
            there
        });
        if seen.is_empty() {
            bindings.remove(key);
        }
        found
    }

    /// All works of an addon on a cluster that are there.
    fn all_works(&self, key: &Key) -> Vec<Arc<ManifestWork>> {
        let works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(seen), Some(watches)) = (works.get(key), self.watches.get()) else {
            return vec![];
        };
        let find = |(namespace, name): &(String, String)| watches.works.open(Some(namespace), name).map(Arc::new);
        seen.iter().filter_map(find).collect()
    }

    /// The deploy works of one part that are there.
    fn works(&self, key: &Key, part: &Part) -> work::Existing {
        let works = self.all_works(key).into_iter();
        let ours = works.filter(|work| work.metadata.namespace.as_ref() == Some(&part.cluster));
        ours.filter_map(|work| Some((part.index(&work.name_any())?, work)))
            .collect()
    }

    fn cluster(&self, name: &str) -> Option<Arc<ManagedCluster>> {
        self.watches.get()?.clusters.open(None, name).map(Arc::new)
    }

    /// Adds or removes a finalizer of an addon on a cluster.
    async fn set_finalizer(
        &self,
        key: &Key,
        object: &ManagedClusterAddOn,
        finalizer: &str,
        present: bool,
    ) -> Result<(), Error> {
        let verb = if present { "add" } else { "remove" };
        let action = format!(
            "{verb} finalizer {finalizer} of ManagedClusterAddOn {}/{}",
            key.cluster, key.addon
        );
        let written = write::finalizer(&self.addon_api(&key.cluster), object, finalizer, present).await;
        if let Some(written) = written.map_err(Error::request(action))? {
            self.recent.wrote(written);
        }
        Ok(())
    }

    /// Writes one condition of an addon on a cluster, under a field manager of its own.
    async fn tell(&self, manager: &str, key: &Key, observed: &Observed, wanted: Wanted) -> Result<(), Error> {
        let object = &observed.object;
        let action = format!(
            "write condition {} of ManagedClusterAddOn {}/{}",
            wanted.type_, key.cluster, key.addon
        );
        let wanted = [wanted.at(object.metadata.generation)];
        let Some(conditions) = conditions::changed(observed.conditions(), &wanted, Timestamp::now()) else {
            return Ok(());
        };
        let status = Map::from_iter([("conditions".to_owned(), json!(conditions))]);
        self.write_status(manager, key, object, &status, action).await
    }

    /// Writes everything that a field manager owns in the status of an addon.
    async fn write_status(
        &self,
        manager: &str,
        key: &Key,
        object: &ManagedClusterAddOn,
        status: &Map<String, Value>,
        action: String,
    ) -> Result<(), Error> {
        let written = conditions::apply_status(&self.addon_api(&key.cluster), object, manager, status).await;
        self.recent.wrote(written.map_err(Error::request(action))?);
        Ok(())
    }

    /// What is to be told now of the health that was judged, and when to look again at what is not.
    fn bear(
        &self,
        key: &Key,
        observed: &Observed,
        judged: Option<Wanted>,
        now: Timestamp,
    ) -> (Option<Wanted>, Option<Duration>) {
        let existing = observed.conditions();
        if !judged
            .as_ref()
            .is_some_and(|judged| health::is_degradation(judged, existing))
        {
            self.unready.forget(key);
            return (judged, None);
        }
        match health::kept_back(self.unready.since(key, &observed.object, now), now) {
            Some(left) => (None, Some(left)),
            None => (judged, None),
        }
    }
}

/// One addon on one cluster, as last seen.
struct Observed {
    addon: Arc<dyn Addon>,
    options: Arc<Options>,
    /// What it is to be rendered with.
    configs: Resolution,
    object: Arc<ManagedClusterAddOn>,
    cluster: Option<Arc<ManagedCluster>>,
}

impl Observed {
    fn conditions(&self) -> &[Condition] {
        let status = self.object.status.as_ref();
        status.map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    /// The cluster that the agent runs on, if it is another one than its own.
    fn hosting_cluster(&self, cluster: &ManagedCluster) -> Option<String> {
        let host = self
            .addon
            .hosting_cluster(cluster, &self.object)
            .filter(|_| self.options.hosted)?;
        (!host.is_empty() && host != cluster.name_any()).then_some(host)
    }
}

#[cfg(test)]
mod tests;
