//! The conditions of the Rook profiles against statuses as Rook writes them.
// A helper outside of `#[test]` functions is test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use exchange::{
    expression::{Condition, ExpressionError, Scope},
    value::Value,
};
use peering_api::peering::{Artefact, ExchangeProfile};
use serde_json::{Value as Json, json};

fn artefact(profile: &str) -> Artefact {
    let path = format!("{}/../manifests/profiles/{profile}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let profile: ExchangeProfile = serde_saphyr::from_str(&text).unwrap();
    profile.spec.artefacts.into_iter().next().unwrap()
}

fn holds(condition: &str, params: &[(&str, &str)], name: &str, value: Json) -> Result<bool, ExpressionError> {
    let scope = Scope {
        params: params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        extra: [(name.to_owned(), Value::from(value))].into(),
        ..Scope::default()
    };
    Condition::parse(condition).unwrap().holds(&scope)
}

/// Nothing is known yet, which is waited for.
fn is_waited_for(result: &Result<bool, ExpressionError>) -> bool {
    result.as_ref().is_err_and(ExpressionError::is_missing)
}

#[test]
fn a_token_is_handed_over_while_rook_reconciles_and_not_when_the_status_names_another() {
    for (profile, parameter, input, field, secret) in [
        (
            "rook-rbd-mirroring",
            "pool",
            "pool",
            "rbdMirrorBootstrapPeerSecretName",
            "pool-peer-token-a",
        ),
        (
            "rook-cephfs-mirroring",
            "filesystem",
            "filesystem",
            "fsMirrorBootstrapPeerSecretName",
            "fs-peer-token-a",
        ),
    ] {
        let condition = artefact(profile).ready_when.unwrap();
        let run = |token: &str, status: Json| {
            let inputs = json!({"token": {"data": {"token": token}}, input: {"status": status}});
            holds(&condition, &[(parameter, "a")], "inputs", inputs)
        };
        let ready = |name: &str| json!({"phase": "Ready", "info": {field: name}});
        assert_eq!(run("eyJ", ready(secret)), Ok(true), "{profile}");
        assert_eq!(run("", ready(secret)), Ok(false), "{profile}");
        assert_eq!(run("eyJ", ready("another")), Ok(false), "{profile}");
        // Each reconcile takes the name away: `info` of a filesystem is null then, that of a pool lacks the name.
        for info in [json!(null), json!({"type": "Replicated"})] {
            for phase in ["Progressing", "Failure"] {
                assert_eq!(run("eyJ", json!({"phase": phase, "info": info})), Ok(true), "{profile}");
            }
        }
        // Mirroring was switched off, and the Secret is still there.
        assert!(is_waited_for(&run(
            "eyJ",
            json!({"phase": "Ready", "info": {"type": "Replicated"}})
        )));
        assert!(is_waited_for(&run("eyJ", json!({}))));
    }
}

#[test]
fn a_pool_is_connected_when_its_daemon_reaches_a_peer() {
    let probe = artefact("rook-rbd-mirroring").probes.remove(0).object.unwrap();
    let run = |status: Json| holds(&probe.healthy, &[], "self", json!({"status": status}));
    // As in Rook's `controller_test.go` and `mirror_test.go`: images lag, the daemon is well.
    let status = |health: &str, peers: Json| {
        json!({
            "mirroringStatus": {"lastChecked": "2025-01-01T00:00:00Z", "summary": {
                "health": "WARNING", "daemon_health": health, "image_health": "WARNING", "states": {"unknown": 1},
            }},
            "mirroringInfo": {"mode": "image", "site_name": "39074576-5884-4ef3-8a4d-8a0c5ed33031", "peers": peers},
        })
    };
    let peer = json!([{"uuid": "4a6983c0", "direction": "rx-tx", "site_name": "ocs", "client_name": "client.rbd-mirror-peer"}]);
    assert_eq!(run(status("OK", peer.clone())), Ok(true));
    for health in ["UNKNOWN", "WARNING", "ERROR"] {
        assert_eq!(run(status(health, peer.clone())), Ok(false), "{health}");
    }
    assert_eq!(run(status("OK", json!([]))), Ok(false), "the token was not imported");
    for nothing in [
        json!({}),
        json!({"mirroringStatus": {}}),
        json!({"mirroringStatus": {"details": "failed to retrieve mirroring pool \"a\" status"}}),
    ] {
        assert!(is_waited_for(&run(nothing)));
    }
}

#[test]
fn a_filesystem_is_connected_when_its_daemon_has_a_peer_that_does_not_fail() {
    let probe = artefact("rook-cephfs-mirroring").probes.remove(0).object.unwrap();
    let run = |daemons: Json| {
        let status = json!({"status": {"mirroringStatus": {"daemonsStatus": daemons}}});
        holds(&probe.healthy, &[("filesystem", "myfs")], "self", status)
    };
    // As in Rook's guide to filesystem mirroring.
    let with = |name: &str, stats: Json| {
        json!([{"daemon_id": 906_790, "filesystems": [{"filesystem_id": 1, "name": name, "directory_count": 1, "peers": [{
            "uuid": "a24a3366-8130-4d55-aada-95fa9d3ff94d", "stats": stats,
            "remote": {"client_name": "client.mirror", "cluster_name": "91046889-a6aa-4f74-9fb0-f7bb111666b4", "fs_name": "myfs"},
        }]}]}])
    };
    assert_eq!(
        run(with("myfs", json!({"failure_count": 0, "recovery_count": 0}))),
        Ok(true)
    );
    assert_eq!(run(with("myfs", json!({}))), Ok(true), "zeros are left out");
    assert_eq!(
        run(with("myfs", json!({"failure_count": 2, "recovery_count": 2}))),
        Ok(true)
    );
    assert_eq!(run(with("myfs", json!({"failure_count": 1}))), Ok(false));
    assert_eq!(run(with("other", json!({}))), Ok(false));
    assert_eq!(run(json!([])), Ok(false));
    let alone = json!([{"daemon_id": 1, "filesystems": [{"filesystem_id": 1, "name": "myfs", "directory_count": 0}]}]);
    assert!(is_waited_for(&run(alone)), "no peer yet");
    let one_of_two = json!([{"daemon_id": 1}, with("myfs", json!({}))[0]]);
    assert_eq!(run(one_of_two), Ok(true), "a second daemon has nothing to do");
}
