//! The table of what probes say.
use exchange::probe::note;
use peering_api::peering::{PeerLinkStatus, condition};
use serde_json::{Value as Json, from_value, json};

use super::*;
use crate::{
    decide::{
        fixtures::{ca, content, link, now},
        link::{Report, Stages, wanted},
    },
    spoke::{Observed, observed::Body},
};

fn probed(probes: Json) -> PeerLink {
    let mut link = link("a");
    link.spec.probes = from_value(probes).unwrap();
    link
}

fn held(link: &PeerLink) -> Held {
    let mut payload = content("token", "s3cr3t").data;
    payload.insert("address".into(), b"api.east:6443".to_vec().into());
    Held {
        owner: link.spec.id.clone(),
        payload,
        certificate_key: None,
        hash: String::new(),
        bundle: None,
    }
}

fn network_of(probe: &Json) -> Network {
    let link = probed(json!([probe]));
    network(&link.spec, &held(&link), Loopback::Refuse).remove(0)
}

#[test]
fn texts_become_parameters() {
    let pem = ca("ca", 2030);
    for (probe, kind, what) in [
        (
            json!({"tls": {"address": "${payload.address}", "ca": pem}}),
            "tls",
            "west -> east: tls of api.east:6443",
        ),
        (
            json!({"tls": {"address": "https://api.east/x", "ca": pem}}),
            "tls",
            "west -> east: tls of api.east:443",
        ),
        (
            json!({"apiAuth": {"kubeconfig": "${payload.token}"}}),
            "apiAuth",
            "west -> east: apiAuth of the delivered kubeconfig",
        ),
        (
            json!({"apiAuth": {"server": "https://${payload.address}", "token": "${payload.token}"}}),
            "apiAuth",
            "west -> east: apiAuth of api.east:6443",
        ),
        (
            json!({"http": {"url": "https://s3.east/${payload.token}"}}),
            "http",
            "west -> east: http of s3.east:443",
        ),
        (
            json!({"s3": {"endpoint": "https://s3.east", "bucket": "b", "accessKeyId": "id", "secretAccessKey": "${payload.token}"}}),
            "s3",
            "west -> east: s3 of s3.east:443",
        ),
    ] {
        let network = network_of(&probe);
        assert!(network.probe.is_ok(), "{network:?}");
        assert_eq!((network.kind, network.what.as_str()), (kind, what));
        assert!(!format!("{network:?}").contains("s3cr3t"), "{network:?}");
    }
    let probe = network_of(
        &json!({"http": {"url": "https://a", "expectStatus": 404}, "interval": "30s", "failureThreshold": 2}),
    );
    let Ok(probe::Probe::Http(http)) = probe.probe else {
        panic!()
    };
    assert_eq!(http.expected, 404..=404);
    assert_eq!(
        (probe.settings.interval.as_secs(), probe.settings.failure_threshold),
        (30, 2)
    );
}

#[test]
fn what_cannot_be_asked_says_why_without_values() {
    for (probe, part) in [
        (
            json!({"tls": {"address": "${payload.gone}"}}),
            "tls.address: character 10: \"gone\" is not there",
        ),
        (
            json!({"tls": {"address": "${payload.token}", "ca": "x"}}),
            "expected an endpoint as host:port",
        ),
        (
            json!({"tls": {"address": "a:1"}}),
            "expected CA certificates to trust, seen none",
        ),
        (json!({"apiAuth": {"server": "${payload.token}"}}), "expected a URL"),
        (
            json!({"http": {"url": "https://a", "token": "${nothing}"}}),
            "http.token: ",
        ),
        (
            json!({"s3": {"endpoint": "https://a", "bucket": "b", "accessKeyId": "i", "secretAccessKey": "${payload.gone}"}}),
            "s3.secretAccessKey: ",
        ),
    ] {
        let network = network_of(&probe);
        let failure = network.probe.unwrap_err();
        assert_eq!(failure.reason, Reason::ProbeFailed);
        assert!(failure.seen.contains(part), "{failure:?}");
        assert!(!format!("{failure:?}").contains("s3cr3t"), "{failure:?}");
        assert!(network.what.ends_with("probes[0]"), "{}", network.what);
    }
}

