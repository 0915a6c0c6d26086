//! Certificates: one for each recipient, each at a revision of its own.
use exchange::{
    certificate::{self, Subject},
    source::issued_certificate,
};
use jiff::SignedDuration;
use peering_api::peering::{CertificateInput, Empty, Refresh, SealedEnvelope, Signer};
use sha2::{Digest, Sha256};

use super::{
    super::issue::{Answer, Order},
    *,
};

const ONE: &str = "one";
const TWO: &str = "two";

/// An export of a certificate that the API server signs.
fn export(recipients: Vec<Recipient>) -> PeerExport {
    let mut export = super::export(recipients);
    export.spec.inputs = vec![Input {
        alias: "c".into(),
        certificate: Some(CertificateInput {
            signer: Signer {
                kubernetes: Some(Empty {}),
                ca: None,
            },
            common_name: "peer:${destination.cluster}".into(),
            expiration_seconds: 3600,
            ..CertificateInput::default()
        }),
        ..Input::default()
    }];
    export.spec.refresh = Some(Refresh {
        renew_at_percent: 70,
        jitter_percent: 0,
        min_interval: "1m".into(),
    });
    export
}

/// A recipient that asks for a certificate of its own.
fn asking(link: &str, key: u8, user: &str) -> Recipient {
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem().into_bytes().into();
    let subject = Subject {
        common_name: user.to_owned(),
        ..Subject::default()
    };
    Recipient {
        certificate_request: Some(certificate::request(&private, &subject).unwrap()),
        ..recipient(link, Some(key))
    }
}

fn one() -> Recipient {
    asking(ONE, 2, "peer:cluster-one")
}

fn two() -> Recipient {
    asking(TWO, 4, "peer:cluster-two")
}

/// A pass: `answer` is what the cluster says to the request of a link. The links that were asked for, and what is said.
fn run(export: &PeerExport, at: Timestamp, answer: impl Fn(&str) -> Answer) -> (Vec<String>, Decision) {
    let inputs = inputs(export, &Seen::Absent).unwrap();
    let keys = pair(1);
    let pass = Pass::new(export, &keys, at);
    let mut asked = Vec::new();
    let mut answered = Vec::new();
    for unit in pass.units(&inputs).unwrap() {
        let answer = match &unit.order {
            Order::Certificate(request) => {
                asked.push(request.recipient.link.clone());
                answer(&request.recipient.link)
            }
            Order::Tokens => panic!("there are no tokens"),
            Order::Nothing(_) | Order::Held(_) => Answer::Nothing,
        };
        answered.push((unit, answer));
    }
    (asked, pass.conclude(&inputs, &answered, &mut rand::rng()).unwrap())
}

/// A certificate that was issued at a time, for an hour.
fn signed(at: Timestamp) -> impl Fn(&str) -> Answer {
    let expires = at + SignedDuration::from_hours(1);
    move |link| {
        let value = issued_certificate(&format!("chain of {link}"), expires, None);
        Answer::Issued([("c".to_owned(), value)].into(), expires)
    }
}

fn never(link: &str) -> Answer {
    panic!("a certificate is asked for {link}")
}

fn after(export: &PeerExport, decision: &Decision) -> PeerExport {
    let mut export = export.clone();
    export.status = Some(decision.status.clone());
    export
}

fn published() -> PeerExport {
    let export = export(vec![one(), two()]);
    let (_, decision) = run(&export, now(), signed(now()));
    after(&export, &decision)
}

fn envelope<'d>(decision: &'d Decision, link: &str) -> &'d SealedEnvelope {
    let mut envelopes = decision.status.envelopes.iter();
    envelopes.find(|envelope| envelope.link == link).unwrap()
}

fn minutes(number: i64) -> Timestamp {
    now() + SignedDuration::from_mins(number)
}

#[test]
fn each_recipient_gets_its_own() {
    let export = export(vec![one(), two()]);
    let (asked, decision) = run(&export, now(), signed(now()));
    assert_eq!(asked, [ONE, TWO]);
    for (link, seed, recipient) in [(ONE, 2, 0), (TWO, 4, 1)] {
        let (revision, content) = opened(&decision, link, seed);
        assert_eq!(content.data["tls.crt"].expose(), format!("chain of {link}").as_bytes());
        let envelope = envelope(&decision, link);
        assert_eq!(envelope.revision, Some(revision));
        let request = export.spec.recipients[recipient].certificate_request.as_ref().unwrap();
        let hash = names::hex(&Sha256::digest(request.as_bytes()));
        assert_eq!(envelope.request_hash, Some(hash));
        assert_eq!(envelope.renew_after, Some(Time(minutes(42))));
    }
    assert_eq!(decision.again_at, Some(minutes(42)));
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("True", "Published"));
    assert!(message.ends_with("is published for 2 of 2 destinations"), "{message}");
    let status = &decision.status;
    assert_eq!(status.revision, envelope(&decision, ONE).revision);
    assert_eq!(
        (&status.expires_at, &status.renew_after),
        (&Some(Time(minutes(60))), &Some(Time(minutes(42))))
    );
}

