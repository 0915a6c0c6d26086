//! Group `addon.open-cluster-management.io`: the addon kinds in both versions, and what the versions share.
pub mod v1alpha1;
pub mod v1beta1;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Where agents run: node selector and tolerations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_placement: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
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
