//! Deploys an addon's manifests in `ManifestWork`s, and tells what became of them: `ManifestApplied`, in hosted mode
//! `HostingManifestApplied`, and what is said of the addon's health (`health.rs`).
use std::sync::Arc;

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition,
    kube::{Api, ResourceExt, core::DynamicObject},
    ocm::{
        ManagedCluster, ManifestWork,
        names::{HOSTING_CLEANUP_FINALIZER, HOSTING_PRE_DELETE_FINALIZER, PRE_DELETE, condition},
    },
};
use serde_json::{Map, Value, json};

use super::{Error, Key, Observed, Shared, hooks, render::render};
use crate::{
    config::{Configs, Resolution},
    hosted::{self, Share, Shares},
    registration::{is_guarded, is_owned},
    runtime::{
        Outcome,
        conditions::{self, Status, Wanted, find},
        error_chain, write,
    },
    work::{self, Extras, Part},
};

/// Field manager of works and of the conditions.
const MANAGER: &str = "addon-framework-deploy";

/// Finalizers of the framework's own on an addon, besides that of [`crate::Options::finalizer`].
pub(super) const FINALIZERS: [&str; 3] = [PRE_DELETE, HOSTING_PRE_DELETE_FINALIZER, HOSTING_CLEANUP_FINALIZER];

pub(super) async fn reconcile(shared: Arc<Shared>, key: Key) -> Result<Outcome, Error> {
    let Some(observed) = shared.observed(&key) else {
        return Ok(Outcome::Done);
    };
    let Some(cluster) = observed.cluster.clone().filter(|_| is_due(&observed)) else {
        return Ok(Outcome::Done);
    };
    let deleting = observed.object.metadata.deletion_timestamp.is_some();
    let configs = match &observed.configs {
        Resolution::Known(configs) => configs,
        // What is there will do for the hooks of an addon which goes.
        Resolution::Pending { found, .. } if deleting => found,
        Resolution::Pending { told, .. } => {
            // The works stay as they are until it is known what they are to be.
            let wanted = told
                .as_ref()
                .map(|told| work::not_written(&key.cluster, &key.addon, told));
            let wanted = wanted.or_else(|| standing(&shared, &key));
            tell(&shared, &key, &observed, Vec::from_iter(wanted)).await?;
            return Ok(Outcome::Done);
        }
    };
    match place(&shared, &key, &observed, &cluster, configs).await {
        Ok((said, outcome)) => {
            tell(&shared, &key, &observed, said).await?;
            Ok(outcome)
        }
        Err(error) => {
            if error.lasts() {
                let cause = error_chain(&error);
                tell(
                    &shared,
                    &key,
                    &observed,
                    vec![work::not_written(&key.cluster, &key.addon, &cause)],
                )
                .await?;
            }
            Err(error)
        }
    }
}

/// Whether the addon may be on its cluster now. What it waits for brings an event of its own.
fn is_due(observed: &Observed) -> bool {
    let object = &observed.object;
    let options = &observed.options;
    // Once deleted, it stays only as long as a hook needs the agent; then the work goes with the object.
    if object.metadata.deletion_timestamp.is_some() {
        let guards = FINALIZERS.into_iter().chain(options.finalizer.as_deref());
        return is_owned(object) && guards.into_iter().any(|finalizer| has(observed, finalizer));
    }
    is_owned(object)
        && is_guarded(object, options.finalizer.as_ref())
        && conditions::is_true(observed.conditions(), condition::REGISTRATION_APPLIED)
}

fn has(observed: &Observed, finalizer: &str) -> bool {
    observed.object.finalizers().iter().any(|known| known == finalizer)
}

