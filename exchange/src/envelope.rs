//! Envelopes: content on its way from one agent to another, sealed with HPKE (RFC 9180) in authenticated mode.
//!
//! Layout: `MCOE`, one byte of version, one byte of mode, the header's length (4 bytes, big endian), the header (JSON),
//! and then, sealed: the encapsulated key (32 bytes) and the ciphertext; plain: the content itself.
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. `info` is the link id and the revision, the
//! associated data everything before the encapsulated key: no part of an envelope can be moved to another one.
use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, rand_core::CryptoRng,
    single_shot_open, single_shot_seal_with_rng,
};
use peering_api::Sensitive;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{Kem, KeyError, KeyPair, PublicKey};

const MAGIC: &[u8; 4] = b"MCOE";
const VERSION: u8 = 1;
const MODE_PLAIN: u8 = 0;
const MODE_SEALED: u8 = 1;
/// Magic, version, mode and the header's length.
const PREFIX: usize = 10;
/// Length of an encapsulated X25519 key (RFC 9180, section 7.1).
const ENCAPSULATED: usize = 32;

/// Why an envelope was refused. Nothing of its content is in the error.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// Not an envelope, or cut short.
    #[error("the envelope is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a newer version of the agent.
    #[error("the envelope has version {0}, this agent reads version {VERSION}: upgrade the agent of this cluster")]
    UnknownVersion(u8),
    /// It belongs to another link.
    #[error("the envelope belongs to link {seen}, expected {expected}")]
    WrongLink {
        /// The link that was expected.
        expected: String,
        /// The link that the envelope names.
        seen: String,
    },
    /// It is sealed to another key.
    #[error("the envelope is sealed to key {seen}, this agent's key is {expected}")]
    WrongKey {
        /// This agent's fingerprint.
        expected: String,
        /// The fingerprint that the envelope names.
        seen: String,
    },
    /// A plain envelope where a sealed one was expected, or the other way round.
    #[error("the envelope is {seen}, expected a {expected} one")]
    WrongMode {
        /// `sealed` or `plain`.
        expected: &'static str,
        /// `sealed` or `plain`.
        seen: &'static str,
    },
    /// The seal does not hold: tampered with, or not sealed by the expected sender.
    #[error("the seal does not hold: the envelope was altered or does not come from key {sender}")]
    Forged {
        /// Fingerprint of the sender that was expected.
        sender: String,
    },
    /// A key cannot be used.
    #[error("a key cannot be used")]
    Key(#[from] KeyError),
    /// The content could not be sealed.
    #[error("the content could not be sealed")]
    Seal,
}

/// What stands readable in front of the content. All of it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Id of the link; `None` in a plain envelope, which is the same for all links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Revision of the content.
    pub revision: i64,
    /// Hash of the content as its source states it.
    pub hash: String,
    /// Fingerprint of the key that it is sealed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
}

/// An opened envelope.
#[derive(Debug)]
pub struct Opened {
    /// Revision of the content.
    pub revision: i64,
    /// Hash of the content as its source states it.
    pub hash: String,
    /// The content.
    pub content: Sensitive,
}

fn prefix(mode: u8, header: &Header) -> Result<Vec<u8>, EnvelopeError> {
    let header = serde_json::to_vec(header).map_err(|_| EnvelopeError::Seal)?;
    let length = u32::try_from(header.len()).map_err(|_| EnvelopeError::Seal)?;
    let mut bytes = Vec::with_capacity(PREFIX + header.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, mode]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&header);
    Ok(bytes)
}

fn info(link: &str, revision: i64) -> Vec<u8> {
    let mut info = b"peering.open-cluster-management.io/envelope/v1".to_vec();
    info.extend_from_slice(&(link.len() as u64).to_be_bytes());
    info.extend_from_slice(link.as_bytes());
    info.extend_from_slice(&revision.to_be_bytes());
    info
}

