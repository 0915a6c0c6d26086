//! One Peering between clusters `east` and `west`, seen at every stage of its life.
use exchange::key::KeyPair;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use peering_api::{
    ocm::{
        ManifestWork,
        work::{ManifestWorkSpec, Workload},
    },
    peering::{ExchangeProfile, PeerExportStatus, PeerLinkStatus, SealedEnvelope},
};
use serde_json::{from_value, json};

use super::*;
use crate::peering::hub::{Addon, Cluster};

mod keys;
mod provision;

fn key(seed: u8) -> KeyPair {
    KeyPair::from_private(vec![seed; 32].into()).unwrap()
}

fn cluster(seed: u8) -> Cluster {
    Cluster {
        managed: true,
        addon: Some(Addon {
            namespace: Some("agents".into()),
            ..Addon::default()
        }),
        public_key: Some(key(seed).public().to_base64()),
        ..Cluster::default()
    }
}

fn start() -> Observed {
    let profile: ExchangeProfile = from_value(json!({
        "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "ExchangeProfile", "metadata": {"name": "storage"},
        "spec": {"artefacts": [{
            "name": "token", "confidential": true,
            "inputs": [{"as": "token", "apiVersion": "v1", "kind": "Secret", "namespace": "ceph", "name": "token"}],
            "deliver": {"apiVersion": "v1", "kind": "Secret", "namespace": "ceph", "name": "peer-${source.cluster}"},
        }]},
    }))
    .unwrap();
    let peering: Peering = from_value(json!({
        "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "Peering",
        "metadata": {"name": "pair", "uid": "u", "generation": 1},
        "spec": {"profile": "storage", "members": [{"cluster": "east"}, {"cluster": "west"}]},
    }))
    .unwrap();
    Observed {
        name: "pair".into(),
        peering: Some(Arc::new(peering)),
        profile: Some(Arc::new(profile)),
        clusters: [("east".to_owned(), cluster(1)), ("west".to_owned(), cluster(2))].into(),
        now: "2026-11-21T00:00:00Z".parse().unwrap(),
        ..Observed::default()
    }
}

/// Plays the API server: carries changes out on the snapshot.
fn play(seen: &mut Observed, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::PeeringFinalizer(_, on) => {
                let peering = Arc::make_mut(seen.peering.as_mut().unwrap());
                peering.metadata.finalizers = on.then(|| vec![names::WITHDRAW_FINALIZER.to_owned()]);
                if !on {
                    seen.peering = None;
                }
            }
            Change::CreateAddon(name) => seen.clusters.get_mut(&name).unwrap().addon = Some(Addon::default()),
            Change::ApplyExport((namespace, name), spec) => {
                let old = seen
                    .exports
                    .iter()
                    .position(|export| place(export.as_ref()) == (namespace.clone(), name.clone()));
                let mut export = PeerExport::new(&name, *spec);
                export.metadata.namespace = Some(namespace);
                export.status = old.and_then(|old| seen.exports.remove(old).status.clone());
                seen.exports.push(Arc::new(export));
            }
            Change::DeleteExport(gone) | Change::ReleaseExport(gone) => seen
                .exports
                .retain(|export| place(export.as_ref()) != place(gone.as_ref())),
            Change::ApplyLink((namespace, name), spec) => {
                let old = seen
                    .links
                    .iter()
                    .position(|link| place(link.as_ref()) == (namespace.clone(), name.clone()));
                let mut link = PeerLink::new(&name, *spec);
                link.metadata.namespace = Some(namespace);
                link.metadata.finalizers = Some(vec![names::WITHDRAW_FINALIZER.to_owned()]);
                link.status = old.and_then(|old| seen.links.remove(old).status.clone());
                seen.links.push(Arc::new(link));
            }
            Change::DeleteLink(gone) => {
                for link in seen
                    .links
                    .iter_mut()
                    .filter(|link| place(link.as_ref()) == place(gone.as_ref()))
                {
                    Arc::make_mut(link).metadata.deletion_timestamp = Some(Time(seen.now));
                }
            }
            Change::ReleaseLink(gone) => seen.links.retain(|link| place(link.as_ref()) != place(gone.as_ref())),
            Change::ApplyWork((cluster, name), manifests) => {
                let spec = ManifestWorkSpec {
                    workload: Workload { manifests },
                    ..ManifestWorkSpec::default()
                };
                let mut work = ManifestWork::new(&name, spec);
                work.metadata.namespace = Some(cluster.clone());
                seen.works
                    .retain(|work| place(work.as_ref()) != (cluster.clone(), name.clone()));
                seen.works.push(Arc::new(work));
            }
            Change::DeleteWork(gone) => seen.works.retain(|work| place(work.as_ref()) != place(gone.as_ref())),
            Change::LinkStatus(of, conditions) => {
                let link = seen
                    .links
                    .iter_mut()
                    .find(|link| place(link.as_ref()) == place(of.as_ref()))
                    .unwrap();
                let status = Arc::make_mut(link).status.get_or_insert_default();
                status
                    .conditions
                    .retain(|old| conditions.iter().all(|new| new.type_ != old.type_));
                status.conditions.extend(conditions);
            }
            Change::PeeringStatus(_, status) => {
                Arc::make_mut(seen.peering.as_mut().unwrap()).status = Some(*status);
            }
        }
    }
}

