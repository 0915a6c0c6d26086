//! What a request to an API server needs.
use peering_api::Sensitive;

use super::address::Url;

/// Access to an API server.
#[derive(Clone, Debug)]
pub struct Access {
    /// The API server's URL, `https`.
    pub server: Url,
    /// The name to find in its certificate, where it is not the URL's host.
    pub server_name: Option<String>,
    /// CA certificates, PEM; the image's root store where there are none.
    pub bundle: Option<Sensitive>,
    /// A bearer token.
    pub token: Option<Sensitive>,
    /// A client certificate.
    pub client: Option<ClientCertificate>,
}

/// A client certificate.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its CA; PEM.
    pub certificate: Sensitive,
    /// The private key; PEM.
    pub key: Sensitive,
}
