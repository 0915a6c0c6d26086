//! `url.parse`: the parts of a URL.
//!
//! Parsed by `http::Uri`, as the HTTP clients here do: what a probe connects to is what is told here. It also takes
//! apart URLs of other schemes (`mongodb://…`, `tcp://…`).
use http::Uri;

use super::{Fault, Work, texts};
use crate::value::Value;

/// Default ports (URL Standard, "special schemes").
const PORTS: [(&str, u16); 5] = [("ftp", 21), ("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

/// `{scheme, host, port, path}`. The port of a scheme without a known one is null. An IPv6 host keeps its brackets, so
/// that host and port can be joined again. User names and passwords are left out.
pub(super) fn parse(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text] = texts(arguments)?;
    let uri: Uri = text.parse().map_err(|_| Fault::Problem("the text is not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Fault::Problem("the text is not a URL with scheme and host"));
    };
    let host = authority.host();
    if host.is_empty() {
        return Err(Fault::Problem("the URL has no host"));
    }
    let port = match authority.port_u16() {
        Some(port) => Some(port),
        // A port that is no number of 16 bits counts as none for the parser.
        None if !authority.as_str().ends_with(host) => return Err(Fault::Problem("the port of the URL is not valid")),
        None => PORTS.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port),
    };
    let entries = [
        ("scheme", scheme.into()),
        ("host", host.into()),
        ("port", port.map_or(Value::Null, |port| Value::Int(port.into()))),
        ("path", uri.path().into()),
    ];
    Ok(entries.into_iter().collect())
}
