//! Since when the workloads of addons are unready, while nobody has been told yet.
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use peering_api::{kube::ResourceExt, ocm::ManagedClusterAddOn};

use super::Key;

/// The moments, by addon and cluster, each of one object: an addon that is deleted and made anew starts from nothing.
#[derive(Default)]
pub(super) struct Unready(Mutex<HashMap<Key, (Option<String>, Timestamp)>>);

impl Unready {
    /// Since when this addon is unready, which it is now.
    pub(super) fn since(&self, key: &Key, object: &ManagedClusterAddOn, now: Timestamp) -> Timestamp {
        let mut known = self.lock();
        let (uid, since) = known.entry(key.clone()).or_insert_with(|| (object.uid(), now));
        if *uid != object.uid() {
            (*uid, *since) = (object.uid(), now);
        }
        *since
    }

    /// It is ready, told of, or gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Option<String>, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addon(uid: &str) -> ManagedClusterAddOn {
        let mut addon = ManagedClusterAddOn::default();
        addon.metadata.uid = Some(uid.to_owned());
        addon
    }

    #[test]
    fn the_first_moment_counts_until_it_is_forgotten_or_the_addon_is_another() {
        let (unready, key) = (Unready::default(), Key::new("c1", "hello"));
        let at = |second| Timestamp::from_second(second).unwrap();
        let since = |uid: &str, second| unready.since(&key, &addon(uid), at(second)).as_second();
        assert_eq!(since("one", 10), 10);
        assert_eq!(since("one", 20), 10);
        assert_eq!(since("two", 30), 30, "deleted and made anew");
        unready.forget(&key);
        assert_eq!(since("two", 40), 40);
    }
}
