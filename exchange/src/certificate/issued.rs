//! What came back: does it belong to our key, and how long is it valid.
use jiff::Timestamp;
use peering_api::names::hex;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::{KeyError, PublicKey};
use crate::ca;

/// Why an issued certificate cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IssuedError {
    /// Not a chain of certificates.
    #[error("what was issued cannot be read: expected PEM blocks CERTIFICATE, the one for our key first")]
    NotACertificate,
    /// The certificate's key is of a kind that we never make.
    #[error("the issued certificate has a key that cannot be used")]
    Key(#[from] KeyError),
    /// It is for another key.
    #[error("the issued certificate is for key {seen}: expected {expected}; ask for it again")]
    OtherKey {
        /// Fingerprint of the key that was asked for.
        expected: String,
        /// Fingerprint of the certificate's key.
        seen: String,
    },
}

/// An issued certificate that belongs to our key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Beginning of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// Lower-case hex SHA-256 of its DER form.
    pub fingerprint: String,
}

/// Reads a chain whose first certificate must belong to the given key.
pub fn issued(chain_pem: &str, key: &PublicKey) -> Result<Issued, IssuedError> {
    let unreadable = || IssuedError::NotACertificate;
    let blocks: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
    let blocks = blocks.map_err(|_| unreadable())?;
    let chain: Result<Vec<_>, _> = blocks.iter().map(|block| X509Certificate::from_der(block)).collect();
    let chain = chain.map_err(|_| unreadable())?;
    let (Some(der), Some((_, first))) = (blocks.first(), chain.first()) else {
        return Err(unreadable());
    };
    let certified = PublicKey::read(first.public_key())?;
    if certified != *key {
        return Err(IssuedError::OtherKey {
            expected: key.fingerprint(),
            seen: certified.fingerprint(),
        });
    }
    let (not_before, not_after) = ca::validity(first);
    Ok(Issued {
        not_before,
        not_after,
        fingerprint: hex(&Sha256::digest(der)),
    })
}
