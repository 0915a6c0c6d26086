//! Probes over the network: does what was delivered work against the cluster that it came from?
//!
//! * [`tls`]: the endpoint serves a chain that the delivered bundle trusts;
//! * [`api_auth`]: an API server takes the delivered credential;
//! * [`http`]: a URL answers as expected;
//! * [`s3`]: the delivered keys may list a bucket.
//!
//! Each talks to one endpoint, once, within a timeout, and gives a finding or a [`Failure`]. [`runner`] repeats them. Deciding
//! when to probe and what a finding means for a link is done elsewhere, without a network, and so are the probes that need
//! none.
//!
//! All that a probe is given comes from another cluster and is not trusted: [`address`] says where it may connect to,
//! `kubeconfig` what a kubeconfig may hold. No byte of a credential, of a URL's path or of an answer's body reaches a
//! message, and the types hold them as [`peering_api::Sensitive`].
//!
//! ```text
//! runner                              again and again, a few at once
//! tls, api_auth (kubeconfig), http,   what is asked, and what the answer means
//! s3 (signature)
//! request                             one HTTP request, one answer
//! connect                             TCP and TLS within the deadline
//! address, chain                      where we may go; what we trust
//! ```
use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use peering_api::Sensitive;

mod access;
pub mod address;
pub mod api_auth;
pub mod chain;
mod connect;
pub mod failure;
pub mod http;
mod kubeconfig;
mod request;
pub mod runner;
pub mod s3;
mod signature;
pub mod tls;

pub use self::{
    access::{Access, ClientCertificate},
    address::{Endpoint, Loopback, Url},
    api_auth::{ApiAuth, Credential},
    failure::{Failure, Reason},
    http::{Http, Verb},
    s3::S3,
    tls::Tls,
};

/// A probe and its parameters.
#[derive(Clone, Debug)]
pub enum Probe {
    /// The endpoint's chain against the delivered bundle.
    Tls(Tls),
    /// The delivered credential against its API server.
    ApiAuth(ApiAuth),
    /// The status of a URL.
    Http(Http),
    /// The delivered keys against a bucket.
    S3(S3),
}

impl Probe {
    /// Tells one set of parameters from another.
    fn digest(&self, hasher: &mut impl Hasher) {
        let optional = |bytes: &Option<Sensitive>| bytes.as_ref().map(|bytes| bytes.expose().to_vec());
        match self {
            Self::Tls(tls) => (tls.endpoint.to_string(), &tls.server_name, tls.bundle.expose()).hash(hasher),
            Self::ApiAuth(ApiAuth {
                credential: Credential::Kubeconfig(text),
                ..
            }) => text.expose().hash(hasher),
            Self::ApiAuth(ApiAuth {
                credential: Credential::Access(access),
                ..
            }) => {
                let client = access.client.as_ref();
                let client = client.map(|client| (client.certificate.expose(), client.key.expose()));
                (
                    access.server.text(),
                    optional(&access.bundle),
                    optional(&access.token),
                    client,
                )
                    .hash(hasher);
            }
            Self::Http(http) => (
                http.url.text(),
                http.expected.clone(),
                optional(&http.bundle),
                optional(&http.token),
            )
                .hash(hasher),
            Self::S3(s3) => (
                s3.url.text(),
                &s3.bucket,
                &s3.region,
                s3.access_key_id.expose(),
                s3.secret_access_key.expose(),
                optional(&s3.bundle),
            )
                .hash(hasher),
        }
    }
}

/// What a probe found where all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// What the endpoint serves.
    Tls(tls::Trusted),
    /// Who the credential is.
    ApiAuth(api_auth::User),
    /// What the URL answered.
    Http(http::Answered),
    /// The bucket is there.
    S3,
}

/// Makes one probe. `timeout` is for all of it, name resolution included.
pub async fn run(probe: &Probe, timeout: Duration) -> Result<Success, Failure> {
    match probe {
        Probe::Tls(it) => tls::probe(it, timeout).await.map(Success::Tls),
        Probe::ApiAuth(it) => api_auth::probe(it, timeout).await.map(Success::ApiAuth),
        Probe::Http(it) => http::probe(it, timeout).await.map(Success::Http),
        Probe::S3(it) => s3::probe(it, timeout).await.map(|()| Success::S3),
    }
}

#[cfg(test)]
mod tests;
