//! What proves on the destination cluster that a delivered thing works.
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::deliver::ObjectRef;

/// One proof, repeated at an interval. Texts see `payload`, `target`, `params`, `source`, `destination` and `peering`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.object), has(self.tls), has(self.apiAuth), has(self.http), has(self.s3), has(self.expiry)].filter(x, x).size() == 1")
        .message("a probe is one of: object, tls, apiAuth, http, s3, expiry"),
    validation = Rule::new("duration(self.interval) >= duration('1s')")
        .message("a probe runs once a second at most: set interval to 1s or more"),
    validation = Rule::new("duration(self.timeout) >= duration('1s')")
        .message("a probe needs time to answer: set timeout to 1s or more")
)]
pub struct Probe {
    /// CEL over the state of an object: condition `Connected`. Evaluated whenever the object changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectProbe>,
    /// The endpoint serves a chain that the delivered CA certificates trust: condition `Trusted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsProbe>,
    /// The API server accepts the delivered credential: condition `Connected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_auth: Option<ApiAuthProbe>,
    /// The endpoint answers: condition `Connected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// The delivered keys may list the bucket: condition `Connected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Probe>,
    /// The delivered content does not expire soon: condition `Fresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<ExpiryProbe>,
    /// Time between two runs.
    #[serde(default = "ten_minutes")]
    #[schemars(schema_with = "super::duration_schema")]
    pub interval: String,
    /// How long one run may take.
    #[serde(default = "ten_seconds")]
    #[schemars(schema_with = "super::duration_schema")]
    pub timeout: String,
    /// How many runs in a row must fail before the condition turns.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u32,
}

fn ten_minutes() -> String {
    "10m".to_owned()
}

fn ten_seconds() -> String {
    "10s".to_owned()
}

fn three() -> u32 {
    3
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            object: None,
            tls: None,
            api_auth: None,
            http: None,
            s3: None,
            expiry: None,
            interval: ten_minutes(),
            timeout: ten_seconds(),
            failure_threshold: three(),
        }
    }
}

/// CEL over the state of an object on the destination cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.of) != has(self.object)")
    .message("the object is named by 'of' (an input of the same name on this cluster) or by 'object': set one"))]
pub struct ObjectProbe {
    /// The object that the input of this name denotes on the destination cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub of: Option<String>,
    /// The object; its namespace and name may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// CEL over `self`, the object: true when all is well.
    #[schemars(length(min = 1, max = 4096))]
    pub healthy: String,
    /// CEL over `self`: true when its owner has given up, so that waiting does not help. The reason is then `ProbeFailed`
    /// instead of `NotSynced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub failed: Option<String>,
    /// A text over `self` that messages show while it is not well, such as `state ${self.status.state}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub shows: Option<String>,
}

/// Does an endpoint serve a chain that is trusted?
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsProbe {
    /// `host:port` or URL.
    #[schemars(length(min = 1, max = 4096))]
    pub address: String,
    /// Name that the certificate must bear. Default: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub server_name: Option<String>,
    /// The trusted CA certificates, in PEM form. Default: the bundle of a `CABundle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca: Option<String>,
}

/// Does an API server accept the delivered credential?
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.kubeconfig) != has(self.server)")
        .message("the API server is named by a kubeconfig, or by server with ca and token: set one"),
    validation = Rule::new("has(self.server) == (has(self.ca) && has(self.token)) && (has(self.ca) == has(self.token))")
        .message("ca and token go with server: set all three, or the kubeconfig alone")
)]
pub struct ApiAuthProbe {
    /// A kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub kubeconfig: Option<String>,
    /// URL of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub server: Option<String>,
    /// Its CA certificates, in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca: Option<String>,
    /// The token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub token: Option<String>,
}

/// Does an endpoint answer?
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// The URL, with https.
    #[schemars(length(min = 1, max = 4096))]
    pub url: String,
    /// The trusted CA certificates, in PEM form. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca: Option<String>,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub token: Option<String>,
    /// The expected status. Default: 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub expect_status: Option<u16>,
}

/// May the delivered keys list a bucket? Asked with AWS Signature Version 4; nothing is written.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Probe {
    /// URL of the S3 server, with https. The bucket is a part of the path.
    #[schemars(length(min = 1, max = 4096))]
    pub endpoint: String,
    /// Name of the bucket.
    #[schemars(length(min = 1, max = 4096))]
    pub bucket: String,
    /// The region that requests are signed for. Default: us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub region: Option<String>,
    /// Id of the access key.
    #[schemars(length(min = 1, max = 4096))]
    pub access_key_id: String,
    /// The secret that belongs to it. It is not sent: requests are signed with it.
    #[schemars(length(min = 1, max = 4096))]
    pub secret_access_key: String,
    /// The trusted CA certificates, in PEM form. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca: Option<String>,
}

/// Does the delivered content expire soon?
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiryProbe {
    /// How long before the expiry `Fresh` becomes false with reason `RenewalFailing`.
    #[schemars(schema_with = "super::duration_schema")]
    pub warn_before: String,
}
