//! Group `addon.open-cluster-management.io`: the addon kinds in both versions, and what the versions share.
pub mod v1alpha1;
pub mod v1beta1;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ResourceRequirements, Toleration},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{Extra, names};

/// API group of the addon kinds.
pub const GROUP: &str = "addon.open-cluster-management.io";

/// Deployment settings of addons on some clusters (v1beta1; v1alpha1 has the same fields).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "addon.open-cluster-management.io",
    version = "v1beta1",
    kind = "AddOnDeploymentConfig",
    namespaced,
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct AddOnDeploymentConfigSpec {
    /// Namespace of the agent; empty: leave it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_install_namespace: Option<String>,
    /// Free settings, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub customized_variables: Vec<CustomizedVariable>,
    /// Where agents run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_placement: Option<NodePlacement>,
    /// Where images come from; the last entry that fits an image wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<ImageMirror>,
    /// The way out of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_config: Option<ProxyConfig>,
    /// What containers may use; the last entry that fits a container wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_requirements: Vec<ContainerResources>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Where agents run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePlacement {
    /// Labels of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that agents tolerate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
}

/// Another place for some images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageMirror {
    /// Where they are.
    pub mirror: String,
    /// The beginning of the images' names that it replaces; empty: everything before the last `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// The way out of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// For HTTP.
    #[serde(rename = "httpProxy", skip_serializing_if = "String::is_empty")]
    pub http: String,
    /// For HTTPS.
    #[serde(rename = "httpsProxy", skip_serializing_if = "String::is_empty")]
    pub https: String,
    /// CA certificates of the proxy: PEM, in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_bundle: String,
    /// What is reached without a proxy, with commas between.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
}

/// What some containers may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerResources {
    /// `<plural of the workload's kind>:<its name>:<container>`, each part may be `*`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Requests and limits.
    pub resources: ResourceRequirements,
}

/// A free setting of an [`AddOnDeploymentConfig`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedVariable {
    /// Its name, `^[a-zA-Z_][_a-zA-Z0-9]*$`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One configuration as it was rolled out: which object, and the hash of its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigSpecHash {
    /// Namespace of the configuration; empty for cluster-scoped ones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Lower-case hex SHA-256 of the spec; empty while unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spec_hash: String,
}

/// What is known about one configuration of an addon on a cluster (written by OCM's addon-manager).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigReference {
    /// API group of the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural resource of the configuration.
    pub resource: String,
    /// What shall be rolled out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_config: Option<ConfigSpecHash>,
    /// What has been rolled out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_config: Option<ConfigSpecHash>,
    /// The generation of the configuration that was last seen (by the framework).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_observed_generation: Option<i64>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How an addon's health is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// `Lease` (default: the registration agent looks at the Lease) or `Customized`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Whether an addon's agent that ran before has fallen silent, by the conditions of its `ManagedClusterAddOn`: its Lease is
/// stale, or nothing is known of its cluster. An agent that has no Lease yet is only new.
#[must_use]
pub fn is_silent(conditions: &[Condition]) -> bool {
    let available = conditions
        .iter()
        .find(|condition| condition.type_ == names::condition::AVAILABLE);
    available.is_some_and(|available| match available.status.as_str() {
        "Unknown" => available.reason != names::available::LEASE_NOT_FOUND,
        "False" => available.reason == names::available::LEASE_UPDATE_STOPPED,
        _ => false,
    })
}
