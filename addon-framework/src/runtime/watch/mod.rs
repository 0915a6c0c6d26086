//! A watch which never gives up: kube's watcher and reflector, with a backoff of its own per watch.
//!
//! kube's `Controller` shares one backoff over all its watches, so one missing CRD would slow down all others; and its
//! stores tell nobody what vanished while the watch was broken. Here each watch is a task of its own.
use std::{fmt::Debug, hash::Hash, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::OptionFuture};
use kube_runtime::{
    reflector::{ObjectRef, Store, store::Writer},
    watcher::{self, Event, watcher},
};
use peering_api::kube::{self, Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch as channel,
    time::{Instant, sleep},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{debug, info, warn};

use super::{backoff::Backoff, error_chain, metrics::metrics};

/// Waits after errors of a lost API server: 200 ms doubling to 10 s, so that it is found again soon after it is back.
pub const LOST: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(10),
};

/// Waits after a refusal (CRD missing, access denied): up to 30 s, since a person has to do something first.
pub const REFUSED: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(30),
};

/// Objects per list request: bounds the memory of a list (500, kube's default, costs megabytes for large objects).
pub const PAGE_SIZE: u32 = 50;

/// A resumed watch which is quiet for this long counts as healthy: kube's watcher says nothing when it has reconnected.
/// Longer than [`super::clients::CONNECT_TIMEOUT`].
const SETTLED: Duration = Duration::from_secs(10);

/// How long one page of a list may take: the watch client has a long read timeout only, and kube's watcher none for lists.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// Errors further apart than this are not "in a row".
const FORGET: Duration = Duration::from_mins(2);

/// The same failure is logged again after this time.
const LOG_AGAIN: Duration = Duration::from_mins(1);

/// Why a watch does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// 404: the API server does not know the kind; its CRD is missing.
    Missing,
    /// 401 or 403: we may not list and watch it.
    Denied,
    /// Anything else: no connection, a server error, an object which cannot be read.
    Lost,
}

/// How a watch fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class of the last error.
    pub kind: FailureKind,
    /// The last error, with its sources.
    pub message: String,
    /// Errors in a row.
    pub attempts: u32,
}

/// What a watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Reading the first list.
    Listing,
    /// The store holds what the API server has.
    Synced,
    /// The store holds what was last known (nothing, if it was never ready); tried again until it works.
    Failing(Failure),
}

/// A running watch. It stops when this value is dropped, or when the token it was started with is cancelled.
pub struct Watch<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    /// The last known objects. Clones of it stay readable after the watch has stopped.
    pub store: Store<K>,
    state: channel::Receiver<WatchState>,
    /// Whether the store was ever complete.
    complete: channel::Receiver<bool>,
    _stop: DropGuard,
}

impl<K> Debug for Watch<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

impl<K> Watch<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    /// Resolves when the first list is complete, or when the watch has been stopped.
    pub async fn ready(&self) {
        // Not `Store::wait_until_ready`: of several tasks that wait on one store, it wakes only the last (kube 5.0,
        // utils/delayed_init.rs). An error says that the watch was stopped: nobody has to wait any longer.
        let _ = self.complete.clone().wait_for(|complete| *complete).await;
    }

    /// What the watch is doing now.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    /// The states to come, for who wants to act on them (a condition "CRD missing", a readiness endpoint).
    #[must_use]
    pub fn states(&self) -> channel::Receiver<WatchState> {
        self.state.clone()
    }

    /// The object of that name, in that namespace (`None` for cluster-scoped kinds).
    #[must_use]
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>>
    where
        K::DynamicType: Default,
    {
        self.get_of(K::DynamicType::default(), namespace, name)
    }

    /// [`Watch::get`] for a kind which is known at run time only.
    #[must_use]
    pub fn get_of(&self, kind: K::DynamicType, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let mut reference = ObjectRef::new_with(name, kind);
        if let Some(namespace) = namespace {
            reference = reference.within(namespace);
        }
        self.store.get(&reference)
    }

    /// Stops the watch (as dropping it does).
    pub fn stop(self) {}
}

