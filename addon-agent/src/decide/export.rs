//! What an export should say, given its source: pure, so that every case stands in a table below.
use addon_framework::runtime::conditions::{Wanted, merge};
use base64::{Engine, prelude::BASE64_STANDARD};
use exchange::{
    content::Content,
    envelope::{self, EnvelopeError},
    key::{KeyPair, PublicKey},
    revision,
    source::{self, Bad, SourceObject},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::{
    Sensitive, names,
    peering::{
        PeerExport, PeerExportSpec, PeerExportStatus, Recipient, SealedEnvelope,
        reasons::{self, SourceReady},
    },
};
use rand::CryptoRng;

/// What is known of the source object.
#[derive(Clone, Debug)]
pub enum Source {
    /// The agent may not read it (yet).
    Forbidden,
    /// Read: `None` if it does not exist.
    Read(Option<SourceObject>),
}

/// The status that an export should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// All that the agent owns in it.
    pub status: PeerExportStatus,
    /// How many envelopes were sealed anew.
    pub seals: u64,
}

/// Judges the source of an export; also used for a cluster's own share of a CA bundle.
pub fn judge(spec: &PeerExportSpec, source: &Source) -> Result<source::Good, Bad> {
    let origin = spec.inputs.first().cloned().unwrap_or_default();
    let namespace = origin.namespace.clone().unwrap_or_default();
    let name = format!(
        "{} {namespace}/{}",
        origin.kind.unwrap_or_default(),
        origin.name.unwrap_or_default()
    );
    match source {
        Source::Read(object) => source::judge(spec.kind, &name, &origin.keys, object.as_ref()),
        Source::Forbidden => Err(Bad {
            reason: SourceReady::SourceForbidden,
            message: format!(
                "the agent may not read {name}: the right arrives with ManifestWork {}, and namespace {} must exist",
                names::work_name(&spec.peering, 0),
                namespace
            ),
        }),
    }
}

