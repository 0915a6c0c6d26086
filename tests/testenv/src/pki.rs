//! The certificates and keys of one cluster: its CA, its serving certificate and the users we make for it.
//!
//! Every cluster has a CA of its own, so that a client which trusts or presents the wrong one fails here as it would
//! in production.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct KeyAndCert {
    /// The certificate.
    pub cert: String,
    /// The private key (PKCS#8).
    pub key: String,
}

/// The CA of one cluster and the files its processes read.
pub struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Pki {
    /// Makes the CA, the API server's serving certificate and the service-account key, and writes them to `directory`.
    pub fn create(cluster: &str, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut params = params(&format!("{cluster}-ca"), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self {
            ca,
            directory: directory.to_owned(),
        };
        let serving = pki.serving()?;
        pki.write("ca.crt", &pki.ca.pem())?;
        pki.write("ca.key", &pki.ca.key().serialize_pem())?;
        pki.write("tls.crt", &serving.cert)?;
        pki.write("tls.key", &serving.key)?;
        let service_accounts = KeyPair::generate()?;
        pki.write("sa.key", &service_accounts.serialize_pem())?;
        pki.write("sa.pub", &service_accounts.public_key_pem())?;
        Ok(pki)
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The path of one of the files that [`Pki::create`] wrote: `ca.crt`, `ca.key`, `tls.crt`, `tls.key`, `sa.key`, `sa.pub`.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The directory of the files, which holds `tls.crt` and `tls.key` as webhook servers want them.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A client certificate for a user of this cluster.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<KeyAndCert> {
        let mut params = params(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn serving(&self) -> Result<KeyAndCert> {
        let mut params = params("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        for name in [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<KeyAndCert> {
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.ca)?;
        Ok(KeyAndCert {
            cert: cert.pem(),
            key: key.serialize_pem(),
        })
    }

    fn write(&self, file: &str, content: &str) -> Result<()> {
        crate::files::write_private(&self.path(file), content.as_bytes())
    }
}

fn params(common_name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    params
}
