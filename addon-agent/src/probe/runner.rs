//! Runs the probes over the network, each in a task of its own, apart from the passes over targets: a slow endpoint delays
//! nobody. When a probe runs and what counts is decided in [`exchange::probe`].
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use exchange::probe::{self as judgement, History};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{debug, info};

use super::{Loopback, Probe, run};
use crate::{
    decide::prove::{Network, failure},
    metrics::{Metrics, ProbeLabels},
};

/// How many probes run at once, each with one connection.
const CONCURRENCY: usize = 16;

/// Whose probes they are.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its id.
    pub id: String,
    /// Name of the Peering.
    pub peering: String,
    /// Name of the artefact.
    pub artefact: String,
    /// The cluster that hands over.
    pub from: String,
}

/// All probes that run.
#[derive(Debug)]
pub struct Runner {
    tasks: TaskTracker,
    token: CancellationToken,
    metrics: Metrics,
    loopback: Loopback,
    started: Timestamp,
    permits: Arc<Semaphore>,
    links: Mutex<BTreeMap<String, Probes>>,
}

/// The probes of one link.
#[derive(Debug, Default)]
struct Probes {
    /// As they were last stated.
    network: Vec<Network>,
    /// Those that run, by position.
    entries: BTreeMap<usize, Entry>,
}

/// A probe that runs until it is dropped.
#[derive(Debug)]
struct Entry {
    /// Tells one set of parameters from another.
    digest: u64,
    labels: ProbeLabels,
    history: Arc<Mutex<History>>,
    _running: DropGuard,
}

/// One probe and what it needs to run.
struct Task {
    probe: Probe,
    network: Network,
    seed: String,
    labels: ProbeLabels,
    history: Arc<Mutex<History>>,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

impl Runner {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(tasks: TaskTracker, token: CancellationToken, metrics: Metrics, loopback: Loopback) -> Self {
        Self {
            tasks,
            token,
            metrics,
            loopback,
            started: Timestamp::now(),
            permits: Arc::new(Semaphore::new(CONCURRENCY)),
            links: Mutex::default(),
        }
    }

    /// Whether probes may connect to loopback addresses.
    #[must_use]
    pub fn loopback(&self) -> Loopback {
        self.loopback
    }

    /// States all probes of a link. One whose parameters are as before goes on; one with others runs at once, and what was
    /// known of it stays until it has. `wake` is called when a run changes what counts.
    pub fn want(&self, link: &Link, network: &[Network], wake: &(impl Fn() + Clone + Send + Sync + 'static)) {
        let mut links = lock(&self.links);
        let Probes {
            network: known,
            entries,
        } = links.entry(link.id.clone()).or_default();
        *known = network.to_vec();
        let wanted: BTreeSet<_> = network
            .iter()
            .filter(|network| network.probe.is_ok())
            .map(|network| network.index)
            .collect();
        entries.retain(|index, entry| self.keep(wanted.contains(index), entry));
        for network in network {
            let Ok(probe) = &network.probe else { continue };
            let digest = digest(probe, network);
            let known = entries.get(&network.index);
            if known.is_none_or(|known| known.digest != digest) {
                let history = known.map_or_else(|| History::new(self.started), history_of);
                let entry = self.start(link, network, probe, digest, history, wake.clone());
                entries.insert(network.index, entry);
            }
        }
    }

    /// The probes of a link as they were last stated.
    #[must_use]
    pub fn known(&self, link: &str) -> Vec<Network> {
        lock(&self.links)
            .get(link)
            .map(|probes| probes.network.clone())
            .unwrap_or_default()
    }

    /// What is known of a probe.
    #[must_use]
    pub fn history(&self, link: &str, index: usize) -> Option<History> {
        let links = lock(&self.links);
        links.get(link)?.entries.get(&index).map(history_of)
    }

    /// Ends the probes of links that are not among these.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        lock(&self.links).retain(|link, probes| {
            let stays = keep(link);
            probes.entries.retain(|_, entry| self.keep(stays, entry));
            stays
        });
    }

    fn keep(&self, stays: bool, entry: &Entry) -> bool {
        if !stays {
            self.metrics.forget_probe(&entry.labels);
        }
        stays
    }

    fn start(
        &self,
        link: &Link,
        network: &Network,
        probe: &Probe,
        digest: u64,
        history: History,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Entry {
        let token = self.token.child_token();
        let at_once = history.last_success().is_some() || history.first_failure().is_some();
        let (labels, history) = (labels(link, network), Arc::new(Mutex::new(history)));
        let task = Task {
            probe: probe.clone(),
            network: network.clone(),
            seed: format!("{}/{}", link.id, network.index),
            labels: labels.clone(),
            history: history.clone(),
            permits: self.permits.clone(),
            metrics: self.metrics.clone(),
        };
        let stopped = token.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = task.run(at_once, wake) => {}
            }
        });
        Entry {
            digest,
            labels,
            history,
            _running: token.drop_guard(),
        }
    }
}

impl Task {
    async fn run(self, mut at_once: bool, wake: impl Fn()) {
        loop {
            if !std::mem::take(&mut at_once) {
                tokio::time::sleep(self.wait()).await;
            }
            // The semaphore is never closed.
            let Ok(_permit) = self.permits.acquire().await else {
                return;
            };
            if self.once().await {
                wake();
            }
        }
    }

    fn wait(&self) -> Duration {
        let at = judgement::next_at(&lock(&self.history), &self.network.settings, &self.seed);
        Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
    }

    /// Runs once; returns whether that changes what counts.
    async fn once(&self) -> bool {
        let settings = &self.network.settings;
        let deadline = Duration::try_from(settings.timeout).unwrap_or_default();
        let result = run(&self.probe, deadline).await;
        let (what, now) = (self.network.what.as_str(), Timestamp::now());
        self.metrics.probed(
            &self.labels,
            result.as_ref().map(|_| now).map_err(|failure| failure.reason),
        );
        match &result {
            Ok(_) => debug!(probe = what, "probe succeeded"),
            Err(failure) => debug!(
                probe = what,
                reason = failure.reason.as_str(),
                "probe failed: {failure}"
            ),
        }
        let result = result.map(drop).map_err(|found| failure(&found));
        let mut history = lock(&self.history);
        let after = judgement::note(&history, settings, result, now);
        let news = !after.stands_as(&history);
        if news {
            info!(
                probe = what,
                condition = self.network.condition.as_str(),
                succeeds = after.first_failure().is_none(),
                "what a probe says has changed"
            );
        }
        *history = after;
        news
    }
}

fn history_of(entry: &Entry) -> History {
    lock(&entry.history).clone()
}

fn labels(link: &Link, network: &Network) -> ProbeLabels {
    ProbeLabels {
        peering: link.peering.clone(),
        artefact: link.artefact.clone(),
        from: link.from.clone(),
        probe: format!("{}/{}", network.kind, network.index),
    }
}

/// Secrets are part of the parameters: the digest stays in this process.
fn digest(probe: &Probe, network: &Network) -> u64 {
    let mut hasher = DefaultHasher::new();
    probe.digest(&mut hasher);
    let settings = &network.settings;
    (
        settings.interval.as_millis(),
        settings.timeout.as_millis(),
        settings.failure_threshold,
        &network.what,
    )
        .hash(&mut hasher);
    hasher.finish()
}

/// A poisoned lock is taken as it is: every change above leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests/runner.rs"]
mod tests;