/// Brings all works to where they should be; returns what to say about them.
async fn place(
    shared: &Shared,
    key: &Key,
    observed: &Observed,
    cluster: &ManagedCluster,
    configs: &Configs,
) -> Result<(Vec<Wanted>, Outcome), Error> {
    let host = observed.hosting_cluster(cluster);
    let manifests = render(&shared.memo, key, observed, cluster, configs, host.as_deref())?;
    let split = hosted::share_out(&manifests, host.is_some())?;
    let mut said = vec![];
    let hosting = host.map(|host| {
        let (valid, condition) = hosted::validity(&host, shared.cluster(&host).as_deref());
        said.push(condition);
        (Part::hosting(&key.addon, &key.cluster, &host), valid)
    });
    let hosting = hosting.filter(|(_, valid)| *valid).map(|(part, _)| part);
    let own = Part::managed(&key.addon, &key.cluster);
    let deleting = observed.object.metadata.deletion_timestamp.is_some();
    if !deleting && guard(shared, key, observed, &split, hosting.is_some()).await? {
        return Ok((said, Outcome::Done));
    }
    let mut outcome = Outcome::Done;
    if deleting && hosting.is_none() && has(observed, HOSTING_PRE_DELETE_FINALIZER) {
        // There is no cluster any more that could run them.
        shared
            .set_finalizer(key, &observed.object, HOSTING_PRE_DELETE_FINALIZER, false)
            .await?;
        return Ok((said, outcome));
    }
    if deleting {
        let parts: Vec<_> = [(Some(&own), &split.managed), (hosting.as_ref(), &split.hosting)]
            .into_iter()
            .filter_map(|(part, share)| Some((part?, share.hooks.as_slice())))
            .collect();
        outcome = hooks::run(shared, key, observed, cluster, &parts).await?;
    }
    // Its agent stays until the hooks are done.
    let leaving = deleting && !has(observed, PRE_DELETE) && !has(observed, HOSTING_PRE_DELETE_FINALIZER);
    let stays = hosting.as_ref().filter(|_| !leaving);
    sweep(shared, key, observed, stays).await?;

    let mut works = vec![];
    for (part, share, type_) in [
        (Some(&own), &split.managed, condition::MANIFEST_APPLIED),
        (stays, &split.hosting, hosted::APPLIED),
    ] {
        let Some(part) = part else { continue };
        let (written, applied) = deploy(shared, key, observed, part, share).await?;
        works.extend(written);
        said.extend(applied.map(|applied| Wanted {
            type_: type_.to_owned(),
            ..applied
        }));
    }
    let all: Vec<_> = [split.managed.manifests, split.hosting.manifests].concat();
    let judged = observed.options.health.judge(cluster, &observed.object, &all, &works);
    let (told, later) = shared.bear(key, observed, judged, Timestamp::now());
    said.extend(told);
    if let (Outcome::Done, Some(later)) = (&outcome, later) {
        outcome = Outcome::RequeueAfter(later);
    }
    Ok((said, outcome))
}

/// Puts finalizers where they are needed before anything is made, and takes them away where they are not. Returns whether it
/// added one: then the event of that brings us back.
async fn guard(shared: &Shared, key: &Key, observed: &Observed, split: &Shares, hosting: bool) -> Result<bool, Error> {
    let strays = shared
        .all_works(key)
        .iter()
        .any(|work| work.namespace().as_ref() != Some(&key.cluster));
    let needed = [
        (PRE_DELETE, !split.managed.hooks.is_empty()),
        (HOSTING_PRE_DELETE_FINALIZER, hosting && !split.hosting.hooks.is_empty()),
        (HOSTING_CLEANUP_FINALIZER, hosting || strays),
    ];
    for (finalizer, needed) in needed {
        if needed != has(observed, finalizer) {
            shared.set_finalizer(key, &observed.object, finalizer, needed).await?;
            return Ok(needed);
        }
    }
    Ok(false)
}

/// Deletes the works on other clusters than the one that hosts the agent now; when none is left, the addon may go.
async fn sweep(shared: &Shared, key: &Key, observed: &Observed, hosting: Option<&Part>) -> Result<(), Error> {
    let mut left = false;
    for work in shared.all_works(key) {
        let namespace = work.namespace().unwrap_or_default();
        if namespace == key.cluster || hosting.is_some_and(|part| part.cluster == namespace) {
            continue;
        }
        left = true;
        if work.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let api = Api::<ManifestWork>::namespaced(shared.clients.request.clone(), &namespace);
        let action = format!("delete ManifestWork {namespace}/{}", work.name_any());
        write::delete(&api, &*work).await.map_err(Error::request(action))?;
    }
    let deleting = observed.object.metadata.deletion_timestamp.is_some();
    if deleting && hosting.is_none() && !left && has(observed, HOSTING_CLEANUP_FINALIZER) {
        shared
            .set_finalizer(key, &observed.object, HOSTING_CLEANUP_FINALIZER, false)
            .await?;
    }
    Ok(())
}

/// Writes the deploy works of one part that are not as wanted; returns them all, and what to say about them.
async fn deploy(
    shared: &Shared,
    key: &Key,
    observed: &Observed,
    part: &Part,
    share: &Share,
) -> Result<(Vec<ManifestWork>, Option<Wanted>), Error> {
    let api = Api::<ManifestWork>::namespaced(shared.clients.request.clone(), &part.cluster);
    let existing = shared.works(key, part);
    let plan = work::plan(
        part,
        &observed.object,
        &share.manifests,
        &extras(observed, &share.manifests),
        &existing,
    )?;
    let mut works = vec![];
    for wanted in &plan.wanted {
        let name = wanted.name_any();
        let there = part.index(&name).and_then(|index| existing.get(&index));
        if let Some(there) = there.filter(|there| work::unchanged(there, wanted)) {
            works.push((**there).clone());
            continue;
        }
        let action = format!("apply ManifestWork {}/{name}", part.cluster);
        let written = write::apply(&api, &name, MANAGER, wanted).await;
        works.push(written.map_err(Error::request(action))?);
    }
    for obsolete in &plan.obsolete {
        let action = format!("delete ManifestWork {}/{}", part.cluster, obsolete.name_any());
        write::delete(&api, &**obsolete).await.map_err(Error::request(action))?;
    }
    // What is held back comes when the cluster has answered about the works that were written.
    let said = work::all_applied(&works).filter(|said| !plan.held || said.status != Status::True);
    Ok((works, said))
}

