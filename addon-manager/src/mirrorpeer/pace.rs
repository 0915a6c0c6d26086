//! How often a key is looked at: at once the first time, and then not again before some time has passed.
//!
//! A hundred events come in while a pair is set up, and each tells of the next step of the same few objects. What is told in
//! between is for nobody, and what concerns all `MirrorPeer`s, such as Ramen's configuration, grows with their number.
use std::{collections::HashMap, sync::Mutex, sync::PoisonError, time::Duration};

use tokio::time::Instant;

use crate::touched::Key;

/// So many keys are kept before those that nobody waits for are dropped.
const KEPT: usize = 1024;

/// When keys were looked at last.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<Key, Instant>>);

impl Pace {
    /// How long a key has to wait. Counts as a look when it does not.
    pub(super) fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = looked.get(key).map(|last| *last + between(key));
        if let Some(free) = free.filter(|free| *free > now) {
            return Some(free - now);
        }
        if looked.len() >= KEPT {
            looked.retain(|key, last| *last + between(key) > now);
        }
        looked.insert(key.clone(), now);
        None
    }
}

/// The least time between two looks.
fn between(key: &Key) -> Duration {
    match key {
        Key::Peer(_) | Key::All | Key::Ramen | Key::Info | Key::Legacy => Duration::from_secs(1),
        Key::Peering(_) | Key::Cluster(_) | Key::Classes(_) => Duration::from_millis(500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_is_at_once_and_the_next_ones_keep_their_distance() {
        let (pace, start) = (Pace::default(), Instant::now());
        let (one, other) = (Key::Peer("one".to_owned()), Key::Peer("other".to_owned()));
        assert_eq!(pace.wait(&one, start), None);
        assert_eq!(pace.wait(&other, start), None);
        let soon = start + Duration::from_millis(400);
        assert_eq!(pace.wait(&one, soon), Some(Duration::from_millis(600)));
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.wait(&one, later), None);
        assert_eq!(pace.wait(&one, later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn keys_that_are_looked_at_no_more_are_forgotten() {
        let (pace, start) = (Pace::default(), Instant::now());
        for number in 0..KEPT {
            assert_eq!(pace.wait(&Key::Cluster(number.to_string()), start), None);
        }
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.wait(&Key::Ramen, later), None);
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
