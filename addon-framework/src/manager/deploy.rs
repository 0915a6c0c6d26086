//! Deploys an addon's manifests in `ManifestWork`s, and tells by `ManifestApplied` what became of it.
use std::sync::Arc;

use peering_api::{
    kube::{Api, ResourceExt},
    ocm::{ManagedCluster, ManifestWork, names::condition},
};

use super::{Error, Key, Observed, Shared, render::render};
use crate::{
    config::{Configs, Resolution},
    registration::{is_guarded, is_owned},
    runtime::{
        Outcome,
        conditions::{self, Status, Wanted},
        error_chain, write,
    },
    work,
};

/// Field manager of works and of the condition.
const MANAGER: &str = "addon-framework-deploy";

pub(super) async fn reconcile(shared: Arc<Shared>, key: Key) -> Result<Outcome, Error> {
    let Some(observed) = shared.observed(&key) else {
        return Ok(Outcome::Done);
    };
    let Some(cluster) = observed.cluster.clone().filter(|_| is_due(&observed)) else {
        return Ok(Outcome::Done);
    };
    let configs = match &observed.configs {
        Resolution::Known(configs) => configs,
        Resolution::Pending { told, .. } => {
            // The works stay as they are until it is known what they are to be.
            let wanted = told
                .as_ref()
                .map(|told| work::not_written(&key.cluster, &key.addon, told));
            if let Some(wanted) = wanted.or_else(|| standing(&shared, &key)) {
                tell(&shared, &key, &observed, wanted).await?;
            }
            return Ok(Outcome::Done);
        }
    };
    let result = deploy(&shared, &key, &observed, &cluster, configs).await;
    let wanted = match &result {
        Ok(wanted) => wanted.clone(),
        Err(error) if error.lasts() => Some(work::not_written(&key.cluster, &key.addon, &error_chain(error))),
        Err(_) => None,
    };
    if let Some(wanted) = wanted {
        tell(&shared, &key, &observed, wanted).await?;
    }
    result.map(|_| Outcome::Done)
}

/// Whether the addon may be on its cluster now. What it waits for brings an event of its own.
fn is_due(observed: &Observed) -> bool {
    let object = &observed.object;
    let conditions = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let options = &observed.options;
    // Once deleted, it stays only as long as a hook needs the agent; then the work goes with the object.
    let needed = object.metadata.deletion_timestamp.is_none() || options.finalizer.is_some();
    is_owned(object)
        && is_guarded(object, options)
        && needed
        && conditions::is_true(conditions, condition::REGISTRATION_APPLIED)
}

/// Writes the works that are not as wanted; returns what to say about them.
async fn deploy(
    shared: &Shared,
    key: &Key,
    observed: &Observed,
    cluster: &ManagedCluster,
    configs: &Configs,
) -> Result<Option<Wanted>, Error> {
    let api = Api::<ManifestWork>::namespaced(shared.clients.request.clone(), &key.cluster);
    let existing = shared.works(key);
    let manifests = render(&shared.memo, key, observed, cluster, configs)?;
    let plan = work::plan(&observed.object, &manifests, &existing)?;
    let mut works = vec![];
    for wanted in &plan.wanted {
        let name = wanted.name_any();
        let index = work::index(&key.addon, &name);
        let there = index.and_then(|index| existing.get(&index));
        if let Some(there) = there.filter(|there| work::unchanged(there, wanted)) {
            works.push((**there).clone());
            continue;
        }
        let action = format!("apply ManifestWork {}/{name}", key.cluster);
        let written = write::apply(&api, &name, MANAGER, wanted).await;
        works.push(written.map_err(Error::request(action))?);
    }
    for obsolete in &plan.obsolete {
        let action = format!("delete ManifestWork {}/{}", key.cluster, obsolete.name_any());
        write::delete(&api, &**obsolete).await.map_err(Error::request(action))?;
    }
    // What is held back comes when the cluster has answered about the works that were written.
    Ok(work::all_applied(&works).filter(|said| !plan.held || said.status != Status::True))
}

/// What is to be said about the works as they are.
fn standing(shared: &Shared, key: &Key) -> Option<Wanted> {
    let works: Vec<_> = shared.works(key).into_values().map(Arc::unwrap_or_clone).collect();
    if works.is_empty() {
        None
    } else {
        work::all_applied(&works)
    }
}

async fn tell(shared: &Shared, key: &Key, observed: &Observed, wanted: Wanted) -> Result<(), Error> {
    let object = &observed.object;
    let conditions = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let wanted = [wanted.at(object.metadata.generation)];
    let action = format!(
        "write condition ManifestApplied of ManagedClusterAddOn {}/{}",
        key.cluster, key.addon
    );
    let written = conditions::apply(&shared.addon_api(&key.cluster), object, MANAGER, conditions, &wanted).await;
    written.map(drop).map_err(Error::request(action))
}
