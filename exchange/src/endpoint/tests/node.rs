//! Node ports.
use serde_json::{Value, json};

use super::{ADDRESS_TYPES, PortSelector, check, gateway, internal, node, node_port, port};

fn some_ready() -> Vec<Value> {
    vec![
        internal("b", "True", "10.0.0.10"),
        internal("a", "True", "10.0.0.9"),
        internal("c", "False", "10.0.0.1"),
    ]
}

/// One of the nodes can be reached from outside.
fn one_outside() -> Vec<Value> {
    let addresses = "[{type: InternalIP, address: 10.0.0.3}, {type: ExternalIP, address: 203.0.113.4}]";
    let mut nodes = some_ready();
    nodes.push(node("d", "True", addresses));
    nodes
}

fn dual_stack() -> Vec<Value> {
    let addresses = "[{type: InternalIP, address: 'fd00::9'}, {type: InternalIP, address: 10.0.0.9}]";
    vec![node("a", "True", addresses)]
}

/// Service type, nodes, port, address types, what comes out.
type Case<'a> = (&'a str, Vec<Value>, &'a str, &'a [&'a str], &'a str);

#[test]
fn node_ports() {
    let (any, inside) = (&ADDRESS_TYPES[..], &["InternalIP"][..]);
    let cases: Vec<Case<'_>> = vec![
        (
            "NodePort",
            some_ready(),
            "discovery",
            any,
            "- | 10.0.0.9:30188 | 10.0.0.9 10.0.0.10",
        ),
        (
            "LoadBalancer",
            some_ready(),
            "tls",
            any,
            "- | 10.0.0.9:31443 | 10.0.0.9 10.0.0.10",
        ),
        (
            "NodePort",
            some_ready(),
            "53",
            any,
            "- | 10.0.0.9:30054 | 10.0.0.9 10.0.0.10",
        ),
        (
            "NodePort",
            some_ready(),
            "dns-udp",
            any,
            "- | 10.0.0.9:30053 | 10.0.0.9 10.0.0.10",
        ),
        (
            "NodePort",
            one_outside(),
            "tls",
            any,
            "- | 203.0.113.4:31443 | 203.0.113.4",
        ),
        (
            "NodePort",
            one_outside(),
            "tls",
            inside,
            "- | 10.0.0.3:31443 | 10.0.0.3 10.0.0.9 10.0.0.10",
        ),
        ("NodePort", some_ready(), "tls", &["Hostname"], "- | a:31443 | a b"),
        (
            "NodePort",
            dual_stack(),
            "tls",
            any,
            "- | 10.0.0.9:31443 | 10.0.0.9 fd00::9",
        ),
        (
            "NodePort",
            vec![internal("a", "True", "fd00::9")],
            "tls",
            any,
            "- | [fd00::9]:31443 | fd00::9",
        ),
        (
            "NodePort",
            vec![],
            "tls",
            any,
            "pending: no node can be addressed: expected a ready node with an address of type \
             ExternalIP, InternalIP, Hostname, seen 0 ready of 0 nodes",
        ),
        (
            "NodePort",
            vec![internal("a", "Unknown", "10.0.0.1")],
            "tls",
            any,
            "pending: no node can be addressed…seen 0 ready of 1 nodes",
        ),
        (
            "NodePort",
            some_ready(),
            "tls",
            &["ExternalIP"],
            "pending: no node can be addressed…of type ExternalIP, seen 2 ready of 3 nodes",
        ),
        (
            "ClusterIP",
            some_ready(),
            "tls",
            any,
            "invalid: Service mesh/gateway has no node port: expected type NodePort or LoadBalancer, seen ClusterIP",
        ),
        (
            "NodePort",
            vec![internal("a", "True", "10.0.0")],
            "tls",
            any,
            "invalid: Node a has an address that cannot be used…10.0.0",
        ),
    ];
    for (type_, nodes, selector, types, expected) in cases {
        let found = node_port(&gateway(type_, "[]"), &nodes, &port(selector), types);
        check(&format!("{type_} {selector} {types:?}"), found, expected);
    }
}

#[test]
fn a_node_port_that_is_not_allocated_is_pending() {
    let mut object = gateway("LoadBalancer", "[]");
    object["spec"]["ports"] = json!([{"port": 443}]);
    let found = node_port(&object, &some_ready(), &PortSelector::Only, &ADDRESS_TYPES);
    check("none", found, "pending: Service mesh/gateway has no node port yet");
}

#[test]
fn a_node_that_goes_is_left_out() {
    let mut leaving = internal("a", "True", "10.0.0.1");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    let nodes = [leaving, internal("b", "True", "10.0.0.2")];
    let found = node_port(&gateway("NodePort", "[]"), &nodes, &port("tls"), &ADDRESS_TYPES);
    check("b", found, "- | 10.0.0.2:31443 | 10.0.0.2");
}
