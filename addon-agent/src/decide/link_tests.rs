//! What the status of a link says after a pass.
use jiff::SignedDuration;
use peering_api::peering::condition;

use super::*;
use crate::decide::fixtures::{leaving, link, now};

fn delivery(revision: i64) -> Report {
    Report::Delivered(Delivery {
        revision,
        hash: "h".into(),
        expires_at: None,
        fingerprints: vec![],
        message: "m".into(),
    })
}

fn status(link: &PeerLink, report: &Report) -> PeerLinkStatus {
    wanted(link, report, Stages::default(), now())
}

fn managers() -> Vec<Condition> {
    vec![merge(&[], &Wanted::new("Ready", true, "Ready", ""), now())]
}

fn types(status: &PeerLinkStatus) -> Vec<&str> {
    status.conditions.iter().map(|seen| seen.type_.as_str()).collect()
}

#[test]
fn the_managers_conditions_are_neither_read_nor_sent() {
    let mut link = link("a");
    link.status = Some(PeerLinkStatus {
        conditions: managers(),
        ..PeerLinkStatus::default()
    });
    assert_eq!(present(&link), PeerLinkStatus::default());
    let said = status(&link, &delivery(7));
    assert_eq!(said.conditions.len(), 1);
    link.status = Some(PeerLinkStatus {
        conditions: [managers(), said.conditions.clone()].concat(),
        ..said.clone()
    });
    let later = now() + SignedDuration::from_hours(1);
    assert_eq!(
        wanted(&link, &delivery(7), Stages::default(), later),
        present(&link),
        "saying it again writes nothing"
    );
}

#[test]
fn a_refusal_and_a_withdrawal_keep_what_was_delivered() {
    let mut link = link("a");
    link.status = Some(status(&link, &delivery(7)));
    let report = Report::NotDelivered(reasons::Delivered::StaleRevision, "m".into());
    let refused = status(&link, &report);
    assert_eq!((refused.applied_revision, refused.conditions.len()), (Some(7), 1));
    let gone = status(&link, &Report::Withdrawn);
    assert_eq!(types(&gone), ["Delivered", "Withdrawn"]);
    assert_eq!(gone.conditions[0].status, "True");
    assert_eq!(status(&link, &Report::Unchanged), present(&link));
}

#[test]
fn stages_come_stay_and_go() {
    let mut link = link("a");
    let verdict = |type_, status| Said::This(Verdict::new(type_, status, "R", "m"));
    let all = Stages {
        wired: verdict("Wired", Some(true)),
        trusted: verdict("Trusted", None),
        connected: verdict("Connected", Some(false)),
        consumers: Said::This(vec![ObjectRef::core("Service", "ns", "s")]),
        certificate_request: Said::This("request".into()),
        overlap_until: Said::This(Time(now())),
        used: Said::This("digest".into()),
    };
    let first = wanted(&link, &delivery(7), all, now());
    assert_eq!(types(&first), ["Connected", "Delivered", "Trusted", "Wired"], "sorted");
    assert_eq!(first.conditions[2].status, "Unknown");
    let parts = (
        first.wired.len(),
        first.certificate_request.is_some(),
        first.overlap_until.is_some() && first.used.is_some(),
    );
    assert_eq!(parts, (1, true, true));
    link.status = Some(first);
    assert_eq!(
        status(&link, &delivery(7)),
        present(&link),
        "nothing said, nothing changed"
    );
    let none = Stages {
        wired: Said::Gone,
        trusted: Said::Gone,
        connected: Said::Gone,
        consumers: Said::Gone,
        certificate_request: Said::Gone,
        overlap_until: Said::Gone,
        used: Said::Gone,
    };
    let last = wanted(&link, &delivery(7), none, now());
    assert_eq!(last, status(&crate::decide::fixtures::link("a"), &delivery(7)));
}

#[test]
fn what_was_delivered_expires_without_arriving_again() {
    let mut link = link("a");
    let Report::Delivered(mut delivered) = delivery(7) else {
        panic!()
    };
    let end = now() + SignedDuration::from_hours(1);
    delivered.expires_at = Some(end);
    let fresh = |link: &PeerLink, report: &Report, at| {
        let status = wanted(link, report, Stages::default(), at);
        condition(&status.conditions, "Fresh").map(|said| said.reason.clone())
    };
    let waiting = Report::NotDelivered(reasons::Delivered::WaitingForEnvelope, "m".into());
    assert_eq!(
        fresh(&link, &waiting, now()),
        None,
        "nothing is there that could expire"
    );
    let delivered = Report::Delivered(delivered);
    assert_eq!(fresh(&link, &delivered, now()).as_deref(), Some("Fresh"));
    link.status = Some(status(&link, &delivered));
    assert_eq!(fresh(&link, &Report::Unchanged, end).as_deref(), Some("Expired"));
    assert_eq!(
        fresh(&leaving(link.clone()), &Report::Withdrawn, end).as_deref(),
        Some("Fresh"),
        "what goes away is not judged any more"
    );
    assert_eq!(fresh(&link, &delivery(8), now()), None, "what came now does not expire");
}

#[test]
fn only_what_depends_on_the_action_fails_with_it() {
    let outcome = |report, acts| Outcome {
        name: "n".into(),
        id: "i".into(),
        report,
        acts,
    };
    let failed = |report, acts| {
        outcome(report, acts)
            .failed(reasons::Delivered::ApplyFailed, "no")
            .report
    };
    assert_eq!(
        failed(delivery(1), true),
        Report::NotDelivered(reasons::Delivered::ApplyFailed, "no".into())
    );
    assert_eq!(failed(delivery(1), false), delivery(1));
    assert_eq!(failed(Report::Withdrawn, true), Report::NotWithdrawn("no".into()));
    assert_eq!(failed(Report::Unchanged, true), Report::Unchanged);
}
