//! Lives of `MirrorPeer`s that pair storage clients.
use std::sync::Arc;

use peering_api::{
    ocm::{ManifestWork, work::ManifestWorkSpec},
    peering::{PeerLink, PeerLinkSpec, PeerLinkStatus},
};
use serde_json::json;

use super::{
    fixtures::{Hub, standing},
    *,
};
use crate::{names, odf_info};

const READY: (&str, &str) = ("Ready", "Setup is completed");
const TICKETS: ([&str; 3], [&str; 3]) = (["p1", "openshift-storage", "sc"], ["p2", "openshift-storage", "sc"]);

fn phase(hub: &Hub, name: &str) -> (&'static str, &'static str) {
    let (phase, message, ..) = hub.says(name);
    (phase, message)
}

/// Two providers, one of them with a client of its own and one on another cluster.
fn hub() -> Hub {
    let mut hub = Hub::new(&["p1", "p2", "p3", "c1"]);
    hub.client("p1", "local", "id-1", "p1");
    hub.client("p2", "local", "id-2", "p2");
    hub.client("c1", "far", "id-3", "p1");
    hub.client("p2", "other", "id-4", "p2");
    hub.client("p3", "local", "id-5", "p3");
    hub
}

fn pair(manage_s3: bool) -> Hub {
    let mut hub = hub();
    hub.clients("mp", [["p1", "local"], ["p2", "local"]], manage_s3);
    hub
}

fn tickets() -> String {
    names::ticket_peering(TICKETS.0, TICKETS.1)
}

#[test]
fn a_pair_of_clients_is_set_up_and_taken_back_without_a_trace() {
    let mut hub = pair(true);
    let before = hub.ramen.clone();
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY, "{:?}", hub.says("mp"));
    let peering = &hub.peerings[&tickets()];
    assert_eq!(peering.spec.profile, CLIENT_PROFILE);
    let members: Vec<_> = peering
        .spec
        .members
        .iter()
        .map(|member| (member.cluster.as_str(), &member.parameters))
        .collect();
    assert_eq!((members[0].0, members[0].1["endpoint"].as_str()), ("p1", "p1:50051"));
    assert_eq!(members[1].1["namespace"], "openshift-storage");
    assert_eq!(
        (hub.mapped("p1"), hub.mapped("p2")),
        (json!({"id-1": "id-2"}), json!({"id-2": "id-1"}))
    );
    let map = &hub.mappings["p1"].spec.workload.manifests[0];
    assert_eq!(
        map["metadata"]["annotations"]["ocs.openshift.io/storage-cluster-peer"],
        "p2-peer"
    );
    // Buckets and Secrets as the Go orchestrator named them.
    let store = &hub.peerings[&names::client_store_peering(TICKETS.0, ["p1", "p2"])];
    assert_eq!(store.spec.parameters["bucket"], names::bucket("p1", "p2"));
    let items = hub.peers["mp"].spec.items.clone();
    let secret = names::client_s3_secret("p1", &items[0], &items[1]);
    assert_eq!(stated_secret(&store.spec, "p1"), Some(secret.clone()));
    let (text, _) = hub.ramen.clone().unwrap();
    let entry = crate::ramen::profile(&text, "s3profile-p1-local").unwrap().unwrap();
    assert_eq!(
        (entry.s3_bucket, entry.s3_secret_ref.name),
        (names::bucket("p1", "p2"), secret)
    );
    assert_eq!(hub.profile_of("p2").as_deref(), Some("s3profile-p2-local"));

    hub.news();
    hub.settle();
    assert_eq!(hub.news().len(), 0, "at rest nothing is written");
    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty() && hub.mappings.is_empty());
    assert_eq!(hub.ramen, before);
    assert_eq!(hub.dr_clusters.known().unwrap().len(), 0);
    let order = |what: &str| hub.written.iter().position(|write| write.contains(what)).unwrap();
    assert!(
        order("delete ManifestWork") < order("delete Peering odf-client"),
        "{:#?}",
        hub.written
    );
}

#[test]
fn a_client_on_another_cluster_is_served_by_its_provider() {
    let mut hub = hub();
    hub.clients("mp", [["c1", "far"], ["p2", "other"]], true);
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY, "{:?}", hub.says("mp"));
    assert_eq!(hub.mapped("p1"), json!({"id-3": "id-4"}));
    assert_eq!(hub.profile_of("c1").as_deref(), Some("s3profile-c1-far"));
    let store = &hub.peerings[&names::client_store_peering(TICKETS.0, ["c1", "p2"])];
    assert_eq!(store.spec.members[0].cluster, "p1", "the bucket is the provider's");
    // The client's cluster needs no agent.
    hub.clusters.get_mut("c1").unwrap().agent = Agent::OptedOut;
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
    hub.clusters.get_mut("p1").unwrap().agent = Agent::Silent;
    hub.settle();
    assert_eq!(phase(&hub, "mp").1, "ManagedClusterAddon configuration failed");
}

