//! Is the source any good? An empty or malformed source never overwrites the last good content.
use std::collections::BTreeMap;

use peering_api::{Sensitive, peering::ArtefactKind, peering::reasons::SourceReady};

use crate::{ca, content::Content};

/// An object as it was seen on the source cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceObject {
    /// Type, of a Secret.
    pub type_: Option<String>,
    /// Keys and bytes.
    pub data: BTreeMap<String, Sensitive>,
}

/// A source that can be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// What is handed over.
    pub content: Content,
    /// `Published`, or `PartlyInvalid` with the message that names what was left out.
    pub reason: SourceReady,
    /// For the condition.
    pub message: String,
}

/// A source that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Why, as the condition's reason.
    pub reason: SourceReady,
    /// What was expected, what was seen and what to do.
    pub message: String,
}

/// Judges the source object of an artefact. `name` is how messages call it, such as `Secret default/peer-token`.
pub fn judge(kind: ArtefactKind, name: &str, keys: &[String], object: Option<&SourceObject>) -> Result<Good, Bad> {
    let Some(object) = object else {
        let message = format!("{name} does not exist: create it, it will be picked up at once");
        return Err(Bad {
            reason: SourceReady::SourceNotFound,
            message,
        });
    };
    let data = select(name, keys, object)?;
    match kind {
        ArtefactKind::Data => Ok(Good {
            content: Content {
                type_: object.type_.clone(),
                data,
            },
            reason: SourceReady::Published,
            message: format!("{name} is published"),
        }),
        ArtefactKind::CaBundle => bundle(name, &data),
    }
}

fn invalid(message: String) -> Bad {
    Bad {
        reason: SourceReady::SourceInvalid,
        message,
    }
}

fn select(name: &str, keys: &[String], object: &SourceObject) -> Result<BTreeMap<String, Sensitive>, Bad> {
    let kept = "the last good content stays in force";
    let mut data = object.data.clone();
    if !keys.is_empty() {
        data.retain(|key, _| keys.contains(key));
    }
    if let Some(missing) = keys.iter().find(|key| !data.contains_key(*key)) {
        return Err(invalid(format!("{name} has no key {missing:?}: add it; {kept}")));
    }
    if data.is_empty() {
        return Err(invalid(format!(
            "{name} has no data, at least one key was expected: fill it; {kept}"
        )));
    }
    if let Some((empty, _)) = data.iter().find(|(_, value)| value.is_empty()) {
        return Err(invalid(format!(
            "{name} has an empty value under key {empty:?}: fill or remove it; {kept}"
        )));
    }
    Ok(data)
}

/// Normalises a CA source: valid certificates only, under one key, so that equal sets have equal hashes.
fn bundle(name: &str, data: &BTreeMap<String, Sensitive>) -> Result<Good, Bad> {
    let (mut certificates, mut malformed) = (Vec::new(), Vec::new());
    for (key, value) in data {
        let parsed = ca::parse(value.expose());
        certificates.extend(parsed.certificates);
        malformed.extend(
            parsed
                .malformed
                .into_iter()
                .map(|bad| format!("block {} of key {key:?}: {}", bad.position, bad.problem)),
        );
    }
    let malformed = malformed.join("; ");
    if certificates.is_empty() {
        let seen = if malformed.is_empty() {
            "no PEM block at all".to_owned()
        } else {
            malformed
        };
        return Err(invalid(format!(
            "{name} holds no valid CA certificate in PEM form ({seen}): correct it; the last good content stays in force"
        )));
    }
    certificates.sort_by(|a, b| (&a.subject, &a.fingerprint).cmp(&(&b.subject, &b.fingerprint)));
    certificates.dedup();
    let pem: String = certificates
        .iter()
        .map(|certificate| certificate.pem.as_str())
        .collect();
    let content = Content {
        type_: None,
        data: [("ca.crt".to_owned(), pem.into_bytes().into())].into(),
    };
    let (reason, message) = if malformed.is_empty() {
        (
            SourceReady::Published,
            format!("{name} is published with {} certificate(s)", certificates.len()),
        )
    } else {
        let message = format!(
            "{name} is published with {} certificate(s), but not {malformed}: correct it",
            certificates.len()
        );
        (SourceReady::PartlyInvalid, message)
    };
    Ok(Good {
        content,
        reason,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::tests::ca;

    fn object(data: &[(&str, &str)]) -> SourceObject {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec().into()))
            .collect();
        SourceObject {
            type_: Some("Opaque".to_owned()),
            data,
        }
    }

    fn refused(kind: ArtefactKind, keys: &[&str], object: Option<&SourceObject>) -> (SourceReady, String) {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let bad = judge(kind, "Secret ns/s", &keys, object).unwrap_err();
        (bad.reason, bad.message)
    }

    #[test]
    fn a_missing_source_is_not_found() {
        assert_eq!(refused(ArtefactKind::Data, &[], None).0, SourceReady::SourceNotFound);
    }

    #[test]
    fn empty_sources_are_invalid_and_say_which_key() {
        for (data, keys, says) in [
            (&[][..], &[][..], "has no data"),
            (&[("a", "")], &[], "empty value under key \"a\""),
            (&[("a", "1"), ("b", "")], &[], "empty value under key \"b\""),
            (&[("a", "1")], &["b"], "has no key \"b\""),
        ] {
            let (reason, message) = refused(ArtefactKind::Data, keys, Some(&object(data)));
            assert_eq!(reason, SourceReady::SourceInvalid);
            assert!(
                message.contains(says) && message.contains("last good content"),
                "{message}"
            );
        }
    }

    #[test]
    fn keys_select() {
        let good = judge(
            ArtefactKind::Data,
            "s",
            &["a".to_owned()],
            Some(&object(&[("a", "1"), ("b", "")])),
        )
        .unwrap();
        assert_eq!(good.content.data.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(good.content.type_.as_deref(), Some("Opaque"));
    }

    #[test]
    fn a_malformed_certificate_is_named_and_the_rest_published() {
        let text = format!(
            "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ca("a", 2030)
        );
        let good = judge(
            ArtefactKind::CaBundle,
            "ConfigMap ns/ca",
            &[],
            Some(&object(&[("ca.crt", &text)])),
        )
        .unwrap();
        assert_eq!(good.reason, SourceReady::PartlyInvalid);
        assert!(
            good.message
                .contains("block 2 of key \"ca.crt\": it is not an X.509 certificate"),
            "{}",
            good.message
        );
        assert!(good.content.data["ca.crt"].expose().starts_with(b"-----BEGIN"));
    }

    #[test]
    fn a_bundle_without_any_certificate_is_invalid() {
        let (reason, message) = refused(ArtefactKind::CaBundle, &[], Some(&object(&[("ca.crt", "hello")])));
        assert_eq!(reason, SourceReady::SourceInvalid);
        assert!(message.contains("no PEM block at all"), "{message}");
    }

    #[test]
    fn messages_never_hold_values() {
        let secret = object(&[("a", "hunter2"), ("b", "")]);
        assert!(!refused(ArtefactKind::Data, &[], Some(&secret)).1.contains("hunter2"));
        assert!(
            !refused(ArtefactKind::CaBundle, &[], Some(&object(&[("a", "hunter2")])))
                .1
                .contains("hunter2")
        );
    }
}
