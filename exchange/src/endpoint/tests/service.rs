//! Services of type `LoadBalancer`, and the choice of a port.
use serde_json::json;

use super::{super::service, PortSelector, check, gateway, port};

/// Status of the load balancer, port, what comes out.
const SERVICES: &[(&str, &str, &str)] = &[
    ("[{ip: 192.0.2.7}]", "discovery", "- | 192.0.2.7:8188 | 192.0.2.7"),
    ("[{ip: 192.0.2.7}]", "8188", "- | 192.0.2.7:8188 | 192.0.2.7"),
    ("[{ip: 192.0.2.7}]", "53", "- | 192.0.2.7:53 | 192.0.2.7"),
    (
        "[{ip: 192.0.2.7}]",
        "tls",
        "https://192.0.2.7:15443 | 192.0.2.7:15443 | 192.0.2.7",
    ),
    (
        "[{ip: 192.0.2.7}]",
        "web",
        "https://192.0.2.7 | 192.0.2.7:443 | 192.0.2.7",
    ),
    (
        "[{ip: '2001:DB8::7'}]",
        "tls",
        "https://[2001:db8::7]:15443 | [2001:db8::7]:15443 | 2001:db8::7",
    ),
    (
        "[{ip: '2001:db8::7'}]",
        "web",
        "https://[2001:db8::7] | [2001:db8::7]:443 | 2001:db8::7",
    ),
    (
        "[{ip: '2001:db8::7'}, {ip: 192.0.2.70}, {ip: 192.0.2.7}, {ip: 192.0.2.70}]",
        "discovery",
        "- | 192.0.2.7:8188 | 192.0.2.7 192.0.2.70 2001:db8::7",
    ),
    (
        "[{hostname: B.example.com}, {hostname: a.example.com}]",
        "discovery",
        "- | a.example.com:8188 | a.example.com b.example.com",
    ),
    (
        "[{hostname: a.example.com}, {ip: 192.0.2.7, hostname: b.example.com}]",
        "8188",
        "- | 192.0.2.7:8188 | 192.0.2.7",
    ),
    (
        "[]",
        "8188",
        "pending: Service mesh/gateway has no address yet: expected an entry in status.loadBalancer.ingress, seen none",
    ),
    ("[{}]", "8188", "pending: Service mesh/gateway has no address yet"),
    ("null", "8188", "pending: Service mesh/gateway has no address yet"),
    (
        "[{ip: 10.0.0.300}]",
        "8188",
        "invalid: Service mesh/gateway has an address that cannot be used…10.0.0.300",
    ),
    (
        "[{ip: 0.0.0.0}]",
        "8188",
        "invalid: Service mesh/gateway has an address that cannot be used",
    ),
    (
        "[{ip: 224.0.0.1}]",
        "8188",
        "invalid: Service mesh/gateway has an address that cannot be used",
    ),
    (
        "[{hostname: 'a b'}]",
        "8188",
        "invalid: Service mesh/gateway has an address that cannot be used",
    ),
    (
        "[{ip: 192.0.2.7}]",
        "http",
        "invalid: Service mesh/gateway has not the port that is asked for: expected a port named \"http\", \
         seen discovery (8188), tls (15443)",
    ),
    (
        "[{ip: 192.0.2.7}]",
        "30188",
        "invalid: Service mesh/gateway has not the port…expected port 30188, seen",
    ),
    (
        "[{ip: 192.0.2.7}]",
        "",
        "invalid: Service mesh/gateway has not the port…expected one port, seen",
    ),
];

#[test]
fn services() {
    for (status, selector, expected) in SERVICES {
        check(
            status,
            service(&gateway("LoadBalancer", status), &port(selector)),
            expected,
        );
    }
}

#[test]
fn a_service_of_another_type_says_so() {
    for (type_, seen) in [
        ("ClusterIP", "ClusterIP"),
        ("NodePort", "NodePort"),
        ("ExternalName", "ExternalName"),
        ("null", "ClusterIP"),
    ] {
        let expected = format!(
            "invalid: Service mesh/gateway has no address for other clusters: expected type LoadBalancer, seen {seen};"
        );
        check(
            type_,
            service(&gateway(type_, "[{ip: 192.0.2.7}]"), &PortSelector::Only),
            &expected,
        );
    }
}

#[test]
fn the_only_port_needs_no_name() {
    let mut object = gateway("LoadBalancer", "[{ip: 192.0.2.7}]");
    for (ports, expected) in [
        (json!([{"port": 6379}]), "- | 192.0.2.7:6379 | 192.0.2.7"),
        (
            json!([]),
            "invalid: Service mesh/gateway has not the port…expected one port, seen none",
        ),
        (
            json!([{"port": 70000}]),
            "invalid: Service mesh/gateway has a port without a number",
        ),
    ] {
        let name = ports.to_string();
        object["spec"]["ports"] = ports;
        check(&name, service(&object, &PortSelector::Only), expected);
    }
}

#[test]
fn port_selectors() {
    for (text, expected) in [
        ("", Some(PortSelector::Only)),
        ("https", Some(PortSelector::Name("https".to_owned()))),
        ("8443", Some(PortSelector::Number(8443))),
        ("65535", Some(PortSelector::Number(65535))),
        ("65536", None),
        ("0", None),
    ] {
        assert_eq!(PortSelector::parse(text).ok(), expected, "{text}");
    }
}
