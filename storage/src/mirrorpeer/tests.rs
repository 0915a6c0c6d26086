//! Lives of `MirrorPeer`s on a hub in memory, from the first pass to the last.
use std::collections::BTreeMap;

use peering_api::odf::ClientInfo;
use serde_json::json;

use super::{
    fixtures::{Hub, at, standing},
    *,
};
use crate::{names, ramen::Record};

/// Spoils something; what is then told.
type Case = (fn(&mut Hub), &'static str, &'static str);

const READY: (&str, &str) = ("Ready", "Setup is completed");

fn phase(hub: &Hub, name: &str) -> (&'static str, &'static str) {
    let (phase, message, ..) = hub.says(name);
    (phase, message)
}

fn pair(manage_s3: bool) -> Hub {
    let mut hub = Hub::new(&["c1", "c2", "c3"]);
    hub.peer("mp", ["c1", "c2"], manage_s3);
    hub
}

#[test]
fn a_pair_is_set_up_and_taken_back_without_a_trace() {
    let mut hub = pair(true);
    let before = hub.ramen.clone();
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
    assert_eq!(hub.peerings.len(), 3, "{:?}", hub.peerings.keys());
    assert_eq!(hub.profile_of("c1").as_deref(), Some("s3profile-c1-sc"));
    assert_eq!(hub.profile_of("c2").as_deref(), Some("s3profile-c2-sc"));
    let (text, _) = hub.ramen.clone().unwrap();
    let entry = crate::ramen::profile(&text, "s3profile-c1-sc").unwrap().unwrap();
    assert_eq!(entry.s3_bucket, names::bucket("c1", "c2"));
    assert_eq!(entry.s3_secret_ref.name, names::s3_secret("c1", "ns", "sc"));

    hub.news();
    hub.settle();
    assert_eq!(hub.news().len(), 0, "at rest nothing is written");

    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty());
    assert_eq!(hub.ramen, before);
    assert_eq!(hub.dr_clusters.known().unwrap().len(), 0);
}

#[test]
fn nothing_may_use_what_is_gone() {
    let mut hub = pair(true);
    hub.settle();
    hub.news();
    hub.delete("mp");
    hub.settle();
    let order = |what: &str| hub.written.iter().position(|write| write.contains(what)).unwrap();
    assert!(order("delete DRCluster c1") < order("edit Ramen"), "{:#?}", hub.written);
    assert!(
        order("edit Ramen") < order("delete Peering s3-store-c1"),
        "{:#?}",
        hub.written
    );
    assert_eq!(hub.written.last().unwrap(), "release");
}

#[test]
fn the_peer_token_is_named_after_the_other_cluster() {
    let mut hub = pair(false);
    hub.settle();
    let peering = &hub.peerings[&names::token_peering("mp")];
    assert_eq!(peering.spec.profile, CONVERGED_PROFILE);
    for member in &peering.spec.members {
        assert_eq!(member.parameters["storageCluster"], "sc");
        assert_eq!(member.parameters["namespace"], "ns");
    }
    // What comes from c1, and so is written on c2, is named after c1.
    let secrets: BTreeMap<String, String> = serde_json::from_str(&peering.spec.parameters["peerSecrets"]).unwrap();
    let expected = ["c1", "c2"].map(|cluster| (cluster.to_owned(), names::peer_secret(cluster, "ns", "sc")));
    assert_eq!(secrets, BTreeMap::from(expected));
    assert_eq!(hub.peerings.len(), 1, "manageS3 is off");
    assert_eq!(phase(&hub, "mp"), READY);
    assert_eq!(hub.ramen.as_ref().unwrap().0, "kind: RamenConfig\n");
}

#[test]
fn one_without_s3_can_be_deleted() {
    let mut hub = pair(false);
    hub.settle();
    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty());
}

#[test]
fn what_cannot_be_served_is_told_and_can_be_deleted() {
    let item = |cluster: &str, name: &str| json!({"clusterName": cluster, "storageClusterRef": {"name": name, "namespace": "ns"}});
    for (items, says) in [
        (json!([item("c1", "sc")]), "expected two items, seen 1"),
        (json!([item("c1", "sc"), item("", "sc")]), "needs clusterName"),
        (json!([item("c1", "sc"), item("c2", "")]), "needs clusterName"),
        (
            json!([item("c1", "sc"), item("c1", "sc")]),
            "both items are storage cluster sc of cluster c1",
        ),
        (
            json!([item("c1", "sc"), item("nowhere", "sc")]),
            "cluster nowhere is not a ManagedCluster",
        ),
        (
            json!([item("c1", "sc"), {"clusterName": "c2", "storageClusterRef": {"name": "client"}}]),
            "storage client client of cluster c2 is not known, known there: other",
        ),
    ] {
        let mut hub = Hub::new(&["c1", "c2"]);
        hub.clients.insert("c2_other".to_owned(), ClientInfo::default());
        hub.apply("mp", json!({"items": items, "manageS3": true}));
        hub.settle();
        let (phase, message, reason, said) = hub.says("mp");
        assert_eq!(
            (phase, message, reason.as_str()),
            ("Failed", "Validation failed", "ValidationFailed")
        );
        assert!(said.contains(says), "{said}");
        assert_eq!(hub.news(), ["take over".to_owned()].into());
        hub.delete("mp");
        hub.settle();
        assert!(hub.peers.is_empty());
    }
}

