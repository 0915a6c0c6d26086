//! The last written version of objects, used while a watch has not brought it yet: nothing is written twice.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt};

/// Objects as the API server answered the last write of each, by name.
#[derive(Debug)]
pub struct Recent<K>(Mutex<HashMap<String, Arc<K>>>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource> Recent<K> {
    /// The newer one of what the watch knows and what was written; forgets the latter once the watch has caught up.
    #[must_use]
    pub fn newest(&self, cached: Arc<K>) -> Arc<K> {
        let mut written = self.lock();
        let name = cached.name_any();
        match written.get(&name) {
            Some(known) if newer(&**known, &*cached) => known.clone(),
            Some(_) => {
                written.remove(&name);
                cached
            }
            None => cached,
        }
    }

    /// Takes note of the answer to a write.
    pub fn note(&self, mut written: K) {
        written.meta_mut().managed_fields = None;
        self.lock().insert(written.name_any(), Arc::new(written));
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `a` is a newer version of the same object as `b`. Versions are decimal numbers (KEP-5504).
fn newer<K: Resource>(a: &K, b: &K) -> bool {
    let version = |object: &K| {
        object
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok())
    };
    a.uid() == b.uid() && version(a) > version(b)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(uid: &str, version: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("a".into());
        map.metadata.uid = Some(uid.into());
        map.metadata.resource_version = Some(version.into());
        map
    }

    #[test]
    fn a_write_counts_until_the_watch_has_it() {
        let recent = Recent::default();
        recent.note(map("u", "10"));
        let newest = |uid, version| recent.newest(Arc::new(map(uid, version))).resource_version().unwrap();
        assert_eq!(newest("u", "9"), "10");
        assert_eq!(newest("u", "11"), "11");
        assert_eq!(newest("u", "9"), "9", "forgotten once the watch had caught up");
        recent.note(map("u", "20"));
        assert_eq!(newest("other", "3"), "3", "another object of that name");
    }
}
