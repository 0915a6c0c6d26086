//! On which other clusters agents run, as last seen: a change of such a cluster concerns them.
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Key;

/// The hosting clusters, by addon and its own cluster.
#[derive(Default)]
pub(super) struct Hosted(Mutex<HashMap<Key, String>>);

impl Hosted {
    /// The agent runs there; `None`: on its own cluster, or nowhere any more.
    pub(super) fn note(&self, key: &Key, host: Option<String>) {
        let mut known = self.lock();
        match host {
            Some(host) if known.get(key) == Some(&host) => {}
            Some(host) => drop(known.insert(key.clone(), host)),
            None => drop(known.remove(key)),
        }
    }

    /// Whose agents run on this cluster.
    pub(super) fn on(&self, host: &str) -> Vec<Key> {
        let known = self.lock();
        let here = known.iter().filter(|(_, known)| *known == host);
        here.map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_where_it_was_seen_last() {
        let (hosted, key) = (Hosted::default(), Key::new("c1", "hello"));
        hosted.note(&key, Some("a".to_owned()));
        assert_eq!(hosted.on("a"), std::slice::from_ref(&key));
        hosted.note(&key, Some("b".to_owned()));
        assert_eq!((hosted.on("a"), hosted.on("b")), (vec![], vec![key.clone()]));
        hosted.note(&key, None);
        assert_eq!(hosted.on("b"), vec![]);
    }
}
