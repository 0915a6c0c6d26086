//! Which transitions are told, and what the API server gets to see.
use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;
use peering_api::peering::{PeerLink, PeerLinkSpec, Peering, PeeringSpec};
use serde_json::{from_value, json};
use tower::service_fn;

use super::*;

fn said(type_: &str, status: &str, reason: &str) -> Condition {
    from_value(json!({
        "type": type_, "status": status, "reason": reason, "message": format!("why {reason}"),
        "lastTransitionTime": "2026-11-21T00:00:00Z",
    }))
    .unwrap()
}

#[test]
fn only_changes_of_status_or_reason_are_told() {
    use EventType::{Normal, Warning};
    let ready = |status, reason| said("Ready", status, reason);
    for (before, after, expected) in [
        (None, ready("True", "Ready"), Some(Normal)),
        (Some(ready("True", "Ready")), ready("True", "Ready"), None),
        (
            Some(ready("True", "Ready")),
            ready("False", "TargetConflict"),
            Some(Warning),
        ),
        (
            Some(ready("False", "TargetConflict")),
            ready("False", "ApplyFailed"),
            Some(Warning),
        ),
        (
            Some(ready("False", "TargetConflict")),
            ready("False", "TargetConflict"),
            None,
        ),
        (
            Some(ready("True", "Ready")),
            ready("Unknown", "AgentUnreachable"),
            Some(Warning),
        ),
        // A link on its way up, and one that has fallen back.
        (None, ready("Unknown", "WaitingForSource"), None),
        (
            Some(ready("Unknown", "WaitingForSource")),
            ready("False", "WaitingForEnvelope"),
            None,
        ),
        (
            Some(ready("False", "WaitingForEnvelope")),
            ready("True", "Ready"),
            Some(Normal),
        ),
        (
            Some(ready("True", "Ready")),
            ready("False", "WaitingForEnvelope"),
            Some(Warning),
        ),
        (
            Some(ready("False", "SourceNotFound")),
            ready("False", "WaitingForEnvelope"),
            Some(Warning),
        ),
        (None, said("Accepted", "False", "ProfileNotFound"), Some(Warning)),
        (
            Some(said("Accepted", "True", "Accepted")),
            said("Accepted", "True", "Paused"),
            Some(Normal),
        ),
        (None, said("SourceReady", "False", "SourceNotFound"), None),
    ] {
        let told = transitions(before.as_slice(), std::slice::from_ref(&after));
        let types: Vec<_> = told.iter().map(|note| note.type_).collect();
        assert_eq!(
            types,
            expected.into_iter().collect::<Vec<_>>(),
            "{before:?} -> {after:?}"
        );
    }
}

#[test]
fn another_message_or_generation_is_no_transition() {
    let before = said("Ready", "False", "TargetConflict");
    let mut after = before.clone();
    (after.message, after.observed_generation) = ("other".into(), Some(9));
    assert_eq!(transitions(&[before], &[after]), []);
}

fn link() -> PeerLink {
    let mut link = PeerLink::new("pair-token-east-0123456789", PeerLinkSpec::default());
    link.metadata.namespace = Some("west".into());
    link.metadata.uid = Some("u".into());
    link.metadata.resource_version = Some("7".into());
    link
}

fn told<K: Resource<DynamicType = ()>>(object: &K, condition: Condition) -> Event {
    let regarding = (object.object_ref(&()), object.resource_version().unwrap_or_default());
    let note = transitions(&[], &[condition]).remove(0);
    event(&regarding, note, "pod-1", "2026-11-21T00:00:00Z".parse().unwrap())
}

#[test]
fn an_event_has_everything_that_the_api_server_asks_for() {
    let mut condition = said("Ready", "False", "TargetConflict");
    condition.message = "é".repeat(MAX_NOTE);
    let event = serde_json::to_value(told(&link(), condition)).unwrap();
    let expected = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": names::event_name("pair-token-east-0123456789", "u", "7", "Ready"), "namespace": "west"},
        "eventTime": "2026-11-21T00:00:00.000000Z",
        "action": "ReadyChanged", "reason": "TargetConflict", "type": "Warning", "note": "é".repeat(MAX_NOTE / 2),
        "reportingController": "multicluster-orchestrator", "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "PeerLink",
            "namespace": "west", "name": "pair-token-east-0123456789", "uid": "u",
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn the_same_transition_of_the_same_version_is_the_same_event() {
    let name = |object: &PeerLink, reason| told(object, said("Ready", "False", reason)).metadata.name;
    let (link, mut newer) = (link(), link());
    newer.metadata.resource_version = Some("8".into());
    assert_eq!(name(&link, "ApplyFailed"), name(&link, "ApplyFailed"));
    assert_ne!(name(&link, "ApplyFailed"), name(&newer, "ApplyFailed"));
}

#[test]
fn events_of_cluster_scoped_objects_are_in_default() {
    let peering = Peering::new("pair", PeeringSpec::default());
    let event = told(&peering, said("Accepted", "False", "ProfileNotFound"));
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(event.regarding.unwrap().namespace, None);
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted_and_nothing_else_happens() {
    let (codes, lost) = ([201, 409, 403], Counter::default());
    let (queue, events) = mpsc::channel(codes.len());
    let recorder = Recorder {
        queue,
        instance: "i".into(),
        lost: lost.clone(),
    };
    let before = said("Ready", "True", "Ready");
    for _ in 0..=codes.len() {
        let after = [said("Ready", "False", "ApplyFailed")];
        recorder.changed(&link(), std::slice::from_ref(&before), &after);
    }
    assert_eq!(lost.get(), 1, "one more than fit");
    drop(recorder);

    let mut answers = codes.into_iter();
    let server = service_fn(move |request: Request<Body>| {
        let code: u16 = answers.next().unwrap();
        async move {
            assert_eq!(request.uri().path(), "/apis/events.k8s.io/v1/namespaces/west/events");
            let reason = if code == 409 { "AlreadyExists" } else { "Other" };
            let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": ""});
            let event = json!({"metadata": {"name": "e", "namespace": "west"}, "eventTime": null});
            let body = if code == 201 { event } else { status };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    send(Client::new(server, "default"), events, lost.clone()).await;
    assert_eq!(lost.get(), 2, "a 409 says that it was told before");
}
