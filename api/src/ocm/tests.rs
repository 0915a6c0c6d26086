//! Objects as OCM writes them: read and written back without losing anything.
use std::fmt::Debug;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;

fn round_trip<K: Serialize + DeserializeOwned + Debug>(wire: &Value) -> K {
    let object: K = serde_json::from_value(wire.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&object).unwrap(), wire);
    object
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "text", "lastTransitionTime": "2026-09-01T10:00:00Z"})
}

fn installed_v1beta1() -> Value {
    json!({
        "apiVersion": "addon.open-cluster-management.io/v1beta1",
        "kind": "ManagedClusterAddOn",
        "metadata": {
            "name": "hello", "namespace": "c1", "uid": "u1", "resourceVersion": "7",
            "annotations": {names::INSTALL_NAMESPACE_ANNOTATION: names::DEFAULT_INSTALL_NAMESPACE},
            "ownerReferences": [{"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ClusterManagementAddOn",
                "name": "hello", "uid": "u0", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {},
        "status": {
            "addOnMeta": {},
            "conditions": [
                condition("Progressing", "False", "Completed"),
                condition("Configured", "True", "ConfigurationsConfigured"),
                condition("RegistrationApplied", "True", "SetPermissionApplied"),
                condition("ManifestApplied", "True", "AddonManifestApplied"),
                condition("Available", "True", "ProbeAvailable"),
            ],
            "configReferences": [{
                "group": "addon.open-cluster-management.io", "resource": "addontemplates", "lastObservedGeneration": 1,
                "desiredConfig": {"name": "hello-1", "specHash": "4d05"},
                "lastAppliedConfig": {"name": "hello-1", "specHash": "4d05"},
            }],
            "healthCheck": {"mode": "Customized"},
            "namespace": "open-cluster-management-agent-addon",
            "registrations": [{"type": "kubeClient", "kubeClient": {"driver": "csr", "subject": {
                "user": "system:open-cluster-management:cluster:c1:addon:hello:agent:hello-agent",
                "groups": ["system:open-cluster-management:cluster:c1:addon:hello", "system:open-cluster-management:addon:hello"],
            }}}],
            "supportedConfigs": [
                {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"},
                {"group": "addon.open-cluster-management.io", "resource": "addontemplates"},
            ],
        },
    })
}

#[test]
fn an_installed_addon_in_v1beta1() {
    let addon: ManagedClusterAddOn = round_trip(&installed_v1beta1());
    let status = addon.status.unwrap();
    assert_eq!(status.conditions.len(), 5);
    assert_eq!(
        status.config_references[0].desired_config.as_ref().unwrap().spec_hash,
        "4d05"
    );
    assert_eq!(
        status.registrations[0].kube_client.as_ref().unwrap().driver.as_deref(),
        Some("csr")
    );
}

#[test]
fn unknown_fields_are_written_back() {
    let mut wire = installed_v1beta1();
    wire["spec"]["future"] = json!({"a": [1]});
    wire["status"]["future"] = json!("b");
    wire["status"]["registrations"][0]["future"] = json!(1);
    wire["status"]["registrations"][0]["kubeClient"]["future"] = json!(true);
    round_trip::<ManagedClusterAddOn>(&wire);
}

#[test]
fn the_same_addon_in_v1alpha1() {
    let mut wire = installed_v1beta1();
    wire["apiVersion"] = json!("addon.open-cluster-management.io/v1alpha1");
    wire["spec"] = json!({"installNamespace": "open-cluster-management-agent-addon"});
    wire["status"]["kubeClientDriver"] = json!("csr");
    wire["status"]["registrations"] = json!([{"signerName": "kubernetes.io/kube-apiserver-client",
        "subject": {"user": "u", "groups": ["g"], "organizationUnit": ["ou"]}}]);
    wire["status"]["configReferences"][0]["name"] = json!("hello-1");
    let addon: addon::v1alpha1::ManagedClusterAddOn = round_trip(&wire);
    assert_eq!(
        addon.status.unwrap().registrations[0]
            .subject
            .as_ref()
            .unwrap()
            .organization_units,
        ["ou"]
    );
}

#[test]
fn a_token_driver_registration_has_a_subject_without_groups() {
    let subject = json!({"user": "system:serviceaccount:c2:hello-agent"});
    let wire = json!({"type": "kubeClient", "kubeClient": {"driver": "token", "subject": subject}});
    round_trip::<addon::v1beta1::RegistrationConfig>(&wire);
}

#[test]
fn addons_of_a_hub_in_both_versions() {
    let wire = json!({"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ClusterManagementAddOn",
        "metadata": {"name": "hello"}, "spec": {"addOnMeta": {"displayName": "h"}, "installStrategy": {"type": "Manual"},
        "defaultConfigs": [{"group": "g", "resource": "r", "name": names::NO_DEFAULT_CONFIG}]}});
    round_trip::<ClusterManagementAddOn>(&wire);
    let wire = json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ClusterManagementAddOn",
        "metadata": {"name": "hello"}, "spec": {"installStrategy": {"type": "Manual"},
        "supportedConfigs": [{"group": "g", "resource": "r", "defaultConfig": {"namespace": "n", "name": "d"}}, {"resource": "s"}]}});
    round_trip::<addon::v1alpha1::ClusterManagementAddOn>(&wire);
}

#[test]
fn a_deploy_work() {
    let wire = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "addon-hello-deploy-0", "namespace": "c1", "generation": 1,
            "annotations": {names::CONFIG_SPEC_HASH_ANNOTATION: "{\"addontemplates.addon.open-cluster-management.io//hello-1\":\"4d05\"}"},
            "labels": {names::ADDON_NAME_LABEL: "hello"}, "finalizers": [names::WORK_FINALIZER]},
        "spec": {
            "executor": {"subject": {"type": "ServiceAccount"}},
            "manifestConfigs": [{"feedbackRules": [{"type": "WellKnownStatus"}], "feedbackScrapeType": "Poll",
                "resourceIdentifier": {"group": "apps", "resource": "deployments", "namespace": "n", "name": "hello-agent"}}],
            "workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}]},
        },
        "status": {
            "conditions": [condition("Applied", "True", "AppliedManifestWorkComplete")],
            "resourceStatus": {"manifests": [{
                "resourceMeta": {"ordinal": 0, "group": "", "version": "v1", "kind": "ConfigMap", "resource": "configmaps", "name": "a", "namespace": "n"},
                "statusFeedback": {"values": []},
                "conditions": [condition("Applied", "True", "AppliedManifestComplete")],
            }]},
        },
    });
    let work: ManifestWork = round_trip(&wire);
    assert_eq!(
        work.status.unwrap().resource_status.manifests[0].resource_meta.kind,
        "ConfigMap"
    );
}

