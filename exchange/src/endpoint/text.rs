//! Endpoints given as text: `host:port`, a URL, an API server's URL.
use super::{
    Addresses, Endpoint,
    EndpointError::{self, Invalid},
    Host, implied_port,
};

/// Reads `host:port` or a URL. An IPv6 address stands in brackets. A URL may leave out the port if it is `http` or
/// `https`; it may have a path, but neither user nor query, since these hold credentials.
pub fn fixed(text: &str) -> Result<Endpoint, EndpointError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let (host, port) = host_and_port(text).ok_or_else(|| invalid(text))?;
        let port = port.ok_or_else(|| {
            Invalid(format!(
                "endpoint {} has no port: expected host:port or a URL; add the port",
                shown(text)
            ))
        })?;
        return Ok(Endpoint::new(Addresses::one(host), port));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority).ok_or_else(|| invalid(text))?;
    if !is_scheme(scheme) || !is_path(path) {
        return Err(invalid(text));
    }
    let port = port.or_else(|| implied_port(scheme)).ok_or_else(|| {
        Invalid(format!(
            "endpoint {} has no port, and scheme {scheme} implies none: add the port",
            shown(text)
        ))
    })?;
    Ok(Endpoint::with_url(
        Addresses::one(host),
        port,
        scheme,
        path.trim_end_matches('/'),
    ))
}

/// Reads the URL of an API server, which must be `https`.
pub fn api_server(url: &str) -> Result<Endpoint, EndpointError> {
    if !url.starts_with("https://") {
        return Err(Invalid(format!(
            "the URL of the API server cannot be used: expected https://host:port, seen {}; correct it",
            shown(url)
        )));
    }
    fixed(url)
}

/// Splits `host`, `host:port`, `[ipv6]` and `[ipv6]:port`.
fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, rest) = if let Some(bracketed) = text.strip_prefix('[') {
        let (ip, rest) = bracketed.split_once(']')?;
        (Host::parse_bracketed(ip)?, rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        (Host::parse(host)?, rest)
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    // A second colon: an IPv6 address without brackets, where the port cannot be told. A sign: `u16::from_str` takes it.
    let port = rest.strip_prefix(':')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0)?;
    Some((host, Some(port)))
}

/// RFC 3986, section 3.1, lower case only.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

/// Empty, or begins with a slash; nothing in it ends a path, a line or a quoted text.
fn is_path(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"?#\"'<>\\^`{|}".contains(&byte))
}

fn invalid(text: &str) -> EndpointError {
    Invalid(format!(
        "endpoint {} cannot be used: expected host:port or a URL without user and query, IPv6 addresses in brackets; correct it",
        shown(text)
    ))
}

/// The text for a message, unless it may hold a password or token.
fn shown(text: &str) -> String {
    if text.contains(['@', '?', '#']) {
        return "(not shown: it may hold credentials)".to_owned();
    }
    format!("{text:?}")
}