#[test]
fn a_cluster_that_is_detached_later_takes_nothing_back_and_does_not_hold_deletion_up() {
    let mut hub = pair(true);
    hub.settle();
    hub.clusters.remove("c2");
    hub.news();
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Failed", "Validation failed"));
    assert_eq!(hub.news().len(), 0, "what was set up stays");
    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty());
}

#[test]
fn a_policy_of_the_two_clusters_blocks_deletion_in_either_order() {
    for clusters in [["c1", "c2"], ["c2", "c1"]] {
        let mut hub = pair(true);
        hub.settle();
        hub.policy("p", &clusters);
        hub.delete("mp");
        hub.settle();
        let (phase, message, reason, said) = hub.says("mp");
        assert_eq!(
            (phase, message, reason.as_str()),
            ("Deleting", "Deletion failed", "DeletionFailed")
        );
        assert!(
            said.contains("DRPolicy 'p' exists and requires MirrorPeer 'mp'"),
            "{said}"
        );
        assert_eq!(hub.peerings.len(), 3);
        hub.dr_policies = Foreign::Known(Vec::new());
        hub.settle();
        assert!(hub.peers.is_empty());
    }
    for others in [&["c1", "c3"][..], &["c1"], &[]] {
        let mut hub = pair(true);
        hub.settle();
        hub.policy("p", others);
        hub.delete("mp");
        hub.settle();
        assert!(hub.peers.is_empty(), "{others:?}");
    }
}

#[test]
fn deletion_waits_until_it_is_known_which_policies_there_are() {
    let mut hub = pair(false);
    hub.settle();
    hub.dr_policies = Foreign::Pending;
    hub.delete("mp");
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Deleting", "Deletion is in progress"));
    assert_eq!(hub.peerings.len(), 1);
    hub.dr_policies = Foreign::Missing;
    hub.settle();
    assert!(hub.peers.is_empty());
}

#[test]
fn a_member_that_does_not_come_back_is_left_behind_on_request() {
    let mut hub = pair(false);
    hub.settle();
    hub.agents = false;
    hub.delete("mp");
    hub.settle();
    let (_, message, _, said) = hub.says("mp");
    assert_eq!(message, "Deletion is in progress");
    assert!(said.contains("waiting for Peering mirrorpeer-mp-"), "{said}");
    let peer = std::sync::Arc::make_mut(hub.peers.get_mut("mp").unwrap());
    peer.metadata.annotations =
        Some([(peering_api::names::FORCE_LOCAL_ANNOTATION.to_owned(), "true".to_owned())].into());
    hub.settle();
    assert!(hub.peers.is_empty());
}

#[test]
fn two_that_share_a_cluster_share_its_store_and_neither_takes_it_from_the_other() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut hub = Hub::new(&["c1", "c2", "c3"]);
        hub.peer("a", ["c1", "c2"], true);
        hub.peer("b", ["c3", "c1"], true);
        hub.settle();
        assert_eq!((phase(&hub, "a"), phase(&hub, "b")), (READY, READY));
        let shared = names::store_peering("c1", "ns", "sc");
        let bucket = |hub: &Hub| hub.peerings[&shared].spec.parameters["bucket"].clone();
        assert_eq!(bucket(&hub), names::bucket("c1", "c2"), "the older one names it");
        assert_eq!(hub.peerings.len(), 5);

        hub.news();
        hub.delete(first);
        hub.settle();
        assert_eq!(phase(&hub, second), READY);
        assert_eq!(
            bucket(&hub),
            names::bucket("c1", "c2"),
            "the bucket stays with its content"
        );
        let news = hub.news();
        assert!(!news.iter().any(|write| write.contains("DRCluster c1")), "{news:?}");
        assert_eq!(hub.peerings.len(), 3);

        hub.delete(second);
        hub.settle();
        assert!(hub.peers.is_empty() && hub.peerings.is_empty());
        assert_eq!(hub.ramen.as_ref().unwrap().0, "kind: RamenConfig\n");
    }
}

