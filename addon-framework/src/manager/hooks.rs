//! Runs the hooks of an addon which is being deleted, and lets it go when they are done.
use jiff::Timestamp;
use peering_api::{
    kube::{Api, ResourceExt, core::DynamicObject},
    ocm::{ManagedCluster, ManifestWork},
};
use tracing::{info, warn};

use super::{Error, Key, Observed, Shared};
use crate::{
    hooks::{self, Progress},
    runtime::{Outcome, conditions::Wanted, write},
    work::{self, Part},
};

/// Field manager of the hooks' works and of the condition.
const MANAGER: &str = "addon-framework-hooks";

/// Condition on an addon which is being deleted and has hooks.
const COMPLETED: &str = "HookManifestCompleted";

/// Runs the hooks of each part whose finalizer is still there, and removes the finalizers of those that are done.
pub(super) async fn run(
    shared: &Shared,
    key: &Key,
    observed: &Observed,
    cluster: &ManagedCluster,
    parts: &[(&Part, &[DynamicObject])],
) -> Result<Outcome, Error> {
    let object = &observed.object;
    let held: Vec<_> = parts
        .iter()
        .filter(|(part, _)| object.finalizers().iter().any(|known| known == part.finalizer()))
        .collect();
    let patience = match hooks::patience(object, cluster, observed.options.hook_deadline, Timestamp::now()) {
        Ok(patience) => patience,
        Err(why) => {
            if let Some((part, _)) = held.first() {
                warn!(
                    cluster = key.cluster,
                    addon = key.addon,
                    why,
                    "hooks are not waited for"
                );
                shared.set_finalizer(key, object, part.finalizer(), false).await?;
            }
            return Ok(Outcome::Done);
        }
    };
    let (mut waiting, mut done) = (vec![], None);
    for (part, hooks) in held {
        match step(shared, key, observed, part, hooks).await? {
            Progress::Done => done = done.or(Some(part)),
            Progress::Running(what) | Progress::Failed(what) => waiting.push(what),
        }
    }
    if !waiting.is_empty() {
        let message = waiting.join("; ");
        shared
            .tell(
                MANAGER,
                key,
                observed,
                Wanted::new(COMPLETED, false, "HookManifestIsNotCompleted", message),
            )
            .await?;
    } else if done.is_some() {
        let message = "all hooks have completed";
        shared
            .tell(
                MANAGER,
                key,
                observed,
                Wanted::new(COMPLETED, true, "HookManifestIsCompleted", message),
            )
            .await?;
    }
    if let Some(part) = done {
        info!(
            cluster = key.cluster,
            addon = key.addon,
            finalizer = part.finalizer(),
            "hooks have completed"
        );
        shared.set_finalizer(key, object, part.finalizer(), false).await?;
    }
    Ok(patience.map_or(Outcome::Done, Outcome::RequeueAfter))
}

/// Runs the hooks of one part: a failed one once more, by a new work after the end of the old one.
async fn step(
    shared: &Shared,
    key: &Key,
    observed: &Observed,
    part: &Part,
    hooks: &[DynamicObject],
) -> Result<Progress, Error> {
    if hooks.is_empty() {
        return Ok(Progress::Done);
    }
    let name = part.hook();
    let api = Api::<ManifestWork>::namespaced(shared.clients.request.clone(), &part.cluster);
    let wanted = hooks::work(part, &observed.object, hooks)?;
    let works = shared.all_works(key);
    let there = works
        .iter()
        .find(|work| work.name_any() == name && work.namespace().as_ref() == Some(&part.cluster));
    let Some(there) = there.filter(|there| work::unchanged(there, &wanted)) else {
        let ending = there.is_some_and(|there| there.metadata.deletion_timestamp.is_some());
        if !ending {
            let action = format!("apply ManifestWork {}/{name}", part.cluster);
            let written = write::apply(&api, &name, MANAGER, &wanted).await;
            written.map_err(Error::request(action))?;
        }
        return Ok(Progress::Running(format!(
            "waiting for ManifestWork {}/{name} to be applied",
            part.cluster
        )));
    };
    let progress = hooks::progress(there, hooks);
    if let Progress::Failed(what) = &progress
        && there.metadata.deletion_timestamp.is_none()
    {
        warn!(cluster = key.cluster, addon = key.addon, what, "a hook has failed");
        let action = format!("delete ManifestWork {}/{name}", part.cluster);
        write::delete(&api, &**there).await.map_err(Error::request(action))?;
    }
    Ok(progress)
}
