//! The endpoint of a `v1` Service, and how one of its ports is chosen.
use serde_json::Value;

use super::{
    Endpoint,
    EndpointError::{self, Invalid},
    balancer_addresses, list, must_stay, reference, text,
};

/// Which port of a Service is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortSelector {
    /// The only one that it has.
    #[default]
    Only,
    /// The one of this name.
    Name(String),
    /// The one of this number (`port`, not `targetPort` or `nodePort`).
    Number(u16),
}

impl PortSelector {
    /// Reads a name or number, as an `IntOrString` of Kubernetes: digits are a number. Empty: [`PortSelector::Only`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Ok(Self::Only);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        let number = text.parse().ok().filter(|port| *port > 0);
        number
            .map(Self::Number)
            .ok_or_else(|| Invalid(format!("port {text} does not exist: expected 1 to 65535, or a name")))
    }

    fn matches(&self, port: &Value) -> bool {
        match self {
            Self::Only => true,
            Self::Name(name) => text(port, "/name") == name,
            Self::Number(number) => number_at(port, "/port") == Some(*number),
        }
    }
}

impl std::fmt::Display for PortSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Only => f.write_str("one port"),
            Self::Name(name) => write!(f, "a port named {name:?}"),
            Self::Number(number) => write!(f, "port {number}"),
        }
    }
}

/// The port number at a JSON pointer.
pub(super) fn number_at(object: &Value, pointer: &str) -> Option<u16> {
    let number = object.pointer(pointer).and_then(Value::as_u64);
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
}

/// Finds the port that is meant.
pub(super) fn find_port<'a>(
    what: &str,
    service: &'a Value,
    selector: &PortSelector,
) -> Result<&'a Value, EndpointError> {
    let ports = list(service, "/spec/ports");
    let found: Vec<_> = ports.iter().filter(|port| selector.matches(port)).collect();
    // One number may stand there for several protocols.
    let is_tcp = |port: &Value| ["", "TCP"].contains(&text(port, "/protocol"));
    match (selector, found.as_slice()) {
        (_, [port]) => return Ok(port),
        (PortSelector::Number(_), several) => {
            if let Some(port) = several.iter().find(|port| is_tcp(port)) {
                return Ok(port);
            }
        }
        _ => {}
    }
    let seen: Vec<_> = ports.iter().map(describe).collect();
    let seen = if seen.is_empty() {
        "none".to_owned()
    } else {
        seen.join(", ")
    };
    Err(Invalid(format!(
        "{what} has not the port that is asked for: expected {selector}, seen {seen}; name one of its ports"
    )))
}

fn describe(port: &Value) -> String {
    let number = number_at(port, "/port").unwrap_or_default();
    match text(port, "/name") {
        "" => number.to_string(),
        name => format!("{name} ({number})"),
    }
}

/// The type of a Service; the API server fills in `ClusterIP` where there is none.
pub(super) fn type_of(service: &Value) -> &str {
    match text(service, "/spec/type") {
        "" => "ClusterIP",
        type_ => type_,
    }
}

/// Reads the address that a load balancer has given to a Service: its IP addresses, else its host names. There is a URL
/// where the port's `appProtocol` is `http` or `https`.
pub fn service(object: &Value, port: &PortSelector) -> Result<Endpoint, EndpointError> {
    let what = reference("Service", object);
    must_stay(&what, object)?;
    let type_ = type_of(object);
    if type_ != "LoadBalancer" {
        return Err(Invalid(format!(
            "{what} has no address for other clusters: expected type LoadBalancer, seen {type_}; change its type, or take \
             the endpoint from a Route, an Ingress, node ports or a static address"
        )));
    }
    let port = find_port(&what, object, port)?;
    let number =
        number_at(port, "/port").ok_or_else(|| Invalid(format!("{what} has a port without a number: correct it")))?;
    let addresses = balancer_addresses(&what, object)?;
    Ok(match text(port, "/appProtocol") {
        scheme @ ("http" | "https") => Endpoint::with_url(addresses, number, scheme, ""),
        _ => Endpoint::new(addresses, number),
    })
}
