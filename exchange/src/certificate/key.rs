//! Keys: which kinds are used, how private ones are read, and the public half that certificates are compared by.
use std::fmt;

use peering_api::{Sensitive, names::hex};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{
    public_key::PublicKey as ParsedKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};
use zeroize::Zeroizing;

use super::spki::{self, Algorithm};

/// Sizes of RSA keys, in bits: at least what browsers and Kubernetes take, at most what verifies in reasonable time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a key cannot be used. Nothing of a private key is in the error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// No private key.
    #[error("there is no private key: expected a PEM block PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY")]
    Missing,
    /// An encrypted private key.
    #[error("the private key is encrypted: expected one without a passphrase, since nobody is there to enter it")]
    Encrypted,
    /// A private key of another kind, or a damaged one.
    #[error(
        "the private key cannot be read: expected RSA with 2048 to 4096 bits, P-256 or P-384 with the public half in it, or Ed25519"
    )]
    Unreadable,
    /// A public key of another kind.
    #[error("the key is {0}: expected P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits")]
    NotAllowed(String),
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) algorithm: Algorithm,
    /// What stands in the bit string of a `SubjectPublicKeyInfo`.
    pub(super) bits: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.algorithm, self.fingerprint())
    }
}

impl PublicKey {
    /// The public half of a private key in PEM form.
    pub fn of_private(pem: &Sensitive) -> Result<Self, KeyError> {
        PrivateKey::read(pem).map(|key| key.public)
    }

    /// Lower-case hex SHA-256 of the key's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(spki::public_key(self.algorithm, &self.bits)))
    }

    /// Reads the key of a request or certificate, in its canonical encoding only.
    pub(super) fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        let bits = info.subject_public_key.data.to_vec();
        let keys = Algorithm::ALL.map(|algorithm| Self {
            algorithm,
            bits: bits.clone(),
        });
        let key = keys
            .into_iter()
            .find(|key| spki::public_key(key.algorithm, &key.bits) == info.raw);
        let key = key.ok_or_else(|| KeyError::NotAllowed(kind(&info.algorithm)))?;
        match info.parsed() {
            Ok(ParsedKey::RSA(rsa)) if !RSA_BITS.contains(&rsa.key_size()) => {
                Err(KeyError::NotAllowed(format!("RSA with {} bits", rsa.key_size())))
            }
            Ok(_) => Ok(key),
            Err(_) => Err(KeyError::NotAllowed("damaged".to_owned())),
        }
    }
}

/// A kind of key that is not known here, for messages.
fn kind(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map(|curve| format!(" with curve {curve}")).unwrap_or_default();
    format!("of kind {}{curve}", algorithm.algorithm)
}

/// A private key with its public half. The serialised form is wiped on drop.
pub(super) struct PrivateKey {
    pub(super) pair: Zeroizing<KeyPair>,
    pub(super) public: PublicKey,
}

impl PrivateKey {
    /// Reads the first private key of a PEM text: PKCS#8, SEC1 (as `openssl ecparam` and cert-manager write it) or
    /// PKCS#1.
    pub(super) fn read(pem: &Sensitive) -> Result<Self, KeyError> {
        let pem = pem.expose();
        let encrypted = || pem.windows(9).any(|text| text == b"ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            if encrypted() {
                KeyError::Encrypted
            } else {
                KeyError::Missing
            }
        })?;
        let key = Zeroizing::new(key);
        // Ring reads PKCS#8 only, so the other forms are wrapped. SEC1 does not have to name its curve: both are tried.
        let forms = match &*key {
            PrivateKeyDer::Pkcs8(key) => vec![Zeroizing::new(key.secret_pkcs8_der().to_vec())],
            PrivateKeyDer::Sec1(key) => [Algorithm::P256, Algorithm::P384]
                .map(|curve| spki::pkcs8(curve, key.secret_sec1_der()))
                .into(),
            PrivateKeyDer::Pkcs1(key) => vec![spki::pkcs8(Algorithm::Rsa, key.secret_pkcs1_der())],
            _ => vec![],
        };
        let pair = forms
            .iter()
            .find_map(|form| KeyPair::try_from(&PrivatePkcs8KeyDer::from(form.as_slice())).ok());
        let pair = Zeroizing::new(pair.ok_or(KeyError::Unreadable)?);
        let public = PublicKey {
            algorithm: Algorithm::of(&pair).ok_or(KeyError::Unreadable)?,
            bits: pair.der_bytes().to_vec(),
        };
        Ok(Self { pair, public })
    }
}
