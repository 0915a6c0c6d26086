//! The CA of a signer as it stands in a Secret: read anew when it changes, with the CAs before it trusted until they expire.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use peering_api::{Sensitive, k8s_openapi::api::core::v1::Secret, kube::ResourceExt};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Signer, signer::pem};
use crate::runtime::error_chain;

/// Keys of a Secret of type `kubernetes.io/tls`, as cert-manager fills it too.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Further CAs to be trusted, such as the one before.
const OTHERS: &str = "ca.crt";

/// A signer of the addon's own whose CA is in a Secret: `tls.crt`, `tls.key`, and in `ca.crt` further CAs to be trusted.
///
/// The Secret is watched: the next request is signed by the new CA. Certificates of the CA before stay valid, and servers
/// have to trust both for a while: [`crate::Manager::trusted_cas`] says which. A CA that cannot be read changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningCa {
    /// The signer's name, such as `example.com/mine`, as in a registration.
    pub signer: String,
    /// Namespace of the Secret on the hub.
    pub namespace: String,
    /// Name of the Secret. The manager needs `get`, `list` and `watch` on it.
    pub secret: String,
    /// How long certificates last at most.
    pub lifetime: Duration,
}

/// A CA and those before it.
#[derive(Debug, Default)]
pub(crate) struct Rotation(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Version of the Secret that was read last, good or bad.
    read: Option<String>,
    signer: Option<Arc<Signer>>,
    /// Certificates of all CAs that are to be trusted, as DER; the newest first.
    trusted: Vec<Vec<u8>>,
}

impl Rotation {
    /// The CA that signs now, by the Secret as it is. None if there is no Secret: then somebody has withdrawn it.
    pub(crate) fn signer(&self, secret: Option<&Secret>, lifetime: Duration) -> Option<Arc<Signer>> {
        let secret = secret?;
        let mut state = self.lock();
        let version = secret.resource_version();
        if version.is_none() || state.read != version {
            state.read = version;
            state.load(secret, lifetime);
        }
        state.signer.clone()
    }

    /// Certificates of the CAs whose certificates servers have to trust, as PEM; the newest first.
    pub(crate) fn trusted(&self, now: Timestamp) -> String {
        let state = self.lock();
        let valid = state.trusted.iter().filter(|der| {
            let parsed = X509Certificate::from_der(der);
            parsed.is_ok_and(|(_, certificate)| certificate.validity().not_after.timestamp() > now.as_second())
        });
        valid.map(|der| pem(der)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn load(&mut self, secret: &Secret, lifetime: Duration) {
        let name = secret.name_any();
        let data = |key: &str| {
            secret
                .data
                .as_ref()
                .and_then(|data| data.get(key))
                .map(|bytes| bytes.0.clone())
                .unwrap_or_default()
        };
        let text = |key: &str| String::from_utf8(data(key)).unwrap_or_default();
        let certificates = text(CERTIFICATE);
        match Signer::read(&certificates, &Sensitive::from(data(KEY)), lifetime) {
            Ok(signer) => self.signer = Some(Arc::new(signer)),
            Err(error) => {
                let (reason, kept) = (error_chain(&error), self.signer.is_some());
                warn!(secret = name, reason, kept, "the CA of a signer cannot be used");
                return;
            }
        }
        info!(secret = name, "CA of a signer read");
        // Only the issuing certificate: who has it needs none above it.
        let newest = ders(&certificates).into_iter().take(1).chain(ders(&text(OTHERS)));
        let mut trusted: Vec<_> = newest.collect();
        trusted.append(&mut self.trusted);
        for der in trusted {
            if !self.trusted.contains(&der) {
                self.trusted.push(der);
            }
        }
    }
}

fn ders(pem: &str) -> Vec<Vec<u8>> {
    let blocks = CertificateDer::pem_slice_iter(pem.as_bytes());
    blocks.filter_map(Result::ok).map(|der| der.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use peering_api::k8s_openapi::ByteString;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// A CA's certificate and key.
    fn ca(name: &str, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn secret(version: &str, entries: &[(&str, &str)]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.resource_version = Some(version.into());
        let data = entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        secret
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn flat(pem: &str) -> String {
        pem.replace(['\r', '\n'], "")
    }

    #[test]
    fn a_new_ca_signs_and_the_old_one_is_trusted_until_it_expires() {
        let (old, new, other) = (ca("old", 2030), ca("new", 2040), ca("other", 2050));
        let rotation = Rotation::default();
        let first = secret("1", &[(CERTIFICATE, &old.0), (KEY, &old.1)]);
        let signer = rotation.signer(Some(&first), DAY).unwrap();
        assert!(
            Arc::ptr_eq(&signer, &rotation.signer(Some(&first), DAY).unwrap()),
            "read once"
        );
        let second = secret("2", &[(CERTIFICATE, &new.0), (KEY, &new.1), (OTHERS, &other.0)]);
        assert!(!Arc::ptr_eq(&signer, &rotation.signer(Some(&second), DAY).unwrap()));
        assert_eq!(
            flat(&rotation.trusted(now())),
            flat(&[new.0.clone(), other.0.clone(), old.0].concat())
        );
        let later = "2035-06-01T00:00:00Z".parse().unwrap();
        assert_eq!(flat(&rotation.trusted(later)), flat(&[new.0, other.0].concat()));
    }

    #[test]
    fn a_broken_secret_changes_nothing_and_none_stops_the_signing() {
        let (good, other) = (ca("good", 2030), ca("other", 2030));
        let rotation = Rotation::default();
        assert!(rotation.signer(Some(&secret("1", &[])), DAY).is_none());
        let signer = rotation
            .signer(Some(&secret("2", &[(CERTIFICATE, &good.0), (KEY, &good.1)])), DAY)
            .unwrap();
        for (version, entries) in [
            ("3", vec![]),
            ("4", vec![(CERTIFICATE, other.0.as_str()), (KEY, good.1.as_str())]),
        ] {
            let kept = rotation.signer(Some(&secret(version, &entries)), DAY).unwrap();
            assert!(Arc::ptr_eq(&signer, &kept), "{version}");
        }
        assert_eq!(flat(&rotation.trusted(now())), flat(&good.0));
        assert!(rotation.signer(None, DAY).is_none());
        assert!(!rotation.trusted(now()).is_empty(), "what it signed stays valid");
    }
}
