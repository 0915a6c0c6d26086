//! Endpoints: where another cluster reaches something, read from observed objects or given as text.
//!
//! Nothing is guessed. What has no address yet is [`Pending`](EndpointError::Pending); what can never have one that
//! other clusters reach is [`Invalid`](EndpointError::Invalid). Both say what was expected and seen.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub use self::{
    node::{ADDRESS_TYPES, node_port},
    service::{PortSelector, service},
    text::{api_server, fixed},
    web::{ingress, route},
};

mod node;
mod service;
#[cfg(test)]
mod tests;
mod text;
mod web;

/// Why there is no endpoint. The messages are for users.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The object exists but has no address yet; it may get one without the user doing anything.
    #[error("{0}")]
    Pending(String),
    /// The object or text can give no endpoint as it is: somebody has to change it.
    #[error("{0}")]
    Invalid(String),
}

/// Where something is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// URL, where the source tells the scheme. A port that the scheme implies is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What to connect to: IP address (without brackets) or host name. The first of the addresses, or the host name
    /// that a router answers to at these addresses.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `host:port`, with brackets around an IPv6 address: what stands behind the scheme of any URL.
    pub authority: String,
    /// All addresses: IP addresses (IPv4 first) or host names, sorted.
    pub addresses: Vec<String>,
}

impl Endpoint {
    /// The form that expressions see.
    #[must_use]
    pub fn value(&self) -> Value {
        // Strings and a number always serialise.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn new(addresses: Addresses, port: u16) -> Self {
        Self {
            url: None,
            host: addresses.first.to_string(),
            port,
            authority: authority(&addresses.first, port),
            addresses: addresses.all,
        }
    }

    /// With the URL of the first address.
    fn with_url(addresses: Addresses, port: u16, scheme: &str, path: &str) -> Self {
        let authority = if implied_port(scheme) == Some(port) {
            addresses.first.bracketed()
        } else {
            authority(&addresses.first, port)
        };
        Self {
            url: Some(format!("{scheme}://{authority}{path}")),
            ..Self::new(addresses, port)
        }
    }
}

/// At least one address.
struct Addresses {
    first: Host,
    all: Vec<String>,
}

impl Addresses {
    fn of(hosts: &BTreeSet<Host>) -> Option<Self> {
        Some(Self {
            first: hosts.first()?.clone(),
            all: hosts.iter().map(ToString::to_string).collect(),
        })
    }

    fn one(host: Host) -> Self {
        Self {
            all: vec![host.to_string()],
            first: host,
        }
    }
}

fn authority(host: &Host, port: u16) -> String {
    format!("{}:{port}", host.bracketed())
}

/// The port that a URL of this scheme has if it names none.
fn implied_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// An address. The order is the one of [`Endpoint::addresses`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Host {
    /// Reads an IP address (without brackets or zone) or a DNS name.
    fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(ip) => (!ip.is_unspecified() && !ip.is_multicast()).then_some(Self::Ip(ip)),
            Err(_) => is_dns_name(text).then(|| Self::Name(text.to_ascii_lowercase())),
        }
    }

    /// As it stands in URLs.
    fn bracketed(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            other => other.to_string(),
        }
    }

    /// Reads what stands between brackets in a URL.
    fn parse_bracketed(text: &str) -> Option<Self> {
        text.parse::<Ipv6Addr>().ok().and_then(|_| Self::parse(text))
    }
}

/// RFC 1123 with underscores, which some clouds have in names. What ends in a number is a mistyped IPv4 address.
pub(crate) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(numeric)
}

/// `Service ns/name`, as messages name the object.
fn reference(kind: &str, object: &Value) -> String {
    let name = text(object, "/metadata/name");
    match text(object, "/metadata/namespace") {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

/// An object that is on its way out has no endpoint: what it had goes away at any moment.
fn must_stay(what: &str, object: &Value) -> Result<(), EndpointError> {
    if object.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null) {
        return Ok(());
    }
    Err(EndpointError::Pending(format!(
        "{what} is being deleted: expected one that stays; create it again or name another one"
    )))
}

/// The text at a JSON pointer; empty where there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Whether a condition in `conditions` is `True`.
fn is_true(object: &Value, conditions: &str, type_: &str) -> bool {
    list(object, conditions)
        .iter()
        .any(|condition| text(condition, "/type") == type_ && text(condition, "/status") == "True")
}

/// The addresses that a load balancer has given to a Service or Ingress: IP addresses, else host names.
fn balancer_addresses(what: &str, object: &Value) -> Result<Addresses, EndpointError> {
    let entries = list(object, "/status/loadBalancer/ingress");
    for field in ["/ip", "/hostname"] {
        let texts = entries.iter().map(|entry| text(entry, field));
        let hosts = hosts(what, texts.filter(|text| !text.is_empty()))?;
        if let Some(addresses) = Addresses::of(&hosts) {
            return Ok(addresses);
        }
    }
    Err(EndpointError::Pending(format!(
        "{what} has no address yet: expected an entry in status.loadBalancer.ingress, seen none; \
         check that the cluster has a load-balancer or ingress controller that serves it"
    )))
}

/// Reads addresses.
fn hosts<'a>(what: &str, texts: impl Iterator<Item = &'a str>) -> Result<BTreeSet<Host>, EndpointError> {
    let host = |text| {
        Host::parse(text).ok_or_else(|| {
            EndpointError::Invalid(format!(
                "{what} has an address that cannot be used: expected an IP address or a DNS name, seen {text:?}; \
                 correct what sets it"
            ))
        })
    };
    texts.map(host).collect()
}
