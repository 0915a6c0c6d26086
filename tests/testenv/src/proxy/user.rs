//! Who a client of the proxy is, and how the API server is told.

use anyhow::{Context, Result};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// A user with a client certificate, as Kubernetes reads it: the common name, and the organisations as groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    /// The user of a certificate that was verified before.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).context("parse the client's certificate")?;
        let subject: &X509Name<'_> = certificate.subject();
        let name = subject
            .iter_common_name()
            .next()
            .context("the client's certificate names nobody")?;
        let groups = subject
            .iter_organization()
            .map(|group| group.as_str().map(str::to_owned));
        Ok(Self {
            name: name.as_str()?.to_owned(),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// Makes a request, which the proxy sends as administrator, one of this user. The API server adds the group of all
    /// authenticated users by itself.
    pub(super) fn impersonate(&self, headers: &mut HeaderMap) -> Result<()> {
        headers.remove(AUTHORIZATION);
        headers.insert(USER, HeaderValue::from_str(&self.name)?);
        for group in &self.groups {
            headers.append(GROUP, HeaderValue::from_str(group)?);
        }
        Ok(())
    }
}
