//! What a server presents and what a bundle trusts: reading certificates, the trust decision, and the words for a refusal.
//!
//! The decision is rustls' own ([`WebPkiServerVerifier`]). One thing is stricter: webpki never looks at the validity of
//! a root, while Go and OpenSSL, which the consumers of a bundle are written with, do. So expired roots are left out.
use std::sync::{Arc, Mutex, PoisonError};

use exchange::ca;
use jiff::Timestamp;
use peering_api::{Sensitive, names::hex};
use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    address::Endpoint,
    failure::{Failure, Reason, shown},
};

/// How many characters of a fingerprint a message shows, and how many certificates of a bundle.
const SHOWN_HEX: usize = 16;
const SHOWN_ROOTS: usize = 3;

/// A certificate, as people and conditions want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Subject, for people.
    pub subject: String,
    /// Issuer, for people.
    pub issuer: String,
    /// Lower-case hex SHA-256 of the DER form, as in `PeerLink.status.caFingerprints`.
    pub fingerprint: String,
    /// End of validity; the latest time that can be told for a certificate that has no end (RFC 5280, 4.1.2.5).
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads a DER form; `None` if it is not X.509.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, x509) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: shown(&x509.subject().to_string()),
            issuer: shown(&x509.issuer().to_string()),
            fingerprint: hex(&Sha256::digest(der)),
            not_after: ca::validity(&x509).1,
        })
    }

    fn short(&self) -> String {
        format!("{} sha256:{}..", self.subject, &self.fingerprint[..SHOWN_HEX])
    }
}

/// The readable certificates of a served chain, the server's own first.
pub fn read_all(chain: &[CertificateDer<'_>]) -> Vec<Certificate> {
    chain.iter().filter_map(|der| Certificate::read(der)).collect()
}

/// The cryptography of every probe. Named, so that nothing depends on a default of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a probe trusts.
#[derive(Debug)]
pub struct Roots {
    /// Whose certificates these are, in a message.
    owner: &'static str,
    verifier: Arc<WebPkiServerVerifier>,
    live: Vec<Certificate>,
    expired: Vec<(CertificateDer<'static>, Certificate)>,
}

impl Roots {
    /// The certificates of a delivered PEM bundle. Blocks that are malformed are left out, as its consumers do.
    pub fn bundle(pem: &Sensitive, now: Timestamp) -> Result<Self, Failure> {
        let ders = exchange::ca::parse(pem.expose())
            .certificates
            .into_iter()
            .filter_map(|certificate| CertificateDer::from_pem_slice(certificate.pem.as_bytes()).ok());
        Self::new("the delivered bundle", ders, now)
    }

    /// The public CAs that this image knows, for endpoints that no bundle was delivered for.
    pub async fn system(now: Timestamp) -> Result<Self, Failure> {
        // Reads files.
        let certs = tokio::task::spawn_blocking(|| rustls_native_certs::load_native_certs().certs).await;
        Self::new("the system's root store", certs.unwrap_or_default(), now)
    }

    fn new(
        owner: &'static str,
        ders: impl IntoIterator<Item = CertificateDer<'static>>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let read = ders
            .into_iter()
            .filter_map(|der| Certificate::read(&der).map(|certificate| (der, certificate)));
        let (live, expired): (Vec<_>, Vec<_>) = read.partition(|(_, certificate)| certificate.not_after > now);
        if let Some(verifier) = verifier(live.iter().map(|(der, _)| der)) {
            let live = live.into_iter().map(|(_, certificate)| certificate).collect();
            return Ok(Self {
                owner,
                verifier,
                live,
                expired,
            });
        }
        Err(if expired.is_empty() {
            let seen = format!("expected CA certificates in {owner}, saw none that can be used");
            Failure::invalid(&seen, "check the source of the bundle")
        } else {
            let expired = list(expired.iter().map(|(_, certificate)| certificate));
            let seen = format!("expected a valid CA certificate in {owner}, but all have expired ({expired})");
            Failure::new(Reason::CAExpired, &seen, "renew the CA on the serving cluster")
        })
    }

    /// Says why a presented chain was refused.
    pub fn explain(&self, presented: &Presented<'_>, error: &CertificateError) -> Failure {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => self.untrusted(presented),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => presented.expired(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => presented.not_yet_valid(),
            CertificateError::NotValidForName => presented.other_name(&[]),
            CertificateError::NotValidForNameContext { presented: names, .. } => presented.other_name(names),
            other => {
                let cause = if presented.leaf_is_ca() {
                    "it is a CA certificate itself, which only some clients accept".to_owned()
                } else {
                    shown(&other.to_string())
                };
                let seen = format!(
                    "the endpoint {} presents a chain that cannot be trusted (expected a server certificate issued by a CA of {}, saw {}: {cause})",
                    presented.endpoint,
                    self.owner,
                    presented.leaf(),
                );
                let next = "have a server certificate issued by that CA on the serving cluster";
                Failure::new(Reason::CAMismatch, &seen, next)
            }
        }
    }

    fn untrusted(&self, presented: &Presented<'_>) -> Failure {
        let (endpoint, owner) = (presented.endpoint, self.owner);
        let expired = verifier(self.expired.iter().map(|(der, _)| der));
        if expired.is_some_and(|verifier| presented.passes(&verifier)) {
            let expired = list(self.expired.iter().map(|(_, certificate)| certificate));
            let seen = format!(
                "the endpoint {endpoint} presents a chain that leads to an expired CA certificate of {owner} (served {}, expired {expired})",
                presented.leaf()
            );
            return Failure::new(Reason::CAExpired, &seen, "renew the CA on the serving cluster");
        }
        let seen = format!(
            "the endpoint {endpoint} presents a chain that {owner} does not trust (served {}, trusted {})",
            presented.leaf(),
            list(&self.live)
        );
        let next = "if the CA was rotated on the serving cluster, look at the source of the bundle there";
        Failure::new(Reason::CAMismatch, &seen, next)
    }
}

/// A chain that was refused, and what it was presented for.
#[derive(Debug)]
pub struct Presented<'a> {
    /// Who presented it.
    pub endpoint: &'a Endpoint,
    /// The name it should be for.
    pub name: &'a ServerName<'static>,
    /// The server's own certificate, then those that should lead to a root.
    pub chain: &'a [CertificateDer<'static>],
    /// The time of the decision.
    pub now: Timestamp,
}

