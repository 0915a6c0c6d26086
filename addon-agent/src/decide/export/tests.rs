//! Exports, what their sources hold, and what they say of it.
use exchange::{
    content::Content,
    source::{self, Inputs, Seen, State},
    value::Value,
};
use peering_api::{
    names,
    peering::{ArtefactKind, Input, PeerExportSpec, Recipient},
};

use super::*;
use crate::decide::fixtures::{ca, now, pair};

mod certificates;
mod tokens;

const LINK: &str = "1244d3bc6c53866b576a23659f450d97";

/// A recipient on the cluster that its link is named after.
fn recipient(link: &str, key: Option<u8>) -> Recipient {
    Recipient {
        link: link.to_owned(),
        cluster: format!("cluster-{link}"),
        certificate_request: None,
        public_key: key.map(|seed| pair(seed).public().to_base64()),
        used: false,
    }
}

fn object_input() -> Input {
    Input {
        alias: "token".into(),
        api_version: Some("v1".into()),
        kind: Some("Secret".into()),
        namespace: Some("ns".into()),
        name: Some("s".into()),
        ..Input::default()
    }
}

fn export(recipients: Vec<Recipient>) -> PeerExport {
    let spec = PeerExportSpec {
        peering: "p".into(),
        artefact: "token".into(),
        confidential: true,
        inputs: vec![object_input()],
        recipients,
        ..PeerExportSpec::default()
    };
    let mut export = PeerExport::new("p-token", spec);
    export.metadata.generation = Some(3);
    export.metadata.uid = Some("export-uid".into());
    export
}

/// The source Secret with one key.
fn secret(value: &str) -> Seen<Value> {
    let data: Value = [("token", Value::Bytes(value.as_bytes().to_vec().into()))]
        .into_iter()
        .collect();
    let entries = [
        ("apiVersion", "v1".into()),
        ("kind", "Secret".into()),
        ("type", "Opaque".into()),
        ("data", data),
    ];
    Seen::Present(entries.into_iter().collect())
}

/// The inputs of an export whose only object is this one.
fn inputs<'e>(export: &'e PeerExport, seen: &Seen<Value>) -> Result<Inputs<'e>, Bad> {
    match source::read("east", &export.spec, &|_| seen.clone()).state {
        State::Ready(inputs) => Ok(inputs),
        State::Bad(bad) => Err(bad),
        State::Waiting => panic!("it waits"),
    }
}

fn run_as(export: &PeerExport, seen: &Seen<Value>, keys: &KeyPair, now: Timestamp) -> Decision {
    let pass = Pass::new(export, keys, now);
    let good = inputs(export, seen).and_then(|inputs| inputs.content(&source::Issued::new()));
    match good {
        Err(bad) => pass.refuse(&bad),
        Ok(good) => pass.publish(&good, &mut rand::rng()).unwrap(),
    }
}

fn run(export: &PeerExport, seen: &Seen<Value>) -> Decision {
    run_as(export, seen, &pair(1), now())
}

/// The export after its status was written.
fn published(recipients: Vec<Recipient>, value: &str) -> PeerExport {
    let mut export = export(recipients);
    export.status = Some(run(&export, &secret(value)).status);
    export
}

fn said(decision: &Decision) -> (&str, &str, &str) {
    let seen = condition(&decision.status.conditions, "SourceReady").unwrap();
    (&seen.status, &seen.reason, &seen.message)
}

fn reason(decision: &Decision) -> (&str, &str) {
    let (status, reason, _) = said(decision);
    (status, reason)
}

/// What the envelope of a link holds, for the holder of a key.
fn opened(decision: &Decision, link: &str, seed: u8) -> (i64, Content) {
    let mut envelopes = decision.status.envelopes.iter();
    let envelope = envelopes.find(|envelope| envelope.link == link).unwrap();
    let bytes = BASE64_STANDARD.decode(&envelope.data).unwrap();
    let opened = envelope::open(&bytes, link, pair(1).public(), &pair(seed)).unwrap();
    (opened.revision, Content::decode(opened.content.expose()).unwrap())
}

fn open(decision: &Decision, seed: u8) -> Vec<u8> {
    opened(decision, LINK, seed).1.data["token"].expose().to_vec()
}

#[test]
fn a_new_export_is_sealed_for_those_whose_key_is_known() {
    let export = export(vec![recipient(LINK, Some(2)), recipient("other", None)]);
    let decision = run(&export, &secret("v"));
    assert_eq!(decision.status.revision, Some(now().as_millisecond()));
    assert_eq!((decision.status.envelopes.len(), decision.seals), (1, 1));
    assert_eq!(open(&decision, 2), b"v");
    assert_eq!(reason(&decision), ("True", "Published"));
    assert_eq!(decision.status.conditions[0].observed_generation, Some(3));
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let export = published(vec![recipient(LINK, Some(2))], "v");
    let later = now() + jiff::SignedDuration::from_hours(1);
    let again = run_as(&export, &secret("v"), &pair(1), later);
    assert_eq!((Some(again.status), again.seals), (export.status, 0));
}

#[test]
fn changed_content_is_a_new_revision_and_sealed_anew() {
    let export = published(vec![recipient(LINK, Some(2))], "v");
    let decision = run(&export, &secret("w"));
    let before = export.status.unwrap();
    assert_eq!(decision.status.revision, before.revision.map(|revision| revision + 1));
    assert_ne!(decision.status.content_hash, before.content_hash);
    assert_eq!(open(&decision, 2), b"w");
}