#[test]
fn two_pairs_of_the_same_providers_share_their_tickets_and_neither_takes_from_the_other() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut hub = hub();
        hub.clients("a", [["p1", "local"], ["p2", "local"]], true);
        hub.clients("b", [["p2", "other"], ["c1", "far"]], true);
        hub.settle();
        assert_eq!((phase(&hub, "a"), phase(&hub, "b")), (READY, READY));
        assert_eq!(hub.mapped("p1"), json!({"id-1": "id-2", "id-3": "id-4"}));
        assert_eq!(
            hub.peerings.len(),
            5,
            "tickets once, and two buckets on each: {:?}",
            hub.peerings.keys()
        );
        hub.news();
        hub.delete(first);
        hub.settle();
        assert!(!hub.peers.contains_key(first));
        assert_eq!(phase(&hub, second), READY);
        let left = if second == "a" {
            json!({"id-1": "id-2"})
        } else {
            json!({"id-3": "id-4"})
        };
        assert_eq!(hub.mapped("p1"), left);
        let news = hub.news();
        assert!(
            !news.iter().any(|write| write.contains("Peering odf-client")),
            "{news:?}"
        );
        hub.delete(second);
        hub.settle();
        assert!(hub.peers.is_empty() && hub.peerings.is_empty() && hub.mappings.is_empty());
        assert_eq!(hub.ramen.as_ref().unwrap().0, "kind: RamenConfig\n");
    }
}

#[test]
fn what_cannot_be_paired_is_told_and_can_be_deleted() {
    type Spoil = fn(&mut Hub);
    let cases: [(Spoil, [[&str; 2]; 2], &str); 5] = [
        (
            |_| {},
            [["p1", "local"], ["c1", "far"]],
            "both clients are provided for by cluster p1",
        ),
        (
            |hub| hub.clients.get_mut("p2_local").unwrap().client_id.clear(),
            [["p1", "local"], ["p2", "local"]],
            "has no client local: onboard one on cluster p2",
        ),
        (
            |hub| {
                hub.clients
                    .get_mut("p2_local")
                    .unwrap()
                    .provider_info
                    .storage_provider_endpoint
                    .clear();
            },
            [["p1", "local"], ["p2", "local"]],
            "tells no endpoint",
        ),
        (
            |hub| {
                hub.clients.get_mut("p2_local").unwrap().provider_info.namespaced_name =
                    peering_api::odf::ProviderName::default();
            },
            [["p1", "local"], ["p2", "local"]],
            "which storage cluster provides for client local",
        ),
        (
            |hub| hub.clients("older", [["p2", "other"], ["p3", "local"]], false),
            [["p1", "local"], ["p2", "local"]],
            "is mirrored with storage cluster openshift-storage/sc of cluster p3 already, by MirrorPeer older",
        ),
    ];
    for (spoil, clients, says) in cases {
        let mut hub = hub();
        spoil(&mut hub);
        hub.clients("mp", clients, true);
        hub.settle();
        let (phase, message, reason, said) = hub.says("mp");
        assert_eq!(
            (phase, message, reason.as_str()),
            ("Configuring", "Configuration failed", "ConfigurationFailed"),
            "{said}"
        );
        assert!(said.contains(says), "{said}");
        hub.delete("mp");
        hub.settle();
        assert!(!hub.peers.contains_key("mp"));
    }
}

#[test]
fn a_client_that_vanishes_takes_nothing_with_it_and_does_not_hold_deletion_up() {
    let mut hub = pair(true);
    hub.settle();
    hub.news();
    // As the manager does: what nobody tells any more is taken from the MirrorPeer's own record.
    let recorded = odf_info::recorded(&hub.peers["mp"]);
    assert_eq!(recorded.len(), 2);
    hub.vanished = recorded.keys().cloned().collect();
    hub.clients = recorded;
    hub.settle();
    let (_, message, _, said) = hub.says("mp");
    assert_eq!(message, "Configuration failed");
    assert!(
        said.contains("storage client local of cluster p1 is no longer known"),
        "{said}"
    );
    assert_eq!(hub.news().len(), 0, "endpoint, mapping and bucket stay as they are");
    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty() && hub.mappings.is_empty());
    assert_eq!(hub.ramen.as_ref().unwrap().0, "kind: RamenConfig\n");
}

#[test]
fn a_peer_that_is_being_made_is_no_failure_and_one_that_has_failed_is() {
    let mut hub = pair(false);
    hub.settle();
    let peering = Arc::make_mut(hub.peerings.get_mut(&tickets()).unwrap());
    peering.status = Some(standing(&[
        ("Accepted", "True"),
        ("Ready", "False"),
        ("Degraded", "True"),
    ]));
    let link = |reason: &str| {
        let spec = PeerLinkSpec {
            peering: tickets(),
            ..PeerLinkSpec::default()
        };
        let mut conditions = standing(&[("Connected", "False")]).conditions;
        conditions[0].reason = reason.to_owned();
        let mut link = PeerLink::new("l", spec);
        link.status = Some(PeerLinkStatus {
            applied_revision: Some(1),
            conditions,
            ..PeerLinkStatus::default()
        });
        Arc::new(link)
    };
    for (reason, message) in [
        ("NotSynced", "Peering is in progress"),
        ("ProbeFailed", "Peering of managedclusters failed"),
    ] {
        let mut seen = hub.seen("mp");
        seen.links = vec![link(reason)];
        assert_eq!(decide(&seen).status.unwrap().message, message);
    }
}

