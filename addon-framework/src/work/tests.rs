//! Works: built, compared with a copy as an API server returns it, and read.
use peering_api::ocm::ManagedClusterAddOn;
use serde_json::Value;

use super::*;

fn build(addon: &ManagedClusterAddOn, manifests: &[DynamicObject]) -> Result<ManifestWork, WorkError> {
    let (part, extras) = (Part::managed("hello", "c1"), Extras::new(manifests, []));
    Ok(plan(&part, addon, manifests, &extras, &Existing::new())?
        .wanted
        .remove(0))
}

fn addon() -> ManagedClusterAddOn {
    let wire = json!({
        "metadata": {"name": "hello", "namespace": "c1", "uid": "u"}, "spec": {},
        "status": {"configReferences": [
            {"group": "addon.open-cluster-management.io", "resource": "addontemplates", "desiredConfig": {"name": "hello-1", "specHash": "4d05"}},
            {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs",
                "desiredConfig": {"namespace": "ns", "name": "d", "specHash": "ab"}},
        ]},
    });
    serde_json::from_value(wire).unwrap()
}

fn manifest(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn deployment() -> DynamicObject {
    manifest(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "agent", "namespace": "ns"},
        "spec": {"replicas": 1, "paused": false}}),
    )
}

fn map(name: &str) -> DynamicObject {
    manifest(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}, "data": {"a": "b"}}),
    )
}

/// The work as the API server and the work agent leave it.
fn served(wanted: &ManifestWork) -> ManifestWork {
    let mut wire = serde_json::to_value(wanted).unwrap();
    wire["metadata"]["uid"] = json!("w");
    wire["metadata"]["generation"] = json!(2);
    wire["metadata"]["finalizers"] = json!(["cluster.open-cluster-management.io/manifest-work-cleanup"]);
    wire["metadata"]["labels"]["theirs"] = json!("x");
    wire["metadata"]["annotations"]["theirs"] = json!("y");
    wire["spec"]["workload"]["manifests"][0]["metadata"]["creationTimestamp"] = Value::Null;
    wire["spec"]["workload"]["manifests"][0]["spec"]["replicas"] = json!(1.0);
    serde_json::from_value(wire).unwrap()
}

fn condition_of(type_: &str, status: &str, message: &str, generation: i64) -> Value {
    json!({"type": type_, "status": status, "reason": "R", "message": message, "observedGeneration": generation,
        "lastTransitionTime": "2026-09-01T10:00:00Z"})
}

#[test]
fn a_work_is_named_labelled_owned_and_annotated_as_ocm_expects() {
    let work = serde_json::to_value(build(&addon(), &[deployment(), map("a")]).unwrap()).unwrap();
    let expected = json!({
        "name": "addon-hello-deploy-0", "namespace": "c1",
        "labels": {"open-cluster-management.io/addon-name": "hello"},
        "annotations": {"open-cluster-management.io/config-spec-hash":
            "{\"addondeploymentconfigs.addon.open-cluster-management.io/ns/d\":\"ab\",\"addontemplates.addon.open-cluster-management.io//hello-1\":\"4d05\"}"},
        "ownerReferences": [{"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ManagedClusterAddOn", "name": "hello",
            "uid": "u", "controller": true, "blockOwnerDeletion": true}],
    });
    assert_eq!(work["metadata"], expected);
    assert_eq!(work["spec"]["workload"]["manifests"][1]["kind"], "ConfigMap");
    assert_eq!(work.get("status"), None);
}

