//! Holds an addon back until its hook is done: a finalizer while it is wanted, the hook once it is being deleted.
use std::{sync::Arc, time::Duration};

use peering_api::{
    kube::{Api, ResourceExt},
    ocm::ManagedCluster,
};
use tracing::{debug, info};

use super::{Error, Key, Observed, Shared, deploy::FINALIZERS};
use crate::{
    addon::Removal,
    registration::is_owned,
    runtime::{
        Outcome,
        conditions::{self, Wanted},
        error_chain,
    },
};

/// Field manager of the condition.
const MANAGER: &str = "addon-framework-removal";

/// Condition on an addon which is being deleted and waits for its hook.
const REMOVABLE: &str = "Removable";

/// Finalizers of older frameworks: whoever takes over an addon removes them.
const DEPRECATED: [&str; 3] = [
    "cluster.open-cluster-management.io/addon-pre-delete",
    "cluster.open-cluster-management.io/hosting-addon-pre-delete",
    "cluster.open-cluster-management.io/hosting-manifests-cleanup",
];

/// How soon a waiting hook is asked again if nothing has changed meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(30);

pub(super) async fn reconcile(shared: Arc<Shared>, key: Key) -> Result<Outcome, Error> {
    let Some(observed) = shared.observed(&key) else {
        return Ok(Outcome::Done);
    };
    let object = &observed.object;
    if object.metadata.deletion_timestamp.is_some() && release(&shared, &key, &observed).await? {
        return Ok(Outcome::Done);
    }
    let Some(finalizer) = observed.options.finalizer.clone() else {
        return Ok(Outcome::Done);
    };
    if object.metadata.deletion_timestamp.is_none() {
        if is_owned(object) && observed.cluster.is_some() {
            set(&shared, &key, &observed, &finalizer, true).await?;
        }
        return Ok(Outcome::Done);
    }
    if !object.finalizers().contains(&finalizer) {
        return Ok(Outcome::Done);
    }
    if observed.cluster.is_none() && is_gone(&shared, &key).await? {
        info!(
            cluster = key.cluster,
            addon = key.addon,
            "cluster is gone, addon released without its hook"
        );
        set(&shared, &key, &observed, &finalizer, false).await?;
        return Ok(Outcome::Done);
    }
    match observed.addon.before_removal(&key.cluster, object).await {
        Ok(Removal::Done) => {
            // Another finalizer may keep the object: it must not go on saying that it waits for us.
            let status = object.status.as_ref();
            if status.is_some_and(|status| conditions::find(&status.conditions, REMOVABLE).is_some()) {
                shared
                    .tell(
                        MANAGER,
                        &key,
                        &observed,
                        Wanted::new(REMOVABLE, true, "CleanedUp", "nothing is left to clean up"),
                    )
                    .await?;
            }
            set(&shared, &key, &observed, &finalizer, false).await?;
            Ok(Outcome::Done)
        }
        Ok(Removal::Wait(message)) => {
            debug!(
                cluster = key.cluster,
                addon = key.addon,
                message,
                "addon not removed yet"
            );
            shared
                .tell(
                    MANAGER,
                    &key,
                    &observed,
                    Wanted::new(REMOVABLE, false, "Waiting", message),
                )
                .await?;
            Ok(Outcome::RequeueAfter(ASK_AGAIN))
        }
        Err(error) => {
            let message = format!(
                "cannot clean up before the removal, trying again: {}",
                error_chain(&error)
            );
            shared
                .tell(
                    MANAGER,
                    &key,
                    &observed,
                    Wanted::new(REMOVABLE, false, "CleanupFailed", message),
                )
                .await?;
            Err(error.into())
        }
    }
}

/// Asks the API server itself: releasing an addon without its hook cannot be taken back.
async fn is_gone(shared: &Shared, key: &Key) -> Result<bool, Error> {
    let clusters = Api::<ManagedCluster>::all(shared.clients.request.clone());
    let found = clusters.get_opt(&key.cluster).await;
    Ok(found
        .map_err(Error::request(format!("read ManagedCluster {}", key.cluster)))?
        .is_none())
}

/// Removes a finalizer that nobody will ever do anything for; returns whether it did. The event of that brings us back to
/// the next one.
async fn release(shared: &Shared, key: &Key, observed: &Observed) -> Result<bool, Error> {
    let held = |finalizers: &'static [&'static str]| {
        let known = observed.object.finalizers();
        finalizers
            .iter()
            .find(|finalizer| known.iter().any(|known| known == *finalizer))
    };
    let finalizer = match (held(&DEPRECATED), held(&FINALIZERS)) {
        (Some(deprecated), _) => deprecated,
        (None, Some(ours)) if observed.cluster.is_none() && is_gone(shared, key).await? => {
            info!(
                cluster = key.cluster,
                addon = key.addon,
                finalizer = ours,
                "cluster is gone, addon released"
            );
            ours
        }
        _ => return Ok(false),
    };
    set(shared, key, observed, finalizer, false).await.map(|()| true)
}

async fn set(shared: &Shared, key: &Key, observed: &Observed, finalizer: &str, present: bool) -> Result<(), Error> {
    shared.set_finalizer(key, &observed.object, finalizer, present).await
}