#[test]
fn the_same_pair_twice_is_told_to_the_younger_one() {
    let mut hub = pair(true);
    hub.peer("twin", ["c2", "c1"], true);
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
    let (phase_of_twin, _, _, said) = hub.says("twin");
    assert_eq!(phase_of_twin, "Failed");
    assert!(said.contains("MirrorPeer mp pairs the same"), "{said}");
    // It may go although a policy needs the pair.
    hub.policy("p", &["c1", "c2"]);
    hub.delete("twin");
    hub.settle();
    assert!(!hub.peers.contains_key("twin"));
    assert_eq!((phase(&hub, "mp"), hub.peerings.len()), (READY, 3));
}

#[test]
fn reversed_items_keep_bucket_and_names() {
    let mut hub = pair(true);
    hub.settle();
    hub.news();
    hub.peer("mp", ["c2", "c1"], true);
    hub.settle();
    let news = hub.news();
    // Only the order of the members in the exchange of tokens follows.
    assert!(news.iter().all(|write| write.contains("mirrorpeer-mp-")), "{news:?}");
    assert_eq!(phase(&hub, "mp"), READY);
}

#[test]
fn switching_s3_off_takes_it_back_unless_a_policy_needs_it() {
    let mut hub = pair(true);
    hub.settle();
    hub.policy("p", &["c1", "c2"]);
    hub.news();
    hub.peer("mp", ["c1", "c2"], false);
    hub.settle();
    assert_eq!(hub.profile_of("c1").as_deref(), Some("s3profile-c1-sc"));
    hub.dr_policies = Foreign::Known(Vec::new());
    hub.settle();
    assert_eq!((hub.profile_of("c1"), hub.peerings.len()), (None, 1));
    assert_eq!(hub.ramen.as_ref().unwrap().0, "kind: RamenConfig\n");
    assert_eq!(phase(&hub, "mp"), READY);
}

#[test]
fn progress_is_told_stage_by_stage() {
    let mut hub = pair(true);
    hub.agents = false;
    hub.clusters
        .values_mut()
        .for_each(|cluster| cluster.agent = Agent::Missing);
    let decision = decide(&hub.seen("mp"));
    let status = decision.status.unwrap();
    assert_eq!(
        (status.phase.as_str(), status.message),
        ("Configuring", "Configuration is in progress")
    );
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Configuring", "Peering is in progress"));

    let tokens = names::token_peering("mp");
    let set = |hub: &mut Hub, name: &str, conditions: &[(&str, &str)]| {
        let peering = std::sync::Arc::make_mut(hub.peerings.get_mut(name).unwrap());
        peering.status = Some(standing(conditions));
    };
    set(
        &mut hub,
        &tokens,
        &[("Accepted", "True"), ("Ready", "False"), ("Degraded", "True")],
    );
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Configuring", "Peering of managedclusters failed"));
    set(
        &mut hub,
        &tokens,
        &[("Accepted", "True"), ("Ready", "False"), ("Degraded", "False")],
    );
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Configuring", "Peering is in progress"));
    set(&mut hub, &tokens, &[("Accepted", "True"), ("Ready", "True")]);
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Configuring", "S3 configuration is in progress"));

    hub.dr_clusters = Foreign::Missing;
    hub.agents = true;
    hub.settle();
    let (_, message, _, said) = hub.says("mp");
    assert_eq!(message, "DRCluster configuration is in progress");
    assert!(said.contains("kind DRCluster"), "{said}");
    hub.dr_clusters = Foreign::Known(BTreeMap::new());
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
}

#[test]
fn what_is_missing_around_it_is_a_condition() {
    let ramen = |hub: &mut Hub| hub.ramen = None;
    let unmanaged = |hub: &mut Hub| hub.itself = None;
    let on_the_hub = |hub: &mut Hub| hub.itself = Some("c1".to_owned());
    let opted_out = |hub: &mut Hub| hub.clusters.get_mut("c1").unwrap().agent = Agent::OptedOut;
    let silent = |hub: &mut Hub| hub.clusters.get_mut("c2").unwrap().agent = Agent::Silent;
    let cases: [Case; 5] = [
        (ramen, "S3 configuration failed", "install Ramen's hub operator"),
        (unmanaged, "S3 configuration failed", "import it as local-cluster"),
        (on_the_hub, "S3 configuration failed", "on the hub itself"),
        (
            opted_out,
            "ManagedClusterAddon configuration failed",
            "cluster c1 opts out of addons",
        ),
        (
            silent,
            "ManagedClusterAddon configuration failed",
            "the agent of cluster c2 has fallen silent",
        ),
    ];
    for (spoil, message, part) in cases {
        let mut hub = pair(true);
        spoil(&mut hub);
        hub.settle();
        let (phase, seen, _, said) = hub.says("mp");
        assert_eq!((phase, seen), ("Configuring", message));
        assert!(said.contains(part), "{said}");
        hub.delete("mp");
        hub.settle();
        assert!(hub.peers.is_empty() && hub.peerings.is_empty(), "{message}");
    }
}

