//! Watches on this cluster, shared by all who need the same one, stopped when nobody does.
//!
//! The agent's rights name each object where that is possible (`resourceNames`), so each is watched by its name: no other
//! watch is permitted. What a profile selects by labels is watched by these labels.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use addon_framework::runtime::{FailureKind, Queue, Watch, WatchState, watch_with};
use exchange::{
    source::{Lookup, Selection},
    value::Value,
};
use futures::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use kube_runtime::{reflector, watcher};
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Place, Seen, value};

/// Who needs an object, and is woken when it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// The export of this name.
    Export(String),
    /// The links of this target.
    Target(Place),
    /// The `PeerMember` of this cluster.
    Member,
}

/// The queues of the users.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Names of exports.
    pub exports: Queue<String>,
    /// Targets.
    pub targets: Queue<Place>,
    /// Wakes the report on the `PeerMember`.
    pub member: Queue<()>,
}

impl Queues {
    fn wake(&self, user: &User) {
        match user {
            User::Export(name) => self.exports.add(name.clone()),
            User::Target(place) => self.targets.add(place.clone()),
            User::Member => self.member.add(()),
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

/// All watches on this cluster that come and go.
pub struct Pool {
    client: Client,
    tasks: TaskTracker,
    token: CancellationToken,
    queues: Queues,
    entries: Mutex<BTreeMap<Lookup, Entry>>,
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

    /// States all that `user` needs, where that is single objects.
    pub fn want(&self, user: &User, places: &BTreeSet<Place>) {
        self.want_all(user, &places.iter().map(Lookup::object).collect());
    }

    /// States all that `user` needs: starts the watches that are missing, stops those that nobody needs any more.
    pub fn want_all(&self, user: &User, lookups: &BTreeSet<Lookup>) {
        let mut entries = lock(&self.entries);
        entries.retain(|lookup, entry| {
            let mut users = lock(&entry.users);
            if !lookups.contains(lookup) {
                users.remove(user);
            }
            !users.is_empty()
        });
        // Those that were kept for `user` alone have been retained: their set holds `user`.
        for lookup in lookups {
            let entry = entries.entry(lookup.clone()).or_insert_with(|| self.start(lookup));
            lock(&entry.users).insert(user.clone());
        }
    }

    /// What is known of an object that someone wants.
    #[must_use]
    pub fn read(&self, place: &Place) -> Seen {
        let lookup = Lookup::object(place);
        match lock(&self.entries).get(&lookup).map(|entry| &entry.watch) {
            None => Seen::Pending,
            Some(Object::Secret(watch)) => object(watch, place, (), |found| found.into()),
            Some(Object::ConfigMap(watch)) => object(watch, place, (), |found| found.into()),
            Some(Object::Other(watch, kind)) => object(watch, place, kind.clone(), |found| found.into()),
        }
    }

    /// What is known of what someone wants, in the form that expressions see.
    #[must_use]
    pub fn look(&self, lookup: &Lookup) -> Seen<Value> {
        match lock(&self.entries).get(lookup).map(|entry| &entry.watch) {
            None => Seen::Pending,
            Some(Object::Secret(watch)) => seen(watch, lookup, (), value::of_secret),
            Some(Object::ConfigMap(watch)) => seen(watch, lookup, (), value::of_config_map),
            Some(Object::Other(watch, kind)) => {
                let of = lookup.kind();
                seen(watch, lookup, kind.clone(), |found| value::of_object(found, of))
            }
        }
    }

    fn start(&self, lookup: &Lookup) -> Entry {
        let users = Users::default();
        let watch = match lookup.kind() {
            ("v1", "Secret") => Object::Secret(self.follow(lookup, &users)),
            ("v1", "ConfigMap") => Object::ConfigMap(self.follow(lookup, &users)),
            _ => {
                let kind = resource_of(lookup);
                let api = match lookup.namespace() {
                    Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
                    None => Api::all_with(self.client.clone(), &kind),
                };
                Object::Other(self.follow_in(api, lookup, kind.clone(), &users), kind)
            }
        };
        Entry { watch, users }
    }

    fn follow<K>(&self, lookup: &Lookup, users: &Users) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = match lookup.namespace() {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.follow_in(api, lookup, (), users)
    }

    fn follow_in<K>(&self, api: Api<K>, lookup: &Lookup, kind: K::DynamicType, users: &Users) -> Watch<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Hash + Eq + Clone + Send + Sync,
    {
        let wake = self.waker(users);
        let (name, touched) = (format!("spoke-{}", resource_of(lookup).plural), wake.clone());
        let on = move |_: &K| touched();
        let watch = watch_with(&self.tasks, &self.token, name, api, config(lookup), kind, on);
        self.wake_on_change(watch.states(), wake);
        watch
    }

    fn waker(&self, users: &Users) -> impl Fn() + Clone + Send + Sync + 'static {
        let (queues, users) = (self.queues.clone(), users.clone());
        move || lock(&users).iter().for_each(|user| queues.wake(user))
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
}

/// What of a state matters to users: whether it works and why not; `None` while nothing is known.
fn class(state: &WatchState) -> Option<Result<(), FailureKind>> {
    match state {
        WatchState::Listing => None,
        WatchState::Synced => Some(Ok(())),
        WatchState::Failing(failure) => Some(Err(failure.kind)),
    }
}

fn config(lookup: &Lookup) -> watcher::Config {
    match lookup {
        Lookup::Object(place) => watcher::Config::default().fields(&format!("metadata.name={}", place.name)),
        Lookup::Selection(selection) => watcher::Config::default().labels(&labels(selection)),
    }
}

fn labels(selection: &Selection) -> String {
    let labels = selection.labels.iter();
    let labels: Vec<_> = labels.map(|(label, value)| format!("{label}={value}")).collect();
    labels.join(",")
}

fn resource_of(lookup: &Lookup) -> ApiResource {
    match lookup {
        Lookup::Object(place) => api_resource(place),
        Lookup::Selection(selection) => resource(&selection.api_version, &selection.kind, &selection.resource),
    }
}

/// How the API server knows the kind of a place.
#[must_use]
pub fn api_resource(place: &Place) -> ApiResource {
    resource(&place.api_version, &place.kind, &place.plural())
}

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// What a watch knows of one object, or of all that it selects.
fn seen<K>(watch: &Watch<K>, lookup: &Lookup, kind: K::DynamicType, value: impl Fn(&K) -> Value) -> Seen<Value>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    if let Lookup::Object(place) = lookup {
        return object(watch, place, kind, value);
    }
    if let Some(trouble) = trouble(watch) {
        return trouble;
    }
    let mut objects = watch.store.state();
    objects.sort_by_cached_key(|object| (object.namespace(), object.name_any()));
    Seen::Present(Value::List(objects.iter().map(|object| value(object)).collect()))
}

fn object<K, T>(watch: &Watch<K>, place: &Place, kind: K::DynamicType, value: impl Fn(&K) -> T) -> Seen<T>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    if let Some(trouble) = trouble(watch) {
        return trouble;
    }
    let mut reference = reflector::ObjectRef::new_with(&place.name, kind);
    if let Some(namespace) = &place.namespace {
        reference = reference.within(namespace);
    }
    let object = watch.store.get(&reference);
    object.map_or(Seen::Absent, |object| Seen::Present(value(&object)))
}

/// Why a watch does not tell what there is. During an outage it tells what was last known.
fn trouble<K, T>(watch: &Watch<K>) -> Option<Seen<T>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    if let WatchState::Failing(failure) = watch.state() {
        match failure.kind {
            FailureKind::Denied => return Some(Seen::Denied),
            FailureKind::Missing => return Some(Seen::Unknown),
            FailureKind::Lost => {}
        }
    }
    watch.ready().now_or_never().is_none().then_some(Seen::Pending)
}

