//! A CA of the addon's own, which signs the requests of its agents for a signer that Kubernetes does not know.
//!
//! The Go framework copies all extensions of a request into the certificate, does not look at the request's signature, and
//! takes keys in PKCS#1 only. Here nothing is copied but the key: subject and host name are those that the addon registered.
mod der;

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use peering_api::{Sensitive, ocm::addon::v1beta1::Subject};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Version},
};
use zeroize::Zeroizing;

use self::der::{Algorithm, Leaf};

/// How long before the time of issue a certificate is already valid: clocks of clusters differ, and kube-controller-manager
/// allows for the same.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Sizes of RSA keys that are signed, in bits: at least what Kubernetes takes, at most what verifies in reasonable time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a CA cannot sign. Nothing of its key is in the error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignerError {
    /// The CA's certificate cannot be read.
    #[error("the CA's certificate cannot be read: expected PEM blocks CERTIFICATE, the issuing one first")]
    NotACertificate,
    /// The certificate is not one of a CA.
    #[error("the certificate of {0} cannot issue others: expected CA:TRUE, and keyCertSign if there is a key usage")]
    NotACa(String),
    /// The CA's key cannot be used.
    #[error(
        "the CA's private key cannot be read: expected PEM as PKCS#8, PKCS#1 or SEC1 without a passphrase, of RSA with 2048 to 4096 bits, P-256 or P-384 with the public half in it, or Ed25519"
    )]
    Key,
    /// Key and certificate are not of the same CA.
    #[error("the CA's private key does not belong to its certificate")]
    OtherKey,
    /// The CA is not valid at the time of issue.
    #[error("the CA is valid from {from} until {until}, but it is {now}: renew the CA, or correct the clock")]
    NotValid {
        /// Beginning of its validity.
        from: Timestamp,
        /// End of its validity.
        until: Timestamp,
        /// Time of issue.
        now: Timestamp,
    },
    /// The certificate could not be signed.
    #[error("the certificate could not be signed")]
    Sign,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) subject: &'a Subject,
    pub(super) host: &'a str,
    /// `spec.expirationSeconds`.
    pub(super) asked: Option<i32>,
}

/// A CA: certificate, private key, and how long its certificates last.
pub struct Signer {
    pair: Zeroizing<KeyPair>,
    algorithm: Algorithm,
    /// Subject as it stands in the certificate.
    name: Vec<u8>,
    key_id: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// What a chain needs between a leaf and the root: PEM.
    intermediates: String,
    lifetime: Duration,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads a CA: its certificate, where needed followed by those of the CAs above it, and its private key. Certificates
    /// last for `lifetime`, less if the request asks for less, and never longer than the CA.
    pub fn read(certificates_pem: &str, key_pem: &Sensitive, lifetime: Duration) -> Result<Self, SignerError> {
        let unreadable = || SignerError::NotACertificate;
        let blocks: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates_pem.as_bytes()).collect();
        let blocks = blocks.map_err(|_| unreadable())?;
        let chain: Result<Vec<_>, _> = blocks.iter().map(|block| X509Certificate::from_der(block)).collect();
        let chain = chain.map_err(|_| unreadable())?;
        let issuing = chain.first().filter(|_| chain.iter().all(|(rest, _)| rest.is_empty()));
        let (_, issuing) = issuing.ok_or_else(unreadable)?;
        if !may_issue(issuing) {
            return Err(SignerError::NotACa(issuing.subject().to_string()));
        }
        let (pair, algorithm) = private_key(key_pem)?;
        let certified = &*issuing.public_key().subject_public_key.data;
        if pair.der_bytes() != certified {
            return Err(SignerError::OtherKey);
        }
        let time = |seconds, beyond| Timestamp::from_second(seconds).unwrap_or(beyond);
        let validity = issuing.validity();
        // A root is known to whoever trusts it.
        let above = blocks
            .iter()
            .zip(&chain)
            .filter(|(_, (_, one))| one.subject().as_raw() != one.issuer().as_raw());
        Ok(Self {
            name: issuing.subject().as_raw().to_vec(),
            key_id: subject_key_id(issuing).unwrap_or_else(|| der::key_id(certified)),
            not_before: time(validity.not_before.timestamp(), Timestamp::MAX),
            not_after: time(validity.not_after.timestamp(), Timestamp::MAX),
            intermediates: above.map(|(block, _)| pem(block)).collect(),
            pair,
            algorithm,
            lifetime,
        })
    }

    /// Issues a certificate for the key of a request that was judged. Returns PEM: the certificate, then the CAs up to but
    /// without the root.
    pub(super) fn sign(
        &self,
        key: &SubjectPublicKeyInfo<'_>,
        terms: &Terms<'_>,
        now: Timestamp,
        serial: u128,
    ) -> Result<String, SignerError> {
        let (not_before, not_after) = self.validity(terms.asked, now)?;
        let body = der::body(&Leaf {
            // The first bit stays clear so that the number is positive in 16 bytes, the last is set so that it is not zero.
            serial: &(serial >> 1 | 1).to_be_bytes(),
            algorithm: self.algorithm,
            issuer: &self.name,
            issuer_key_id: &self.key_id,
            not_before,
            not_after,
            subject: terms.subject,
            host: terms.host,
            key: key.raw,
            enciphers: matches!(key.parsed(), Ok(PublicKey::RSA(_))),
        });
        let signature = self.pair.sign(&body).map_err(|_| SignerError::Sign)?;
        Ok(pem(&der::signed(&body, self.algorithm, &signature)) + &self.intermediates)
    }

    fn validity(&self, asked: Option<i32>, now: Timestamp) -> Result<(Timestamp, Timestamp), SignerError> {
        let (from, until) = (self.not_before, self.not_after);
        if now < from || now >= until {
            return Err(SignerError::NotValid { from, until, now });
        }
        let asked = asked
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        let lifetime = asked.map_or(self.lifetime, |asked| asked.min(self.lifetime));
        let not_before = now.checked_sub(BACKDATE).map_or(from, |early| early.max(from));
        let not_after = now.checked_add(lifetime).map_or(until, |late| late.min(until));
        Ok((not_before, not_after))
    }
}