/// Watches a kind. See [`watch_with`].
pub fn watch<K, F>(
    tasks: &TaskTracker,
    token: &CancellationToken,
    name: impl Into<String>,
    api: Api<K>,
    config: watcher::Config,
    on: F,
) -> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Default + Send + Sync,
    F: Fn(&K) + Send + Sync + 'static,
{
    watch_with(tasks, token, name, api, config, K::DynamicType::default(), on)
}

/// Watches a kind which is known at run time only (`Api<DynamicObject>` with its `ApiResource` as `kind`).
///
/// Keeps a store of the objects without their `managedFields`, and calls `on` for each object which was added, changed or
/// deleted; after a re-list also for those which vanished in between, so that the key of every touched object can be
/// enqueued. `on` runs after the store was changed, in the watch's task: it must be quick and not block.
///
/// Errors never end the watch. They are counted (`watch_errors`, labelled with `name`: use one name for many watches of
/// single objects), logged at most once a minute, and shown by [`Watch::state`]. `config.page_size` is set to [`PAGE_SIZE`].
pub fn watch_with<K, F>(
    tasks: &TaskTracker,
    token: &CancellationToken,
    name: impl Into<String>,
    api: Api<K>,
    config: watcher::Config,
    kind: K::DynamicType,
    on: F,
) -> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Send + Sync,
    F: Fn(&K) + Send + Sync + 'static,
{
    let token = token.child_token();
    let (state_tx, state) = channel::channel(WatchState::Listing);
    let (complete_tx, complete) = channel::channel(false);
    let writer = Writer::new(kind);
    let store = writer.as_reader();
    let config = config.page_size(PAGE_SIZE);
    let follow = Follow {
        name: name.into(),
        store: store.clone(),
        writer,
        on,
        health: Health::new(state_tx, complete_tx),
    };
    let stop = token.clone();
    tasks.spawn(async move {
        // Dropping what it holds releases everyone in `ready`.
        let _ = stop.run_until_cancelled(follow.run(api, config)).await;
    });
    Watch {
        store,
        state,
        complete,
        _stop: token.drop_guard(),
    }
}

struct Follow<K, F>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    name: String,
    store: Store<K>,
    writer: Writer<K>,
    on: F,
    health: Health,
}