#[test]
fn a_restart_issues_nothing_and_writes_nothing() {
    let export = published();
    let (_, decision) = run(&export, minutes(41), never);
    assert_eq!((Some(decision.status), decision.seals), (export.status, 0));
}

#[test]
fn who_comes_or_asks_anew_leaves_the_others_untouched() {
    let before = published();
    let old = before.status.clone().unwrap();
    for (change, asked) in [
        (asking("three", 6, "peer:cluster-three"), "three"),
        (two(), TWO),
        (
            Recipient {
                public_key: Some(pair(8).public().to_base64()),
                ..before.spec.recipients[1].clone()
            },
            TWO,
        ),
    ] {
        let mut export = before.clone();
        export.spec.recipients.retain(|recipient| recipient.link != change.link);
        export.spec.recipients.push(change);
        let (seen, decision) = run(&export, minutes(1), signed(minutes(1)));
        assert_eq!(seen, [asked]);
        assert_eq!(envelope(&decision, ONE), &old.envelopes[0]);
        assert!(envelope(&decision, asked).revision > old.revision);
        assert_eq!(decision.status.revision, envelope(&decision, asked).revision);
        assert_eq!(decision.again_at, Some(minutes(42)), "the first of both");
    }
}

#[test]
fn a_certificate_is_renewed_with_the_same_request() {
    let export = published();
    let (asked, decision) = run(&export, minutes(42), signed(minutes(42)));
    assert_eq!(asked, [ONE, TWO]);
    let request = |status: &PeerExportStatus| status.envelopes[0].request_hash.clone();
    assert_eq!(request(&decision.status), request(&export.status.unwrap()));
    assert_eq!(decision.status.renew_after, Some(Time(minutes(84))));
}

#[test]
fn whoever_has_not_asked_yet_is_waited_for_by_himself() {
    let mut export = export(vec![recipient(ONE, Some(2))]);
    let (_, decision) = run(&export, now(), never);
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("False", "WaitingForRequest"));
    assert!(
        message.contains("cluster-one") && message.contains("tokenexchange"),
        "{message}"
    );
    export.spec.recipients.push(two());
    let (asked, decision) = run(&export, now(), signed(now()));
    assert_eq!(asked, [TWO]);
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("True", "Published"));
    assert!(
        message.contains("for 1 of 2 destinations; the certificate request of cluster cluster-one"),
        "{message}"
    );
}

#[test]
fn a_request_for_somebody_else_is_refused_and_holds_nobody_up() {
    let export = export(vec![asking(ONE, 2, "peer:cluster-two"), two()]);
    let (asked, decision) = run(&export, now(), signed(now()));
    assert_eq!(asked, [TWO]);
    let (status, _, message) = said(&decision);
    assert_eq!(status, "True");
    assert!(
        message.contains("cluster cluster-one is refused: the certificate request is for CN=\"peer:cluster-two\""),
        "{message}"
    );
    let alone = super::certificates::export(vec![asking(ONE, 2, "peer:cluster-two")]);
    assert_eq!(reason(&run(&alone, now(), never).1), ("False", "IssueDenied"));
}

#[test]
fn the_signer_is_waited_for_in_silence_at_first() {
    let export = export(vec![one()]);
    let pending = |_: &str| Answer::Pending("csr".into(), now());
    let (_, decision) = run(&export, now(), pending);
    assert_eq!(
        decision.status,
        PeerExportStatus::default(),
        "nothing is written for a moment"
    );
    assert_eq!(decision.again_at, Some(now() + SignedDuration::from_millis(250)));
    let later = now() + SignedDuration::from_secs(10);
    let (_, decision) = run(&export, later, pending);
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("False", "IssuePending"));
    assert!(
        message.contains("CertificateSigningRequest csr") && message.contains("since 2026-11-21T00:00:00Z"),
        "{message}"
    );
    let renewing = published();
    let (_, decision) = run(&renewing, minutes(42), pending);
    assert_eq!(
        Some(decision.status.envelopes),
        renewing.status.map(|status| status.envelopes)
    );
}

#[test]
fn a_refusal_is_for_one_and_the_old_certificate_serves_until_it_expires() {
    let export = published();
    let answer = |link: &str| {
        if link == ONE {
            Answer::Failed("denied".into())
        } else {
            signed(minutes(42))(link)
        }
    };
    let (_, decision) = run(&export, minutes(42), answer);
    assert_eq!(envelope(&decision, ONE), &export.status.as_ref().unwrap().envelopes[0]);
    assert!(decision.failure.is_some());
    let (status, _, message) = said(&decision);
    assert_eq!(status, "True");
    assert!(
        message.contains("for 2 of 2 destinations; its renewal fails: denied; what was issued before is valid until"),
        "{message}"
    );
    let none = |_: &str| Answer::Failed("denied".into());
    let (_, decision) = run(&export, minutes(60), none);
    assert_eq!(reason(&decision), ("False", "IssueDenied"));
}

#[test]
fn nobody_without_a_key_is_asked_for() {
    let export = export(vec![Recipient {
        public_key: None,
        ..one()
    }]);
    let (_, decision) = run(&export, now(), never);
    let (status, reason, message) = said(&decision);
    assert_eq!((status, reason), ("True", "Published"));
    assert!(message.starts_with("nothing is issued before"), "{message}");
}