fn said(type_: &str, status: &str, reason: &str) -> Condition {
    from_value(json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-21T00:00:00Z"})).unwrap()
}

/// Plays the agents: every export is published, every link delivered.
fn agents(seen: &mut Observed) {
    for export in &mut seen.exports {
        let export = Arc::make_mut(export);
        let envelopes = export.spec.recipients.iter().filter_map(|recipient| {
            let recipient_fingerprint = exchange::key::PublicKey::from_base64(recipient.public_key.as_deref()?)
                .ok()?
                .fingerprint();
            Some(SealedEnvelope {
                link: recipient.link.clone(),
                recipient_fingerprint,
                data: "c2VhbGVk".into(),
                ..SealedEnvelope::default()
            })
        });
        export.status = Some(PeerExportStatus {
            revision: Some(1),
            envelopes: envelopes.collect(),
            conditions: vec![said("SourceReady", "True", "Published")],
            ..PeerExportStatus::default()
        });
    }
    for link in &mut seen.links {
        let link = Arc::make_mut(link);
        let status = link.status.get_or_insert_default();
        let type_ = if link.metadata.deletion_timestamp.is_some() {
            "Withdrawn"
        } else {
            "Delivered"
        };
        status.applied_revision = Some(1);
        status.conditions.retain(|old| old.type_ != type_);
        status.conditions.push(said(type_, "True", type_));
    }
}

/// Passes until nothing changes any more; returns the names of all changes.
fn settle(seen: &mut Observed) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..10 {
        let changes = decide(seen);
        if changes.is_empty() {
            return all;
        }
        all.extend(changes.iter().map(ToString::to_string));
        play(seen, changes);
    }
    panic!("does not settle: {all:#?}");
}

fn ready(seen: &Observed) -> (String, String) {
    let status = seen.peering.as_ref().unwrap().status.clone().unwrap();
    let ready = peering_api::peering::condition(&status.conditions, "Ready").unwrap();
    (ready.status.clone(), ready.reason.clone())
}

fn served() -> Observed {
    let mut seen = start();
    settle(&mut seen);
    agents(&mut seen);
    settle(&mut seen);
    seen
}

fn sealed(seen: &Observed, cluster: &str) -> usize {
    let work = seen
        .works
        .iter()
        .find(|work| work.namespace().as_deref() == Some(cluster))
        .unwrap();
    work.spec
        .workload
        .manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "Secret")
        .count()
}

#[test]
fn from_the_first_pass_to_ready() {
    let mut seen = start();
    settle(&mut seen);
    assert_eq!((seen.exports.len(), seen.links.len(), seen.works.len()), (2, 2, 2));
    assert_eq!(ready(&seen), ("False".into(), "LinksNotReady".into()));
    assert_eq!(sealed(&seen, "west"), 0, "nothing was published yet");
    agents(&mut seen);
    let changes = settle(&mut seen);
    assert_eq!(ready(&seen), ("True".into(), "AllLinksReady".into()));
    assert_eq!(sealed(&seen, "west"), 1);
    assert_eq!(
        changes
            .iter()
            .filter(|change| change.starts_with("apply"))
            .collect::<Vec<_>>(),
        [
            "apply ManifestWork east/peering-pair",
            "apply ManifestWork west/peering-pair"
        ]
    );
    assert!(decide(&seen).is_empty(), "no write when nothing changed");
}

