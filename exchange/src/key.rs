//! Key pairs of members: X25519, used by HPKE both to seal to a member and to authenticate it as the sender.
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use hpke::{Deserializable, Kem as _, Serializable, kem::X25519HkdfSha256, rand_core::CryptoRng};
use peering_api::{Sensitive, names};
use sha2::Sha256;
use thiserror::Error;

pub(crate) type Kem = X25519HkdfSha256;

/// Why a key cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is not base64.
    #[error("the key is not valid base64")]
    Encoding,
    /// It is not an X25519 key.
    #[error("the key is not an X25519 key of 32 bytes")]
    NotX25519,
}

/// A member's public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a key as it stands in `PeerMember.status.publicKey`.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| KeyError::Encoding)?;
        <Kem as hpke::Kem>::PublicKey::from_bytes(&bytes).map_err(|_| KeyError::NotX25519)?;
        Ok(Self { bytes })
    }

    /// The key as it stands in `PeerMember.status.publicKey`.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.bytes)
    }

    /// The fingerprint that people compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        names::key_fingerprint(&self.bytes)
    }

    pub(crate) fn hpke(&self) -> Result<<Kem as hpke::Kem>::PublicKey, KeyError> {
        <Kem as hpke::Kem>::PublicKey::from_bytes(&self.bytes).map_err(|_| KeyError::NotX25519)
    }
}

/// A member's key pair. `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct KeyPair {
    private: Sensitive,
    public: PublicKey,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public.fingerprint())
    }
}

impl KeyPair {
    /// Makes a new key pair from the given source of randomness.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let (private, public) = Kem::gen_keypair_with_rng(rng);
        Self {
            private: private.to_bytes().to_vec().into(),
            public: PublicKey {
                bytes: public.to_bytes().to_vec(),
            },
        }
    }

    /// Restores a key pair from the private key.
    pub fn from_private(private: Sensitive) -> Result<Self, KeyError> {
        let key = <Kem as hpke::Kem>::PrivateKey::from_bytes(private.expose()).map_err(|_| KeyError::NotX25519)?;
        let public = PublicKey {
            bytes: Kem::sk_to_pk(&key).to_bytes().to_vec(),
        };
        Ok(Self { private, public })
    }

    /// The private key, to be stored in a Secret on the member's own cluster and nowhere else.
    #[must_use]
    pub fn private(&self) -> &Sensitive {
        &self.private
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A hash of content that only the holder of this key pair can compute: shown on the hub, it lets nobody test
    /// guesses of a weak secret. First 32 hex characters of HMAC-SHA-256 under a key derived from the private one.
    #[must_use]
    pub fn content_hash(&self, content: &[u8]) -> String {
        let derived = mac(
            self.private.expose(),
            b"peering.open-cluster-management.io/content-hash/v1",
        );
        names::hex(&mac(&derived, content))[..32].to_owned()
    }

    pub(crate) fn hpke_private(&self) -> Result<<Kem as hpke::Kem>::PrivateKey, KeyError> {
        <Kem as hpke::Kem>::PrivateKey::from_bytes(self.private.expose()).map_err(|_| KeyError::NotX25519)
    }
}

/// The key pairs of one member.
#[derive(Clone, Debug)]
pub struct KeyRing {
    /// The one that seals, and that others seal to.
    pub current: Arc<KeyPair>,
    /// The one before it, while a rotation is under way: it opens what was sealed to it before the others knew of the
    /// new one. Nothing is sealed with it any more.
    pub previous: Option<Arc<KeyPair>>,
}

impl KeyRing {
    /// A member that does not rotate its key.
    #[must_use]
    pub fn new(current: KeyPair) -> Self {
        Self {
            current: Arc::new(current),
            previous: None,
        }
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104), so the error cannot occur; an empty tag would only force a re-seal.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fixed key pair for tests.
    pub(crate) fn pair(seed: u8) -> KeyPair {
        KeyPair::from_private(vec![seed; 32].into()).unwrap()
    }

    #[test]
    fn public_key_vector() {
        // X25519(7*32 bytes, 9), checked with an independent implementation.
        assert_eq!(
            names::hex(&pair(7).public.bytes),
            "13be4feaeaf204c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d"
        );
        let again = PublicKey::from_base64(&pair(7).public().to_base64()).unwrap();
        assert_eq!(&again, pair(7).public());
    }

    #[test]
    fn bad_keys_are_refused() {
        assert_eq!(PublicKey::from_base64("not base64!"), Err(KeyError::Encoding));
        assert_eq!(PublicKey::from_base64("c2hvcnQ="), Err(KeyError::NotX25519));
        assert_eq!(
            KeyPair::from_private(vec![1; 31].into()).unwrap_err(),
            KeyError::NotX25519
        );
    }

    #[test]
    fn content_hash_depends_on_key_and_content_and_debug_shows_no_key() {
        assert_eq!(pair(1).content_hash(b"a"), pair(1).content_hash(b"a"));
        assert_ne!(pair(1).content_hash(b"a"), pair(2).content_hash(b"a"));
        assert_ne!(pair(1).content_hash(b"a"), pair(1).content_hash(b"b"));
        assert!(format!("{:?}", pair(1)).starts_with("KeyPair(SHA256:"));
    }
}