#[test]
fn the_key_of_a_mapping_is_the_oldest_pairs() {
    let mut hub = pair(false);
    hub.clients("younger", [["p1", "local"], ["p2", "other"]], false);
    hub.settle();
    assert_eq!(hub.mapped("p1"), json!({"id-1": "id-2"}), "a client has one partner");
    assert_eq!(phase(&hub, "mp"), READY);
    assert_eq!(phase(&hub, "younger").1, "Configuration failed");
    let (.., said) = hub.says("younger");
    assert!(
        said.contains("storage client id-1 is paired already, by MirrorPeer mp"),
        "{said}"
    );
}

#[test]
fn clients_get_the_classes_of_their_policies_and_lose_them_with_the_last() {
    let mut hub = pair(false);
    hub.consumers = [("p1", "internal"), ("p2", "consumer-of-p2")]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .into();
    hub.policy("five", &["p2", "p1"]);
    hub.settle();
    let name = names::class_peering("mp");
    assert!(!hub.peerings.contains_key(&name), "not before it is ready");
    let ready = |hub: &mut Hub| {
        let told = hub.told["mp"].phase.as_str();
        let peer = Arc::make_mut(hub.peers.get_mut("mp").unwrap());
        peer.status.get_or_insert_default().phase = Some(told.to_owned());
        hub.settle();
    };
    ready(&mut hub);
    let of = |hub: &Hub, member: usize| hub.peerings[&name].spec.members[member].parameters.clone();
    let class = names::replication_class("5m", false);
    assert_eq!(
        (of(&hub, 0)["consumer"].as_str(), of(&hub, 1)["consumer"].as_str()),
        ("internal", "consumer-of-p2")
    );
    assert_eq!(of(&hub, 0)["volumeClasses"], json!([class]).to_string());
    assert_eq!(of(&hub, 0)["groupClasses"], "[]", "groups come with 4.20");
    let policies = hub.dr_policies.known().unwrap().clone();
    let peers: Vec<_> = hub.peers.values().cloned().collect();
    let works = crate::classes::decide_works("p1", &policies, &peers, &hub.clients, &[]);
    let [crate::classes::WorkChange::Apply(_, manifests)] = works.as_slice() else {
        panic!("{works:?}")
    };
    assert_eq!((manifests.len(), manifests[0]["kind"].as_str()), (1, Some("Template")));
    assert_eq!(manifests[0]["metadata"]["namespace"], "openshift-storage");
    assert_eq!(
        manifests[0]["metadata"]["labels"]["multicluster.odf.openshift.io/object-kind"],
        "VolumeReplicationClass"
    );
    assert_eq!(
        manifests[0]["objects"][0]["spec"],
        json!({"provisioner": "openshift-storage.rbd.csi.ceph.com",
            "parameters": {"mirroringMode": "snapshot", "schedulingInterval": "5m"}})
    );

    hub.news();
    hub.dr_policies = Foreign::Pending;
    hub.settle();
    assert_eq!(hub.news().len(), 0, "nothing is known to be superfluous");
    hub.dr_policies = Foreign::Known(Vec::new());
    hub.settle();
    assert!(!hub.peerings.contains_key(&name));
    hub.policy("again", &["p1", "p2"]);
    hub.settle();
    assert!(hub.peerings.contains_key(&name));
    hub.dr_policies = Foreign::Known(Vec::new());
    hub.delete("mp");
    hub.settle();
    assert!(hub.peers.is_empty() && hub.peerings.is_empty());
}

#[test]
fn what_the_go_orchestrator_delivered_is_let_go_before_it_is_written() {
    let mut hub = pair(false);
    let work = ManifestWork::new(&names::legacy_peer_work("p1"), ManifestWorkSpec::default());
    hub.legacy = vec![Arc::new(work)];
    let decision = decide(&hub.seen("mp"));
    let changes: Vec<_> = decision.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "take over",
            "note down the clients",
            "take over what ManifestWork storageclusterpeer-p1 has delivered"
        ]
    );
    let status = decision.status.unwrap();
    assert_eq!(status.message, "Peering is in progress");
    hub.settle();
    assert_eq!(phase(&hub, "mp"), READY);
}

#[test]
fn a_mapping_of_the_go_orchestrator_does_not_go_with_its_first_owner() {
    let mut hub = pair(false);
    hub.settle();
    let work = Arc::make_mut(hub.mappings.get_mut("p1").unwrap());
    let owner =
        json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer", "name": "mp", "uid": "u"});
    work.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    hub.news();
    hub.settle();
    assert_eq!(
        hub.news(),
        ["disown ManifestWork storage-client-mapping on p1".to_owned()].into()
    );
    assert_eq!(hub.mapped("p1"), json!({"id-1": "id-2"}));
}
