//! Tokens: one for all recipients, kept over restarts, renewed before it expires.
use exchange::source::issued_token;
use jiff::SignedDuration;
use peering_api::peering::{Refresh, TokenRequestInput};

use super::{
    super::issue::{Answer, Order, Unit},
    *,
};

/// An export of a token and of a Secret's value.
fn export(recipients: Vec<Recipient>) -> PeerExport {
    let mut export = super::export(recipients);
    export.spec.inputs.push(Input {
        alias: "issued".into(),
        token_request: Some(TokenRequestInput {
            namespace: "ns".into(),
            service_account: "sa".into(),
            expiration_seconds: 3600,
            ..TokenRequestInput::default()
        }),
        ..Input::default()
    });
    export.spec.payload = [(
        "token".to_owned(),
        "${inputs.token.data.token}:${inputs.issued.token}".to_owned(),
    )]
    .into();
    export.spec.refresh = Some(Refresh {
        renew_at_percent: 70,
        jitter_percent: 0,
        min_interval: "1m".into(),
    });
    export
}

fn two() -> Vec<Recipient> {
    vec![recipient(LINK, Some(2)), recipient("other", Some(4))]
}

/// A pass: `answer` is what the cluster says to an order.
struct Run {
    asked: bool,
    decision: Decision,
}

fn run(export: &PeerExport, value: &str, at: Timestamp, answer: impl Fn() -> Answer) -> Run {
    run_as(export, value, at, &pair(1), answer)
}

fn run_as(export: &PeerExport, value: &str, at: Timestamp, keys: &KeyPair, answer: impl Fn() -> Answer) -> Run {
    let seen = secret(value);
    let inputs = inputs(export, &seen).unwrap();
    let pass = Pass::new(export, keys, at);
    let units = pass.units(&inputs).unwrap();
    let is_asked = |unit: &Unit<'_>| matches!(unit.order, Order::Tokens);
    let asked = units.iter().any(is_asked);
    let answered = units.into_iter().map(|unit| {
        let answer = if is_asked(&unit) { answer() } else { Answer::Nothing };
        (unit, answer)
    });
    let answered: Vec<_> = answered.collect();
    let decision = pass.conclude(&inputs, &answered, &mut rand::rng()).unwrap();
    Run { asked, decision }
}

/// A token that was issued at a time, for an hour.
fn token(text: &'static str, at: Timestamp) -> impl Fn() -> Answer {
    let expires = at + SignedDuration::from_hours(1);
    move || Answer::Issued([("issued".to_owned(), issued_token(text, expires))].into(), expires)
}

fn denied() -> Answer {
    Answer::Failed("no".into())
}

fn never() -> Answer {
    panic!("it is asked for")
}

/// The export after the first token was published.
fn published() -> PeerExport {
    let mut export = export(two());
    export.status = Some(run(&export, "v", now(), token("one", now())).decision.status);
    export
}

fn minutes(number: i64) -> Timestamp {
    now() + SignedDuration::from_mins(number)
}

#[test]
fn a_token_is_issued_once_for_all() {
    let export = export(two());
    let run = run(&export, "v", now(), token("one", now()));
    let status = &run.decision.status;
    assert_eq!(opened(&run.decision, LINK, 2), opened(&run.decision, "other", 4));
    assert_eq!(open(&run.decision, 2), b"v:one");
    assert_eq!((status.envelopes.len(), run.decision.seals), (2, 2));
    assert_eq!(status.expires_at, Some(Time(minutes(60))));
    assert_eq!(status.renew_after, Some(Time(minutes(42))), "70 % of what was granted");
    assert_eq!(run.decision.again_at, Some(minutes(42)));
    let message =
        "the payload of artefact \"token\" is published, made from a token of ServiceAccount ns/sa, Secret ns/s";
    assert_eq!(said(&run.decision), ("True", "Published", message));
}

#[test]
fn a_restart_issues_nothing_and_writes_nothing() {
    let export = published();
    for at in [0, 1, 41] {
        let run = run(&export, "v", minutes(at), never);
        assert_eq!(Some(&run.decision.status), export.status.as_ref());
        assert_eq!((run.decision.seals, run.decision.again_at), (0, Some(minutes(42))));
    }
}

#[test]
fn something_new_is_issued_when_it_is_due_or_something_has_changed() {
    type Edit = Box<dyn Fn(&mut PeerExport)>;
    let changes: [(&str, Edit, &str, i64, u8); 7] = [
        ("it is due", Box::new(|_| {}), "v", 42, 1),
        ("the payload has changed", Box::new(|_| {}), "w", 1, 1),
        (
            "a recipient has come",
            Box::new(|export| export.spec.recipients.push(recipient("new", Some(5)))),
            "v",
            1,
            1,
        ),
        (
            "a recipient has a new key",
            Box::new(|export| export.spec.recipients[1] = recipient("other", Some(6))),
            "v",
            1,
            1,
        ),
        ("our key is new", Box::new(|_| {}), "v", 1, 9),
        (
            "destinations have seen more",
            Box::new(|export| export.spec.revision_floor = Some(i64::MAX - 9)),
            "v",
            1,
            1,
        ),
        (
            "another account is asked for",
            Box::new(|export| {
                let input = export.spec.inputs[1].token_request.as_mut();
                input.unwrap().service_account = "sb".into();
            }),
            "v",
            1,
            1,
        ),
    ];
    for (why, change, value, at, seed) in changes {
        let mut export = published();
        let before = export.status.clone().unwrap();
        change(&mut export);
        let run = run_as(&export, value, minutes(at), &pair(seed), token("two", minutes(at)));
        assert!(run.asked, "{why}");
        let after = &run.decision.status;
        assert!(
            after.revision > before.revision.max(export.spec.revision_floor),
            "{why}"
        );
        let count = export.spec.recipients.len();
        assert_eq!(
            (after.envelopes.len(), run.decision.seals),
            (count, count as u64),
            "all get the new one: {why}"
        );
    }
}

