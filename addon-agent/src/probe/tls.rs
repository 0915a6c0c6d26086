//! Probe `tls`: does the endpoint serve a chain that the delivered bundle trusts?
use std::time::Duration;

use jiff::Timestamp;
use peering_api::Sensitive;

use super::{
    address::{Endpoint, Loopback},
    chain::{self, Certificate, Roots},
    connect::{Route, Settings},
    failure::Failure,
};

/// What to ask.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where to connect to.
    pub endpoint: Endpoint,
    /// The name to ask for and to find in the certificate, where it is not the endpoint's host.
    pub server_name: Option<String>,
    /// The delivered bundle: CA certificates, PEM.
    pub bundle: Sensitive,
    /// Whether loopback addresses are allowed.
    pub loopback: Loopback,
}

/// What a trusted endpoint serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The served certificates, the server's own first.
    pub chain: Vec<Certificate>,
    /// When the first of them expires.
    pub not_after: Option<Timestamp>,
}

/// Makes one TLS handshake. A server that wants a client certificate is as good as one that does not: what it serves
/// is judged before it can ask.
pub async fn probe(tls: &Tls, timeout: Duration) -> Result<Trusted, Failure> {
    let roots = Roots::bundle(&tls.bundle, Timestamp::now())?;
    let settings = Settings::new(&tls.endpoint, tls.server_name.as_deref(), roots, None)?;
    let route = Route::new(&tls.endpoint, tls.loopback, timeout);
    let handshake = route.tls(route.tcp().await?, &settings).await?;
    if !handshake.seen.proven() {
        handshake.stream?;
    }
    let chain = chain::read_all(&handshake.seen.chain);
    let not_after = chain.iter().map(|certificate| certificate.not_after).min();
    Ok(Trusted { chain, not_after })
}

#[cfg(test)]
#[path = "tests/tls.rs"]
mod tests;
