//! What an artefact is made from on the source cluster: objects, tokens, certificates, endpoints.
use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One input of an artefact, which expressions see as `inputs.<as>`.
///
/// An object (`apiVersion`, `kind`, `name` or `selector`), or one of `tokenRequest`, `certificate`, `httpRequest` and
/// `endpoint`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.kind), has(self.tokenRequest), has(self.certificate), has(self.httpRequest), has(self.endpoint)].filter(x, x).size() == 1")
        .message("an input is one of: an object (apiVersion, kind, name), tokenRequest, certificate, httpRequest, endpoint"),
    validation = Rule::new("has(self.kind) == has(self.apiVersion)")
        .message("an object is named by apiVersion and kind together: set both or none"),
    validation = Rule::new("!has(self.kind) || has(self.name) != has(self.selector)")
        .message("an object is found by name or by selector: set one of the two"),
    validation = Rule::new("has(self.kind) || !(has(self.name) || has(self.selector) || has(self.namespace) || has(self.keys) || has(self.resource))")
        .message("namespace, name, selector, keys and resource belong to an object: set apiVersion and kind, or remove them"),
    validation = Rule::new("!has(self.keys) || self.kind in ['Secret', 'ConfigMap']")
        .message("keys select from the data of a Secret or ConfigMap: remove them for other kinds")
)]
pub struct Input {
    /// Name of the input within the artefact.
    #[serde(rename = "as")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub alias: String,
    /// Group and version of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$")
    )]
    pub api_version: Option<String>,
    /// Kind of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][a-zA-Z0-9]*$"))]
    pub kind: Option<String>,
    /// Plural name of the kind in the API, for rights. Default: guessed from the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub resource: Option<String>,
    /// Namespace on the source cluster; may hold expressions. None for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: Option<String>,
    /// Name on the source cluster; may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub name: Option<String>,
    /// Labels of the objects; the input is then the list of them, sorted by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Keys of a Secret's or `ConfigMap`'s data that are read, all of which must be there. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
    /// A token of a service account, made for this purpose and renewed before it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_request: Option<TokenRequestInput>,
    /// A client or server certificate whose key the receiver makes and keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateInput>,
    /// What a service of the source cluster answers, such as a ticket that it issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_request: Option<HttpRequestInput>,
    /// Where something on the source cluster can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointInput>,
}

/// Selects objects by their labels.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.matchLabels) > 0")
    .message("a selector without labels would take in every object of the kind: set matchLabels"))]
pub struct Selector {
    /// Labels that all selected objects carry; values may hold expressions.
    #[schemars(schema_with = "super::texts")]
    pub match_labels: BTreeMap<String, String>,
}

/// A token of a service account on the source cluster. `inputs.<as>` has `token` and `expiresAt`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRequestInput {
    /// Namespace of the service account; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// Name of the service account; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub service_account: String,
    /// For whom the token is meant. Empty: the API server of the source cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
    /// Wanted lifetime in seconds. The API server may return another one, and that one counts.
    #[serde(default = "day")]
    #[schemars(range(min = 600, max = 2_592_000))]
    pub expiration_seconds: i64,
}

fn day() -> i64 {
    86_400
}

/// What a service of the source cluster answers to one request, over TLS that is always verified. `inputs.<as>` has `body`
/// (text) and `expiresAt`. It is asked for once and then again when it is to be renewed; the answer is a secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.url.startsWith('https://')")
    .message("a token is sent and a secret comes back: the URL begins with https://"))]
pub struct HttpRequestInput {
    /// Method of the request, which has no body.
    #[serde(default)]
    pub method: HttpMethod,
    /// Where it goes; may hold expressions over `params`.
    #[schemars(length(min = 1, max = 4096))]
    pub url: String,
    /// The CA certificates (PEM) that the service's own must lead to; may use earlier inputs.
    #[schemars(length(min = 1, max = 4096))]
    pub ca: String,
    /// Whose token the request bears. It is issued for this request, as short as the API server allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ServiceAccountToken>,
    /// A text over `response.body` that yields when the answer expires: RFC 3339, or seconds since 1970.
    #[schemars(length(min = 1, max = 4096))]
    pub expires_at: String,
}

