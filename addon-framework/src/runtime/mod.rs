//! What controllers run on: a keyed queue, resilient watches, two clients per cluster, counters, conditions, leader election.
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
pub mod leader;
pub mod metrics;
pub mod packed;
pub mod queue;
pub mod recent;
pub mod runner;
pub mod watch;
pub mod write;
mod writes;

pub use self::{
    clients::{Clients, clients},
    metrics::{Metrics, metrics},
    packed::Packed,
    queue::Queue,
    recent::Recent,
    runner::{Outcome, RunOptions, run},
    watch::{Failure, FailureKind, Watch, WatchState, watch, watch_with},
};

use std::error::Error;

use kube_runtime::watcher;
use peering_api::kube::{self, core::Status};

/// An error and its sources in one line, each text once (many errors repeat their source's text in their own, and kube's
/// print a refusal of the API server as a whole struct).
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = own_text(error);
    let mut source = error.source();
    while let Some(error) = source {
        let part = own_text(error);
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

/// What an error itself says, without its sources where kube is known to repeat them.
fn own_text(error: &(dyn Error + 'static)) -> String {
    let status = match error.downcast_ref() {
        Some(kube::Error::Api(status)) => Some(&**status),
        _ => error
            .downcast_ref::<Status>()
            .or_else(|| error.downcast_ref::<Box<Status>>().map(|status| &**status)),
    };
    if let Some(status) = status {
        return format!("{} ({} {})", status.message, status.code, status.reason);
    }
    let text = match error.downcast_ref::<watcher::Error>() {
        Some(watcher::Error::InitialListFailed(_)) => "cannot list",
        Some(watcher::Error::WatchStartFailed(_)) => "cannot start to watch",
        Some(watcher::Error::WatchFailed(_)) => "cannot go on watching",
        Some(watcher::Error::WatchError(_)) => "the API server ended the watch",
        Some(watcher::Error::NoResourceVersion) | None => return error.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> kube::Error {
        let status =
            serde_json::json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "no rights"});
        kube::Error::Api(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn each_text_comes_once_and_no_struct() {
        assert_eq!(error_chain(&refusal()), "no rights (403 Forbidden)");
        assert_eq!(
            error_chain(&watcher::Error::InitialListFailed(refusal())),
            "cannot list: no rights (403 Forbidden)"
        );
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(kube::Error::ReadEvents(inner));
        assert_eq!(error_chain(&outer), "Error reading events stream: disk full");
    }
}
