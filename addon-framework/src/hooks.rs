//! Jobs and Pods that run on a cluster before the addon is removed from it: told from the other manifests, deployed, and
//! their end seen. Pure.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use peering_api::{
    kube::{ResourceExt, core::DynamicObject},
    ocm::{
        ManagedCluster, ManagedClusterAddOn, ManifestWork,
        names::{PRE_DELETE, condition},
        work::ManifestConfig,
    },
};
use serde_json::json;

use crate::{
    runtime::conditions::is_true,
    work::{self, Extras, Feedback, Part, WorkError},
};

/// Annotation on a `ManagedClusterAddOn` which is being deleted (`true`): the hooks are not waited for.
pub const SKIP_ANNOTATION: &str = "addon.open-cluster-management.io/skip-pre-delete";

/// A report that OCM does not know by itself: that a Job has failed for good.
const JOB_FAILED: &str = "JobFailed";

/// Whether a manifest is a hook: by annotation, or by a label of the same name.
pub fn is_hook(manifest: &DynamicObject) -> bool {
    let kind = manifest.types.as_ref().map(|types| types.kind.as_str());
    let marked = manifest.annotations().contains_key(PRE_DELETE) || manifest.labels().contains_key(PRE_DELETE);
    matches!(kind, Some("Job" | "Pod")) && marked
}

/// The work which runs these hooks.
pub fn work(part: &Part, addon: &ManagedClusterAddOn, hooks: &[DynamicObject]) -> Result<ManifestWork, WorkError> {
    let configs = hooks.iter().map(|hook| ManifestConfig {
        resource_identifier: work::identifier(hook, hooks),
        feedback_rules: vec![
            json!({"type": "WellKnownStatus"}),
            json!({"type": "JSONPaths", "jsonPaths": [{"name": JOB_FAILED, "path": ".status.conditions[?(@.type==\"Failed\")].status"}]}),
        ],
        ..ManifestConfig::default()
    });
    work::single(part.metadata(addon, part.hook()), hooks, &Extras::new(&[], configs))
}

/// How far hooks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All have completed.
    Done,
    /// The text says which have not.
    Running(String),
    /// One has failed for good; the text says which.
    Failed(String),
}

/// How far the hooks of this work are.
pub fn progress(work: &ManifestWork, hooks: &[DynamicObject]) -> Progress {
    let name = format!(
        "ManifestWork {}/{}",
        work.namespace().unwrap_or_default(),
        work.name_any()
    );
    let reports = Feedback::all(std::slice::from_ref(work));
    let (mut failed, mut running) = (vec![], vec![]);
    for hook in hooks {
        let id = work::identifier(hook, hooks);
        let kind = hook.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let what = format!("{kind} {}/{}", id.namespace, id.name);
        let said = |value: &str, expected: &str| {
            let mut ours = reports.iter().filter(|report| report.object == id);
            ours.any(|report| report.text(value) == Some(expected))
        };
        if said(JOB_FAILED, "True") || said("PodPhase", "Failed") {
            failed.push(what);
        } else if !said("JobComplete", "True") && !said("PodPhase", "Succeeded") {
            running.push(what);
        }
    }
    let conditions = work
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    if !failed.is_empty() {
        Progress::Failed(format!("{} of {name} failed and is run again", failed.join(", ")))
    } else if !running.is_empty() {
        Progress::Running(format!("waiting for {} of {name} to complete", running.join(", ")))
    } else if is_true(conditions, condition::AVAILABLE) {
        Progress::Done
    } else {
        Progress::Running(format!("waiting for {name} to be available"))
    }
}

