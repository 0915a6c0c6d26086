//! Which addons are being made. Several Peerings that name a cluster find at the same moment that its addon is missing; the first
//! one asks for it, the others need not be refused.
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long it may take until a watch brings what was made. After that it counts as missing again.
const AWAITED: Duration = Duration::from_secs(10);

/// The clusters, and when their addon was asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<HashMap<String, Instant>>);

impl Asked {
    /// Whether nobody has asked for the addon of a cluster lately. If so, the caller has.
    pub(crate) fn first(&self, cluster: &str, now: Instant) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, at| now < *at + AWAITED);
        asked.insert(cluster.to_owned(), now).is_none()
    }

    /// It was not made; or it has been seen, and when it goes the next one may ask.
    pub(crate) fn over(&self, cluster: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_and_another_may_when_it_failed_or_nothing_came() {
        let (asked, start) = (Asked::default(), Instant::now());
        assert!(asked.first("one", start));
        assert!(!asked.first("one", start));
        assert!(asked.first("other", start));
        asked.over("one");
        assert!(asked.first("one", start));
        assert!(asked.first("other", start + AWAITED));
    }
}
