//! What a cluster hands over, in public, about the bucket that Ramen shall use: artefact [`ARTEFACT`] of profile `odf-s3`.
use base64::{Engine, prelude::BASE64_STANDARD};
use exchange::{ca, content::Content, envelope};
use jiff::Timestamp;
use thiserror::Error;

/// Name of the artefact with what is no secret.
pub const ARTEFACT: &str = "store";
/// Name of the artefact with the credentials.
pub const CREDENTIALS: &str = "credentials";

/// Why a bucket cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The export does not hold what this version writes.
    #[error("what the cluster has published about its bucket cannot be read")]
    Unreadable,
    /// A field is missing or empty: Ramen would refuse it.
    #[error("the cluster has published no {0} of its bucket")]
    Missing(&'static str),
    /// The endpoint is not to be used without TLS.
    #[error("the endpoint of the bucket must be an https URL, seen {0:?}")]
    Plain(String),
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// URL of its endpoint.
    pub endpoint: String,
    /// The certificates that sign the endpoint's: PEM, malformed blocks left out. `None` where none were handed over.
    pub ca: Option<String>,
}

impl Store {
    /// Reads the public envelope of an export (base64).
    pub fn read(public_envelope: &str, now: Timestamp) -> Result<Self, StoreError> {
        let bytes = BASE64_STANDARD
            .decode(public_envelope)
            .map_err(|_| StoreError::Unreadable)?;
        let opened = envelope::open_plain(&bytes).map_err(|_| StoreError::Unreadable)?;
        let content = Content::decode(opened.content.expose()).map_err(|_| StoreError::Unreadable)?;
        let text = |key: &str| {
            let bytes = content.data.get(key)?;
            // Public by the profile's own word: nothing of it is a secret.
            std::str::from_utf8(bytes.expose())
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let needed = |key: &'static str| {
            text(key)
                .filter(|text| !text.is_empty())
                .ok_or(StoreError::Missing(key))
        };
        let (bucket, region, endpoint) = (
            needed("s3Bucket")?,
            needed("s3Region")?,
            needed("s3CompatibleEndpoint")?,
        );
        if !endpoint.starts_with("https://") {
            return Err(StoreError::Plain(endpoint));
        }
        Ok(Self {
            bucket,
            region,
            endpoint,
            ca: text("caCertificates").and_then(|pem| certificates(&pem, now)),
        })
    }

    /// The certificates as Ramen's configuration holds them.
    #[must_use]
    pub fn ramen_ca(&self) -> Option<String> {
        self.ca.as_ref().map(|pem| BASE64_STANDARD.encode(pem))
    }
}

/// The certificates of a text that have not expired, each once, in an order that does not depend on that of the text.
fn certificates(pem: &str, now: Timestamp) -> Option<String> {
    let mut found = ca::parse(pem.as_bytes()).certificates;
    found.retain(|certificate| certificate.not_after > now);
    found.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    found.dedup_by(|a, b| a.fingerprint == b.fingerprint);
    let text: Vec<_> = found.iter().map(|certificate| certificate.pem.trim_end()).collect();
    (!text.is_empty()).then(|| text.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use peering_api::Sensitive;

    use super::*;

    /// A certificate that some other test made.
    const CA: &str = include_str!("../../exchange/src/certificate/fixtures/directory-ca.crt");

    fn published(data: &[(&str, &str)]) -> String {
        let pairs = data.iter().map(|(key, value)| {
            let value: Sensitive = value.as_bytes().to_vec().into();
            ((*key).to_owned(), value)
        });
        let content = Content {
            type_: None,
            data: pairs.collect(),
        };
        BASE64_STANDARD.encode(envelope::plain(7, "hash", &content.encode()).unwrap())
    }

    fn now() -> Timestamp {
        "2026-11-01T00:00:00Z".parse().unwrap()
    }

    const GOOD: [(&str, &str); 3] = [
        ("s3Bucket", "odrbucket-1"),
        ("s3Region", "noobaa"),
        ("s3CompatibleEndpoint", "https://s3.example.com"),
    ];

    #[test]
    fn a_bucket_is_read() {
        let twice = format!("# ingress\n{CA}\nnoise\n{CA}");
        let mut data = GOOD.to_vec();
        data.push(("caCertificates", &twice));
        let store = Store::read(&published(&data), now()).unwrap();
        assert_eq!(
            (store.bucket.as_str(), store.region.as_str()),
            ("odrbucket-1", "noobaa")
        );
        assert_eq!(store.endpoint, "https://s3.example.com");
        let ca = String::from_utf8(BASE64_STANDARD.decode(store.ramen_ca().unwrap()).unwrap()).unwrap();
        assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 1, "{ca}");
        assert!(!ca.contains("noise"));
        let later = ca::parse(CA.as_bytes()).certificates[0].not_after;
        assert_eq!(
            Store::read(&published(&data), later).unwrap().ramen_ca(),
            None,
            "it has expired"
        );
        assert_eq!(Store::read(&published(&GOOD), now()).unwrap().ramen_ca(), None);
    }

    #[test]
    fn what_ramen_would_refuse_is_refused() {
        for (index, (key, _)) in GOOD.iter().enumerate() {
            for value in ["", " \n"] {
                let mut data = GOOD.to_vec();
                data[index].1 = value;
                let error = Store::read(&published(&data), now()).unwrap_err();
                assert!(matches!(error, StoreError::Missing(named) if named == *key), "{error}");
            }
        }
        let mut data = GOOD.to_vec();
        data[2].1 = "http://s3.example.com";
        assert_eq!(
            Store::read(&published(&data), now()),
            Err(StoreError::Plain("http://s3.example.com".to_owned()))
        );
        for text in ["", "?", "AAAA"] {
            assert_eq!(Store::read(text, now()), Err(StoreError::Unreadable));
        }
    }
}