impl Presented<'_> {
    fn passes(&self, verifier: &WebPkiServerVerifier) -> bool {
        let now = UnixTime::since_unix_epoch(self.now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
        let Some((leaf, intermediates)) = self.chain.split_first() else {
            return false;
        };
        verifier
            .verify_server_cert(leaf, intermediates, self.name, &[], now)
            .is_ok()
    }

    fn leaf(&self) -> String {
        match read_all(self.chain).first() {
            Some(leaf) => format!("{}, issued by {}", leaf.short(), leaf.issuer),
            None => "a certificate that cannot be read".to_owned(),
        }
    }

    fn leaf_is_ca(&self) -> bool {
        let leaf = self.chain.first().map(|der| X509Certificate::from_der(der));
        leaf.is_some_and(|read| read.is_ok_and(|(_, x509)| x509.is_ca()))
    }

    fn expired(&self) -> Failure {
        let chain = read_all(self.chain);
        let expired = list(chain.iter().filter(|certificate| certificate.not_after <= self.now));
        let seen = format!(
            "the endpoint {} presents an expired certificate (expected one that is valid at {:.0}, saw {})",
            self.endpoint,
            self.now,
            // None: the end of its validity lies before the beginning.
            if expired.is_empty() { self.leaf() } else { expired }
        );
        Failure::new(Reason::CAExpired, &seen, "renew the certificate on the serving cluster")
    }

    fn not_yet_valid(&self) -> Failure {
        let seen = format!(
            "the endpoint {} presents a certificate whose validity lies ahead (expected one that is valid at {:.0}, saw {})",
            self.endpoint,
            self.now,
            self.leaf()
        );
        Failure::new(Reason::CAExpired, &seen, "check the clocks of both clusters")
    }

    fn other_name(&self, names: &[String]) -> Failure {
        let names: Vec<_> = names.iter().map(|name| plain(name)).collect();
        let seen = format!(
            "the endpoint {} presents a trusted certificate for other names (expected {}, saw {}, for {})",
            self.endpoint,
            self.name.to_str(),
            self.leaf(),
            shown(&names.join(" "))
        );
        let next = "have the certificate issued for that name, or give the probe a server name that it has";
        Failure::new(Reason::NameMismatch, &seen, next)
    }
}

/// Applies the real verifier and remembers the chain, so that a refusal can be explained. It never lets pass what the
/// real one refuses.
#[derive(Debug)]
pub struct Recorder {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Mutex<Seen>,
}

/// What a server presented in a handshake.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The chain, the server's own certificate first; empty if the handshake did not come that far.
    pub chain: Vec<CertificateDer<'static>>,
    trusted: bool,
    signed: bool,
}

impl Seen {
    /// Whether the chain was trusted and the server proved that it has the key, whatever came afterwards.
    pub fn proven(&self) -> bool {
        self.trusted && self.signed
    }
}

impl Recorder {
    /// A recorder for one connection.
    pub fn new(roots: &Roots) -> Arc<Self> {
        Arc::new(Self {
            verifier: Arc::clone(&roots.verifier),
            seen: Mutex::default(),
        })
    }

    /// What has been recorded.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let chain = all.map(|der| der.clone().into_owned()).collect();
        self.record(|seen| seen.chain = chain);
        let trusted = self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.record(|seen| seen.trusted = true);
        Ok(trusted)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = self.verifier.verify_tls12_signature(message, cert, dss)?;
        self.record(|seen| seen.signed = true);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = self.verifier.verify_tls13_signature(message, cert, dss)?;
        self.record(|seen| seen.signed = true);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// `None` without a single certificate that can be a root.
fn verifier<'a>(ders: impl Iterator<Item = &'a CertificateDer<'static>>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(ders.cloned());
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .ok()
}

/// A few certificates with the end of their validity.
fn list<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    let mut certificates = certificates.into_iter();
    let mut shown: Vec<_> = certificates
        .by_ref()
        .take(SHOWN_ROOTS)
        .map(|certificate| format!("{} until {:.0}", certificate.short(), certificate.not_after))
        .collect();
    let more = certificates.count();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// The name in what rustls writes as `DnsName("a.example")` or `IpAddress(10.0.0.1)`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

#[cfg(test)]
#[path = "tests/chain.rs"]
mod tests;
