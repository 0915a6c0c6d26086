//! Watches of single objects on this cluster, shared by all who need the same one, stopped when nobody does.
//!
//! The agent's rights name each object (`resourceNames`), so each is watched by its name: no other watch is permitted.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use addon_framework::runtime::{FailureKind, Queue, Watch, WatchState, watch};
use futures::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, Resource};
use kube_runtime::watcher;
use peering_api::peering::TargetKind;
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Observed, Place, Seen};

/// Who needs an object, and is woken when it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// The export of this name.
    Export(String),
    /// The links of this target.
    Target(Place),
}

/// The queues of the users.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Names of exports.
    pub exports: Queue<String>,
    /// Targets.
    pub targets: Queue<Place>,
}

impl Queues {
    fn wake(&self, user: &User) {
        match user {
            User::Export(name) => self.exports.add(name.clone()),
            User::Target(place) => self.targets.add(place.clone()),
        }
    }
}

/// The users of one watch.
type Users = Arc<Mutex<BTreeSet<User>>>;

struct Entry {
    watch: Object,
    users: Users,
}

enum Object {
    Secret(Watch<Secret>),
    ConfigMap(Watch<ConfigMap>),
}

/// All watches of single objects.
pub struct Pool {
    client: Client,
    tasks: TaskTracker,
    token: CancellationToken,
    queues: Queues,
    entries: Mutex<BTreeMap<Place, Entry>>,
}

impl Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty pool; `client` is the one for watches.
    #[must_use]
    pub fn new(client: Client, tasks: TaskTracker, token: CancellationToken, queues: Queues) -> Self {
        Self {
            client,
            tasks,
            token,
            queues,
            entries: Mutex::default(),
        }
    }

    /// States all that `user` needs: starts the watches that are missing, stops those that nobody needs any more.
    pub fn want(&self, user: &User, places: &BTreeSet<Place>) {
        let mut entries = lock(&self.entries);
        entries.retain(|place, entry| {
            let mut users = lock(&entry.users);
            if !places.contains(place) {
                users.remove(user);
            }
            !users.is_empty()
        });
        // Those that were kept for `user` alone have been retained: their set holds `user`.
        for place in places {
            let entry = entries.entry(place.clone()).or_insert_with(|| self.start(place));
            lock(&entry.users).insert(user.clone());
        }
    }

    /// What is known of an object that someone wants.
    #[must_use]
    pub fn read(&self, place: &Place) -> Seen {
        match lock(&self.entries).get(place).map(|entry| &entry.watch) {
            None => Seen::Pending,
            Some(Object::Secret(watch)) => seen(watch, place),
            Some(Object::ConfigMap(watch)) => seen(watch, place),
        }
    }

    fn start(&self, place: &Place) -> Entry {
        let users = Users::default();
        let watch = match place.kind {
            TargetKind::Secret => Object::Secret(self.follow(place, &users)),
            TargetKind::ConfigMap => Object::ConfigMap(self.follow(place, &users)),
        };
        Entry { watch, users }
    }

    fn follow<K>(&self, place: &Place, users: &Users) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let wake = {
            let (queues, users) = (self.queues.clone(), users.clone());
            move || lock(&users).iter().for_each(|user| queues.wake(user))
        };
        let api = Api::<K>::namespaced(self.client.clone(), &place.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let name = format!("spoke-{}", place.kind.resource());
        let touched = wake.clone();
        let watch = watch(&self.tasks, &self.token, name, api, config, move |_: &K| touched());
        let mut states = watch.states();
        self.tasks.spawn(async move {
            let mut known = class(&states.borrow_and_update().clone());
            // The sender is gone when the watch has stopped.
            while states.changed().await.is_ok() {
                let now = class(&states.borrow_and_update().clone());
                if now != known {
                    known = now;
                    wake();
                }
            }
        });
        watch
    }
}

/// What of a state matters to users.
fn class(state: &WatchState) -> Option<FailureKind> {
    match state {
        // Told apart from Synced by the store's readiness, which comes with the change to Synced.
        WatchState::Listing => Some(FailureKind::Missing),
        WatchState::Synced => None,
        WatchState::Failing(failure) => Some(failure.kind),
    }
}

fn seen<K>(watch: &Watch<K>, place: &Place) -> Seen
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    for<'a> Observed: From<&'a K>,
{
    if let WatchState::Failing(failure) = watch.state()
        && failure.kind == FailureKind::Denied
    {
        return Seen::Denied;
    }
    if watch.ready().now_or_never().is_none() {
        return Seen::Pending;
    }
    let object = watch.get(Some(&place.namespace), &place.name);
    object.map_or(Seen::Absent, |object| Seen::Present(Observed::from(&*object)))
}

/// A poisoned lock is taken as it is: every change above leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