#[test]
fn what_is_made_anew_is_told_from_what_is_changed() {
    let new = |seen: &Observed| makes_new(seen, &decide(seen));
    assert!(new(&start()), "nothing is there yet");
    let seen = served();
    assert!(!new(&seen), "nothing is to be done");
    let mut rotated = seen.clone();
    for export in &mut rotated.exports {
        let status = Arc::make_mut(export).status.as_mut().unwrap();
        status.envelopes[0].data = "another".into();
    }
    assert!(!decide(&rotated).is_empty() && !new(&rotated), "works are changed");
    for lose in [
        (|seen: &mut Observed| seen.links.truncate(1)) as fn(&mut Observed),
        |seen| seen.exports.truncate(1),
        |seen| seen.works.truncate(1),
    ] {
        let mut seen = seen.clone();
        lose(&mut seen);
        assert!(new(&seen), "something is missing");
    }
}

#[test]
fn a_missing_addon_is_created_unless_the_cluster_opted_out() {
    let mut seen = start();
    seen.clusters.get_mut("west").unwrap().addon = None;
    assert!(
        decide(&seen)
            .iter()
            .any(|change| change.to_string() == "create ManagedClusterAddOn west/tokenexchange")
    );
    seen.clusters.get_mut("west").unwrap().opted_out = true;
    assert!(
        decide(&seen)
            .iter()
            .all(|change| !change.to_string().starts_with("create"))
    );
}

#[test]
fn a_removed_profile_withdraws_nothing() {
    let mut seen = served();
    seen.profile = None;
    let changes = settle(&mut seen);
    assert_eq!(changes, ["status of Peering pair"]);
    assert_eq!(ready(&seen).0, "True", "what works goes on working");
}

#[test]
fn a_deleted_peering_leaves_nothing_and_waits_for_the_agents() {
    let mut seen = served();
    Arc::make_mut(seen.peering.as_mut().unwrap())
        .metadata
        .deletion_timestamp = Some(Time(seen.now));
    seen.profile = None;
    let changes = decide(&seen);
    play(&mut seen, changes);
    assert_eq!(
        (sealed(&seen, "east"), sealed(&seen, "west")),
        (0, 0),
        "envelopes leave the hub within the same pass"
    );
    assert_eq!((seen.exports.len(), seen.links.len()), (0, 2));
    assert!(settle(&mut seen).is_empty(), "the links wait for their agents");
    agents(&mut seen);
    settle(&mut seen);
    assert!(seen.peering.is_none() && seen.links.is_empty() && seen.works.is_empty());
}

#[test]
fn agents_get_the_rights_to_withdraw_even_if_their_work_was_never_written() {
    let mut seen = served();
    Arc::make_mut(seen.peering.as_mut().unwrap())
        .metadata
        .deletion_timestamp = Some(Time(seen.now));
    // The first try to write it failed, and the Peering was deleted before the second.
    seen.works.retain(|work| work.namespace().as_deref() == Some("east"));
    settle(&mut seen);
    let mut clusters: Vec<_> = seen.works.iter().filter_map(|work| work.namespace()).collect();
    clusters.sort();
    assert_eq!(clusters, ["east", "west"]);
    assert_eq!(seen.links.len(), 2);
    agents(&mut seen);
    settle(&mut seen);
    assert!(seen.peering.is_none() && seen.links.is_empty() && seen.works.is_empty());
}

#[test]
fn an_addon_that_leaves_takes_its_links_along_and_the_peering_says_so() {
    let mut seen = served();
    let west = seen.clusters.get_mut("west").unwrap();
    west.opted_out = true;
    west.addon.as_mut().unwrap().leaving = true;
    settle(&mut seen);
    assert!(seen.links.iter().all(|link| link.metadata.deletion_timestamp.is_some()));
    agents(&mut seen);
    seen.clusters.get_mut("west").unwrap().addon = None;
    settle(&mut seen);
    assert!(
        seen.links.is_empty()
            && seen
                .works
                .iter()
                .all(|work| work.namespace().as_deref() == Some("east"))
    );
    assert_eq!(ready(&seen), ("False".into(), "NoLinks".into()));
}