#[test]
fn a_revision_exceeds_what_destinations_have_seen() {
    let mut export = published(vec![recipient(LINK, Some(2))], "v");
    let before = export.status.clone().unwrap().revision.unwrap();
    for (floor, value, expected) in [
        (before, "v", before),
        (before - 5, "v", before),
        (before + 5, "v", before + 6),
        (before + 5, "w", before + 6),
        (before - 5, "w", before + 1),
    ] {
        export.spec.revision_floor = Some(floor);
        let decision = run(&export, &secret(value));
        assert_eq!(decision.status.revision, Some(expected), "{} {value}", floor - before);
        assert_eq!(opened(&decision, LINK, 2).0, expected);
    }
}

#[test]
fn a_recipients_new_key_is_sealed_to_at_the_same_revision() {
    let mut export = published(vec![recipient(LINK, Some(2)), recipient("other", Some(4))], "v");
    export.spec.recipients[0] = recipient(LINK, Some(3));
    let decision = run(&export, &secret("v"));
    let before = export.status.unwrap();
    assert_eq!((decision.status.revision, decision.seals), (before.revision, 1));
    assert_eq!(open(&decision, 3), b"v");
    assert_eq!(
        decision.status.envelopes[1], before.envelopes[1],
        "the other one is kept"
    );
}

#[test]
fn a_new_own_key_makes_everything_new() {
    let export = published(vec![recipient(LINK, Some(2))], "v");
    let decision = run_as(&export, &secret("v"), &pair(9), now());
    assert_eq!(decision.seals, 1);
    assert!(decision.status.revision > export.status.unwrap().revision);
}

#[test]
fn a_removed_recipient_loses_its_envelope() {
    let mut export = published(vec![recipient(LINK, Some(2)), recipient("other", Some(4))], "v");
    export.spec.recipients.remove(0);
    let decision = run(&export, &secret("v"));
    assert_eq!(decision.seals, 0);
    assert_eq!(decision.status.envelopes.len(), 1);
    assert_eq!(decision.status.envelopes[0].link, "other");
}

#[test]
fn a_bad_source_keeps_the_last_good_content() {
    let mut export = published(vec![recipient(LINK, Some(2))], "v");
    export.spec.recipients.push(recipient("new", Some(5)));
    let before = export.status.clone().unwrap();
    for (bad, expected) in [
        (secret(""), "SourceInvalid"),
        (Seen::Absent, "SourceNotFound"),
        (Seen::Denied, "SourceForbidden"),
        (Seen::Unknown, "KindNotFound"),
    ] {
        let decision = run(&export, &bad);
        assert_eq!(reason(&decision), ("False", expected));
        let kept = PeerExportStatus {
            conditions: before.conditions.clone(),
            ..decision.status
        };
        assert_eq!(kept, before, "{expected}");
    }
}

#[test]
fn public_content_travels_in_one_plain_envelope() {
    let mut export = export(vec![recipient(LINK, Some(2))]);
    export.spec.confidential = false;
    export.spec.kind = ArtefactKind::CaBundle;
    let decision = run(&export, &secret(&ca("east", 2030)));
    assert!(decision.status.envelopes.is_empty());
    let bytes = BASE64_STANDARD
        .decode(decision.status.public_envelope.clone().unwrap())
        .unwrap();
    assert_eq!(
        Some(envelope::open_plain(&bytes).unwrap().revision),
        decision.status.revision
    );
    assert!(decision.status.expires_at.is_some());
}

#[test]
fn what_no_object_has_room_for_is_not_published() {
    let large = "x".repeat(100 * 1024);
    let recipients = |number: u8| {
        let links = (0..number).map(|at| recipient(&format!("link{at}"), Some(at + 2)));
        links.collect::<Vec<_>>()
    };
    let few = published(recipients(4), &large);
    assert_eq!(few.status.as_ref().map(|status| status.envelopes.len()), Some(4));
    let mut many = few.clone();
    many.spec.recipients = recipients(8);
    let decision = run(&many, &secret(&large));
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("False", "PayloadTooLarge"));
    assert!(
        message.contains("each of 8 destinations") && message.contains("spread the destinations"),
        "{message}"
    );
    assert_eq!(decision.status.envelopes, few.status.unwrap().envelopes);
}

#[test]
fn an_export_that_goes_says_whether_it_has_cleaned_up() {
    let mut export = published(vec![recipient(LINK, Some(2))], "v");
    let failed = withdrawn(&export, Some("no"), now());
    let types = |status: &PeerExportStatus| {
        let said = status.conditions.iter();
        said.map(|said| (said.type_.clone(), said.status.clone()))
            .collect::<Vec<_>>()
    };
    let source = ("SourceReady".to_owned(), "True".to_owned());
    assert_eq!(types(&failed), [source.clone(), ("Withdrawn".into(), "False".into())]);
    export.status = Some(failed);
    let done = withdrawn(&export, None, now());
    assert_eq!(types(&done), [source, ("Withdrawn".into(), "True".into())]);
    assert_eq!(done.envelopes, export.status.unwrap().envelopes, "nothing else changes");
}