/// A poisoned lock is taken as it is: every change above leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that knows no objects and lets every watch hang, or one that answers everything with an error.
    pub fn pool(error: Option<u16>) -> Pool {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let watching = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let (code, body) = match (error, watching) {
                (Some(code), _) => (
                    code,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}),
                ),
                (None, true) => std::future::pending::<(u16, Value)>().await,
                (None, false) => (
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
            member: Queue::new(),
        };
        let client = Client::new(service, "default");
        Pool::new(client, TaskTracker::new(), CancellationToken::new(), queues)
    }

    fn place(name: &str) -> Place {
        super::super::observed::normal(&Place::core("Secret", "ns", name))
    }

    /// Waits until an export is to be looked at.
    pub async fn until_woken(pool: &Pool) {
        while pool.queues.exports.waiting() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_lives_as_long_as_someone_needs_it() {
        let pool = pool(None);
        let (one, two) = (User::Export("1".into()), User::Export("2".into()));
        let watched = || {
            let watched = lock(&pool.entries);
            let places = watched.keys().map(|lookup| match lookup {
                Lookup::Object(place) => place.clone(),
                Lookup::Selection(other) => panic!("{other}"),
            });
            places.collect::<Vec<_>>()
        };
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
    async fn absence_and_errors_wake_the_users() {
        for (error, expected) in [
            (None, Seen::Absent),
            (Some(403), Seen::Denied),
            (Some(404), Seen::Unknown),
        ] {
            let pool = pool(error);
            assert_eq!(pool.read(&place("a")), Seen::Pending);
            pool.want(&User::Export("1".into()), &[place("a")].into());
            assert_eq!(pool.read(&place("a")), Seen::Pending);
            let woken = tokio::time::timeout(std::time::Duration::from_hours(1), until_woken(&pool));
            assert!(woken.await.is_ok(), "nobody was woken: {expected:?}");
            assert_eq!(pool.read(&place("a")), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_selected_is_a_list_and_watched_by_its_labels() {
        let pool = pool(None);
        let all = Lookup::Selection(Selection {
            api_version: "v1".into(),
            kind: "Secret".into(),
            resource: "secrets".into(),
            namespace: Some("ns".into()),
            labels: [("a".into(), "b".into()), ("c".into(), "d".into())].into(),
        });
        assert_eq!(pool.look(&all), Seen::Pending);
        pool.want_all(&User::Export("1".into()), &[all.clone()].into());
        until_woken(&pool).await;
        assert_eq!(pool.look(&all), Seen::Present(exchange::value::Value::List(vec![])));
        let config = config(&all);
        assert_eq!(config.label_selector.as_deref(), Some("a=b,c=d"));
        assert_eq!(config.field_selector, None);
    }
}
