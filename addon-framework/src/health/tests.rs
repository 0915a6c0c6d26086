//! What is said about an addon's health, as upstream's tests have it (K2 to K5, K17, K18).
use serde_json::{Value, json};

use super::*;

/// Resource, name, and the numbers that are reported.
type Report<'a> = (&'a str, &'a str, &'a [(&'a str, i64)]);

fn id(resource: &str, name: &str) -> ResourceIdentifier {
    ResourceIdentifier {
        group: "apps".into(),
        resource: resource.into(),
        namespace: "ns".into(),
        name: name.into(),
    }
}

fn manifest(kind: &str, name: &str, replicas: Option<i64>) -> DynamicObject {
    let mut wire =
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "ns"}, "spec": {}});
    if let Some(replicas) = replicas {
        wire["spec"]["replicas"] = replicas.into();
    }
    serde_json::from_value(wire).unwrap()
}

/// A work with this condition `Available`, and these numbers reported by resource and name.
fn work(name: &str, available: Option<&str>, reports: &[Report<'_>]) -> ManifestWork {
    let available = available.map(|status| {
        json!({"type": "Available", "status": status, "reason": "R", "message": "because", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    });
    let manifests: Vec<Value> = reports
        .iter()
        .map(|(resource, name, values)| {
            let values = values
                .iter()
                .map(|(name, value)| json!({"name": name, "fieldValue": {"type": "Integer", "integer": value}}));
            json!({"resourceMeta": {"group": "apps", "resource": resource, "namespace": "ns", "name": name},
                "statusFeedback": {"values": values.collect::<Vec<_>>()}})
        })
        .collect();
    let wire = json!({"metadata": {"name": name, "namespace": "c1"}, "spec": {},
        "status": {"conditions": Vec::from_iter(available), "resourceStatus": {"manifests": manifests}}});
    serde_json::from_value(wire).unwrap()
}

fn addon() -> ManagedClusterAddOn {
    serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}})).unwrap()
}

fn judged(health: &Health, manifests: &[DynamicObject], works: &[ManifestWork]) -> (String, String, String) {
    let said = health
        .judge(&ManagedCluster::default(), &addon(), manifests, works)
        .unwrap();
    (said.status.as_str().to_owned(), said.reason, said.message)
}

fn assert_judged(
    health: &Health,
    manifests: &[DynamicObject],
    works: &[ManifestWork],
    status: &str,
    reason: &str,
) -> String {
    let (found, why, message) = judged(health, manifests, works);
    assert_eq!((found.as_str(), why.as_str()), (status, reason), "{message}");
    message
}

#[test]
fn the_lease_and_the_addons_own_judgement_are_left_alone() {
    for (health, mode) in [(Health::Lease, "Lease"), (Health::None, "Customized")] {
        assert_eq!(health.judge(&ManagedCluster::default(), &addon(), &[], &[]), None);
        assert_eq!((health.mode(), health.condition()), (mode, None));
        assert!(health.manifest_configs(&[manifest("Deployment", "a", None)]).is_empty());
    }
    assert_eq!(Health::Works.mode(), "Customized");
}

