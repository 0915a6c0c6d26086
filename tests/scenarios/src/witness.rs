//! Sees everything that happens to one object while a scenario goes on: what was disturbed in between cannot be told from
//! what stands there at the end.
use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, bail};
use futures::StreamExt;
use kube::{Api, Resource, ResourceExt, runtime::watcher};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// What has been seen of an object: each version once, in order; `None` where it was gone.
type Seen<K> = Arc<Mutex<Vec<Option<K>>>>;

/// Watches one object until it is dropped.
pub struct Witness<K> {
    seen: Seen<K>,
    task: JoinHandle<()>,
}

impl<K> Drop for Witness<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K> Witness<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Watches an object that exists; returns when it was seen for the first time.
    pub async fn of(api: Api<K>, name: &str) -> Result<Self> {
        let seen = Seen::<K>::default();
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(watcher(api, config));
        let mut note = Note {
            seen: seen.clone(),
            listed: false,
        };
        while let Some(event) = events.next().await {
            match event? {
                watcher::Event::InitDone => break,
                event => note.take(event),
            }
        }
        if !note.listed {
            bail!("there is no {} {name} to watch", K::kind(&()));
        }
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                // A broken watch lists anew, and tells what it missed.
                if let Ok(event) = event {
                    note.take(event);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// Every version so far; `None` where the object was gone.
    #[must_use]
    pub fn versions(&self) -> Vec<Option<K>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes events down.
struct Note<K> {
    seen: Seen<K>,
    /// The list that is under way has told of the object.
    listed: bool,
}

impl<K: Resource + Clone> Note<K> {
    fn take(&mut self, event: watcher::Event<K>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = |known: &Option<K>| known.as_ref().and_then(ResourceExt::resource_version);
        match event {
            watcher::Event::Init => self.listed = false,
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                self.listed = true;
                let object = Some(object);
                if seen.last().is_none_or(|last| version(last) != version(&object)) {
                    seen.push(object);
                }
            }
            watcher::Event::InitDone if self.listed => {}
            watcher::Event::InitDone | watcher::Event::Delete(_) => {
                if seen.last().is_some_and(Option::is_some) {
                    seen.push(None);
                }
            }
        }
    }
}
