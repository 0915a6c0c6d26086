//! Our own writes until the watch has brought them: without this, a pass that starts right after a write would see the old
//! object and write once more.
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use peering_api::kube::{Resource, ResourceExt};

/// A watch that has not brought a write after this time is broken or the object is gone: the watch's view counts again.
const TRUSTED: Duration = Duration::from_secs(10);

type Key = (String, String);

/// The newest version of each object that we wrote and the watch has not caught up with.
#[derive(Debug)]
pub struct Recent<K>(Mutex<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    written: HashMap<Key, (Instant, Arc<K>)>,
    /// The newest version that the watch has brought, of whatever object.
    watched: u128,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            written: HashMap::new(),
            watched: 0,
        }))
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Resource versions of one kind can be compared as numbers (KEP-5504).
fn version<K: Resource>(object: &K) -> u128 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

impl<K: Resource> Recent<K> {
    /// Remembers what the API server answered to a write, unless the watch has come past it: it may have brought the end of
    /// the object already, which nothing would tell again.
    pub fn wrote(&self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let mut inner = self.lock();
        let (key, version) = (key(&object), version(&object));
        if version > inner.watched {
            inner.written.insert(key, (Instant::now(), Arc::new(object)));
        } else {
            inner.written.remove(&key);
        }
    }

    /// Forgets a write that the watch has brought or overtaken.
    pub fn seen(&self, object: &impl Resource) {
        let mut inner = self.lock();
        let (key, version_seen) = (key(object), version(object));
        inner.watched = inner.watched.max(version_seen);
        let overtaken = |(_, ours): &(Instant, Arc<K>)| version_seen >= version(ours.as_ref());
        if inner.written.get(&key).is_some_and(overtaken) {
            inner.written.remove(&key);
        }
    }

    /// The newer one of what the watch knows and what was written; forgets the latter once the watch has caught up. Another
    /// object of that name (by uid) is what the watch says it is.
    #[must_use]
    pub fn newest(&self, known: Arc<K>) -> Arc<K> {
        let entries = &mut self.lock().written;
        let key = key(known.as_ref());
        match entries.get(&key) {
            Some((_, ours)) if ours.uid() == known.uid() && version(ours.as_ref()) > version(known.as_ref()) => {
                ours.clone()
            }
            Some(_) => {
                entries.remove(&key);
                known
            }
            None => known,
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().written.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// What the watch knows, with our newer writes in place.
    pub fn over(&self, known: Vec<Arc<K>>, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let entries = &mut self.lock().written;
        if entries.is_empty() {
            return known;
        }
        entries.retain(|_, (at, _)| at.elapsed() < TRUSTED);
        let mut ours: HashMap<Key, Arc<K>> = entries
            .iter()
            .filter(|(_, (_, object))| wanted(object))
            .map(|(key, (_, object))| (key.clone(), object.clone()))
            .collect();
        let mut all: Vec<_> = known
            .into_iter()
            .map(|object| match ours.remove(&key(object.as_ref())) {
                Some(written) if version(written.as_ref()) > version(object.as_ref()) => written,
                _ => object,
            })
            .collect();
        all.extend(ours.into_values());
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use peering_api::k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.into());
        map.metadata.resource_version = Some(version.into());
        map
    }

    fn versions(recent: &Recent<ConfigMap>, known: &[ConfigMap]) -> Vec<String> {
        let known = known.iter().cloned().map(Arc::new).collect();
        recent
            .over(known, |_| true)
            .iter()
            .filter_map(|object| object.resource_version())
            .collect()
    }

    #[test]
    fn one_object_is_the_newer_of_both_unless_it_is_another_one() {
        let recent = Recent::default();
        let newest = |object: ConfigMap| recent.newest(Arc::new(object)).resource_version().unwrap();
        recent.wrote(object("a", "10"));
        assert_eq!(newest(object("a", "9")), "10");
        assert_eq!(newest(object("a", "11")), "11");
        assert_eq!(newest(object("a", "9")), "9", "forgotten once the watch had caught up");
        recent.wrote(object("a", "20"));
        let mut other = object("a", "3");
        other.metadata.uid = Some("another".into());
        assert_eq!(newest(other), "3");
    }

    #[test]
    fn a_newer_write_stands_in_until_the_watch_brings_it() {
        let recent = Recent::default();
        recent.wrote(object("a", "10"));
        assert_eq!(versions(&recent, &[object("a", "9")]), ["10"]);
        assert_eq!(versions(&recent, &[]), ["10"], "created, not seen yet");
        assert_eq!(versions(&recent, &[object("a", "11")]), ["11"]);
        recent.seen(&object("a", "9"));
        assert_eq!(versions(&recent, &[object("a", "9")]), ["10"]);
        recent.seen(&object("a", "10"));
        assert_eq!(versions(&recent, &[]), Vec::<String>::new(), "seen, then deleted");
    }

    #[test]
    fn a_write_whose_answer_comes_after_the_end_of_the_object_is_not_remembered() {
        let recent = Recent::default();
        recent.seen(&object("a", "11"));
        recent.wrote(object("a", "10"));
        assert_eq!(versions(&recent, &[]), Vec::<String>::new());
        recent.wrote(object("b", "12"));
        assert_eq!(versions(&recent, &[]), ["12"]);
    }
}