#[test]
fn beside_the_lease_a_workload_that_is_not_ready_is_told_once_it_is_reported() {
    let health = Health::LeaseAndWorkloads;
    assert_eq!((health.mode(), health.condition()), ("Lease", Some("Degraded")));
    let manifests = [manifest("Deployment", "a", None), manifest("DaemonSet", "b", None)];
    assert_eq!(health.manifest_configs(&manifests).len(), 2);
    let said = |reports: &[Report<'_>]| {
        let works = [work("w", Some("True"), reports)];
        health.judge(&ManagedCluster::default(), &addon(), &manifests, &works)
    };
    let ready = ("deployments", "a", [("Replicas", 1), ("ReadyReplicas", 1)]);
    let unready = ("deployments", "a", [("Replicas", 1), ("ReadyReplicas", 0)]);
    let nodes = ("daemonsets", "b", [("NumberReady", 2), ("DesiredNumberScheduled", 2)]);
    assert_eq!(said(&[]), None);
    assert_eq!(
        said(&[(unready.0, unready.1, &unready.2)]),
        None,
        "of the other nothing is known"
    );
    let told = |deployment: &Report<'_>| said(&[*deployment, (nodes.0, nodes.1, &nodes.2)]).unwrap();
    let fine = told(&(ready.0, ready.1, &ready.2));
    assert_eq!(
        (fine.type_.as_str(), fine.status.as_str(), fine.reason.as_str()),
        ("Degraded", "False", "WorkloadsReady")
    );
    let bad = told(&(unready.0, unready.1, &unready.2));
    assert_eq!(
        (bad.status.as_str(), bad.reason.as_str()),
        ("True", "WorkloadsNotReady")
    );
    assert!(bad.message.contains("deployments ns/a"), "{}", bad.message);
    let lost = json!({"metadata": {"name": "c1"}, "spec": {}, "status": {"conditions": [{"type": "ManagedClusterConditionAvailable", "status": "Unknown",
        "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let lost: ManagedCluster = serde_json::from_value(lost).unwrap();
    let works = [work(
        "w",
        Some("True"),
        &[(unready.0, unready.1, &unready.2), (nodes.0, nodes.1, &nodes.2)],
    )];
    assert_eq!(health.judge(&lost, &addon(), &manifests, &works), None, "old news");
}

#[test]
fn works_have_to_be_there_and_available() {
    let health = Health::Works;
    assert_judged(&health, &[], &[], "Unknown", "WorkNotFound");
    let message = assert_judged(&health, &[], &[work("w", None, &[])], "Unknown", "WorkNotApplied");
    assert!(message.contains("ManifestWork c1/w"), "{message}");
    let both = [work("w", Some("True"), &[]), work("v", Some("False"), &[])];
    let message = assert_judged(&health, &[], &both, "False", "WorkNotApplied");
    assert!(message.contains("c1/v") && message.contains("because"), "{message}");
    assert_judged(&health, &[], &both[..1], "True", "WorkApplied");
}

#[test]
fn a_probe_waits_for_its_report_and_tells_what_the_check_says() {
    let check = |report: &Feedback| match report.number("size") {
        Some(1) => Ok(()),
        other => Err(format!("size is {other:?}")),
    };
    let rule = json!({"type": "JSONPaths", "jsonPaths": [{"name": "size", "path": ".spec.size"}]});
    let probe = Probe {
        object: id("gadgets", "g-*"),
        rules: vec![rule.clone()],
    };
    let health = Health::Probes(Probes::each([probe], check));
    assert_eq!(health.manifest_configs(&[])[0].feedback_rules, [rule]);
    let works = |reports: &[Report<'_>]| [work("w", Some("True"), reports)];
    assert_judged(&health, &[], &works(&[]), "Unknown", "NoProbeResult");
    assert_judged(
        &health,
        &[],
        &works(&[("gadgets", "other", &[("size", 1)])]),
        "Unknown",
        "NoProbeResult",
    );
    let bad = works(&[("gadgets", "g-1", &[("size", 1)]), ("gadgets", "g-2", &[("size", 7)])]);
    assert_eq!(
        assert_judged(&health, &[], &bad, "False", "ProbeUnavailable"),
        "size is Some(7)",
        "all of them count"
    );
    let good = works(&[("gadgets", "g-1", &[("size", 1)]), ("gadgets", "g-2", &[("size", 1)])]);
    assert_eq!(
        assert_judged(&health, &[], &good, "True", "ProbeAvailable"),
        "hello add-on is available."
    );
}

#[test]
fn a_check_over_all_sees_the_cluster_and_the_addon() {
    let health = Health::Probes(Probes::all(
        [Probe::well_known(id("deployments", "a"))],
        |reports, cluster, addon| {
            assert_eq!(addon.metadata.name.as_deref(), Some("hello"));
            let fine = reports.len() == 1 && cluster.metadata.name.is_none();
            if fine { Ok(()) } else { Err("no".into()) }
        },
    ));
    assert_judged(
        &health,
        &[],
        &[work("w", Some("True"), &[("deployments", "a", &[("x", 1)])])],
        "True",
        "ProbeAvailable",
    );
}

#[test]
fn every_deployment_that_should_run_needs_a_ready_replica() {
    let manifests = [
        manifest("Deployment", "a", None),
        manifest("Deployment", "b", Some(2)),
        manifest("Deployment", "idle", Some(0)),
        manifest("DaemonSet", "d", None),
    ];
    let health = Health::Deployments;
    let asked: Vec<_> = health
        .manifest_configs(&manifests)
        .into_iter()
        .map(|config| config.resource_identifier.name)
        .collect();
    assert_eq!(asked, ["a", "b"]);
    let (a, b) = (
        ("deployments", "a", &[("ReadyReplicas", 1)][..]),
        ("deployments", "b", &[("ReadyReplicas", 0), ("Replicas", 2)][..]),
    );
    let message = assert_judged(
        &health,
        &manifests,
        &[work("w", Some("True"), &[a]), work("v", Some("True"), &[b])],
        "False",
        "ProbeUnavailable",
    );
    assert!(
        message.contains("deployments ns/b of ManifestWork c1/v has 0 ready replicas"),
        "{message}"
    );
    let scaled_down = ("deployments", "b", &[("ReadyReplicas", 0), ("Replicas", 0)][..]);
    assert_judged(
        &health,
        &manifests,
        &[work("w", Some("True"), &[a]), work("v", Some("True"), &[scaled_down])],
        "True",
        "ProbeAvailable",
    );
    assert_judged(
        &health,
        &manifests,
        &[work("w", Some("True"), &[a])],
        "Unknown",
        "NoProbeResult",
    );
    assert_judged(&health, &[], &[work("w", Some("True"), &[])], "True", "WorkApplied");
}

#[test]
fn daemon_sets_have_to_be_ready_everywhere() {
    let manifests = [manifest("DaemonSet", "d", None)];
    let health = Health::Workloads;
    assert_eq!(health.manifest_configs(&manifests).len(), 1);
    for (ready, desired, status) in [(1, 2, "False"), (2, 2, "True"), (0, 0, "True")] {
        let values = [("NumberReady", ready), ("DesiredNumberScheduled", desired)];
        let (found, ..) = judged(
            &health,
            &manifests,
            &[work("w", Some("True"), &[("daemonsets", "d", &values)])],
        );
        assert_eq!(found, status, "{ready} of {desired}");
    }
}

#[test]
fn nothing_is_said_while_nothing_is_known_of_the_cluster() {
    let cluster = |status: &str| {
        let condition = json!({"type": "ManagedClusterConditionAvailable", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value::<ManagedCluster>(
            json!({"metadata": {"name": "c1"}, "spec": {}, "status": {"conditions": [condition]}}),
        )
        .unwrap()
    };
    assert_eq!(Health::Works.judge(&cluster("Unknown"), &addon(), &[], &[]), None);
    assert!(Health::Works.judge(&cluster("False"), &addon(), &[], &[]).is_some());
}

#[test]
fn a_pod_that_only_starts_again_is_no_news() {
    let degraded = |bad: bool| Wanted::new(condition::DEGRADED, bad, "R", "m");
    let now = Timestamp::UNIX_EPOCH;
    let told = [crate::runtime::conditions::merge(&[], &degraded(true), now)];
    assert!(is_degradation(&degraded(true), &[]));
    assert!(!is_degradation(&degraded(true), &told), "it was told before");
    assert!(!is_degradation(&degraded(false), &[]));
    assert!(!is_degradation(&Wanted::new(condition::AVAILABLE, true, "R", "m"), &[]));
    for (passed, left) in [(0, Some(30)), (29, Some(1)), (30, None), (99, None)] {
        let later = now + jiff::SignedDuration::from_secs(passed);
        assert_eq!(kept_back(now, later), left.map(Duration::from_secs), "{passed}");
    }
    assert_eq!(
        kept_back(now + jiff::SignedDuration::from_secs(9), now),
        Some(PATIENCE),
        "a clock that was set back"
    );
}