/// Why hooks of an addon are no longer waited for; otherwise how long they still are, if that is limited.
pub fn patience(
    addon: &ManagedClusterAddOn,
    cluster: &ManagedCluster,
    limit: Option<Duration>,
    now: Timestamp,
) -> Result<Option<Duration>, String> {
    if addon
        .annotations()
        .get(SKIP_ANNOTATION)
        .is_some_and(|value| value == "true")
    {
        return Err(format!("annotation {SKIP_ANNOTATION} says so"));
    }
    let conditions = cluster
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    if cluster.metadata.deletion_timestamp.is_some() && !is_true(conditions, condition::CLUSTER_AVAILABLE) {
        return Err("the cluster is being removed from the hub and cannot be reached".to_owned());
    }
    let (Some(limit), Some(deleted)) = (limit, &addon.metadata.deletion_timestamp) else {
        return Ok(None);
    };
    let left = SignedDuration::try_from(limit)
        .unwrap_or(SignedDuration::MAX)
        .saturating_sub(now.duration_since(deleted.0));
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(format!("they were not done within {limit:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hook(kind: &str, name: &str) -> DynamicObject {
        let wire = json!({"apiVersion": if kind == "Job" { "batch/v1" } else { "v1" }, "kind": kind,
            "metadata": {"name": name, "namespace": "ns", "annotations": {PRE_DELETE: ""}}});
        serde_json::from_value(wire).unwrap()
    }

    fn addon() -> ManagedClusterAddOn {
        serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "c1", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}))
        .unwrap()
    }

    #[test]
    fn hooks_are_marked_jobs_and_pods() {
        assert!(is_hook(&hook("Job", "a")) && is_hook(&hook("Pod", "a")));
        let mut labelled = hook("Job", "a");
        labelled.metadata.annotations = None;
        assert!(!is_hook(&labelled));
        labelled.labels_mut().insert(PRE_DELETE.into(), String::new());
        assert!(is_hook(&labelled));
        assert!(!is_hook(&hook("ConfigMap", "a")));
    }

    #[test]
    fn the_work_reports_about_each_hook() {
        let work = work(
            &Part::managed("hello", "c1"),
            &addon(),
            &[hook("Job", "a"), hook("Pod", "b")],
        )
        .unwrap();
        assert_eq!(work.name_any(), "addon-hello-pre-delete");
        assert_eq!(work.owner_references()[0].uid, "u");
        let ids: Vec<_> = work
            .spec
            .manifest_configs
            .iter()
            .map(|config| config.resource_identifier.resource.as_str())
            .collect();
        assert_eq!(ids, ["jobs", "pods"]);
        assert_eq!(
            work.spec.manifest_configs[0].feedback_rules[0],
            json!({"type": "WellKnownStatus"})
        );
        assert_eq!(work.spec.workload.manifests.len(), 2);
    }

    fn answered(reports: &[(&str, &str, &str, &str)], available: &str) -> ManifestWork {
        let manifests: Vec<Value> = reports
            .iter()
            .map(|(kind, name, value, text)| {
                let (group, resource) = if *kind == "Job" { ("batch", "jobs") } else { ("", "pods") };
                json!({"resourceMeta": {"group": group, "resource": resource, "kind": kind, "namespace": "ns", "name": name},
                    "statusFeedback": {"values": [{"name": value, "fieldValue": {"type": "String", "string": text}}]}})
            })
            .collect();
        let condition = json!({"type": "Available", "status": available, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let wire = json!({"metadata": {"name": "w", "namespace": "c1"}, "spec": {},
            "status": {"conditions": [condition], "resourceStatus": {"manifests": manifests}}});
        serde_json::from_value(wire).unwrap()
    }

    #[test]
    fn all_hooks_have_to_complete() {
        let hooks = [hook("Job", "a"), hook("Pod", "b")];
        let (job, pod) = (
            ("Job", "a", "JobComplete", "True"),
            ("Pod", "b", "PodPhase", "Succeeded"),
        );
        let running = |reports: &[_], available: &str| match progress(&answered(reports, available), &hooks) {
            Progress::Running(text) => text,
            other => panic!("{other:?}"),
        };
        assert!(running(&[], "True").contains("Job ns/a, Pod ns/b of ManifestWork c1/w"));
        assert!(running(&[job], "True").contains("Pod ns/b"));
        assert!(running(&[job, ("Pod", "b", "PodPhase", "Running")], "True").contains("Pod ns/b"));
        assert!(running(&[("Job", "a", "JobComplete", "False"), pod], "True").contains("Job ns/a"));
        assert!(running(&[job, pod], "False").contains("available"));
        assert_eq!(progress(&answered(&[job, pod], "True"), &hooks), Progress::Done);
        for failed in [
            [("Job", "a", JOB_FAILED, "True"), pod],
            [job, ("Pod", "b", "PodPhase", "Failed")],
        ] {
            assert!(matches!(
                progress(&answered(&failed, "True"), &hooks),
                Progress::Failed(_)
            ));
        }
    }

    #[test]
    fn hooks_are_waited_for_until_the_limit_or_the_annotation() {
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).unwrap();
        let minute = Some(Duration::from_mins(1));
        let patience =
            |addon: &ManagedClusterAddOn, limit, now| super::patience(addon, &ManagedCluster::default(), limit, now);
        assert_eq!(patience(&addon(), None, at(1_000_000)), Ok(None));
        assert_eq!(patience(&addon(), minute, at(20)), Ok(Some(Duration::from_secs(40))));
        assert!(patience(&addon(), minute, at(60)).unwrap_err().contains("60s"));
        let mut skipped = addon();
        skipped.annotations_mut().insert(SKIP_ANNOTATION.into(), "true".into());
        assert!(patience(&skipped, None, at(0)).unwrap_err().contains(SKIP_ANNOTATION));
    }

    #[test]
    fn a_cluster_that_leaves_is_waited_for_only_if_it_can_be_reached() {
        for (deleted, available, waited) in [
            (false, "Unknown", true),
            (true, "True", true),
            (true, "Unknown", false),
            (true, "False", false),
        ] {
            let condition = json!({"type": "ManagedClusterConditionAvailable", "status": available, "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let mut wire = json!({"metadata": {"name": "c1"}, "spec": {}, "status": {"conditions": [condition]}});
            if deleted {
                wire["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            let cluster = serde_json::from_value(wire).unwrap();
            let now = Timestamp::from_second(1_767_225_600).unwrap();
            assert_eq!(
                patience(&addon(), &cluster, None, now).is_ok(),
                waited,
                "{deleted} {available}"
            );
        }
    }
}
