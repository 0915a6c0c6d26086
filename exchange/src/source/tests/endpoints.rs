//! Endpoints as inputs.
use super::*;

fn endpoint(yaml: &str) -> PeerExportSpec {
    let payload = "payload: {url: \"${has(inputs.e.url) ? inputs.e.url : 'none'}\", at: '${inputs.e.host}:${inputs.e.port}', all: \"${inputs.e.addresses.join(',')}\"}";
    export(&format!("inputs: [{{as: e, endpoint: {yaml}}}]\n{payload}"))
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: ns, name: gw}
spec: {type: LoadBalancer, ports: [{name: https, port: 443, nodePort: 30443, appProtocol: https}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}}
";

#[test]
fn endpoints_are_read_where_they_stand() {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}}";
    let route = "{apiVersion: route.openshift.io/v1, kind: Route, metadata: {namespace: ns, name: r}, spec: {host: r.example.com, tls: {}}, status: {ingress: [{host: r.example.com, conditions: [{type: Admitted, status: 'True'}]}]}}";
    let ingress = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {namespace: ns, name: i}, spec: {rules: [{host: i.example.com}]}, status: {loadBalancer: {ingress: [{hostname: lb.example.com}]}}}";
    let cluster = Cluster::with(&[SERVICE, node, route, ingress]);
    for (yaml, wants, at, url) in [
        (
            "{service: {namespace: ns, name: gw, port: https}}",
            1,
            "192.0.2.7:443",
            "https://192.0.2.7",
        ),
        ("{nodes: {namespace: ns, name: gw}}", 2, "10.0.0.1:30443", "none"),
        (
            "{route: {namespace: ns, name: r}}",
            1,
            "r.example.com:443",
            "https://r.example.com",
        ),
        (
            "{ingress: {namespace: ns, name: i}}",
            1,
            "i.example.com:80",
            "http://i.example.com",
        ),
        ("{static: 'db.example.com:5432'}", 0, "db.example.com:5432", "none"),
    ] {
        let spec = endpoint(yaml);
        assert_eq!(cluster.wants(&spec).len(), wants, "{yaml}");
        let good = cluster.content(&spec).unwrap();
        assert_eq!(
            (texts(&good)["at"].as_str(), texts(&good)["url"].as_str()),
            (at, url),
            "{yaml}"
        );
    }
}

#[test]
fn the_api_server_is_what_the_hub_knows() {
    let mut spec = endpoint("{apiServer: {}}");
    spec.payload.insert("ca".into(), "${inputs.e.ca}".into());
    let says = ["ManagedCluster east", "spec.managedClusterClientConfigs", KEPT];
    refused(Cluster::default().content(&spec), SourceReady::EndpointPending, &says);
    let known = |ca: Option<&str>| {
        Some(peering_api::peering::ApiServer {
            url: "https://api.east.example.com:6443".into(),
            ca_bundle: ca.map(str::to_owned),
        })
    };
    spec.api_server = known(Some("PEM"));
    let good = Cluster::default().content(&spec).unwrap();
    assert_eq!(texts(&good)["url"], "https://api.east.example.com:6443");
    assert_eq!(texts(&good)["ca"], "PEM");
    spec.api_server = known(None);
    refused(
        Cluster::default().content(&spec),
        SourceReady::EvaluationFailed,
        &["payload[ca]", "\"ca\" is not there"],
    );
}

#[test]
fn what_has_no_address_yet_is_pending_and_what_never_has_one_is_invalid() {
    let spec = endpoint("{service: {namespace: ns, name: gw}}");
    let pending = Cluster::with(&[&SERVICE.replace("[{ip: 192.0.2.7}]", "[]")]);
    refused(
        pending.content(&spec),
        SourceReady::EndpointPending,
        &["Service ns/gw has no address yet", KEPT],
    );
    let invalid = Cluster::with(&[&SERVICE.replace("LoadBalancer", "ClusterIP")]);
    refused(
        invalid.content(&spec),
        SourceReady::SourceInvalid,
        &["Service ns/gw", "seen ClusterIP"],
    );
    refused(
        Cluster::default().content(&spec),
        SourceReady::SourceNotFound,
        &["the endpoint of Service ns/gw"],
    );
    let route = endpoint("{route: {namespace: ns, name: r}}");
    let unknown = Cluster::default().is("Route ns/r", Seen::Unknown);
    refused(
        unknown.content(&route),
        SourceReady::KindNotFound,
        &["kind Route of route.openshift.io/v1"],
    );
}