impl<K, F> Follow<K, F>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
    F: Fn(&K),
{
    async fn run(mut self, api: Api<K>, config: watcher::Config) {
        loop {
            let events = pin!(watcher(api.clone(), config.clone()));
            self.follow(events).await;
        }
    }

    /// Follows one stream of events; returns when a new one is needed.
    async fn follow(&mut self, mut events: impl Stream<Item = watcher::Result<Event<K>>> + Unpin) {
        loop {
            let quiet = self.health.quiet_time();
            let event = tokio::select! {
                event = events.next() => event,
                Some(()) = OptionFuture::from(quiet.map(sleep)) => {
                    if self.health.listed {
                        self.health.recovered(&self.name);
                        continue;
                    }
                    self.wait(FailureKind::Lost, format!("no answer to a list request within {LIST_TIMEOUT:?}")).await;
                    return;
                }
            };
            match event {
                Some(Ok(event)) => self.apply(event),
                Some(Err(error)) => {
                    if self.failed(&error).await.is_break() {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    async fn failed(&mut self, error: &watcher::Error) -> ControlFlow<()> {
        self.health.answered(status_code(error).is_some());
        self.wait(classify(error), error_chain(error)).await;
        if starts_over(error) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Takes note of a failure and waits before the next try.
    async fn wait(&mut self, kind: FailureKind, message: String) {
        metrics().watch_failed(&self.name);
        let attempts = self.health.failed(&self.name, kind, message);
        let backoff = if kind == FailureKind::Lost { LOST } else { REFUSED };
        sleep(backoff.random_delay(attempts)).await;
    }

    fn apply(&mut self, event: Event<K>) {
        let event = event.modify(|object| object.meta_mut().managed_fields = None);
        match &event {
            Event::Init | Event::InitApply(_) => {
                self.health.listed = false;
                self.writer.apply_watcher_event(&event);
            }
            Event::InitDone => {
                let before = self.store.state();
                self.writer.apply_watcher_event(&event);
                metrics().watch_listed(&self.name);
                // First: who waits in `ready` may count on having been told of everything.
                self.compare(&before);
                self.health.listed(&self.name);
            }
            Event::Apply(object) | Event::Delete(object) => {
                self.writer.apply_watcher_event(&event);
                self.health.recovered(&self.name);
                (self.on)(object);
            }
        }
    }

    /// Tells what a complete list has changed: vanished objects (or others of that name), then new and changed ones.
    fn compare(&self, before: &[Arc<K>]) {
        let key = |object: &K| (object.namespace(), object.name_any());
        let version = |object: &K| (object.uid(), object.resource_version());
        let after = self.store.state();
        let old: std::collections::HashMap<_, _> = before.iter().map(|object| (key(object), version(object))).collect();
        let new: std::collections::HashSet<_> = after.iter().map(|object| key(object)).collect();
        for object in before.iter().filter(|object| !new.contains(&key(object))) {
            (self.on)(object);
        }
        for object in &after {
            if object.resource_version().is_none() || old.get(&key(object)) != Some(&version(object)) {
                (self.on)(object);
            }
        }
    }
}

/// What is known about the last errors; says it to the log and to [`Watch::state`].
struct Health {
    state: channel::Sender<WatchState>,
    complete: channel::Sender<bool>,
    /// Whether the last list was completed; if not, one is being read.
    listed: bool,
    /// Whether the last error was that there is no answer.
    silent: bool,
    attempts: u32,
    last_error: Option<Instant>,
    logged: Option<(Instant, FailureKind)>,
}

impl Health {
    fn new(state: channel::Sender<WatchState>, complete: channel::Sender<bool>) -> Self {
        Self {
            state,
            complete,
            listed: false,
            silent: false,
            attempts: 0,
            last_error: None,
            logged: None,
        }
    }

    /// After which time silence means something: that a list hangs, or that the watch works again after errors.
    fn quiet_time(&self) -> Option<Duration> {
        if self.listed {
            (self.attempts > 0).then_some(SETTLED)
        } else {
            Some(LIST_TIMEOUT)
        }
    }

    /// A server that answers again after it was silent is asked again soon, whatever its answer: one that has just
    /// started refuses at first (403 until it knows its roles, 429 and 410 until its caches are filled).
    fn answered(&mut self, answered: bool) {
        if answered && self.silent {
            self.attempts = 0;
        }
        self.silent = !answered;
    }

    fn failed(&mut self, watch: &str, kind: FailureKind, message: String) -> u32 {
        let now = Instant::now();
        if self.last_error.is_some_and(|at| now - at > FORGET) {
            self.attempts = 0;
        }
        self.last_error = Some(now);
        self.attempts = self.attempts.saturating_add(1);
        let attempts = self.attempts;
        if self
            .logged
            .is_none_or(|(at, last)| last != kind || now - at > LOG_AGAIN)
        {
            self.logged = Some((now, kind));
            warn!(watch, attempts, ?kind, error = message, "watch failed, trying again");
        } else {
            debug!(watch, attempts, ?kind, error = message, "watch failed, trying again");
        }
        self.state.send_replace(WatchState::Failing(Failure {
            kind,
            message,
            attempts,
        }));
        attempts
    }

    fn listed(&mut self, watch: &str) {
        self.listed = true;
        self.recovered(watch);
    }

    fn recovered(&mut self, watch: &str) {
        self.attempts = 0;
        if self.logged.take().is_some() {
            info!(watch, "watch works again");
        }
        self.complete
            .send_if_modified(|complete| !std::mem::replace(complete, true));
        self.state.send_if_modified(|state| {
            let changed = *state != WatchState::Synced;
            *state = WatchState::Synced;
            changed
        });
    }
}

fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn classify(error: &watcher::Error) -> FailureKind {
    match status_code(error) {
        Some(404) => FailureKind::Missing,
        Some(401 | 403) => FailureKind::Denied,
        _ => FailureKind::Lost,
    }
}

/// Whether only a new list helps. kube's watcher repeats a refused watch with its old resourceVersion for ever.
fn starts_over(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(status_code(error), Some(401 | 403 | 404 | 410))
}

#[cfg(test)]
mod tests;
