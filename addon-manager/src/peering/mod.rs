//! What happens when anything about a Peering changes. Read top to bottom: [`hub`] watches and takes a snapshot, [`decide`]
//! turns it into a list of changes (pure, over `exchange`), [`write`] carries the changes out, one request each. Beside that,
//! [`events`] tells transitions and [`metrics`] how things stand.
mod decide;
mod events;
mod hub;
pub(crate) mod metrics;
mod write;

use std::{sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, Queue, RunOptions, run};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub(crate) use self::hub::{Hub, Queues};

/// How many Peerings are worked on at once.
const CONCURRENCY: usize = 8;

/// How long one pass over a Peering may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// Why a pass failed. It is tried again with a growing delay.
#[derive(Debug, Error)]
pub(crate) enum PeeringError {
    /// One of the changes could not be written; the others were tried all the same.
    #[error("{failed} of {total} changes could not be written, first: {change}")]
    Write {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
        /// The first that failed.
        change: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Runs the controller until the token is cancelled.
pub(crate) async fn control(hub: Arc<Hub>, queue: Queue<String>, token: CancellationToken) {
    hub.ready().await;
    let options = RunOptions {
        name: "peering",
        concurrency: CONCURRENCY,
        deadline: DEADLINE,
    };
    run(queue, options, token, move |name: String| {
        let hub = hub.clone();
        async move { pass(&hub, &name).await }
    })
    .await;
}

/// One pass over one Peering: observe, decide, write.
async fn pass(hub: &Hub, name: &str) -> Result<Outcome, PeeringError> {
    let changes = decide::decide(&hub.observe(name));
    let (total, mut failed, mut first) = (changes.len(), 0, None);
    for change in changes {
        let text = change.to_string();
        match write::write(hub, name, change).await {
            Ok(()) => tracing::info!(peering = name, change = text, "wrote"),
            Err(error) => {
                failed += 1;
                // One bad cluster namespace must not keep the changes of the others back.
                first.get_or_insert((text, error));
            }
        }
    }
    match first {
        None => Ok(Outcome::Done),
        Some((change, source)) => Err(PeeringError::Write {
            failed,
            total,
            change,
            source: Box::new(source),
        }),
    }
}
