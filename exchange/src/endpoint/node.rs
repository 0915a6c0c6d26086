//! Endpoints on node ports: a Service and the nodes of its cluster.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Addresses, Endpoint,
    EndpointError::{self, Invalid, Pending},
    Host, PortSelector, hosts, is_true, list, must_stay, reference,
    service::{find_port, number_at, type_of},
    text,
};

/// Types of node addresses, from the most to the least preferred: the default of [`node_port`].
pub const ADDRESS_TYPES: [&str; 3] = ["ExternalIP", "InternalIP", "Hostname"];

/// Reads the node port of a Service and the addresses of all ready nodes.
///
/// The addresses are of one type: the first of `address_types` that any ready node has. To mix them would offer addresses that
/// are not all reachable from the same places. With `externalTrafficPolicy: Local` not every node answers, and which
/// ones do cannot be read from these objects: callers try the addresses one after another.
pub fn node_port(
    service: &Value,
    nodes: &[Value],
    port: &PortSelector,
    address_types: &[&str],
) -> Result<Endpoint, EndpointError> {
    let what = reference("Service", service);
    must_stay(&what, service)?;
    let port = find_port(&what, service, port)?;
    let type_ = type_of(service);
    let number = match (type_, number_at(port, "/nodePort")) {
        ("NodePort" | "LoadBalancer", Some(number)) => number,
        ("NodePort" | "LoadBalancer", None) => {
            return Err(Pending(format!(
                "{what} has no node port yet: expected nodePort in spec.ports, seen none; \
                 check that allocateLoadBalancerNodePorts is not switched off"
            )));
        }
        _ => {
            return Err(Invalid(format!(
                "{what} has no node port: expected type NodePort or LoadBalancer, seen {type_}; change its type"
            )));
        }
    };
    Ok(Endpoint::new(node_addresses(nodes, address_types)?, number))
}

fn node_addresses(nodes: &[Value], address_types: &[&str]) -> Result<Addresses, EndpointError> {
    let ready: Vec<_> = nodes.iter().filter(|node| is_ready(node)).collect();
    for type_ in address_types {
        let mut found = BTreeSet::new();
        for node in &ready {
            found.append(&mut addresses_of(node, type_)?);
        }
        if let Some(addresses) = Addresses::of(&found) {
            return Ok(addresses);
        }
    }
    Err(Pending(format!(
        "no node can be addressed: expected a ready node with an address of type {}, seen {} ready of {} nodes",
        address_types.join(", "),
        ready.len(),
        nodes.len()
    )))
}

/// The node's conditions say that it is ready, and it is not about to go.
fn is_ready(node: &Value) -> bool {
    must_stay("", node).is_ok() && is_true(node, "/status/conditions", "Ready")
}

fn addresses_of(node: &Value, type_: &str) -> Result<BTreeSet<Host>, EndpointError> {
    let addresses = list(node, "/status/addresses").iter();
    let addresses = addresses.filter(|address| text(address, "/type") == type_);
    hosts(
        &reference("Node", node),
        addresses.map(|address| text(address, "/address")),
    )
}
