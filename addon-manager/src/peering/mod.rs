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
use kube::Api;
use peering_api::peering::Peering;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::hub::Observed;
pub(crate) use self::{
    hub::{Hub, Queues},
    write::create_addon,
};

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
    /// The hub has another Peering of that name than the watch last told, or none.
    #[error("Peering {0} is not what the watch last said it was, nothing is made for it until the watch has caught up")]
    Outdated(String),
    /// The Peering could not be read.
    #[error("Peering {name} could not be read before something is made for it")]
    Unconfirmed {
        /// Its name.
        name: String,
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
    let seen = hub.observe(name);
    let changes = decide::decide(&seen);
    if decide::makes_new(&seen, &changes) {
        confirm(hub, &seen).await?;
    }
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

/// Asks the hub whether it still has the Peering that something is to be made for.
///
/// Each kind has a watch of its own. After a hub was restored from a backup, the watch of the links can have told that they
/// are gone before the watch of the Peerings tells that theirs is: they would be made anew, and be withdrawn a moment later
/// together with the targets, which a restored hub must leave alone.
async fn confirm(hub: &Hub, seen: &Observed) -> Result<(), PeeringError> {
    let Some(peering) = &seen.peering else {
        return Ok(());
    };
    let api = Api::<Peering>::all(hub.client.clone());
    let now = api.get_metadata_opt(&seen.name).await;
    let now = now.map_err(|source| PeeringError::Unconfirmed {
        name: seen.name.clone(),
        source: Box::new(source),
    })?;
    if now.is_some_and(|now| now.metadata.uid == peering.metadata.uid) {
        Ok(())
    } else {
        Err(PeeringError::Outdated(seen.name.clone()))
    }
}
