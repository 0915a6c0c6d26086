//! Where a probe may connect to. Its target is content from another cluster, so it must not become a way to reach what
//! only this pod can reach (server-side request forgery), first of all the metadata service of the cloud.
//!
//! Checked: every address that a name resolves to, after resolving, whatever way it is written (decimal, octal, inside
//! an IPv6 address), and the connection goes to exactly the checked addresses, so that a name which changes between two
//! look-ups (DNS rebinding) gains nothing. Refused are link-local addresses, the metadata addresses that the large clouds
//! have elsewhere, loopback (unless the caller allows it), the unspecified address (which connects to loopback),
//! multicast and broadcast. Redirects are never followed and proxies never used.
//!
//! Not checked: private ranges and cluster-internal addresses, ports, and this node's own addresses. Endpoints of other
//! clusters live in private ranges, and which of them belong to this cluster is not known here; a network policy is
//! what limits those. A probe gives away no more than a status code, a certificate's names and whether a port answers.
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::failure::{Failure, Reason, shown};

const SAY_ENDPOINT: &str = "correct the endpoint in the profile or on the source cluster";

/// Whether loopback addresses may be probed. The agent refuses them: its own pod is nobody's endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// 127.0.0.0/8 and `::1` are refused.
    #[default]
    Refuse,
    /// They are allowed; for tests.
    Allow,
}

/// A host (name or address) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `host:port`, `10.0.0.1:6443` or `[fd00::1]:6443`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let authority = text.parse::<Authority>().ok();
        let endpoint = authority.and_then(|authority| Self::of(&authority, None));
        // The text is not shown: it may be a URL with a password in it.
        endpoint.ok_or_else(|| Failure::invalid("expected an endpoint as host:port, saw something else", SAY_ENDPOINT))
    }

    fn of(authority: &Authority, default_port: Option<u16>) -> Option<Self> {
        let userinfo = authority.as_str().contains('@');
        let host = authority.host();
        // What stands behind the host is its port or nothing; "host:" and "host:99999" are typing errors.
        let port = if authority.as_str() == host {
            default_port
        } else {
            authority.port_u16()
        };
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        match port {
            Some(port) if port != 0 && !userinfo && !host.is_empty() => Some(Self {
                host: host.to_owned(),
                port,
            }),
            _ => None,
        }
    }

    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The addresses to connect to; refused as a whole if one of them must not be probed.
    pub async fn resolve(&self, loopback: Loopback) -> Result<Vec<SocketAddr>, Failure> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map(Iterator::collect).map_err(|error| {
            let seen = format!(
                "expected an address for {self}, but the name does not resolve ({})",
                shown(&error.to_string())
            );
            Failure::new(
                Reason::Unreachable,
                &seen,
                "check the name, and the DNS of this cluster",
            )
        })?;
        for address in &addresses {
            if let Some(kind) = refusal(address.ip(), loopback) {
                let seen = format!(
                    "expected the address of a service on another cluster, but {self} is {}, {kind}, which is never probed",
                    address.ip()
                );
                return Err(Failure::invalid(&seen, SAY_ENDPOINT));
            }
        }
        Ok(addresses)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An `http` or `https` URL. Path and query are never shown: webhook URLs and presigned ones are credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    https: bool,
    endpoint: Endpoint,
    path: PathAndQuery,
}

impl Url {
    /// Reads a URL; a user name or password in it is refused.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let url = text.parse::<Uri>().ok().and_then(|uri| Self::of(uri.into_parts()));
        url.ok_or_else(|| {
            let seen = "expected a URL as https://host:port/path without user name and password, saw something else";
            Failure::invalid(seen, "correct the URL in the profile or on the source cluster")
        })
    }

    fn of(parts: http::uri::Parts) -> Option<Self> {
        let https = match parts.scheme? {
            scheme if scheme == Scheme::HTTPS => true,
            scheme if scheme == Scheme::HTTP => false,
            _ => return None,
        };
        Some(Self {
            https,
            endpoint: Endpoint::of(&parts.authority?, Some(if https { 443 } else { 80 }))?,
            path: parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// Whether TLS is asked for.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Host and port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The `Host` header: without the port where it is the scheme's own, since signed URLs count on that.
    pub fn host_header(&self) -> String {
        let text = self.endpoint.to_string();
        let own = if self.https { ":443" } else { ":80" };
        text.strip_suffix(own).map_or(text.clone(), ToOwned::to_owned)
    }

    /// The whole URL: for comparing, never for showing.
    pub fn text(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.endpoint, self.path)
    }

    /// Path and query, as a request line has them.
    pub fn path_and_query(&self) -> &str {
        self.path.as_str()
    }

    /// The path below which an API server serves, without a slash at its end.
    pub fn base_path(&self) -> &str {
        self.path.path().trim_end_matches('/')
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}/..",
            if self.https { "https" } else { "http" },
            self.endpoint
        )
    }
}

/// Metadata and platform services of clouds that are not link-local. For IPv6 they are in the unique local range, which
/// clusters use too, so each is named.
const METADATA: [(IpAddr, u8); 7] = [
    // Alibaba Cloud.
    (IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), 32),
    // Azure's WireServer.
    (IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), 32),
    // Oracle Cloud (classic, and the present one over IPv6).
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)), 32),
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), 128),
    // AWS: instance metadata (::254), credentials of pods (::23), DNS, time.
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0)), 32),
    // Google Cloud.
    (IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), 128),
    // Scaleway.
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)), 128),
];

/// Why an address must not be probed.
fn refusal(address: IpAddr, loopback: Loopback) -> Option<&'static str> {
    let address = innermost(address);
    if address.is_loopback() {
        return (loopback == Loopback::Refuse).then_some("a loopback address");
    }
    let (link_local, unspecified, broadcast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[0] == 0, v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_unspecified(), false),
    };
    if link_local {
        Some("a link-local address")
    } else if METADATA.iter().any(|net| within(address, *net)) {
        Some("the metadata service of a cloud")
    } else if unspecified {
        Some("an unspecified address")
    } else if broadcast || address.is_multicast() {
        Some("a multicast or broadcast address")
    } else {
        None
    }
}

/// The IPv4 address that an IPv6 address leads to, where it does.
fn innermost(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // IPv4-compatible and IPv4-mapped; IPv4-translated (RFC 2765); NAT64 (RFC 6052, RFC 8215); 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into(),
        _ => address,
    }
}

fn within(address: IpAddr, (net, bits): (IpAddr, u8)) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            (address.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            (address.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "tests/address.rs"]
mod tests;
