//! What happens when anything about a Peering changes. Read top to bottom: [`hub`] watches and takes a snapshot, [`decide`]
//! turns it into a list of changes (pure, over `exchange`), [`mod@write`] carries the changes out, one request each. Beside that,
//! [`events`] tells transitions and [`metrics`] how things stand.
mod decide;
mod events;
mod hub;
pub(crate) mod metrics;
mod write;

use std::{fmt::Debug, sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, Queue, RunOptions, run};
use kube::{Api, Resource, ResourceExt, api::ObjectMeta};
use serde::de::DeserializeOwned;
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
    /// The hub has another Peering or profile of that name than the watch last told, or none.
    #[error("{0} is not what the watch last said it was, nothing is made for it until the watch has caught up")]
    Outdated(String),
    /// The Peering or its profile could not be read.
    #[error("{name} could not be read before something is made for it")]
    Unconfirmed {
        /// Its kind and name.
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

/// Asks the hub whether it still has the Peering that something is to be made for, and its profile, as they were seen.
///
/// Each kind has a watch of its own. After a hub was restored from a backup, the watch of the links can have told that they
/// are gone before the watch of the Peerings tells that theirs is: they would be made anew, and be withdrawn a moment later
/// together with the targets, which a restored hub must leave alone.
async fn confirm(hub: &Hub, seen: &Observed) -> Result<(), PeeringError> {
    confirm_one(hub, seen.peering.as_deref()).await?;
    confirm_one(hub, seen.profile.as_deref()).await
}

async fn confirm_one<K>(hub: &Hub, seen: Option<&K>) -> Result<(), PeeringError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let Some(seen) = seen else {
        return Ok(());
    };
    let name = format!("{} {}", K::kind(&()), seen.name_any());
    let now = Api::<K>::all(hub.client.clone())
        .get_metadata_opt(&seen.name_any())
        .await;
    match now {
        Ok(Some(now)) if is_unchanged(&now.metadata, seen.meta()) => Ok(()),
        Ok(_) => Err(PeeringError::Outdated(name)),
        Err(source) => Err(PeeringError::Unconfirmed {
            name,
            source: Box::new(source),
        }),
    }
}

/// The same object with the same wishes. An object of a restored hub keeps its uid, and has the generation of the backup.
fn is_unchanged(now: &ObjectMeta, seen: &ObjectMeta) -> bool {
    (&now.uid, now.generation) == (&seen.uid, seen.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_unchanged_if_neither_it_nor_its_spec_is_another() {
        let meta = |uid: &str, generation, version: &str| ObjectMeta {
            uid: Some(uid.to_owned()),
            generation: Some(generation),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        let seen = meta("u", 2, "5");
        assert!(is_unchanged(&meta("u", 2, "6"), &seen), "its status was written");
        assert!(!is_unchanged(&meta("u", 1, "3"), &seen), "edited after the backup");
        assert!(!is_unchanged(&meta("v", 2, "5"), &seen), "made anew");
    }
}
