//! Whom a certificate is for, and what for.
use std::{collections::BTreeSet, fmt, net::IpAddr};

use thiserror::Error;

use crate::endpoint::is_dns_name;

/// Most bytes of a common name or an organisation. RFC 5280 has 64 as the upper bound, which nobody enforces and which
/// names of Kubernetes users exceed.
const MAX_NAME: usize = 256;
/// Most bytes of a URI: the bound of SPIFFE ids.
const MAX_URI: usize = 2048;
/// Whoever is in this group has all rights, which RBAC can neither limit nor withdraw. Kubernetes' own signer refuses
/// it too (admission plugin `CertificateSubjectRestriction`).
const MASTERS: &str = "system:masters";

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// To log in as a TLS client.
    #[default]
    Client,
    /// To serve TLS.
    Server,
    /// Both.
    ClientAndServer,
}

/// Why nobody can get a certificate for a subject.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SubjectError {
    /// The common name or an organisation cannot stand in a certificate.
    #[error("the {field} of the subject is {seen:?}: expected 1 to {MAX_NAME} bytes without control characters")]
    Name {
        /// Which one.
        field: &'static str,
        /// What stands there.
        seen: String,
    },
    /// Not a DNS name.
    #[error("the subject has the DNS name {0:?}: expected lower-case labels, the first of which may be *")]
    Dns(String),
    /// Not a URI.
    #[error("the subject has the URI {0:?}: expected scheme:rest in ASCII, at most {MAX_URI} bytes")]
    Uri(String),
    /// A group without limits.
    #[error(
        "the subject is in group {MASTERS}, which no rule can limit: use another group and grant it what is needed"
    )]
    Masters,
}

/// The subject of a certificate and its alternative names. Sets: an order has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Common name: for Kubernetes the user.
    pub common_name: String,
    /// Organisations: for Kubernetes the groups.
    pub organizations: BTreeSet<String>,
    /// DNS names of a server.
    pub dns_names: BTreeSet<String>,
    /// IP addresses of a server.
    pub ip_addresses: BTreeSet<IpAddr>,
    /// URIs, such as SPIFFE ids.
    pub uris: BTreeSet<String>,
}

impl Subject {
    /// Whether a certificate may be asked for and issued for this subject.
    pub fn validate(&self) -> Result<(), SubjectError> {
        let organizations = self.organizations.iter().map(|name| ("organization", name));
        for (field, name) in std::iter::once(("common name", &self.common_name)).chain(organizations) {
            if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                let seen = name.chars().take(MAX_NAME).collect();
                return Err(SubjectError::Name { field, seen });
            }
        }
        if self.organizations.contains(MASTERS) {
            return Err(SubjectError::Masters);
        }
        let dns = |name: &String| {
            is_dns_name(name.strip_prefix("*.").unwrap_or(name)) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
        };
        if let Some(name) = self.dns_names.iter().find(|name| !dns(name)) {
            return Err(SubjectError::Dns(name.clone()));
        }
        if let Some(uri) = self.uris.iter().find(|uri| !is_uri(uri)) {
            return Err(SubjectError::Uri(uri.clone()));
        }
        Ok(())
    }

    /// Whether there are alternative names.
    pub(super) fn has_alternatives(&self) -> bool {
        !(self.dns_names.is_empty() && self.ip_addresses.is_empty() && self.uris.is_empty())
    }
}

fn is_uri(uri: &str) -> bool {
    let parts = uri.split_once(':');
    parts.is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
        && uri.len() <= MAX_URI
        && uri.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Subject {
    /// `CN="a", O="b", DNS="c"`: quoted, since a request may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CN={:?}", self.common_name)?;
        for (field, values) in [("O", &self.organizations), ("DNS", &self.dns_names)] {
            values.iter().try_for_each(|value| write!(f, ", {field}={value:?}"))?;
        }
        self.ip_addresses.iter().try_for_each(|ip| write!(f, ", IP={ip}"))?;
        self.uris.iter().try_for_each(|uri| write!(f, ", URI={uri:?}"))
    }
}
