//! Certificate signing requests (PKCS#10): made by the receiver, checked by the source side.
use std::net::IpAddr;

use peering_api::Sensitive;
use rcgen::SigningKey;
use thiserror::Error;
use x509_parser::{
    certification_request::{X509CertificationRequest, X509CertificationRequestInfo},
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME},
    prelude::FromDer,
};

use super::{
    der,
    key::{KeyError, PrivateKey, PublicKey},
    pem,
    subject::{Subject, SubjectError},
};

/// The largest request that is made or read, in bytes of PEM. One with RSA 4096 and few names has less than 2 KiB.
pub const MAX_REQUEST: usize = 16 * 1024;

const LABEL: &str = "CERTIFICATE REQUEST";
/// Most characters of a foreign subject that a message quotes.
const MAX_QUOTED: usize = 512;

/// Why there is no request, or why it is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// Nobody can get a certificate for this subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Too large.
    #[error("the certificate request has {0} bytes: expected at most {MAX_REQUEST}")]
    TooLarge(usize),
    /// Not one PEM block.
    #[error("the certificate request is not in PEM form: expected exactly one block {LABEL} and nothing else")]
    NotPem,
    /// Not a request.
    #[error("the certificate request is not PKCS#10 in DER form, or bytes follow it")]
    NotDer,
    /// The requester does not hold the private key.
    #[error("the certificate request is not signed with the key that it is for")]
    BadSignature,
    /// It asks for something besides a subject and alternative names.
    #[error("the certificate request asks for {0}: expected a subject and alternative names only")]
    Unexpected(String),
    /// It is for somebody else.
    #[error("the certificate request is for {seen}: expected {expected}")]
    OtherSubject {
        /// Whom the certificate is to be for.
        expected: String,
        /// Whom the request names.
        seen: String,
    },
    /// Right as to its content, but written in another way.
    #[error("the certificate request is not written as agents write it: expected the canonical encoding; renew it")]
    NotCanonical,
    /// It could not be signed.
    #[error("the certificate request could not be signed")]
    Sign,
}

/// A request that may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub(super) subject: Subject,
    pub(super) key: PublicKey,
}

impl Checked {
    /// The key that the certificate will be for.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Makes a request for a subject, signed with the private key that it is for. Returns PEM.
pub fn request(key_pem: &Sensitive, subject: &Subject) -> Result<String, RequestError> {
    subject.validate()?;
    let key = PrivateKey::read(key_pem)?;
    let body = der::request(subject, &key.public);
    let signature = key.pair.sign(&body).map_err(|_| RequestError::Sign)?;
    let request = pem::write(LABEL, &der::signed(&body, key.public.algorithm, &signature));
    if request.len() > MAX_REQUEST {
        return Err(RequestError::TooLarge(request.len()));
    }
    Ok(request)
}

/// Checks that a request is for this subject with exactly these alternative names, asks for nothing else, and is signed
/// with the key that it is for.
///
/// In the end the request must be, byte for byte, what [`request`] writes for this subject and key. Another program that
/// reads it (the API server that signs it) can then not find anything in it that was not seen here.
pub fn check(csr_pem: &str, expected: &Subject) -> Result<Checked, RequestError> {
    expected.validate()?;
    if csr_pem.len() > MAX_REQUEST {
        return Err(RequestError::TooLarge(csr_pem.len()));
    }
    let der = pem::read_only(LABEL, csr_pem).ok_or(RequestError::NotPem)?;
    let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|_| RequestError::NotDer)?;
    if !rest.is_empty() {
        return Err(RequestError::NotDer);
    }
    let info = &parsed.certification_request_info;
    let key = PublicKey::read(&info.subject_pki)?;
    parsed.verify_signature().map_err(|_| RequestError::BadSignature)?;
    let claimed = claimed(info)?;
    if claimed != *expected {
        return Err(RequestError::OtherSubject {
            expected: expected.to_string(),
            seen: claimed.to_string().chars().take(MAX_QUOTED).collect(),
        });
    }
    let body = der::request(expected, &key);
    if der::signed(&body, key.algorithm, &parsed.signature_value.data) != der {
        return Err(RequestError::NotCanonical);
    }
    Ok(Checked { subject: claimed, key })
}

/// The subject that a request names. Everything that has no place in a [`Subject`] is refused.
fn claimed(info: &X509CertificationRequestInfo<'_>) -> Result<Subject, RequestError> {
    let mut subject = Subject::default();
    let mut common_names = 0;
    for attribute in info.subject.iter_attributes() {
        let value = attribute.as_str().map(str::to_owned);
        let value = value.map_err(|_| unexpected("a subject that is not in UTF-8"))?;
        let once = if *attribute.attr_type() == OID_X509_COMMON_NAME {
            subject.common_name = value;
            common_names += 1;
            common_names == 1
        } else if *attribute.attr_type() == OID_X509_ORGANIZATION_NAME {
            subject.organizations.insert(value)
        } else {
            return Err(unexpected(&format!(
                "a subject with attribute {}",
                attribute.attr_type()
            )));
        };
        if !once {
            return Err(unexpected("a subject with the same attribute twice"));
        }
    }
    let mut attributes = info.iter_attributes();
    if let Some(attribute) = attributes.next() {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(request) => alternatives(&request.extensions, &mut subject)?,
            _ => return Err(unexpected(&format!("attribute {}", attribute.oid))),
        }
    }
    if attributes.next().is_some() {
        return Err(unexpected("more than one attribute"));
    }
    Ok(subject)
}

/// Adds the alternative names, which must be the only extension.
fn alternatives(extensions: &[X509Extension<'_>], subject: &mut Subject) -> Result<(), RequestError> {
    let [extension] = extensions else {
        let ids: Vec<_> = extensions.iter().map(|extension| extension.oid.to_string()).collect();
        return Err(unexpected(&format!("the extensions {:?}", ids.join(", "))));
    };
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return Err(unexpected(&format!("extension {}", extension.oid)));
    };
    for name in &names.general_names {
        let once = match name {
            GeneralName::DNSName(name) => subject.dns_names.insert((*name).to_owned()),
            GeneralName::URI(uri) => subject.uris.insert((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let ip = ip(bytes).ok_or_else(|| unexpected("an IP address of a wrong length"))?;
                subject.ip_addresses.insert(ip)
            }
            _ => {
                return Err(unexpected(
                    "an alternative name that is neither DNS name, IP address nor URI",
                ));
            }
        };
        if !once {
            return Err(unexpected("the same alternative name twice"));
        }
    }
    Ok(())
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn unexpected(what: &str) -> RequestError {
    RequestError::Unexpected(what.chars().take(MAX_QUOTED).collect())
}
