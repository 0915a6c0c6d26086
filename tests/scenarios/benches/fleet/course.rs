//! The course of changes: when each began, when each of its destinations had it, and when all have been reported on.
use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use tokio::sync::Notify;

use scenarios::bench::lock;

use crate::fleet::Source;

/// How long changes may take until all have been reported on.
const DEADLINE: Duration = Duration::from_mins(5);

/// What takes a change from its source to its destinations: the product, or the floor.
pub trait Way {
    /// Changes a source. `number` is another one each time.
    fn change(&self, source: &Source, number: u32);
    /// What became of the changes.
    fn course(&self) -> &Course;
}

/// The changes that are under way, and how long those took that have arrived.
#[derive(Default)]
pub struct Course {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// By the source's cluster.
    changes: HashMap<String, Change>,
    times: Vec<Duration>,
    unreported: usize,
}

struct Change {
    number: u32,
    at: Instant,
    /// Ids of the links where it has not arrived.
    missing: HashSet<String>,
}

impl Course {
    /// A source changes now.
    pub fn begin(&self, source: &Source, number: u32) {
        let mut state = lock(&self.state);
        state.unreported += source.links.len();
        let change = Change {
            number,
            at: Instant::now(),
            missing: source.links.iter().map(|link| link.id.clone()).collect(),
        };
        state.changes.insert(source.cluster.clone(), change);
    }

    /// The content of a change is in the hands of a link's destination.
    pub fn arrived(&self, source: &str, number: u32, link: &str) {
        let mut state = lock(&self.state);
        let change = state.changes.get_mut(source).filter(|change| change.number == number);
        let first = change.and_then(|change| change.missing.remove(link).then(|| change.at.elapsed()));
        state.times.extend(first);
    }

    /// The destination has written the status of the link.
    pub fn reported(&self, source: &str, number: u32) {
        let mut state = lock(&self.state);
        if state.changes.get(source).is_some_and(|change| change.number == number) {
            state.unreported = state.unreported.saturating_sub(1);
        }
        if state.unreported == 0 {
            self.changed.notify_one();
        }
    }

    /// Waits until all links of all changes have been reported on. Returns how long the changes took to arrive.
    pub async fn finished(&self) -> Result<Vec<Duration>> {
        let finished = tokio::time::timeout(DEADLINE, async {
            loop {
                {
                    let mut state = lock(&self.state);
                    if state.unreported == 0 {
                        return std::mem::take(&mut state.times);
                    }
                }
                self.changed.notified().await;
            }
        });
        finished.await.map_err(|_| {
            let unreported = lock(&self.state).unreported;
            anyhow!("{unreported} links were not reported on within {DEADLINE:?}")
        })
    }
}
