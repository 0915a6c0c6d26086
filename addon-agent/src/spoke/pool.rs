//! Watches of single objects on this cluster, shared by all who need the same one, stopped when nobody does.
//!
//! The agent's rights name each object (`resourceNames`), so each is watched by its name: no other watch is permitted.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use addon_framework::runtime::{FailureKind, Queue, Watch, WatchState, watch, watch_with};
use futures::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use kube_runtime::{reflector, watcher};
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
    Other(Watch<DynamicObject>, ApiResource),
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
            Some(Object::Other(watch, kind)) => seen_as(watch, place, kind.clone()),
        }
    }

    fn start(&self, place: &Place) -> Entry {
        let users = Users::default();
        let watch = if place.is_secret() {
            Object::Secret(self.follow(place, &users))
        } else if place.is_config_map() {
            Object::ConfigMap(self.follow(place, &users))
        } else {
            let kind = api_resource(place);
            Object::Other(self.follow_any(place, &kind, &users), kind)
        };
        Entry { watch, users }
    }

    fn waker(&self, users: &Users) -> impl Fn() + Clone + Send + Sync + 'static {
        let (queues, users) = (self.queues.clone(), users.clone());
        move || lock(&users).iter().for_each(|user| queues.wake(user))
    }

    /// A watch of an object whose kind is known at run time only.
    fn follow_any(&self, place: &Place, kind: &ApiResource, users: &Users) -> Watch<DynamicObject> {
        let api = match &place.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        };
        let wake = self.waker(users);
        let (name, touched) = (format!("spoke-{}", kind.plural), wake.clone());
        let on = move |_: &DynamicObject| touched();
        let watch = watch_with(&self.tasks, &self.token, name, api, by_name(place), kind.clone(), on);
        self.wake_on_change(watch.states(), wake);
        watch
    }

    /// Wakes the users when a watch begins or ceases to work.
    fn wake_on_change(&self, mut states: tokio::sync::watch::Receiver<WatchState>, wake: impl Fn() + Send + 'static) {
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
    }

    fn follow<K>(&self, place: &Place, users: &Users) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let wake = self.waker(users);
        let api = Api::<K>::namespaced(self.client.clone(), place.namespace.as_deref().unwrap_or_default());
        let (name, touched) = (format!("spoke-{}", place.plural()), wake.clone());
        let on = move |_: &K| touched();
        let watch = watch(&self.tasks, &self.token, name, api, by_name(place), on);
        self.wake_on_change(watch.states(), wake);
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

fn by_name(place: &Place) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={}", place.name))
}

/// How the API server knows the kind of a place.
#[must_use]
pub fn api_resource(place: &Place) -> ApiResource {
    let version = place.api_version.rsplit('/').next().unwrap_or_default();
    let kind = GroupVersionKind::gvk(place.group(), version, &place.kind);
    ApiResource::from_gvk_with_plural(&kind, &place.plural())
}

fn seen<K>(watch: &Watch<K>, place: &Place) -> Seen
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    for<'a> Observed: From<&'a K>,
{
    seen_as(watch, place, ())
}

fn seen_as<K>(watch: &Watch<K>, place: &Place, kind: K::DynamicType) -> Seen
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
    for<'a> Observed: From<&'a K>,
{
    if let WatchState::Failing(failure) = watch.state() {
        match failure.kind {
            FailureKind::Denied => return Seen::Denied,
            FailureKind::Missing => return Seen::Unknown,
            FailureKind::Lost => {}
        }
    }
    if watch.ready().now_or_never().is_none() {
        return Seen::Pending;
    }
    let mut reference = reflector::ObjectRef::new_with(&place.name, kind);
    if let Some(namespace) = &place.namespace {
        reference = reference.within(namespace);
    }
    let object = watch.store.get(&reference);
    object.map_or(Seen::Absent, |object| Seen::Present(Observed::from(&*object)))
}

/// A poisoned lock is taken as it is: every change above leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that knows no objects and lets every watch hang, or one that refuses everything.
    fn pool(refuses: bool) -> Pool {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let watching = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let (code, body) = match (refuses, watching) {
                (true, _) => (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403}),
                ),
                (false, true) => std::future::pending::<(u16, Value)>().await,
                (false, false) => (
                    200,
                    json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": []}),
                ),
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        });
        let queues = Queues {
            exports: Queue::new(),
            targets: Queue::new(),
        };
        let client = Client::new(service, "default");
        Pool::new(client, TaskTracker::new(), CancellationToken::new(), queues)
    }

    fn place(name: &str) -> Place {
        super::super::observed::normal(&Place::core("Secret", "ns", name))
    }

    async fn until_woken(pool: &Pool) {
        while pool.queues.exports.waiting() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_lives_as_long_as_someone_needs_it() {
        let pool = pool(false);
        let (one, two) = (User::Export("1".into()), User::Export("2".into()));
        let watched = || lock(&pool.entries).keys().cloned().collect::<Vec<_>>();
        pool.want(&one, &[place("a"), place("b")].into());
        pool.want(&two, &[place("a")].into());
        assert_eq!(watched(), [place("a"), place("b")]);
        pool.want(&one, &BTreeSet::new());
        assert_eq!(watched(), [place("a")]);
        pool.want(&two, &BTreeSet::new());
        assert!(watched().is_empty());
        pool.tasks.close();
        pool.tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn absence_and_refusal_wake_the_users() {
        for (refuses, expected) in [(false, Seen::Absent), (true, Seen::Denied)] {
            let pool = pool(refuses);
            assert_eq!(pool.read(&place("a")), Seen::Pending);
            pool.want(&User::Export("1".into()), &[place("a")].into());
            assert_eq!(pool.read(&place("a")), Seen::Pending);
            until_woken(&pool).await;
            assert_eq!(pool.read(&place("a")), expected);
        }
    }
}