#[test]
fn a_link_without_an_agent_does_not_hold_up_its_removal() {
    let mut seen = served();
    seen.clusters.insert("west".into(), Cluster::default());
    settle(&mut seen);
    assert!(
        seen.links
            .iter()
            .all(|link| link.namespace().as_deref() == Some("east")),
        "west cannot withdraw, its links go"
    );
}

#[test]
fn a_failing_source_shows_on_link_and_peering() {
    let mut seen = served();
    for export in &mut seen.exports {
        let status = Arc::make_mut(export).status.as_mut().unwrap();
        status.conditions = vec![said("SourceReady", "False", "SourceNotFound")];
    }
    let changes = settle(&mut seen);
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(ready(&seen), ("False".into(), "LinksNotReady".into()));
    assert_eq!(sealed(&seen, "west"), 1, "the last good envelope stays");
    let status: &PeerLinkStatus = seen.links[0].status.as_ref().unwrap();
    assert_eq!(
        peering_api::peering::condition(&status.conditions, "Ready")
            .unwrap()
            .reason,
        "SourceNotFound"
    );
}

#[test]
fn a_link_that_gets_another_target_is_told_what_it_wrote_before() {
    let mut seen = served();
    let profile = Arc::make_mut(seen.profile.as_mut().unwrap());
    profile.spec.artefacts[0].deliver.name = "moved-${source.cluster}".into();
    settle(&mut seen);
    for link in &seen.links {
        let (now, before) = (&link.spec.target.object.name, link.spec.previous.clone().unwrap().name);
        assert!(
            now.starts_with("moved-") && before.starts_with("peer-"),
            "{now} {before}"
        );
    }
    let work = serde_json::to_string(&seen.works[0].spec).unwrap();
    assert!(
        work.contains("\"peer-") && work.contains("\"moved-"),
        "rights on both: {work}"
    );
    assert!(decide(&seen).is_empty(), "and that is all");
}

#[test]
fn a_consumer_that_left_the_profile_is_named_until_its_agent_has_found_it_clean() {
    let mut seen = served();
    let wire = |seen: &mut Observed, wire: serde_json::Value| {
        Arc::make_mut(seen.profile.as_mut().unwrap()).spec.artefacts[0].wire = from_value(wire).unwrap();
    };
    let pool = json!({"apiVersion": "example.io/v1", "kind": "Pool", "namespace": "ceph", "name": "main"});
    wire(
        &mut seen,
        json!([{"setField": {"object": pool, "path": "spec.peer", "value": "x"}}]),
    );
    settle(&mut seen);
    wire(&mut seen, json!([]));
    let changes = decide(&seen);
    play(&mut seen, changes);
    // What the agents say, and of which generation.
    let report = |seen: &mut Observed, generation: i64, wired: bool| {
        for link in &mut seen.links {
            let link = Arc::make_mut(link);
            link.metadata.generation = Some(3);
            let status = link.status.get_or_insert_default();
            status.wired = if wired {
                vec![from_value(pool.clone()).unwrap()]
            } else {
                vec![]
            };
            let mut delivered = said("Delivered", "True", "Delivered");
            delivered.observed_generation = Some(generation);
            status.conditions.retain(|old| old.type_ != "Delivered");
            status.conditions.push(delivered);
        }
        settle(seen);
        let rights = serde_json::to_string(&seen.works[0].spec).unwrap().contains("pools");
        (seen.links[0].spec.unwire.len(), rights)
    };
    assert_eq!(report(&mut seen, 2, false), (1, true), "it speaks of the spec before");
    assert_eq!(report(&mut seen, 3, true), (1, true), "it is not clean yet");
    assert_eq!(report(&mut seen, 3, false), (0, false));
}