fn extras(observed: &Observed, manifests: &[DynamicObject]) -> Extras {
    let options = &observed.options;
    let configs = options
        .manifest_configs
        .iter()
        .cloned()
        .chain(options.health.manifest_configs(manifests));
    Extras::new(manifests, configs)
}

/// What is to be said about the works as they are.
fn standing(shared: &Shared, key: &Key) -> Option<Wanted> {
    let works = shared.works(key, &Part::managed(&key.addon, &key.cluster));
    let works: Vec<_> = works.into_values().map(Arc::unwrap_or_clone).collect();
    if works.is_empty() {
        None
    } else {
        work::all_applied(&works)
    }
}

/// Writes what is new; what nothing is known about stays as it was said.
async fn tell(shared: &Shared, key: &Key, observed: &Observed, said: Vec<Wanted>) -> Result<(), Error> {
    let object = &observed.object;
    let said: Vec<_> = said
        .into_iter()
        .map(|said| said.at(object.metadata.generation))
        .collect();
    let Some(status) = status(observed, &said, Timestamp::now()) else {
        return Ok(());
    };
    let action = format!(
        "write the conditions of the works of ManagedClusterAddOn {}/{}",
        key.cluster, key.addon
    );
    shared.write_status(MANAGER, key, object, &status, action).await
}

/// All of the status that this controller owns; `None` if it stands there already.
fn status(observed: &Observed, said: &[Wanted], now: Timestamp) -> Option<Map<String, Value>> {
    let existing = observed.object.status.clone().unwrap_or_default();
    conditions::changed(&existing.conditions, said, now)?;
    let hosted = [hosted::VALIDITY, hosted::APPLIED];
    let health = &observed.options.health;
    let owned = [condition::MANIFEST_APPLIED]
        .into_iter()
        .chain(health.condition())
        .chain(hosted.into_iter().filter(|_| observed.options.hosted));
    let conditions: Vec<Condition> = owned
        .filter_map(|type_| match said.iter().find(|said| said.type_ == type_) {
            Some(said) => Some(conditions::merge(&existing.conditions, said, now)),
            None => find(&existing.conditions, type_).cloned(),
        })
        .collect();
    Some(Map::from_iter([("conditions".to_owned(), json!(conditions))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Health, Options, Simple};

    fn observed(health: Health, status: &Value) -> Observed {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}, "status": status});
        Observed {
            addon: Arc::new(Simple::new("hello")),
            options: Arc::new(Options {
                health,
                ..Options::default()
            }),
            configs: Resolution::Known(Configs::default()),
            object: Arc::new(serde_json::from_value(wire).unwrap()),
            cluster: None,
        }
    }

    fn said(type_: &str) -> Wanted {
        Wanted::new(type_, true, "R", "m")
    }

    fn types(status: &Map<String, Value>) -> Vec<&str> {
        let conditions = status["conditions"].as_array().unwrap();
        conditions
            .iter()
            .filter_map(|condition| condition["type"].as_str())
            .collect()
    }

    #[test]
    fn with_a_lease_the_health_is_not_ours() {
        let status =
            |current: &Value, wanted: &[Wanted]| status(&observed(Health::Lease, current), wanted, Timestamp::now());
        let applied = said(condition::MANIFEST_APPLIED);
        let written = status(&json!({}), std::slice::from_ref(&applied)).unwrap();
        assert_eq!(types(&written), ["ManifestApplied"]);
        assert_eq!(status(&Value::Object(written), &[applied]), None);
        assert_eq!(status(&json!({}), &[]), None);
    }

    #[test]
    fn beside_the_lease_only_degraded_is_ours() {
        let both = [said(condition::MANIFEST_APPLIED), said(condition::DEGRADED)];
        let there = json!({"healthCheck": {"mode": "Lease"},
            "conditions": [{"type": "Available", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let written = status(&observed(Health::LeaseAndWorkloads, &there), &both, Timestamp::now()).unwrap();
        assert_eq!(types(&written), ["ManifestApplied", "Degraded"]);
    }

    #[test]
    fn a_judged_health_is_written_and_stays_while_nothing_new_is_known() {
        let both = [said(condition::MANIFEST_APPLIED), said(condition::AVAILABLE)];
        let first = status(&observed(Health::Works, &json!({})), &both, Timestamp::now()).unwrap();
        assert_eq!(types(&first), ["ManifestApplied", "Available"]);
        let there = observed(Health::Works, &Value::Object(first));
        assert_eq!(status(&there, &both, Timestamp::now()), None);
        let failed = Wanted::new(condition::MANIFEST_APPLIED, false, "F", "");
        let second = status(&there, &[failed], Timestamp::now()).unwrap();
        assert_eq!(
            types(&second),
            ["ManifestApplied", "Available"],
            "left out it would be removed"
        );
    }
}