/// Seals content to one recipient of one link.
pub fn seal(
    link: &str,
    revision: i64,
    hash: &str,
    content: &Sensitive,
    sender: &KeyPair,
    recipient: &PublicKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, EnvelopeError> {
    let header = Header {
        link: Some(link.to_owned()),
        revision,
        hash: hash.to_owned(),
        recipient: Some(recipient.fingerprint()),
    };
    let mut bytes = prefix(MODE_SEALED, &header)?;
    let mode = OpModeS::Auth((sender.hpke_private()?, sender.public().hpke()?));
    let (encapsulated, ciphertext) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &mode,
        &recipient.hpke()?,
        &info(link, revision),
        content.expose(),
        &bytes,
        rng,
    )
    .map_err(|_| EnvelopeError::Seal)?;
    bytes.extend_from_slice(&encapsulated.to_bytes());
    bytes.extend_from_slice(&ciphertext);
    Ok(bytes)
}

/// Wraps public content.
pub fn plain(revision: i64, hash: &str, content: &Sensitive) -> Result<Vec<u8>, EnvelopeError> {
    let header = Header {
        link: None,
        revision,
        hash: hash.to_owned(),
        recipient: None,
    };
    let mut bytes = prefix(MODE_PLAIN, &header)?;
    bytes.extend_from_slice(content.expose());
    Ok(bytes)
}

/// The parts of an envelope.
struct Parts<'a> {
    mode: u8,
    header: Header,
    /// Everything in front of the body, authenticated along with it.
    front: &'a [u8],
    body: &'a [u8],
}

fn split(bytes: &[u8]) -> Result<Parts<'_>, EnvelopeError> {
    let Some((start, rest)) = bytes.split_at_checked(PREFIX) else {
        return Err(EnvelopeError::Damaged("it is too short"));
    };
    if &start[..4] != MAGIC {
        return Err(EnvelopeError::Damaged("it does not start as an envelope does"));
    }
    if start[4] != VERSION {
        return Err(EnvelopeError::UnknownVersion(start[4]));
    }
    let length = u32::from_be_bytes([start[6], start[7], start[8], start[9]]) as usize;
    let Some((header, body)) = rest.split_at_checked(length) else {
        return Err(EnvelopeError::Damaged("its header is cut short"));
    };
    let header = serde_json::from_slice(header).map_err(|_| EnvelopeError::Damaged("its header cannot be read"))?;
    Ok(Parts {
        mode: start[5],
        header,
        front: &bytes[..PREFIX + length],
        body,
    })
}

fn expect_mode(seen: u8, expected: u8) -> Result<(), EnvelopeError> {
    let name = |mode| if mode == MODE_SEALED { "sealed" } else { "plain" };
    match seen {
        MODE_PLAIN | MODE_SEALED if seen == expected => Ok(()),
        MODE_PLAIN | MODE_SEALED => Err(EnvelopeError::WrongMode {
            expected: name(expected),
            seen: name(seen),
        }),
        _ => Err(EnvelopeError::Damaged("its mode is unknown")),
    }
}

/// Opens a sealed envelope that must belong to `link`, come from `sender` and be sealed to `recipient`.
pub fn open(bytes: &[u8], link: &str, sender: &PublicKey, recipient: &KeyPair) -> Result<Opened, EnvelopeError> {
    let Parts {
        mode,
        header,
        front,
        body,
    } = split(bytes)?;
    expect_mode(mode, MODE_SEALED)?;
    let seen = header.link.unwrap_or_default();
    if seen != link {
        return Err(EnvelopeError::WrongLink {
            expected: link.to_owned(),
            seen,
        });
    }
    let (expected, seen) = (recipient.public().fingerprint(), header.recipient.unwrap_or_default());
    if seen != expected {
        return Err(EnvelopeError::WrongKey { expected, seen });
    }
    let Some((encapsulated, ciphertext)) = body.split_at_checked(ENCAPSULATED) else {
        return Err(EnvelopeError::Damaged("it is cut short"));
    };
    let forged = || EnvelopeError::Forged {
        sender: sender.fingerprint(),
    };
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| forged())?;
    let content = single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Auth(sender.hpke()?),
        &recipient.hpke_private()?,
        &encapsulated,
        &info(link, header.revision),
        ciphertext,
        front,
    )
    .map_err(|_| forged())?;
    Ok(Opened {
        revision: header.revision,
        hash: header.hash,
        content: content.into(),
    })
}

/// Fingerprint of the key that an envelope is sealed to, as its header states it; `None` if it is none or a plain one.
#[must_use]
pub fn recipient(bytes: &[u8]) -> Option<String> {
    split(bytes).ok()?.header.recipient
}