#[test]
fn a_paused_peering_writes_nothing_but_its_status_and_can_be_deleted() {
    let mut seen = served();
    let peering = Arc::make_mut(seen.peering.as_mut().unwrap());
    peering.spec.paused = true;
    peering.spec.members.pop();
    assert_eq!(settle(&mut seen), ["status of Peering pair"]);
    Arc::make_mut(seen.peering.as_mut().unwrap())
        .metadata
        .deletion_timestamp = Some(Time(seen.now));
    settle(&mut seen);
    agents(&mut seen);
    settle(&mut seen);
    assert!(seen.peering.is_none());
}

#[test]
fn force_local_lets_the_peering_go_and_keeps_the_links_of_whom_it_cannot_reach() {
    let mut seen = served();
    let peering = Arc::make_mut(seen.peering.as_mut().unwrap());
    peering.metadata.deletion_timestamp = Some(Time(seen.now));
    settle(&mut seen);
    assert!(seen.peering.is_some());
    let peering = Arc::make_mut(seen.peering.as_mut().unwrap());
    peering.metadata.annotations = Some([(names::FORCE_LOCAL_ANNOTATION.to_owned(), "true".to_owned())].into());
    settle(&mut seen);
    assert!(
        seen.peering.is_none() && seen.links.len() == 2 && seen.works.len() == 2,
        "what is to be withdrawn stays known"
    );
    agents(&mut seen);
    settle(&mut seen);
    assert!(
        seen.links.is_empty() && seen.works.is_empty(),
        "a returning agent finishes"
    );
}

#[test]
fn a_source_that_has_fallen_behind_is_told_the_revision_to_exceed() {
    let mut seen = served();
    let west = seen
        .links
        .iter_mut()
        .find(|link| link.namespace().as_deref() == Some("west"))
        .unwrap();
    Arc::make_mut(west).status.as_mut().unwrap().applied_revision = Some(7);
    for export in &mut seen.exports {
        Arc::make_mut(export).status.as_mut().unwrap().revision = Some(5);
    }
    settle(&mut seen);
    let floors: Vec<_> = seen
        .exports
        .iter()
        .map(|export| (export.namespace().unwrap(), export.spec.revision_floor))
        .collect();
    assert!(
        floors.contains(&("east".to_owned(), Some(7))) && floors.contains(&("west".to_owned(), None)),
        "{floors:?}"
    );
}

#[test]
fn a_silent_agent_leaves_open_what_became_of_its_links() {
    let mut seen = served();
    seen.clusters.get_mut("west").unwrap().addon.as_mut().unwrap().silent = true;
    settle(&mut seen);
    for link in &seen.links {
        let conditions = link.status.clone().unwrap().conditions;
        let ready = peering_api::peering::condition(&conditions, "Ready").unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("Unknown", "AgentUnreachable")
        );
    }
    let status = seen.peering.as_ref().unwrap().status.clone().unwrap();
    assert!(is_true(&status.conditions, "Degraded"));
}

#[test]
fn large_envelopes_travel_in_works_of_their_own() {
    let mut seen = start();
    let profile = Arc::make_mut(seen.profile.as_mut().unwrap());
    let mut other = profile.spec.artefacts[0].clone();
    (other.name, other.deliver.name) = ("other".into(), "other-${source.cluster}".into());
    profile.spec.artefacts.push(other);
    settle(&mut seen);
    agents(&mut seen);
    for export in &mut seen.exports {
        let status = Arc::make_mut(export).status.as_mut().unwrap();
        status.envelopes[0].data = "x".repeat(exchange::carry::WORK_LIMIT - 10);
    }
    settle(&mut seen);
    agents(&mut seen);
    for export in &mut seen.exports {
        let status = Arc::make_mut(export).status.as_mut().unwrap();
        status.envelopes[0].data = "x".repeat(exchange::carry::WORK_LIMIT - 10);
    }
    settle(&mut seen);
    let mut names: Vec<_> = seen
        .works
        .iter()
        .filter(|work| work.namespace().as_deref() == Some("west"))
        .map(|work| work.name_any())
        .collect();
    names.sort();
    assert_eq!(names, ["peering-pair", "peering1-pair"]);
    assert!(decide(&seen).is_empty(), "and they stay there");
}
