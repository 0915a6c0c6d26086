//! Tables for every kind of endpoint (one file each), and properties that hold for any object.
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod node;
mod service;
mod text;
mod web;

/// Reads an object from YAML, as people paste it.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn port(text: &str) -> PortSelector {
    PortSelector::parse(text).unwrap()
}

/// `url | host:port | addresses`, or the kind of error and its message.
fn shown(result: Result<Endpoint, EndpointError>) -> String {
    match result {
        Ok(endpoint) => {
            let url = endpoint.url.unwrap_or_else(|| "-".to_owned());
            assert!(endpoint.authority.contains(&endpoint.host), "{}", endpoint.authority);
            format!("{url} | {} | {}", endpoint.authority, endpoint.addresses.join(" "))
        }
        Err(EndpointError::Pending(message)) => format!("pending: {message}"),
        Err(EndpointError::Invalid(message)) => format!("invalid: {message}"),
    }
}

/// Endpoints must be equal; of messages the text up to `…` counts, and what stands behind it must be in the rest.
fn check(name: &str, result: Result<Endpoint, EndpointError>, expected: &str) {
    let shown = shown(result);
    let (start, inside) = expected.split_once('…').unwrap_or((expected, ""));
    let message = expected.starts_with("pending: ") || expected.starts_with("invalid: ");
    assert!(
        shown == expected || (message && shown.strip_prefix(start).is_some_and(|rest| rest.contains(inside))),
        "{name}: {shown}, expected {expected}"
    );
}

/// A Service as an ingress gateway of a mesh has it.
fn gateway(type_: &str, status: &str) -> Value {
    yaml(&format!(
        "metadata: {{namespace: mesh, name: gateway}}
spec:
  type: {type_}
  ports:
  - {{name: discovery, port: 8188, nodePort: 30188}}
  - {{name: tls, port: 15443, nodePort: 31443, appProtocol: https}}
  - {{name: web, port: 443, nodePort: 30443, appProtocol: https}}
  - {{name: dns-udp, port: 53, protocol: UDP, nodePort: 30053}}
  - {{name: dns, port: 53, protocol: TCP, nodePort: 30054}}
status: {{loadBalancer: {{ingress: {status}}}}}"
    ))
}

/// A node with its addresses, as YAML.
fn node(name: &str, ready: &str, addresses: &str) -> Value {
    yaml(&format!(
        "metadata: {{name: {name}}}
status:
  conditions: [{{type: MemoryPressure, status: 'False'}}, {{type: Ready, status: '{ready}'}}]
  addresses: {addresses}"
    ))
}

/// A node with a name and an internal address.
fn internal(name: &str, ready: &str, ip: &str) -> Value {
    node(
        name,
        ready,
        &format!("[{{type: Hostname, address: {name}}}, {{type: InternalIP, address: '{ip}'}}]"),
    )
}

#[test]
fn what_is_being_deleted_is_pending() {
    let mut object = gateway("LoadBalancer", "[{ip: 192.0.2.7}]");
    object["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    for (kind, result) in [
        ("Service", super::service(&object, &port("tls"))),
        ("Service", node_port(&object, &[], &port("tls"), &ADDRESS_TYPES)),
        ("Route", route(&object)),
        ("Ingress", ingress(&object, None)),
    ] {
        check(
            kind,
            result,
            &format!("pending: {kind} mesh/gateway is being deleted: expected one that stays"),
        );
    }
}

#[test]
fn expressions_see_fields() {
    let with = fixed("https://[2001:db8::7]:6443").unwrap().value();
    assert_eq!(
        with,
        json!({
            "url": "https://[2001:db8::7]:6443",
            "host": "2001:db8::7",
            "port": 6443,
            "authority": "[2001:db8::7]:6443",
            "addresses": ["2001:db8::7"],
        })
    );
    let without = fixed("a.example.com:1").unwrap().value();
    assert!(without.get("url").is_none(), "has(endpoint.url) is false");
}

/// Any JSON at the places that are read.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(LoadBalancer|NodePort|True|Ready|InternalIP|a\\.b|10\\.0\\.0\\.1|[a-z*.:]{0,6})".prop_map(Value::from),
    ];
    let keys =
        "(metadata|spec|status|loadBalancer|ingress|ports|port|nodePort|name|host|hosts|rules|tls|conditions|type|ip)";
    leaf.prop_recursive(6, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn ips() -> impl Strategy<Value = Vec<IpAddr>> {
    let ip = any::<IpAddr>().prop_filter("can be dialled", |ip| !ip.is_unspecified() && !ip.is_multicast());
    prop::collection::vec(ip, 1..6)
}

proptest! {
    #[test]
    fn any_object_is_read_or_refused(object in any_json(), nodes in prop::collection::vec(any_json(), 0..3)) {
        let _ = super::service(&object, &PortSelector::Only);
        let _ = route(&object);
        let _ = ingress(&object, None);
        let _ = ingress(&object, Some("a.b"));
        let _ = node_port(&object, &nodes, &PortSelector::Only, &ADDRESS_TYPES);
    }

    #[test]
    fn what_was_read_reads_as_itself(
        text in "((https?|amqps)://)?([a-z]{1,3}(\\.[a-z]{1,3})?|10\\.0\\.0\\.[1-9]|\\[(2001:db8)?::[1-9]\\])(:[0-9]{1,5})?(/[a-z/]{0,4})?|\\PC{0,12}",
    ) {
        if let Ok(endpoint) = fixed(&text) {
            let again = endpoint.url.clone().unwrap_or_else(|| endpoint.authority.clone());
            prop_assert_eq!(fixed(&again), Ok(endpoint));
        }
    }

    #[test]
    fn an_authority_can_be_read_back(ips in ips(), number in 1_u16..) {
        let entries: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let object = json!({
            "spec": {"type": "LoadBalancer", "ports": [{"port": number, "appProtocol": "https"}]},
            "status": {"loadBalancer": {"ingress": entries}},
        });
        let endpoint = super::service(&object, &PortSelector::Only).unwrap();
        let plain = fixed(&endpoint.authority).unwrap();
        prop_assert_eq!((&plain.host, plain.port), (&endpoint.host, endpoint.port));
        let url = fixed(endpoint.url.as_deref().unwrap()).unwrap();
        prop_assert_eq!((&url.host, url.port), (&endpoint.host, endpoint.port));
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(ips in ips()) {
        let mut nodes: Vec<_> = ips.iter().map(|ip| internal("n", "True", &ip.to_string())).collect();
        let object = gateway("NodePort", "[]");
        let one = node_port(&object, &nodes, &port("tls"), &ADDRESS_TYPES);
        nodes.reverse();
        prop_assert_eq!(node_port(&object, &nodes, &port("tls"), &ADDRESS_TYPES), one);
    }
}