/// Opens a plain envelope.
pub fn open_plain(bytes: &[u8]) -> Result<Opened, EnvelopeError> {
    let Parts { mode, header, body, .. } = split(bytes)?;
    expect_mode(mode, MODE_PLAIN)?;
    Ok(Opened {
        revision: header.revision,
        hash: header.hash,
        content: body.to_vec().into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::tests::pair;

    const LINK: &str = "1244d3bc6c53866b576a23659f450d97";

    /// A generator without surprises: tests repeat exactly.
    struct Counter(u8);
    impl hpke::rand_core::TryRng for Counter {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.0 = self.0.wrapping_add(1);
            Ok(u32::from_le_bytes([self.0; 4]))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 = self.0.wrapping_add(1);
            Ok(u64::from_le_bytes([self.0; 8]))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
            Ok(())
        }
    }
    impl hpke::rand_core::TryCryptoRng for Counter {}

    fn sealed(content: &[u8]) -> Vec<u8> {
        seal(
            LINK,
            42,
            "hash",
            &content.to_vec().into(),
            &pair(1),
            pair(2).public(),
            &mut Counter(0),
        )
        .unwrap()
    }

    #[test]
    fn a_sealed_envelope_opens_for_its_recipient_only() {
        let bytes = sealed(b"secret");
        let opened = open(&bytes, LINK, pair(1).public(), &pair(2)).unwrap();
        assert_eq!(
            (opened.revision, opened.hash.as_str(), opened.content.expose()),
            (42, "hash", &b"secret"[..])
        );
        assert_eq!(recipient(&bytes), Some(pair(2).public().fingerprint()));
        assert!(matches!(
            open(&bytes, LINK, pair(1).public(), &pair(3)),
            Err(EnvelopeError::WrongKey { .. })
        ));
        assert!(matches!(
            open(&bytes, LINK, pair(3).public(), &pair(2)),
            Err(EnvelopeError::Forged { .. })
        ));
        assert!(matches!(
            open(&bytes, "other", pair(1).public(), &pair(2)),
            Err(EnvelopeError::WrongLink { .. })
        ));
        assert!(matches!(open_plain(&bytes), Err(EnvelopeError::WrongMode { .. })));
    }

    #[test]
    fn the_envelope_does_not_show_the_content() {
        let bytes = sealed(b"a very secret secret");
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn format_vector() {
        let bytes = sealed(b"secret");
        assert_eq!(&bytes[..6], b"MCOE\x01\x01");
        let header = br#"{"link":"1244d3bc6c53866b576a23659f450d97","revision":42,"hash":"hash","recipient":""#;
        assert_eq!(&bytes[10..10 + header.len()], header);
        let mut newer = bytes;
        newer[4] = 2;
        assert!(matches!(
            open(&newer, LINK, pair(1).public(), &pair(2)),
            Err(EnvelopeError::UnknownVersion(2))
        ));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = sealed(b"secret");
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            assert!(
                open(&altered, LINK, pair(1).public(), &pair(2)).is_err(),
                "bit flipped in byte {place}"
            );
            assert!(
                open(&bytes[..place], LINK, pair(1).public(), &pair(2)).is_err(),
                "cut at {place}"
            );
        }
    }

    #[test]
    fn plain_envelopes_round_trip_and_do_not_pass_for_sealed_ones() {
        let bytes = plain(7, "hash", &b"public".to_vec().into()).unwrap();
        let opened = open_plain(&bytes).unwrap();
        assert_eq!((opened.revision, opened.content.expose()), (7, &b"public"[..]));
        assert_eq!(recipient(&bytes), None);
        assert!(matches!(
            open(&bytes, LINK, pair(1).public(), &pair(2)),
            Err(EnvelopeError::WrongMode { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = b"MCOE\x01\x01\x00\x00\x00\x02{}".to_vec();
            framed.extend_from_slice(&bytes);
            prop_assert!(open(&bytes, LINK, pair(1).public(), &pair(2)).is_err());
            prop_assert!(open(&framed, LINK, pair(1).public(), &pair(2)).is_err());
        }

        #[test]
        fn any_content_round_trips(content in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let bytes = sealed(&content);
            let opened = open(&bytes, LINK, pair(1).public(), &pair(2)).unwrap();
            prop_assert_eq!(opened.content.expose(), &content[..]);
        }
    }
}