/// Method of a request.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// `GET`.
    #[default]
    Get,
    /// `POST`.
    Post,
}

/// A token of a service account that goes with one request.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// Namespace of the service account; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// Name of the service account; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub service_account: String,
    /// For whom the token is meant. Empty: the API server of the source cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
}

/// A certificate for the receiver. `inputs.<as>` has `certificate` (the chain), `notAfter` and, with a CA of ours, `ca`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.dnsNames) || size(self.dnsNames) == 0 || has(self.signer.ca)")
    .message("the API server signs certificates of clients, without DNS names: remove dnsNames, or set signer.ca"))]
pub struct CertificateInput {
    /// Who signs.
    pub signer: Signer,
    /// Common name of the subject: the user's name; may hold expressions over `source`, `destination`, `peering`, `params`.
    #[schemars(length(min = 1, max = 4096))]
    pub common_name: String,
    /// Organisations of the subject: the user's groups; may hold expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub organizations: Vec<String>,
    /// DNS names; may hold expressions. Only with a CA of ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dns_names: Vec<String>,
    /// Wanted lifetime in seconds; the signer may shorten it.
    #[serde(default = "day")]
    #[schemars(range(min = 600, max = 31_536_000))]
    pub expiration_seconds: i64,
}

/// Who signs certificates on the source cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kubernetes) != has(self.ca)")
    .message("a certificate is signed by the API server or by a CA: set signer.kubernetes or signer.ca"))]
pub struct Signer {
    /// The API server of the source cluster, signer `kubernetes.io/kube-apiserver-client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Empty>,
    /// A CA whose certificate and key stand in a Secret of type `kubernetes.io/tls` on the source cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSigner>,
}

/// A choice that has no settings of its own.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A CA in a Secret of type `kubernetes.io/tls`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaSigner {
    /// Namespace of the Secret; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// Name of the Secret; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
    /// What the certificate may be used for.
    #[serde(default)]
    pub usage: CertificateUsage,
}

/// What a certificate may be used for.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateUsage {
    /// To authenticate a client.
    #[default]
    Client,
    /// To authenticate a server.
    Server,
    /// Both.
    ClientAndServer,
}

/// Where something can be reached. `inputs.<as>` has `url`, `host`, `port` and `addresses`; of the API server also `ca`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.apiServer), has(self.service), has(self.route), has(self.ingress), has(self.nodes), has(self.static)].filter(x, x).size() == 1")
    .message("an endpoint is one of: apiServer, service, route, ingress, nodes, static"))]
pub struct EndpointInput {
    /// The API server, as `ManagedCluster.spec.managedClusterClientConfigs` on the hub tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<Empty>,
    /// The load balancer of a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServicePort>,
    /// A Route (`route.openshift.io`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Named>,
    /// An Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Named>,
    /// The ready nodes and the node port of a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<ServicePort>,
    /// What a person knows better: a URL or `host:port`; may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub r#static: Option<String>,
}

/// An object by namespace and name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// Namespace; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// Name; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
}

/// A port of a Service.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Namespace; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub namespace: String,
    /// Name; may hold expressions.
    #[schemars(length(min = 1, max = 4096))]
    pub name: String,
    /// Name or number of the port. Default: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub port: Option<String>,
}

/// When tokens and certificates are renewed. All fractions are of the *returned* lifetime.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.jitterPercent < self.renewAtPercent")
    .message("the jitter makes renewals earlier: set jitterPercent lower than renewAtPercent"))]
pub struct Refresh {
    /// After how many percent of the lifetime.
    #[serde(default = "seventy")]
    #[schemars(range(min = 10, max = 95))]
    pub renew_at_percent: u8,
    /// By how many percent of the lifetime earlier at most, so that not all renew at once.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 50))]
    pub jitter_percent: u8,
    /// Shortest time between two renewals.
    #[serde(default = "minute")]
    #[schemars(schema_with = "super::duration_schema")]
    pub min_interval: String,
}

fn seventy() -> u8 {
    70
}

fn ten() -> u8 {
    10
}

fn minute() -> String {
    "1m".to_owned()
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            renew_at_percent: seventy(),
            jitter_percent: ten(),
            min_interval: minute(),
        }
    }
}