#[test]
fn clusters_and_placements() {
    let wire = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": {"name": "c1"},
        "spec": {"hubAcceptsClient": true, "leaseDurationSeconds": 60, "taints": [{"key": "k", "effect": "NoSelect"}]},
        "status": {"conditions": [condition("ManagedClusterJoined", "True", "ManagedClusterJoined")],
            "clusterClaims": [{"name": "id.k8s.io", "value": "c1"}], "version": {"kubernetes": "v1.36.2"}}});
    assert!(round_trip::<ManagedCluster>(&wire).spec.hub_accepts_client);
    let wire = json!({"apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement", "metadata": {"name": "p"},
        "spec": {"clusterSets": ["s"], "predicates": []}, "status": {"numberOfSelectedClusters": 1, "decisionGroups": []}});
    round_trip::<Placement>(&wire);
    let wire = json!({"apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "PlacementDecision", "metadata": {"name": "p-decision-1"},
        "status": {"decisions": [{"clusterName": "c1", "reason": ""}]}});
    let decision: PlacementDecision = round_trip(&wire);
    assert_eq!(decision.status.unwrap().decisions[0].cluster_name, "c1");
}

#[test]
fn objects_without_a_spec_can_be_read() {
    for spec in [
        json!({"metadata": {"name": "c1"}}),
        json!({"metadata": {"name": "c1"}, "spec": null}),
    ] {
        let mut wire = spec;
        wire["kind"] = json!("ManagedCluster");
        let cluster: ManagedCluster = serde_json::from_value(wire.clone()).unwrap();
        assert!(!cluster.spec.hub_accepts_client);
        let work: ManifestWork = serde_json::from_value(wire).unwrap();
        assert!(work.spec.workload.manifests.is_empty());
    }
}

#[test]
fn plurals_are_those_of_the_crds() {
    assert_eq!(ManagedClusterAddOn::plural(&()), "managedclusteraddons");
    assert_eq!(ClusterManagementAddOn::plural(&()), "clustermanagementaddons");
    assert_eq!(AddOnDeploymentConfig::plural(&()), "addondeploymentconfigs");
    assert_eq!(ManagedCluster::plural(&()), "managedclusters");
    assert_eq!(ManifestWork::plural(&()), "manifestworks");
    assert_eq!(PlacementDecision::plural(&()), "placementdecisions");
}

#[test]
fn an_agent_is_silent_when_its_lease_is_stale_or_its_cluster_unknown() {
    for (status, reason, silent) in [
        ("True", "ManagedClusterAddOnLeaseUpdated", false),
        ("Unknown", "ManagedClusterAddOnLeaseNotFound", false),
        ("False", "ManagedClusterAddOnLeaseUpdateStopped", true),
        ("Unknown", "ManagedClusterLeaseUpdateStopped", true),
        ("False", "ProbeUnavailable", false),
    ] {
        let available = serde_json::from_value(condition("Available", status, reason)).unwrap();
        assert_eq!(addon::is_silent(&[available]), silent, "{status} {reason}");
    }
    assert!(!addon::is_silent(&[]), "nothing is known of a new addon");
}
