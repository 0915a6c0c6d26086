//! A CA whose key the source side holds.
use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use peering_api::Sensitive;
use rcgen::SigningKey;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate},
    x509::X509Version,
};

use super::{
    der::{self, Leaf},
    key::{KeyError, PrivateKey, PublicKey},
    pem,
    request::Checked,
    subject::Usage,
};
use crate::ca;

/// How long before the time of issue a certificate is already valid: clocks of clusters differ, and kube-controller-manager
/// allows for the same.
pub const BACKDATE: Duration = Duration::from_mins(5);
/// Shortest lifetime that is issued: the least that Kubernetes takes as `expirationSeconds`.
pub const MIN_LIFETIME: Duration = Duration::from_mins(10);

/// Why a CA cannot issue certificates. Nothing of its key is in the error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthorityError {
    /// The CA's certificate cannot be read.
    #[error("the CA's certificate cannot be read: expected PEM blocks CERTIFICATE, the issuing one first")]
    NotACertificate,
    /// The certificate is not one of a CA.
    #[error("the certificate of {subject} cannot issue others: expected a CA certificate{missing}")]
    NotACa {
        /// Its subject.
        subject: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// The CA's key cannot be used.
    #[error("the CA's key cannot be used")]
    Key(#[from] KeyError),
    /// Key and certificate are not of the same CA.
    #[error("the CA's private key (public half {key}) does not belong to its certificate (public half {certificate})")]
    OtherKey {
        /// Fingerprint of the key's public half.
        key: String,
        /// Fingerprint of the certificate's public key.
        certificate: String,
    },
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
    /// The lifetime that was asked for is too short.
    #[error("a lifetime of {0:?} is too short: expected at least {MIN_LIFETIME:?}")]
    Lifetime(Duration),
    /// The serial number is zero.
    #[error("the serial number is zero: expected random bytes")]
    Serial,
    /// The certificate could not be signed.
    #[error("the certificate could not be signed")]
    Sign,
}

/// The conditions under which a certificate is issued.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What it is for.
    pub usage: Usage,
    /// How long it is valid from `now`; at most as long as the CA itself.
    pub lifetime: Duration,
    /// Time of issue.
    pub now: Timestamp,
    /// Random bytes, never the same twice for a CA.
    pub serial: [u8; 16],
}

/// A CA: certificate and private key.
pub struct Authority {
    key: PrivateKey,
    /// Subject as it stands in the certificate.
    name: Vec<u8>,
    key_id: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// What a chain needs between a leaf and the root: PEM.
    intermediates: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?})", self.key.public)
    }
}

impl Authority {
    /// Reads a CA: its certificate, where needed followed by those of the CAs above it, and its private key.
    pub fn read(certificates_pem: &str, key_pem: &Sensitive) -> Result<Self, AuthorityError> {
        let unreadable = || AuthorityError::NotACertificate;
        let blocks: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates_pem.as_bytes()).collect();
        let blocks = blocks.map_err(|_| unreadable())?;
        let chain: Result<Vec<_>, _> = blocks.iter().map(|block| X509Certificate::from_der(block)).collect();
        let chain = chain.map_err(|_| unreadable())?;
        let Some((_, issuing)) = chain.first().filter(|_| chain.iter().all(|(rest, _)| rest.is_empty())) else {
            return Err(unreadable());
        };
        may_issue(issuing)?;
        let key = PrivateKey::read(key_pem)?;
        let certified = PublicKey::read(issuing.public_key())?;
        if certified != key.public {
            return Err(AuthorityError::OtherKey {
                key: key.public.fingerprint(),
                certificate: certified.fingerprint(),
            });
        }
        let (not_before, not_after) = ca::validity(issuing);
        // A root is known to whoever trusts it.
        let above = chain
            .iter()
            .filter(|(_, one)| one.subject().as_raw() != one.issuer().as_raw());
        Ok(Self {
            name: issuing.subject().as_raw().to_vec(),
            key_id: subject_key_id(issuing).unwrap_or_else(|| der::key_id(&certified.bits)),
            not_before,
            not_after,
            intermediates: above.map(|(_, one)| pem::write("CERTIFICATE", one.as_raw())).collect(),
            key,
        })
    }

    /// Issues a certificate. Returns PEM: the certificate, then the CAs up to but without the root.
    ///
    /// It is valid from [`BACKDATE`] before the time of issue, and at no time when the CA is not. Nothing of the request is
    /// copied but the key: subject and alternative names are those that were expected when it was checked.
    pub fn sign(&self, request: &Checked, terms: &Terms) -> Result<String, AuthorityError> {
        if terms.serial == [0; 16] {
            return Err(AuthorityError::Serial);
        }
        let (not_before, not_after) = self.validity(terms)?;
        let body = der::certificate(&Leaf {
            serial: &terms.serial,
            algorithm: self.key.public.algorithm,
            issuer: &self.name,
            issuer_key_id: &self.key_id,
            not_before,
            not_after,
            subject: &request.subject,
            key: &request.key,
            usage: terms.usage,
        });
        let signature = self.key.pair.sign(&body).map_err(|_| AuthorityError::Sign)?;
        let certificate = der::signed(&body, self.key.public.algorithm, &signature);
        Ok(pem::write("CERTIFICATE", &certificate) + &self.intermediates)
    }

    fn validity(&self, terms: &Terms) -> Result<(Timestamp, Timestamp), AuthorityError> {
        let (from, until, now) = (self.not_before, self.not_after, terms.now);
        if now < from || now >= until {
            return Err(AuthorityError::NotValid { from, until, now });
        }
        if terms.lifetime < MIN_LIFETIME {
            return Err(AuthorityError::Lifetime(terms.lifetime));
        }
        let backdate = SignedDuration::try_from(BACKDATE).unwrap_or_default();
        let not_before = now.checked_sub(backdate).map_or(from, |early| early.max(from));
        let not_after = now.checked_add(terms.lifetime).map_or(until, |late| late.min(until));
        Ok((not_before, not_after))
    }
}

fn may_issue(certificate: &X509Certificate<'_>) -> Result<(), AuthorityError> {
    let refuse = |missing| {
        Err(AuthorityError::NotACa {
            subject: certificate.subject().to_string(),
            missing,
        })
    };
    let constraints = certificate.basic_constraints();
    if certificate.version() != X509Version::V3 || !constraints.is_ok_and(|found| found.is_some_and(|one| one.value.ca))
    {
        return refuse(" (basic constraints CA:TRUE)");
    }
    let usage = certificate.key_usage();
    if !usage.is_ok_and(|found| found.is_none_or(|one| one.value.key_cert_sign())) {
        return refuse(" whose key usage has keyCertSign");
    }
    Ok(())
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