#[test]
fn a_bundle_is_trusted_where_the_probe_names_no_other() {
    let link = probed(json!([{"tls": {"address": "a:1"}}, {"http": {"url": "https://a"}}]));
    let bundle: Sensitive = ca("ca", 2030).into_bytes().into();
    let held = Held {
        bundle: Some(bundle.clone()),
        ..held(&link)
    };
    let network = network(&link.spec, &held, Loopback::Refuse);
    assert!(matches!(&network[0].probe, Ok(probe::Probe::Tls(tls)) if tls.bundle == bundle));
    assert!(matches!(&network[1].probe, Ok(probe::Probe::Http(http)) if http.bundle.as_ref() == Some(&bundle)));
}

/// What the conditions say, given the runs of network probes and an object.
fn said(link: &PeerLink, runs: &[Result<(), Reason>], seen: &Seen, overlap: Option<Timestamp>) -> Proofs {
    let held = Held {
        bundle: Some(ca("ca", 2030).into_bytes().into()),
        ..held(link)
    };
    let network = network(&link.spec, &held, Loopback::Refuse);
    let failure = |reason| Failure {
        reason,
        seen: "expected a, saw b".to_owned(),
        next: None,
    };
    let history = |index: usize| {
        let run = runs.get(index)?.map_err(failure);
        Some(note(&History::new(now()), &AT_ONCE, run, now()))
    };
    proofs(link, &network, &history, &|_| seen.clone(), overlap, now())
}

fn reason(said: &Said<Verdict>) -> &str {
    match said {
        Said::Nothing => "(nothing)",
        Said::Gone => "(gone)",
        Said::This(verdict) => &verdict.reason,
    }
}

#[test]
fn each_kind_decides_on_its_condition() {
    let none = Seen::Absent;
    let link = probed(json!([{"tls": {"address": "a:1"}}, {"http": {"url": "https://a"}}]));
    let all_well = said(&link, &[Ok(()), Ok(())], &none, None);
    assert_eq!(
        (reason(&all_well.trusted), reason(&all_well.connected)),
        ("Trusted", "Connected")
    );
    let bad = said(
        &link,
        &[Err(Reason::CaMismatch), Err(Reason::Unauthorized)],
        &none,
        None,
    );
    assert_eq!(
        (reason(&bad.trusted), reason(&bad.connected)),
        ("CAMismatch", "Unauthorized")
    );
    let pending = said(&link, &[], &none, None);
    assert_eq!(
        (reason(&pending.trusted), reason(&pending.connected)),
        ("ProbePending", "ProbePending")
    );
    let tls = probed(json!([{"tls": {"address": "a:1"}}]));
    let overlap = said(&tls, &[Ok(())], &none, Some(now()));
    assert_eq!(
        (reason(&overlap.trusted), reason(&overlap.connected)),
        ("OverlapPending", "(gone)")
    );
    // An overlap begins and ends although every run says the same.
    let mut link = tls.clone();
    for (until, expected) in [(None, "Trusted"), (Some(now()), "OverlapPending"), (None, "Trusted")] {
        let proofs = said(&link, &[Ok(())], &none, until);
        assert_eq!(reason(&proofs.trusted), expected);
        link = told(link, proofs);
        let again = said(&link, &[Ok(())], &none, until);
        assert_eq!(reason(&again.trusted), "(nothing)", "written without news");
    }
    let failing = said(&tls, &[Err(Reason::Unreachable)], &none, Some(now()));
    assert_eq!(reason(&failing.trusted), "Unreachable");
    assert_eq!(reason(&said(&probed(json!([])), &[], &none, None).connected), "(gone)");
    let broken = probed(json!([{"tls": {"address": "${nothing}"}}]));
    assert_eq!(reason(&said(&broken, &[Ok(())], &none, None).trusted), "ProbeFailed");
}

