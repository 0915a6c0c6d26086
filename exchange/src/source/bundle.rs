//! CA sources: valid certificates only, under one key, so that equal sets have equal hashes.
use std::collections::BTreeMap;

use peering_api::{Sensitive, peering::reasons::SourceReady};

use super::{Bad, Good};
use crate::{ca, content::Content};

/// Key of the content under which the certificates stand.
const KEY: &str = "ca.crt";

/// The certificates of a source. `strict`: a malformed block is refused instead of left out.
pub(super) fn bundle(name: &str, data: &BTreeMap<String, Sensitive>, strict: bool) -> Result<Good, Bad> {
    let (mut certificates, mut malformed) = (Vec::new(), Vec::new());
    for (key, value) in data {
        let parsed = ca::parse(value.expose());
        certificates.extend(parsed.certificates);
        let blocks = parsed.malformed.into_iter();
        malformed.extend(blocks.map(|bad| format!("block {} of key {key:?}: {}", bad.position, bad.problem)));
    }
    let malformed = malformed.join("; ");
    if strict && !malformed.is_empty() {
        return Err(Bad::invalid(&format!("{name} is malformed ({malformed}): correct it")));
    }
    if certificates.is_empty() {
        let seen = if malformed.is_empty() {
            "no PEM block at all"
        } else {
            &malformed
        };
        return Err(Bad::invalid(&format!(
            "{name} holds no valid CA certificate in PEM form ({seen}): correct it"
        )));
    }
    certificates.sort_by(|a, b| (&a.subject, &a.fingerprint).cmp(&(&b.subject, &b.fingerprint)));
    certificates.dedup();
    let pem: String = certificates
        .iter()
        .map(|certificate| certificate.pem.as_str())
        .collect();
    let count = certificates.len();
    let (reason, message) = if malformed.is_empty() {
        (
            SourceReady::Published,
            format!("{name} is published with {count} certificate(s)"),
        )
    } else {
        let message = format!("{name} is published with {count} certificate(s), but not {malformed}: correct it");
        (SourceReady::PartlyInvalid, message)
    };
    Ok(Good {
        content: Content {
            type_: None,
            data: [(KEY.to_owned(), pem.into_bytes().into())].into(),
        },
        reason,
        message,
    })
}