/// Decides the status of an export. A bad source changes the condition only: the last good content stays published.
pub fn decide(
    export: &PeerExport,
    source: &Source,
    keys: &KeyPair,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<Decision, EnvelopeError> {
    let before = export.status.clone().unwrap_or_default();
    let (verdict, mut decision) = match judge(&export.spec, source) {
        Err(bad) => (
            wanted(false, bad.reason, bad.message),
            Decision {
                status: before.clone(),
                seals: 0,
            },
        ),
        Ok(good) => (
            wanted(true, good.reason, good.message),
            publish(&export.spec, &before, &good.content, keys, now, rng)?,
        ),
    };
    let verdict = verdict.at(export.metadata.generation);
    decision.status.conditions = vec![merge(&before.conditions, &verdict, now)];
    Ok(decision)
}

fn wanted(status: bool, reason: SourceReady, message: String) -> Wanted {
    Wanted::new(reasons::SOURCE_READY, status, reason.as_str(), message)
}

fn publish(
    spec: &PeerExportSpec,
    before: &PeerExportStatus,
    content: &Content,
    keys: &KeyPair,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<Decision, EnvelopeError> {
    let bytes = content.encode();
    let hash = keys.content_hash(bytes.expose());
    let kept = before
        .revision
        .filter(|_| before.content_hash.as_deref() == Some(hash.as_str()));
    let revision = kept.unwrap_or_else(|| revision::next(before.revision, now));
    let mut status = PeerExportStatus {
        revision: Some(revision),
        content_hash: Some(hash.clone()),
        expires_at: content.expires_at().map(Time),
        ..PeerExportStatus::default()
    };
    let mut seals = 0;
    if spec.confidential {
        for recipient in &spec.recipients {
            let old = before.envelopes.iter().filter(|_| kept.is_some());
            let old = old.into_iter().find(|envelope| envelope.link == recipient.link);
            let Some((envelope, new)) = seal(recipient, old, revision, &hash, &bytes, keys, rng)? else {
                continue;
            };
            status.envelopes.push(envelope);
            seals += u64::from(new);
        }
    } else {
        status.public_envelope = Some(BASE64_STANDARD.encode(envelope::plain(revision, &hash, &bytes)?));
    }
    Ok(Decision { status, seals })
}

/// The envelope for one recipient and whether it is new; `None` while the recipient's key is unknown.
fn seal(
    recipient: &Recipient,
    old: Option<&SealedEnvelope>,
    revision: i64,
    hash: &str,
    content: &Sensitive,
    keys: &KeyPair,
    rng: &mut impl CryptoRng,
) -> Result<Option<(SealedEnvelope, bool)>, EnvelopeError> {
    let key = recipient.public_key.as_deref();
    let Some(key) = key.and_then(|text| PublicKey::from_base64(text).ok()) else {
        return Ok(None);
    };
    let (to, from) = (key.fingerprint(), keys.public().fingerprint());
    if let Some(old) = old.filter(|old| old.recipient_fingerprint == to && old.sender_fingerprint == from) {
        return Ok(Some((old.clone(), false)));
    }
    let sealed = envelope::seal(&recipient.link, revision, hash, content, keys, &key, rng)?;
    let envelope = SealedEnvelope {
        link: recipient.link.clone(),
        recipient_fingerprint: to,
        sender_fingerprint: from,
        revision: None,
        request_hash: None,
        data: BASE64_STANDARD.encode(sealed),
    };
    Ok(Some((envelope, true)))
}

#[cfg(test)]
mod tests {
    use peering_api::peering::{ArtefactKind, Input, condition};

    use super::*;
    use crate::decide::fixtures::{ca, now, pair};

    const LINK: &str = "1244d3bc6c53866b576a23659f450d97";

    fn recipient(link: &str, key: Option<u8>) -> Recipient {
        Recipient {
            link: link.to_owned(),
            cluster: "west".to_owned(),
            certificate_request: None,
            public_key: key.map(|seed| pair(seed).public().to_base64()),
        }
    }

    fn export(recipients: Vec<Recipient>) -> PeerExport {
        let input = Input {
            alias: "token".into(),
            api_version: Some("v1".into()),
            kind: Some("Secret".into()),
            namespace: Some("ns".into()),
            name: Some("s".into()),
            ..Input::default()
        };
        let spec = PeerExportSpec {
            peering: "p".into(),
            artefact: "token".into(),
            confidential: true,
            inputs: vec![input],
            recipients,
            ..PeerExportSpec::default()
        };
        let mut export = PeerExport::new("p-token", spec);
        export.metadata.generation = Some(3);
        export
    }

    fn source(value: &str) -> Source {
        Source::Read(Some(SourceObject {
            type_: Some("Opaque".into()),
            data: [("token".to_owned(), value.as_bytes().to_vec().into())].into(),
        }))
    }

    fn run(export: &PeerExport, source: &Source) -> Decision {
        decide(export, source, &pair(1), now(), &mut rand::rng()).unwrap()
    }

    /// The export after its status was written.
    fn published(recipients: Vec<Recipient>, value: &str) -> PeerExport {
        let mut export = export(recipients);
        export.status = Some(run(&export, &source(value)).status);
        export
    }

    fn reason(decision: &Decision) -> (&str, &str) {
        let seen = condition(&decision.status.conditions, "SourceReady").unwrap();
        (&seen.status, &seen.reason)
    }

    fn open(decision: &Decision, seed: u8) -> Vec<u8> {
        let bytes = BASE64_STANDARD.decode(&decision.status.envelopes[0].data).unwrap();
        let opened = envelope::open(&bytes, LINK, pair(1).public(), &pair(seed)).unwrap();
        Content::decode(opened.content.expose()).unwrap().data["token"]
            .expose()
            .to_vec()
    }

    #[test]
    fn a_new_export_is_sealed_for_those_whose_key_is_known() {
        let export = export(vec![recipient(LINK, Some(2)), recipient("other", None)]);
        let decision = run(&export, &source("v"));
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
        let again = decide(&export, &source("v"), &pair(1), later, &mut rand::rng()).unwrap();
        assert_eq!((Some(again.status), again.seals), (export.status, 0));
    }

    #[test]
    fn changed_content_is_a_new_revision_and_sealed_anew() {
        let export = published(vec![recipient(LINK, Some(2))], "v");
        let decision = run(&export, &source("w"));
        let before = export.status.unwrap();
        assert_eq!(decision.status.revision, before.revision.map(|revision| revision + 1));
        assert_ne!(decision.status.content_hash, before.content_hash);
        assert_eq!(open(&decision, 2), b"w");
    }

    #[test]
    fn a_recipients_new_key_is_sealed_to_at_the_same_revision() {
        let mut export = published(vec![recipient(LINK, Some(2)), recipient("other", Some(4))], "v");
        export.spec.recipients[0] = recipient(LINK, Some(3));
        let decision = run(&export, &source("v"));
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
        let decision = decide(&export, &source("v"), &pair(9), now(), &mut rand::rng()).unwrap();
        assert_eq!(decision.seals, 1);
        assert!(decision.status.revision > export.status.unwrap().revision);
    }

    #[test]
    fn a_removed_recipient_loses_its_envelope() {
        let mut export = published(vec![recipient(LINK, Some(2)), recipient("other", Some(4))], "v");
        export.spec.recipients.remove(0);
        let decision = run(&export, &source("v"));
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
            (source(""), "SourceInvalid"),
            (Source::Read(None), "SourceNotFound"),
            (Source::Forbidden, "SourceForbidden"),
        ] {
            let decision = run(&export, &bad);
            assert_eq!(reason(&decision), ("False", expected));
            let kept = PeerExportStatus {
                conditions: before.conditions.clone(),
                ..decision.status
            };
            assert_eq!(kept, before, "{expected}");
        }
        let message = run(&export, &Source::Forbidden).status.conditions[0].message.clone();
        assert!(message.contains("ManifestWork peering-p"), "{message}");
    }

    #[test]
    fn public_content_travels_in_one_plain_envelope() {
        let mut export = export(vec![recipient(LINK, Some(2))]);
        export.spec.confidential = false;
        export.spec.kind = ArtefactKind::CaBundle;
        let decision = run(&export, &source(&ca("east", 2030)));
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
}