/// Why a key of a request is not signed; its signature is verified elsewhere.
pub(super) fn refused_key(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if RSA_BITS.contains(&rsa.key_size()) => None,
        Ok(PublicKey::RSA(rsa)) => Some(format!(
            "its RSA key has {} bits; expected {RSA_BITS:?}",
            rsa.key_size()
        )),
        // Of other kinds only P-256, P-384 and Ed25519 have signatures that can be verified.
        Ok(_) => None,
        Err(_) => Some("its key is damaged".to_owned()),
    }
}

pub(super) fn pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // Base64 is ASCII: every byte is a character.
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// The first private key of a PEM text.
fn private_key(pem: &Sensitive) -> Result<(Zeroizing<KeyPair>, Algorithm), SignerError> {
    let key = Zeroizing::new(PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| SignerError::Key)?);
    // Ring reads PKCS#8 only, so the other forms are wrapped. SEC1 does not have to name its curve: both are tried.
    let forms = match &*key {
        PrivateKeyDer::Pkcs8(key) => vec![Zeroizing::new(key.secret_pkcs8_der().to_vec())],
        PrivateKeyDer::Sec1(key) => [Algorithm::P256, Algorithm::P384]
            .map(|curve| der::pkcs8(curve, key.secret_sec1_der()))
            .into(),
        PrivateKeyDer::Pkcs1(key) => vec![der::pkcs8(Algorithm::Rsa, key.secret_pkcs1_der())],
        _ => vec![],
    };
    let pair = forms
        .iter()
        .find_map(|form| KeyPair::try_from(&PrivatePkcs8KeyDer::from(form.as_slice())).ok());
    let pair = Zeroizing::new(pair.ok_or(SignerError::Key)?);
    let known = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::P256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::P384),
        (&rcgen::PKCS_ED25519, Algorithm::Ed25519),
        (&rcgen::PKCS_RSA_SHA256, Algorithm::Rsa),
    ];
    let algorithm = known.into_iter().find(|(kind, _)| pair.algorithm() == *kind);
    algorithm
        .map(|(_, algorithm)| (pair, algorithm))
        .ok_or(SignerError::Key)
}

fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints();
    let usage = certificate.key_usage();
    certificate.version() == X509Version::V3
        && constraints.is_ok_and(|found| found.is_some_and(|one| one.value.ca))
        && usage.is_ok_and(|found| found.is_none_or(|one| one.value.key_cert_sign()))
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
}

#[cfg(test)]
mod tests;
