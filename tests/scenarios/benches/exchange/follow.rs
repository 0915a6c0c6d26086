//! One object, followed by a watch: what the API server last said about it, and when that arrived.
use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet};

/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_mins(1);

/// What a watch event brought.
#[derive(Clone)]
struct Seen<K> {
    at: Instant,
    object: Arc<K>,
}

/// A followed object. The watch ends with this value.
pub struct Follow<K> {
    what: String,
    seen: watch::Receiver<Option<Seen<K>>>,
    _task: JoinSet<()>,
}

impl<K> Follow<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts to watch the object of that name.
    pub fn start(api: Api<K>, name: &str) -> Self {
        let (sender, seen) = watch::channel(None);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let events = watcher(api, config).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                    let (at, object) = (Instant::now(), Arc::new(object));
                    sender.send_replace(Some(Seen { at, object }));
                }
            }
        });
        Self {
            what: format!("{} {name}", K::kind(&())),
            seen,
            _task: task,
        }
    }

    /// Waits until the object gives a value; tells when the event arrived.
    pub async fn next<T>(&self, find: impl Fn(&K) -> Option<T>) -> Result<(Instant, T)> {
        let mut seen = self.seen.clone();
        loop {
            let found = seen
                .borrow_and_update()
                .as_ref()
                .and_then(|seen| Some((seen.at, find(&seen.object)?)));
            if let Some(found) = found {
                return Ok(found);
            }
            seen.changed().await.context("the watch has ended")?;
        }
    }

    /// As [`Follow::next`], with a deadline.
    pub async fn until<T>(&self, find: impl Fn(&K) -> Option<T>) -> Result<(Instant, T)> {
        let found = tokio::time::timeout(DEADLINE, self.next(find)).await;
        found.with_context(|| format!("waited {DEADLINE:?} for a change of {} in vain", self.what))?
    }
}
