//! Signing requests that were left alone, and what has to change before they are looked at again.
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Key;

/// Names of requests, by addon and cluster. Anybody may make requests for anything: it holds none that is decided or gone.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<Key, BTreeSet<String>>>);

impl Waiting {
    /// The request is looked at again when something about this addon on this cluster changes.
    pub(super) fn add(&self, key: Key, request: String) {
        self.lock().entry(key).or_default().insert(request);
    }

    /// The requests to be looked at now that something has changed.
    pub(super) fn take(&self, key: &Key) -> BTreeSet<String> {
        self.lock().remove(key).unwrap_or_default()
    }

    /// The request is decided or gone.
    pub(super) fn forget(&self, request: &str) {
        self.lock().retain(|_, requests| {
            requests.remove(request);
            !requests.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_until_something_changes_or_it_is_forgotten() {
        let waiting = Waiting::default();
        let (one, two) = (Key::new("c1", "hello"), Key::new("c2", "hello"));
        for (key, request) in [(&one, "a"), (&one, "b"), (&two, "c")] {
            waiting.add(key.clone(), request.to_owned());
        }
        waiting.forget("a");
        waiting.forget("c");
        assert_eq!(waiting.take(&one), BTreeSet::from(["b".to_owned()]));
        assert_eq!(waiting.take(&one), BTreeSet::new());
        assert!(waiting.lock().is_empty(), "a cluster without a request is held");
    }
}
