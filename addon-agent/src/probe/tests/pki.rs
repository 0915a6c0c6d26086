//! CAs and server certificates for tests.
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::probe::chain::provider;

/// The years of validity of what is valid now.
const VALID: (i32, i32) = (2020, 2090);

/// A CA.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new(name: &str) -> Self {
        Self::valid(name, VALID)
    }

    pub fn valid(name: &str, years: (i32, i32)) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name, years), KeyPair::generate().unwrap()).unwrap())
    }

    /// A CA below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(ca_params(name, VALID), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// What most tests serve: a valid certificate for 127.0.0.1 and `api.example`.
    pub fn server(&self) -> Served {
        self.serve(
            &["127.0.0.1", "api.example"],
            VALID,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    pub fn named(&self, names: &[&str]) -> Served {
        self.serve(names, VALID, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn valid_in(&self, years: (i32, i32)) -> Served {
        self.serve(&["127.0.0.1"], years, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self) -> Served {
        self.serve(&["127.0.0.1"], VALID, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn serve(&self, names: &[&str], years: (i32, i32), usage: ExtendedKeyUsagePurpose) -> Served {
        let mut params = params("leaf", years);
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Served {
            chain: vec![certificate.der().clone()],
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate with its chain and key.
#[derive(Clone)]
pub struct Served {
    pub chain: Vec<CertificateDer<'static>>,
    pub certificate: String,
    pub key: String,
}

impl Served {
    /// With further certificates behind its own.
    pub fn with(mut self, more: &Ca) -> Self {
        self.chain.push(more.der());
        self
    }

    pub fn config(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.private_key())
            .unwrap()
    }

    /// A server that wants a client certificate of a CA.
    pub fn config_with_clients(&self, clients: &Ca, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.der()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(self.chain.clone(), self.private_key())
            .unwrap()
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn ca_params(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = params(name, years);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn params(name: &str, (from, until): (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}
