//! What each fuzz target does with its bytes, and what must hold whatever they are. `exchange/tests/corpus.rs` runs the
//! same functions over the checked-in corpus, with a stable compiler.
use std::collections::{BTreeMap, BTreeSet};

use exchange::{
    ca,
    content::Content,
    envelope,
    expression::{Condition, ExpressionError, Known, Scope, Template, Text, Use, limits},
    key::KeyPair,
    value::Value,
};
use jiff::Timestamp;
use peering_api::names;
use serde_json::json;

/// A value that is never in an expression, so it must never be in an error.
const SECRET: &str = "c4n4ry-s3cr3t";

/// What an agent sees: parameters, an object and a Secret.
fn scope() -> Scope {
    let secret: Value = [
        ("token", Value::Bytes(SECRET.as_bytes().to_vec().into())),
        ("binary", Value::Bytes(vec![0, 255].into())),
    ]
    .into_iter()
    .collect();
    let pool = json!({
        "status": {"peers": [{"name": SECRET, "up": true}, {"name": "b", "up": false}], "count": 3, "ratio": 1.5},
        "labels": {SECRET: SECRET},
    });
    let inputs = [
        ("token", [("data", secret)].into_iter().collect()),
        ("pool", Value::from(pool)),
    ];
    let items = (0..100).map(Value::Int).collect();
    Scope {
        params: [
            ("pool".to_owned(), SECRET.to_owned()),
            ("namespace".to_owned(), "ns".to_owned()),
        ]
        .into(),
        peering: "east-west".to_owned(),
        source: "east".to_owned(),
        destination: Some("west".to_owned()),
        extra: [
            ("inputs".to_owned(), inputs.into_iter().collect()),
            ("self".to_owned(), Value::from(json!({"status": {"ready": true}}))),
            ("items".to_owned(), Value::List(items)),
        ]
        .into(),
    }
}

/// An error says where and what, and holds no value.
fn harmless(error: &ExpressionError) {
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET), "the error holds a value: {shown}");
    assert!(
        shown.len() < 2 * limits::CHARACTERS,
        "the error is longer than what it is about"
    );
}

/// Bytes as a text with holes, as a condition, and as JSON that is a template.
pub fn expressions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let scope = scope();
    let known = Known::new(["pool", "namespace"])
        .destination()
        .members("inputs", ["token", "pool"], None)
        .variable("self")
        .variable("items");
    match Text::parse(&text) {
        Ok(parsed) => {
            assert!(parsed.references().len() <= limits::CHARACTERS);
            outcome(parsed.resolve(&scope).map(|resolved| resolved.len()));
            outcome(parsed.evaluate(&scope).map(|bytes| bytes.expose().len()));
            outcome(parsed.value(&scope).map(|value| value.weight()));
            for used in [Use::Name, Use::Text, Use::Bytes, Use::Value] {
                parsed.check(used, &known).iter().for_each(harmless);
            }
            if !parsed.has_holes() {
                assert_eq!(
                    parsed.resolve(&scope).as_deref(),
                    Ok(&*text),
                    "a text without holes is itself"
                );
            }
        }
        Err(error) => harmless(&error),
    }
    match Condition::parse(&text) {
        Ok(condition) => {
            let told = condition.check(&known);
            told.iter().for_each(harmless);
            let holds = condition.holds(&scope);
            if let Err(ExpressionError::UnknownVariable { .. }) = holds {
                assert!(!told.is_empty(), "the check knows fewer variables than the evaluation");
            }
            outcome(holds.map(|_| 0));
        }
        Err(error) => harmless(&error),
    }
    if let Ok(object) = serde_json::from_slice(data)
        && let Ok(template) = Template::parse(&object)
        && let Err(error) = template.fill(&scope)
    {
        harmless(&error.error);
    }
}

fn outcome(outcome: Result<usize, ExpressionError>) {
    match outcome {
        Ok(size) => assert!(size <= limits::OUTPUT, "{size} bytes come out"),
        Err(error) => harmless(&error),
    }
}

/// A fixed key pair. The corpus holds an envelope from 1 to 2.
fn pair(seed: u8) -> Option<KeyPair> {
    KeyPair::from_private(vec![seed; 32].into()).ok()
}

/// The link that the sealed envelope of the corpus belongs to.
const LINK: &str = "1244d3bc6c53866b576a23659f450d97";

/// Bytes as an envelope, sealed or plain, and as the content of one. Tells what could be opened.
pub fn envelopes(data: &[u8]) -> Option<Vec<u8>> {
    let _ = Content::decode(data).map(|content| {
        let again = Content::decode(content.encode().expose());
        assert_eq!(again.as_ref(), Ok(&content), "content comes back as it was");
    });
    let plain = envelope::open_plain(data);
    let (sender, recipient) = (pair(1)?, pair(2)?);
    let sealed = envelope::open(data, LINK, sender.public(), &recipient);
    assert!(
        plain.is_err() || sealed.is_err(),
        "an envelope is both plain and sealed"
    );
    match (plain, sealed) {
        (Ok(opened), Err(_)) => {
            let again = envelope::plain(opened.revision, &opened.hash, &opened.content)
                .and_then(|bytes| envelope::open_plain(&bytes));
            assert!(
                again.is_ok_and(|again| again.content == opened.content),
                "plain content comes back as it was"
            );
            Some(opened.content.expose().to_vec())
        }
        (_, sealed) => sealed.ok().map(|opened| opened.content.expose().to_vec()),
    }
}

/// Bytes as a PEM text. Tells how many certificates were read.
pub fn certificates(data: &[u8]) -> usize {
    let parsed = ca::parse(data);
    let fingerprints: BTreeSet<_> = parsed
        .certificates
        .iter()
        .map(|certificate| &certificate.fingerprint)
        .collect();
    assert_eq!(fingerprints.len(), parsed.certificates.len(), "each certificate once");
    let pem: String = parsed
        .certificates
        .iter()
        .map(|certificate| certificate.pem.as_str())
        .collect();
    let again = ca::parse(pem.as_bytes());
    assert_eq!(
        again.certificates, parsed.certificates,
        "what was read is written so that it is read again"
    );
    assert_eq!(again.malformed, []);
    let now = Timestamp::UNIX_EPOCH;
    let union = ca::unite(&parsed.certificates, &[], &BTreeSet::new(), &BTreeMap::new(), None, now);
    let target = ca::parse(union.pem.as_bytes()).certificates;
    let second = ca::unite(&parsed.certificates, &target, &union.ours, &BTreeMap::new(), None, now);
    assert_eq!(second.pem, union.pem, "a second pass changes nothing");
    parsed.certificates.len()
}

/// Lines as the names that ids and names of objects are made of.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (peering, artefact, from, to) = (next(), next(), next(), next());
    let id = names::link_id(peering, artefact, from, to);
    let other = names::link_id(peering, artefact, to, from);
    assert_eq!(id == other, from == to, "a link has a direction");
    for id in [&id, &names::bundle_id(peering, artefact, to)] {
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
    }
    for name in [
        names::link_name(peering, artefact, from, &id),
        names::export_name(peering, artefact, from),
    ] {
        assert!(name.len() <= 253, "{name} has {} characters", name.len());
        let valid = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if [peering, artefact, from].into_iter().all(valid) {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
        }
    }
    let fingerprint = names::key_fingerprint(data);
    assert_eq!(fingerprint.len(), "SHA256:".len() + 32);
    assert_eq!(names::hex(data).len(), 2 * data.len());
}
