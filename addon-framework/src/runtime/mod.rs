//! What controllers run on: a keyed queue, resilient watches, two clients per cluster, counters, conditions.
//!
//! kube's `Controller` is not used: it shares one backoff over all its watches, its error policy gets no attempt count, and
//! its concurrency is unbounded. Here a controller is a [`Queue`], some [`watch()`]es which put keys into it, and [`run`].
//!
//! ```no_run
//! use std::time::Duration;
//! use addon_framework::runtime::{Outcome, Queue, RunOptions, clients, run, watch};
//! use peering_api::{k8s_openapi::api::core::v1::ConfigMap, kube::{Api, Config, ResourceExt}};
//! use tokio_util::{sync::CancellationToken, task::TaskTracker};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clients = clients(Config::infer().await?)?;
//! let (tasks, token, queue) = (TaskTracker::new(), CancellationToken::new(), Queue::new());
//! let keys = queue.clone();
//! let maps = watch(&tasks, &token, "configmaps", Api::<ConfigMap>::all(clients.watch), Default::default(), move |map: &ConfigMap| {
//!     keys.add((map.namespace().unwrap_or_default(), map.name_any()));
//! });
//! maps.ready().await;
//! let options = RunOptions { name: "example", concurrency: 8, deadline: Duration::from_mins(1) };
//! run(queue, options, token, |key| async move {
//!     println!("reconciling {key:?}");
//!     Ok::<_, std::io::Error>(Outcome::Done)
//! })
//! .await;
//! # Ok(())
//! # }
//! ```
pub mod backoff;
pub mod clients;
pub mod conditions;
pub mod metrics;
pub mod queue;
pub mod runner;
pub mod watch;
pub mod write;

pub use self::{
    clients::{Clients, clients},
    metrics::{Metrics, metrics},
    queue::Queue,
    runner::{Outcome, RunOptions, run},
    watch::{Failure, FailureKind, Watch, WatchState, watch, watch_with},
};

use std::error::Error;

/// An error and its sources in one line, each text once (many errors repeat their source's text in their own).
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}
