//! What the manager used and the hub had to write in each step.
use std::{future::Future, time::Duration};

use anyhow::{Context, Result};
use scenarios::bench::{
    counters::{self, Call, Counts, Kind},
    usage::{self, Usage},
};
use testenv::{Env, RunningProcess};

/// The resources that nobody but manager and agents write here, with their subresources.
const OURS: [&str; 5] = ["peerings", "peermembers", "peerexports", "peerlinks", "manifestworks"];
/// The time between two counts.
const INTERVAL: Duration = Duration::from_secs(1);
/// So many counts in a row without a write of ours mean that all is quiet.
const QUIET: u32 = 2;
/// How long it may take until all is quiet.
const DEADLINE: Duration = Duration::from_mins(5);

/// Whether a request is a write to what manager and agents write.
pub fn is_ours(call: &Call) -> bool {
    let resource = call.resource.split('/').next().unwrap_or_default();
    call.kind() == Some(Kind::Write) && OURS.contains(&resource)
}

/// One step.
pub struct Step {
    /// What was done.
    pub what: String,
    /// How long it took.
    pub time: Option<Duration>,
    /// The manager's CPU time meanwhile, and until all was quiet.
    pub cpu: Duration,
    /// The hub's requests meanwhile.
    pub requests: Counts,
    /// The manager afterwards.
    pub usage: Usage,
    /// How the fleet has grown, where links have been added.
    pub grown: Option<Grown>,
}

/// Links that have been added.
#[derive(Clone, Copy)]
pub struct Grown {
    /// How many there are now.
    pub links: u32,
    /// How many of them are new.
    pub new: u32,
}

/// What was measured in a series of changes.
pub struct Taken {
    /// How long each change of each link took.
    pub times: Vec<Duration>,
    /// The hub's requests.
    pub requests: Counts,
    /// The manager's CPU time.
    pub cpu: Duration,
}

/// All steps so far, and where the next one begins.
pub struct Steps<'a> {
    env: &'a Env,
    manager: RunningProcess,
    done: Vec<Step>,
    counted: Counts,
    cpu: Duration,
}

impl<'a> Steps<'a> {
    /// No step yet.
    pub fn new(env: &'a Env, manager: RunningProcess) -> Self {
        Self {
            env,
            manager,
            done: Vec::new(),
            counted: Counts::default(),
            cpu: Duration::ZERO,
        }
    }

    /// The manager's process.
    pub fn manager(&self) -> &RunningProcess {
        &self.manager
    }

    /// Waits until nobody writes what is ours, and returns all requests so far.
    pub async fn settle(&self) -> Result<Counts> {
        let quiet = async {
            let (mut before, mut unchanged) = (counters::requests(self.env).await?, 0);
            while unchanged < QUIET {
                tokio::time::sleep(INTERVAL).await;
                let now = counters::requests(self.env).await?;
                unchanged = if now.since(&before).sum(is_ours) > 0.0 {
                    0
                } else {
                    unchanged + 1
                };
                before = now;
            }
            anyhow::Ok(before)
        };
        let quiet = tokio::time::timeout(DEADLINE, quiet).await;
        quiet.with_context(|| format!("there were writes all the time for {DEADLINE:?}"))?
    }

    /// A step in which nothing is done: whatever happened since the last one ends here.
    pub async fn idle(&mut self, what: &str) -> Result<()> {
        let requests = self.settle().await?;
        self.take(what, None, requests)
    }

    /// A step. It tells itself how long it took.
    pub async fn run(&mut self, what: &str, step: impl Future<Output = Result<Duration>>) -> Result<()> {
        self.counted = self.settle().await?;
        self.cpu = usage::of(self.manager.pid())?.cpu;
        let time = step.await?;
        let requests = self.settle().await?;
        self.take(what, Some(time), requests)
    }

    fn take(&mut self, what: &str, time: Option<Duration>, requests: Counts) -> Result<()> {
        let usage = usage::of(self.manager.pid())?;
        eprintln!("{what}: {time:?}, {usage:?}");
        self.done.push(Step {
            what: what.to_owned(),
            time,
            cpu: usage.cpu.saturating_sub(self.cpu),
            requests: requests.since(&self.counted),
            usage,
            grown: None,
        });
        self.cpu = usage.cpu;
        self.counted = requests;
        Ok(())
    }

    /// The last step has added links.
    pub fn grown(&mut self, grown: Grown) {
        if let Some(step) = self.done.last_mut() {
            step.grown = Some(grown);
        }
    }

    /// Measures changes, from quiet to quiet.
    pub async fn count(&self, changes: impl Future<Output = Result<Vec<Duration>>>) -> Result<Taken> {
        let (counted, before) = (self.settle().await?, usage::of(self.manager.pid())?);
        let times = changes.await?;
        let requests = self.settle().await?.since(&counted);
        let cpu = usage::of(self.manager.pid())?.cpu.saturating_sub(before.cpu);
        Ok(Taken { times, requests, cpu })
    }

    /// The manager is another process now.
    pub fn replaced(&mut self, manager: RunningProcess) -> Result<()> {
        self.manager = manager;
        self.cpu = Duration::ZERO;
        let requests = self.counted.clone();
        self.take("the manager was killed and has started again", None, requests)
    }

    /// All steps.
    pub fn finish(self) -> Vec<Step> {
        self.done
    }
}