#[test]
fn the_hash_annotation() {
    let references = |wire: Value| serde_json::from_value::<Vec<ConfigReference>>(wire).unwrap();
    let core = json!([{"resource": "configmaps", "desiredConfig": {"namespace": "n", "name": "m", "specHash": "1"}}]);
    let unknown =
        json!([{"group": "g", "resource": "r"}, {"group": "g", "resource": "r", "desiredConfig": {"name": "m"}}]);
    for (wire, expected) in [
        (json!([]), None),
        (core, Some(r#"{"configmaps/n/m":"1"}"#)),
        (unknown, Some("{}")),
    ] {
        assert_eq!(config_spec_hash(&references(wire)).as_deref(), expected);
    }
}

#[test]
fn a_served_copy_is_unchanged() {
    let wanted = build(&addon(), &[deployment(), map("a")]).unwrap();
    assert!(unchanged(&served(&wanted), &wanted));
}

#[test]
fn defaults_in_manifest_configs_are_no_change() {
    let mut wanted = build(&addon(), &[deployment()]).unwrap();
    let config = json!([{"resourceIdentifier": {"group": "apps", "resource": "deployments", "namespace": "ns", "name": "agent"},
        "feedbackRules": [{"type": "WellKnownStatus"}]}]);
    wanted.spec.manifest_configs = serde_json::from_value(config).unwrap();
    let mut observed = served(&wanted);
    observed.spec.manifest_configs[0].feedback_scrape_type = Some("Poll".into());
    assert!(unchanged(&observed, &wanted));
    observed.spec.manifest_configs.clear();
    assert!(!unchanged(&observed, &wanted));
}

type Change = fn(&mut ManifestWork);

#[test]
fn real_differences_are_changes() {
    let wanted = build(&addon(), &[deployment(), map("a")]).unwrap();
    let changes: [(&str, Change); 6] = [
        ("content", |work| {
            work.spec.workload.manifests[0]["spec"]["replicas"] = json!(2);
        }),
        ("a field more", |work| {
            work.spec.workload.manifests[1]["data"]["c"] = json!("d");
        }),
        ("a manifest less", |work| drop(work.spec.workload.manifests.pop())),
        ("label", |work| work.labels_mut().clear()),
        ("hash", |work| {
            drop(
                work.annotations_mut()
                    .insert(CONFIG_SPEC_HASH_ANNOTATION.into(), "{}".into()),
            );
        }),
        ("owner", |work| work.owner_references_mut()[0].uid = "other".into()),
    ];
    for (what, change) in changes {
        let mut observed = served(&wanted);
        change(&mut observed);
        assert!(!unchanged(&observed, &wanted), "{what}");
    }
    let mut without = wanted.clone();
    without.annotations_mut().clear();
    assert!(
        !unchanged(&served(&wanted), &without),
        "an annotation of ours which is no longer wanted"
    );
}

#[test]
fn manifests_which_the_webhook_would_refuse_are_named() {
    let huge = manifest(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "h"}, "data": {"a": "x".repeat(MAX_MANIFESTS_SIZE)}}),
    );
    for (manifests, text) in [
        (
            vec![map("a"), map("b"), map("a")],
            "ConfigMap ns/a is among the manifests twice",
        ),
        (vec![map("a"), map("")], "manifest number 1 has no name"),
        (
            vec![manifest(json!({"metadata": {"name": "a"}}))],
            "manifest number 0 has no apiVersion and kind",
        ),
        (vec![huge], "a ManifestWork takes at most 512000"),
    ] {
        let error = build(&addon(), &manifests).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn several_works_are_applied_when_all_are() {
    let works = |answers: &[Value]| -> Vec<ManifestWork> {
        answers
            .iter()
            .enumerate()
            .map(|(index, condition)| {
                let mut work = answered(json!({"conditions": [condition]}));
                work.metadata.name = Some(Part::managed("hello", "c1").name(index));
                work
            })
            .collect()
    };
    let (yes, old) = (
        condition_of("Applied", "True", "", 2),
        condition_of("Applied", "True", "", 1),
    );
    let no = condition_of("Applied", "False", "no space", 2);
    let all = all_applied(&works(&[yes.clone(), yes.clone()])).unwrap();
    assert_eq!(
        all.message,
        "manifests of addon are applied successfully: all 4 of 2 ManifestWorks, c1/addon-hello-deploy-0 to addon-hello-deploy-1"
    );
    assert_eq!(all_applied(&works(&[yes.clone(), old.clone()])), None);
    let failed = all_applied(&works(&[old, yes.clone(), no])).unwrap();
    assert!(failed.message.contains("addon-hello-deploy-2"), "{}", failed.message);
    let one = works(&[yes]);
    assert_eq!(all_applied(&one), manifest_applied(&one[0]));
    assert_eq!(all_applied(&[]), Some(nothing_to_apply()));
}

fn answered(status: Value) -> ManifestWork {
    let mut work = served(&build(&addon(), &[deployment(), map("a")]).unwrap());
    work.status = serde_json::from_value(status).unwrap();
    work
}

#[test]
fn no_answer_to_this_generation_says_nothing() {
    assert_eq!(manifest_applied(&answered(json!({}))), None);
    assert_eq!(
        manifest_applied(&answered(
            json!({"conditions": [condition_of("Applied", "False", "", 1)]})
        )),
        None
    );
    assert_eq!(
        manifest_applied(&answered(
            json!({"conditions": [condition_of("Available", "True", "", 2)]})
        )),
        None
    );
}

#[test]
fn success_names_the_work() {
    let applied = manifest_applied(&answered(
        json!({"conditions": [condition_of("Applied", "True", "", 2)]}),
    ))
    .unwrap();
    assert_eq!(
        (applied.status, applied.reason.as_str()),
        (Status::True, "AddonManifestApplied")
    );
    assert!(
        applied
            .message
            .ends_with("all 2 of ManifestWork c1/addon-hello-deploy-0"),
        "{}",
        applied.message
    );
}

#[test]
fn failure_names_the_manifest() {
    let entry = |ordinal: usize, kind: &str, status: &str, message: &str| {
        json!({"resourceMeta": {"ordinal": ordinal, "kind": kind, "name": "a", "namespace": if kind == "Namespace" { "" } else { "ns" }},
            "conditions": [condition_of("Applied", status, message, 2)]})
    };
    let manifests = json!([
        entry(0, "ConfigMap", "True", ""),
        entry(1, "Deployment", "False", "forbidden"),
        entry(2, "Namespace", "False", "terminating"),
        entry(3, "", "False", "no matches for kind"),
    ]);
    let work = answered(
        json!({"conditions": [condition_of("Applied", "False", "general", 2)], "resourceStatus": {"manifests": manifests}}),
    );
    let applied = manifest_applied(&work).unwrap();
    assert_eq!(
        (applied.status, applied.reason.as_str()),
        (Status::False, "AddonManifestAppliedFailed")
    );
    let expected = "ManifestWork c1/addon-hello-deploy-0 is not applied on the cluster: Deployment ns/a: forbidden; Namespace a: terminating; \
        manifest number 3: no matches for kind; ";
    assert!(applied.message.starts_with(expected), "{}", applied.message);
}

#[test]
fn many_failures_are_counted() {
    let manifests: Vec<_> = (0..8)
        .map(|ordinal| json!({"resourceMeta": {"ordinal": ordinal}, "conditions": [condition_of("Applied", "False", "no", 2)]}))
        .collect();
    let work = answered(
        json!({"conditions": [condition_of("Applied", "False", "", 2)], "resourceStatus": {"manifests": manifests}}),
    );
    assert!(manifest_applied(&work).unwrap().message.contains("; and 3 more"));
}
