//! Endpoints as inputs: which objects tell them, and the value that expressions see.
use peering_api::peering::{EndpointInput, Named, PeerExportSpec, ServicePort, reasons::SourceReady};
use serde_json::Value as Json;

use super::{
    Bad, KEPT,
    lookup::{Lookup, Selection},
};
use crate::{
    endpoint::{self, ADDRESS_TYPES, Endpoint, EndpointError, PortSelector},
    value::Value,
};

fn service(port: &ServicePort) -> Lookup {
    Lookup::known("v1", "Service", &port.namespace, &port.name)
}

fn route(named: &Named) -> Lookup {
    Lookup::known("route.openshift.io/v1", "Route", &named.namespace, &named.name)
}

fn ingress(named: &Named) -> Lookup {
    Lookup::known("networking.k8s.io/v1", "Ingress", &named.namespace, &named.name)
}

/// What has to be watched for an endpoint.
pub(super) fn lookups(input: &EndpointInput) -> Vec<Lookup> {
    let mut lookups = Vec::new();
    lookups.extend(input.service.as_ref().map(service));
    lookups.extend(input.route.as_ref().map(route));
    lookups.extend(input.ingress.as_ref().map(ingress));
    if let Some(port) = &input.nodes {
        lookups.push(service(port));
        lookups.push(Lookup::Selection(Selection::nodes()));
    }
    lookups
}

/// What messages call an endpoint.
pub(super) fn name(input: &EndpointInput) -> String {
    match lookups(input).first() {
        Some(object) => format!("the endpoint of {object}"),
        None if input.api_server.is_some() => "the endpoint of the API server".to_owned(),
        None => "a fixed endpoint".to_owned(),
    }
}

/// The value of an endpoint, given what stands in its lookups, in their order.
pub(super) fn value(
    cluster: &str,
    spec: &PeerExportSpec,
    input: &EndpointInput,
    objects: &[Value],
) -> Result<Value, Bad> {
    if input.api_server.is_some() {
        return api_server(cluster, spec);
    }
    let objects: Vec<Json> = objects.iter().map(Value::to_json).collect();
    let found = read(input, &objects).map_err(|error| bad(&error))?;
    Ok(found.value().into())
}

fn read(input: &EndpointInput, objects: &[Json]) -> Result<Endpoint, EndpointError> {
    let port = |port: &ServicePort| PortSelector::parse(port.port.as_deref().unwrap_or_default());
    match objects {
        [nodes_service, Json::Array(nodes)] if input.nodes.is_some() => {
            let port = input.nodes.as_ref().map(port).transpose()?.unwrap_or_default();
            endpoint::node_port(nodes_service, nodes, &port, &ADDRESS_TYPES)
        }
        [object] if input.route.is_some() => endpoint::route(object),
        [object] if input.ingress.is_some() => endpoint::ingress(object, None),
        [object] => {
            let port = input.service.as_ref().map(port).transpose()?.unwrap_or_default();
            endpoint::service(object, &port)
        }
        _ => endpoint::fixed(input.r#static.as_deref().unwrap_or_default()),
    }
}

fn bad(error: &EndpointError) -> Bad {
    match error {
        EndpointError::Pending(what) => Bad::new(SourceReady::EndpointPending, format!("{what}; {KEPT}")),
        EndpointError::Invalid(what) => Bad::invalid(what),
    }
}

/// The API server, as the hub knows it.
fn api_server(cluster: &str, spec: &PeerExportSpec) -> Result<Value, Bad> {
    let Some(known) = &spec.api_server else {
        let message = format!(
            "the hub does not know how the API server of cluster {cluster} is reached: expected a URL in \
             spec.managedClusterClientConfigs of ManagedCluster {cluster}, seen none; set it; {KEPT}"
        );
        return Err(Bad::new(SourceReady::EndpointPending, message));
    };
    let found = endpoint::api_server(&known.url).map_err(|error| bad(&error))?;
    let mut value: Value = found.value().into();
    if let (Value::Map(entries), Some(ca)) = (&mut value, &known.ca_bundle) {
        entries.insert("ca".to_owned(), Value::from(ca.as_str()));
    }
    Ok(value)
}