#[test]
fn a_profile_that_is_not_installed_is_told() {
    let mut hub = pair(false);
    hub.agents = false;
    hub.settle();
    let peering = std::sync::Arc::make_mut(hub.peerings.get_mut(&names::token_peering("mp")).unwrap());
    let mut status = standing(&[("Accepted", "False"), ("Ready", "False")]);
    status.conditions[0].reason = "ProfileNotFound".to_owned();
    peering.status = Some(status);
    hub.settle();
    assert_eq!(phase(&hub, "mp"), ("Configuring", "Peering of managedclusters failed"));
}

#[test]
fn what_the_go_orchestrator_left_is_taken_over() {
    let mut hub = pair(true);
    let peer = std::sync::Arc::make_mut(hub.peers.get_mut("mp").unwrap());
    peer.metadata.finalizers = Some(vec![
        "hub.multicluster.odf.openshift.io".to_owned(),
        "c1.spoke.multicluster.odf.openshift.io".to_owned(),
        "somebody.else/needs-it".to_owned(),
    ]);
    let text = format!(
        "s3StoreProfiles:\n- s3ProfileName: s3profile-c1-sc\n  s3Bucket: {}\n  s3Region: noobaa\n  s3CompatibleEndpoint: https://s3.c1.example.com\n  s3SecretRef:\n    name: {}\n  veleroNamespaceSecretKeyRef: {{key: cloud, name: x}}\n",
        names::bucket("c1", "c2"),
        names::s3_secret("c1", "ns", "sc"),
    );
    hub.ramen = Some((text.clone(), Record::default()));
    hub.dr_cluster(json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster", "metadata": {"name": "c1",
        "ownerReferences": [{"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer", "name": "mp", "uid": "u", "controller": true}]},
        "spec": {"s3ProfileName": "s3profile-c1-sc", "region": "fsid", "cidrs": ["10.0.0.0/8"]}}));
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
    let finalizers = hub.peers["mp"].metadata.finalizers.clone().unwrap();
    assert_eq!(
        finalizers,
        ["somebody.else/needs-it", "hub.multicluster.odf.openshift.io"]
    );
    let (now, _) = hub.ramen.clone().unwrap();
    assert!(
        now.starts_with(&text),
        "the entry that was there has not changed: {now}"
    );
    let cluster = hub.dr_clusters.known().unwrap()["c1"].clone();
    assert_eq!(cluster.metadata.owner_references.as_deref(), Some(&[][..]));
    assert_eq!(cluster.spec.extra["cidrs"], json!(["10.0.0.0/8"]));
}

#[test]
fn somebody_elses_dr_cluster_is_left_alone() {
    for (profile, expected) in [
        ("s3profile-c1-sc", READY),
        ("minio", ("Configuring", "DRCluster configuration failed")),
    ] {
        let mut hub = pair(true);
        hub.dr_cluster(
            json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster", "metadata": {"name": "c1"},
            "spec": {"s3ProfileName": profile}}),
        );
        let before = hub.dr_clusters.known().unwrap()["c1"].clone();
        hub.settle();
        assert_eq!(phase(&hub, "mp"), expected);
        assert_eq!(hub.dr_clusters.known().unwrap()["c1"], before);
        hub.delete("mp");
        hub.settle();
        assert_eq!(hub.dr_clusters.known().unwrap()["c1"], before);
        if profile == "minio" {
            assert!(hub.peers.is_empty());
            continue;
        }
        // What it uses is not taken away from it.
        let (.., said) = hub.says("mp");
        assert!(
            said.contains("s3profile-c1-sc in Ramen's configuration, which DRCluster c1 uses"),
            "{said}"
        );
        hub.dr_clusters = Foreign::Known(BTreeMap::new());
        hub.settle();
        assert!(hub.peers.is_empty());
    }
}