#[test]
fn an_object_is_judged_by_its_state() {
    let pool = json!({"apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool", "namespace": "ns", "name": "p"});
    let probe = |healthy: &str| probed(json!([{"object": {"object": pool, "healthy": healthy}}]));
    let present = |status: Json| {
        Seen::Present(Observed {
            body: Some(Body(json!({"metadata": {}, "status": status}))),
            ..Observed::default()
        })
    };
    let ok = "self.status.health == 'OK' && peering.name == 'p'";
    for (healthy, seen, expected) in [
        (ok, present(json!({"health": "OK"})), "Connected"),
        (ok, present(json!({"health": "WARNING"})), "NotSynced"),
        (ok, present(json!({})), "NotSynced"),
        (ok, Seen::Absent, "NotSynced"),
        (ok, Seen::Unknown, "NotSynced"),
        (ok, Seen::Denied, "ProbeFailed"),
        (ok, Seen::Pending, "ProbePending"),
        ("self.status.health", present(json!({"health": "OK"})), "ProbeFailed"),
        ("self.status.health ==", present(json!({})), "ProbeFailed"),
        (
            "self.status.health == nothing",
            present(json!({"health": "OK"})),
            "ProbeFailed",
        ),
    ] {
        let link = probe(healthy);
        assert_eq!(
            reason(&said(&link, &[], &seen, None).connected),
            expected,
            "{healthy} {seen:?}"
        );
        assert_eq!(places(&link.spec).count(), 1);
    }
}

#[test]
fn an_owner_that_has_given_up_is_told_from_one_that_is_at_work() {
    let peer =
        json!({"apiVersion": "ocs.openshift.io/v1", "kind": "StorageClusterPeer", "namespace": "ns", "name": "p"});
    let link = probed(
        json!([{"object": {"object": peer, "healthy": "self.status.state == 'Peered'",
        "failed": "self.status.state == 'Failed'", "shows": "state ${self.status.state}"}}]),
    );
    for (status, expected, shown) in [
        (json!({"state": "Peered"}), "Connected", ""),
        (json!({"state": "Pending"}), "NotSynced", "seen state Pending"),
        (json!({"state": "Failed"}), "ProbeFailed", "seen state Failed"),
        (json!({}), "NotSynced", "is not there"),
    ] {
        let seen = Seen::Present(Observed {
            body: Some(Body(json!({"metadata": {}, "status": status}))),
            ..Observed::default()
        });
        let connected = said(&link, &[], &seen, None).connected;
        assert_eq!(reason(&connected), expected, "{status}");
        let Said::This(verdict) = connected else {
            panic!("{connected:?}")
        };
        assert!(verdict.message.contains(shown), "{}", verdict.message);
    }
}

/// The link after its status says what these proofs say.
fn told(mut link: PeerLink, proofs: Proofs) -> PeerLink {
    let stages = Stages {
        trusted: proofs.trusted,
        connected: proofs.connected,
        ..Stages::default()
    };
    link.status = Some(wanted(&link, &Report::Unchanged, stages, now()));
    link
}

#[test]
fn what_is_said_already_is_not_said_again() {
    let link = probed(json!([{"tls": {"address": "a:1"}}]));
    let all: [(&[Result<(), Reason>], _); 3] = [
        (&[Ok(())], None),
        (&[Ok(())], Some(now())),
        (&[Err(Reason::Unreachable)], None),
    ];
    for (runs, overlap) in all {
        let link = told(link.clone(), said(&link, runs, &Seen::Absent, overlap));
        let again = told(link.clone(), said(&link, runs, &Seen::Absent, overlap));
        assert_eq!(again.status, link.status);
        let restarted = told(link.clone(), said(&link, &[], &Seen::Absent, overlap));
        assert_eq!(restarted.status, link.status, "a restart is no news: {runs:?}");
    }
    let overlapping = told(link.clone(), said(&link, &[Ok(())], &Seen::Absent, Some(now())));
    let over = told(overlapping.clone(), said(&overlapping, &[Ok(())], &Seen::Absent, None));
    let status: PeerLinkStatus = over.status.unwrap();
    let trusted = condition(&status.conditions, "Trusted").unwrap();
    assert_eq!(
        (trusted.reason.as_str(), trusted.message.contains("stay until")),
        ("Trusted", false)
    );
}
