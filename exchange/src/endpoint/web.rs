//! Endpoints behind a router: `OpenShift` Routes and Ingresses.
use serde_json::Value;

use super::{
    Addresses, Endpoint,
    EndpointError::{self, Invalid, Pending},
    Host, balancer_addresses, is_true, list, must_stay, reference, text,
};

const HTTP: (&str, u16) = ("http", 80);
const HTTPS: (&str, u16) = ("https", 443);

/// Reads the host of a Route (`route.openshift.io/v1`) once a router has admitted it: port 443 with TLS, else 80.
pub fn route(object: &Value) -> Result<Endpoint, EndpointError> {
    let what = reference("Route", object);
    must_stay(&what, object)?;
    let name = text(object, "/spec/host");
    if name.is_empty() {
        return Err(Pending(format!(
            "{what} has no host yet: expected spec.host, which the API server fills in, seen none"
        )));
    }
    let host = parse_host(&what, name)?;
    let routers = list(object, "/status/ingress");
    let ours = || routers.iter().filter(|router| text(router, "/host") == name);
    if !ours().any(|router| is_true(router, "/conditions", "Admitted")) {
        let seen = ours().find_map(refusal).unwrap_or_else(|| "none".to_owned());
        return Err(Pending(format!(
            "{what} is not admitted: expected condition Admitted for host {name} in status.ingress, seen {seen}"
        )));
    }
    let tls = object.pointer("/spec/tls").is_some_and(Value::is_object);
    let (scheme, port) = if tls { HTTPS } else { HTTP };
    let path = text(object, "/spec/path").trim_end_matches('/');
    Ok(Endpoint::with_url(Addresses::one(host), port, scheme, path))
}

/// Why a router did not admit a Route, in its own words.
fn refusal(router: &Value) -> Option<String> {
    let conditions = list(router, "/conditions").iter();
    let mut admitted = conditions.filter(|condition| text(condition, "/type") == "Admitted");
    admitted.next().map(|condition| {
        let (status, reason) = (text(condition, "/status"), text(condition, "/reason"));
        format!("{status} {reason} ({})", text(condition, "/message"))
    })
}

/// Reads the address of an Ingress (`networking.k8s.io/v1`) once a load balancer has given it one: port 443 where its
/// TLS settings cover the host, else 80. `host` says which of its rules is meant; `None`: the only host that they name,
/// or the load balancer's own address where they name none.
pub fn ingress(object: &Value, host: Option<&str>) -> Result<Endpoint, EndpointError> {
    let what = reference("Ingress", object);
    must_stay(&what, object)?;
    let name = rule_host(&what, object, host)?;
    let named = name.map(|name| parse_host(&what, name)).transpose()?;
    let addresses = balancer_addresses(&what, object)?;
    let (scheme, port) = if has_tls(object, name) { HTTPS } else { HTTP };
    let reached_at = Addresses {
        first: named.unwrap_or_else(|| addresses.first.clone()),
        all: addresses.all,
    };
    Ok(Endpoint::with_url(reached_at, port, scheme, ""))
}

/// The host under which an Ingress is asked for.
fn rule_host<'a>(what: &str, object: &'a Value, asked: Option<&'a str>) -> Result<Option<&'a str>, EndpointError> {
    let mut hosts: Vec<_> = list(object, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host"))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    let seen = || format!("{:?}", hosts.join(", "));
    match (asked, hosts.as_slice()) {
        (Some(asked), _) if hosts.iter().any(|host| host.is_empty() || covers(host, asked)) => Ok(Some(asked)),
        (Some(asked), _) => Err(Invalid(format!(
            "{what} has no rule for the host that is asked for: expected {asked:?}, seen {}; name one of its hosts",
            seen()
        ))),
        (None, [] | [""]) => Ok(None),
        (None, [host]) if !host.starts_with('*') => Ok(Some(host)),
        (None, _) => Err(Invalid(format!(
            "{what} does not have one host: expected a single one, or to be told which, seen {}; name one of its hosts",
            seen()
        ))),
    }
}

/// Whether the TLS settings cover a host. An entry without hosts covers all.
fn has_tls(object: &Value, host: Option<&str>) -> bool {
    list(object, "/spec/tls").iter().any(|tls| {
        let mut hosts = list(tls, "/hosts").iter().filter_map(Value::as_str).peekable();
        hosts.peek().is_none() || hosts.any(|known| host.is_some_and(|host| covers(known, host)))
    })
}

/// Whether a host of an Ingress, which may be a wildcard for one label, covers another host.
fn covers(pattern: &str, host: &str) -> bool {
    let wildcard = |suffix| {
        host.split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && first != "*" && rest == suffix)
    };
    pattern == host || pattern.strip_prefix("*.").is_some_and(wildcard)
}

fn parse_host(what: &str, name: &str) -> Result<Host, EndpointError> {
    Host::parse(name).ok_or_else(|| {
        Invalid(format!(
            "{what} has a host that cannot be used: expected a DNS name, seen {name:?}; correct it"
        ))
    })
}
