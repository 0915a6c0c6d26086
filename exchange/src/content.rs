//! What a link hands over, as bytes: a canonical encoding, so that equal content always has the same hash.
use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use peering_api::Sensitive;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::ca;

/// Why bytes are not content.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ContentError {
    /// The structure is unknown.
    #[error("the content is not in the format of this version")]
    Format,
}

/// The content of one artefact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Type of the source Secret, where there is one.
    pub type_: Option<String>,
    /// Keys and bytes.
    pub data: BTreeMap<String, Sensitive>,
}

/// The encoded form: JSON with sorted keys and base64 values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    data: BTreeMap<String, String>,
}

impl Drop for Encoded {
    fn drop(&mut self) {
        self.data.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Content {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Sensitive {
        let data = self
            .data
            .iter()
            .map(|(key, value)| (key.clone(), BASE64_STANDARD.encode(value.expose())))
            .collect();
        let encoded = Encoded {
            type_: self.type_.clone(),
            data,
        };
        // A map of strings always serialises.
        serde_json::to_vec(&encoded).unwrap_or_default().into()
    }

    /// Size in bytes, as [`CONTENT_LIMIT`](crate::carry::CONTENT_LIMIT) counts it: three quarters of the encoding, which
    /// is base64 for the most part.
    #[must_use]
    pub fn size(&self) -> usize {
        self.encode().expose().len() * 3 / 4
    }

    /// Reads the canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let encoded: Encoded = serde_json::from_slice(bytes).map_err(|_| ContentError::Format)?;
        let mut data = BTreeMap::new();
        for (key, value) in &encoded.data {
            let value = BASE64_STANDARD.decode(value).map_err(|_| ContentError::Format)?;
            data.insert(key.clone(), value.into());
        }
        Ok(Self {
            type_: encoded.type_.clone(),
            data,
        })
    }

    /// When the first certificate in the content expires; `None` where there is none.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.data
            .values()
            .flat_map(|value| ca::parse(value.expose()).certificates)
            .map(|certificate| certificate.not_after)
            .min()
    }

    /// All values one after another, for a CA bundle whose keys mean nothing.
    #[must_use]
    pub fn joined(&self) -> Zeroizing<Vec<u8>> {
        let mut all = Zeroizing::new(Vec::new());
        for value in self.data.values() {
            all.extend_from_slice(value.expose());
            all.push(b'\n');
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        let data = [
            ("b".to_owned(), b"\x00\xff".to_vec().into()),
            ("a".to_owned(), b"1".to_vec().into()),
        ];
        Content {
            type_: Some("Opaque".to_owned()),
            data: data.into(),
        }
    }

    #[test]
    fn encoding_is_canonical() {
        let bytes = content().encode();
        assert_eq!(bytes.expose(), br#"{"type":"Opaque","data":{"a":"MQ==","b":"AP8="}}"#);
        assert_eq!(Content::decode(bytes.expose()).unwrap(), content());
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            &b""[..],
            b"{}",
            br#"{"data":{"a":"?"}}"#,
            br#"{"data":{},"more":1}"#,
            b"\xff",
        ] {
            assert_eq!(Content::decode(bytes), Err(ContentError::Format), "{bytes:?}");
        }
    }
}