#[test]
fn a_recipient_that_leaves_changes_nothing_for_the_others() {
    let mut export = published();
    export.spec.recipients.remove(1);
    let run = run(&export, "v", minutes(1), never);
    assert_eq!(run.decision.status.envelopes.len(), 1);
    assert_eq!(run.decision.status.revision, export.status.unwrap().revision);
}

#[test]
fn nothing_is_issued_for_nobody() {
    let mut export = export(vec![recipient(LINK, None)]);
    let run_now = |export: &PeerExport| run(export, "v", now(), never);
    let run = run_now(&export);
    assert_eq!(reason(&run.decision), ("True", "Published"));
    export.status = Some(run.decision.status.clone());
    assert_eq!(run_now(&export).decision.status, run.decision.status);
}

#[test]
fn a_renewal_that_fails_leaves_the_old_token_until_it_expires() {
    let mut export = published();
    let before = export.status.clone().unwrap();
    let failing = run(&export, "v", minutes(42), denied);
    assert_eq!(
        failing.decision.failure.as_deref().map(|why| why.contains("no")),
        Some(true),
        "it is tried again"
    );
    let (status, reason, message) = said(&failing.decision);
    assert_eq!((status, reason), ("True", "Published"));
    let says = "its renewal fails: no; what was issued before is valid until 2026-11-21T01:00:00Z; it is tried again";
    assert!(message.ends_with(says), "{message}");
    assert_eq!(failing.decision.status.envelopes, before.envelopes);
    export.status = Some(failing.decision.status.clone());
    let again = run(&export, "v", minutes(50), denied);
    assert_eq!(
        again.decision.status, failing.decision.status,
        "saying it again writes nothing"
    );
    let expired = run(&export, "v", minutes(60), denied);
    let (status, reason, message) = said(&expired.decision);
    assert_eq!((status, reason), ("False", "IssueDenied"));
    assert!(
        message.starts_with("no") && !message.contains("valid until"),
        "{message}"
    );
    assert_eq!(
        expired.decision.status.envelopes, before.envelopes,
        "the last good content stays"
    );
}

#[test]
fn a_token_from_other_inputs_does_not_make_a_source_ready() {
    let export = published();
    let run = run(&export, "w", minutes(1), denied);
    assert_eq!(reason(&run.decision), ("False", "IssueDenied"));
    assert_eq!(run.decision.status.envelopes, export.status.unwrap().envelopes);
}

#[test]
fn the_first_token_that_is_denied_leaves_nothing() {
    let run = run(&export(two()), "v", now(), denied);
    assert_eq!(said(&run.decision), ("False", "IssueDenied", "no; it is tried again"));
    assert!(run.decision.status.envelopes.is_empty() && run.decision.status.revision.is_none());
}

#[test]
fn a_token_that_has_expired_already_is_not_published() {
    let run = run(&export(two()), "v", minutes(60), token("old", now()));
    let (status, reason, message) = said(&run.decision);
    assert_eq!((status, reason), ("False", "IssueDenied"));
    assert!(message.contains("2026-11-21T01:00:00Z: see the clock"), "{message}");
    assert!(run.decision.failure.is_some());
}

#[test]
fn an_expression_that_fails_on_the_token_keeps_the_last_good_content() {
    let mut export = published();
    export
        .spec
        .payload
        .insert("token".into(), "${base64.decode(inputs.issued.token)}".into());
    let run = run(&export, "v", minutes(1), token("%", minutes(1)));
    let (status, reason, message) = said(&run.decision);
    assert_eq!((status, reason), ("False", "EvaluationFailed"));
    assert!(
        message.contains("payload[token]") && !message.contains('%'),
        "{message}"
    );
    assert_eq!(run.decision.status.envelopes, export.status.unwrap().envelopes);
}

#[test]
fn what_has_been_used_is_issued_no_more_and_leaves_the_hub() {
    let mut export = published();
    export.spec.recipients[0].used = true;
    let run = run(&export, "v", minutes(1), never);
    let links: Vec<_> = run
        .decision
        .status
        .envelopes
        .iter()
        .map(|envelope| envelope.link.as_str())
        .collect();
    assert_eq!(links, ["other"], "the other one still needs it");

    export.spec.recipients[1].used = true;
    let keys = pair(1);
    let pass = Pass::new(&export, &keys, minutes(2));
    assert!(pass.is_used_up());
    let status = pass.used_up().status;
    assert!(status.envelopes.is_empty() && status.expires_at.is_none() && status.renew_after.is_none());
    let before = export.status.clone().unwrap();
    assert_eq!(status.revision, before.revision, "it never goes back");
    assert_eq!(
        (
            status.conditions[0].status.as_str(),
            status.conditions[0].reason.as_str()
        ),
        ("True", "Published")
    );
    export.status = Some(status.clone());
    assert_eq!(
        Pass::new(&export, &keys, minutes(3)).used_up().status,
        status,
        "nothing is written"
    );

    // The target is made anew: it needs another one.
    export.spec.recipients[0].used = false;
    let again = super::tokens::run(&export, "v", minutes(4), token("two", minutes(4)));
    assert!(again.asked);
    assert_eq!(again.decision.status.envelopes.len(), 1);
    assert!(again.decision.status.revision > before.revision);
}