#[test]
fn modes_are_told_apart_by_what_is_found() {
    let info = |version: &str, kind: &str| {
        let text = json!({"providerInfo": {"version": version, "deploymentType": kind, "namespacedName": {"Namespace": "ns", "Name": "sc"}}});
        serde_json::from_value(text).unwrap()
    };
    for (type_, first, second, tokens, message) in [
        ("sync", None, None, false, "Setup is completed"),
        ("async", None, None, true, "Setup is completed"),
        (
            "async",
            Some(("4.18.1", "internal")),
            Some(("4.18.9", "internal")),
            true,
            "Setup is completed",
        ),
        ("async", Some(("4.18.1", "external")), None, false, "Setup is completed"),
        (
            "async",
            Some(("4.19.0", "internal")),
            Some(("4.19.0", "internal")),
            false,
            "Configuration failed",
        ),
        (
            "async",
            Some(("4.18.0", "internal")),
            Some(("4.20.0", "internal")),
            false,
            "Configuration failed",
        ),
    ] {
        let mut hub = Hub::new(&["c1", "c2"]);
        for (key, known) in [("c1_sc", first), ("c2_sc", second)] {
            if let Some((version, kind)) = known {
                hub.clients.insert(key.to_owned(), info(version, kind));
            }
        }
        let items = ["c1", "c2"]
            .map(|cluster| json!({"clusterName": cluster, "storageClusterRef": {"name": "sc", "namespace": "ns"}}));
        hub.apply("mp", json!({"type": type_, "items": items}));
        hub.settle();
        assert_eq!(phase(&hub, "mp").1, message, "{first:?} {second:?}");
        assert_eq!(hub.peerings.len() == 1, tokens, "{first:?} {second:?}");
    }
}

#[test]
fn different_versions_are_served_and_told() {
    let info = |version: &str| {
        serde_json::from_value(json!({"providerInfo": {"version": version, "deploymentType": "internal"}})).unwrap()
    };
    for (first, second, reason) in [
        ("4.17.2", "4.18.0", "VersionSkew"),
        ("4.18.1", "4.18.9", "SameVersion"),
        ("4.18.1", "", "VersionUnknown"),
    ] {
        let mut hub = pair(false);
        hub.clients = [("c1_sc".to_owned(), info(first)), ("c2_sc".to_owned(), info(second))].into();
        hub.settle();
        let said = hub.told["mp"]
            .conditions
            .iter()
            .find(|said| said.type_ == "Compatible")
            .unwrap();
        assert_eq!(said.reason, reason);
        assert_eq!(phase(&hub, "mp"), READY);
    }
}

#[test]
fn an_upgrade_of_ramen_that_resets_its_configuration_is_made_up_for() {
    let mut hub = pair(true);
    hub.settle();
    let before = hub.ramen.clone().unwrap();
    hub.ramen = Some(("kind: RamenConfig\n".to_owned(), Record::default()));
    hub.settle();
    assert_eq!((hub.ramen.clone().unwrap(), phase(&hub, "mp")), (before, READY));
}

#[test]
fn a_peering_that_users_pause_or_that_is_leaving_is_not_fought_over() {
    let mut hub = pair(false);
    hub.settle();
    hub.news();
    let name = names::token_peering("mp");
    std::sync::Arc::make_mut(hub.peerings.get_mut(&name).unwrap())
        .spec
        .paused = true;
    hub.settle();
    assert_eq!(hub.news().len(), 0);
    hub.agents = false;
    std::sync::Arc::make_mut(hub.peerings.get_mut(&name).unwrap())
        .metadata
        .deletion_timestamp = Some(at(9));
    hub.settle();
    assert_eq!(hub.news().len(), 0, "it is made anew when it is gone");
    hub.agents = true;
    hub.settle();
    assert!(hub.peerings[&name].metadata.deletion_timestamp.is_none());
}

#[test]
fn ramen_uses_one_store_per_cluster_and_it_is_not_changed_under_it() {
    let mut hub = Hub::new(&["c1", "c2", "c3"]);
    hub.peer("a", ["c1", "c2"], true);
    hub.settle();
    let other =
        |cluster: &str| json!({"clusterName": cluster, "storageClusterRef": {"name": "second", "namespace": "ns"}});
    hub.apply("b", json!({"items": [other("c1"), other("c3")], "manageS3": true}));
    hub.settle();
    assert_eq!((phase(&hub, "a"), phase(&hub, "b")), (READY, READY));
    assert_eq!(hub.profile_of("c1").as_deref(), Some("s3profile-c1-sc"));
    hub.news();
    hub.delete("a");
    hub.settle();
    assert!(!hub.peers.contains_key("a"));
    // It cannot be changed, so it is made anew.
    assert!(hub.news().contains("delete DRCluster c1"));
    assert_eq!(hub.profile_of("c1").as_deref(), Some("s3profile-c1-second"));
    assert_eq!(phase(&hub, "b"), READY);
}
