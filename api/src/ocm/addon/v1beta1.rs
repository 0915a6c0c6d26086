//! `addon.open-cluster-management.io/v1beta1`: an addon, and an addon on a cluster.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{
    super::{Extra, GroupResource},
    ConfigReference, HealthCheck,
};

/// `type` of a registration at the hub's API server.
pub const KUBE_CLIENT: &str = "kubeClient";
/// `type` of a registration at any other signer.
pub const CUSTOM_SIGNER: &str = "customSigner";
/// `driver` of a registration which gets a token instead of a certificate.
pub const TOKEN_DRIVER: &str = "token";
/// `driver` of a registration which gets a certificate.
pub const CSR_DRIVER: &str = "csr";

/// An addon that exists on this hub (cluster-scoped).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "addon.open-cluster-management.io",
    version = "v1beta1",
    kind = "ClusterManagementAddOn",
    plural = "clustermanagementaddons",
    status = "ClusterManagementAddOnStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterManagementAddOnSpec {
    /// Configurations for clusters which have no others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_configs: Vec<DefaultConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What is known about an addon's configurations (by OCM's addon-manager; the hashes by the framework).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterManagementAddOnStatus {
    /// The default configurations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_config_references: Vec<ConfigReference>,
    /// One entry per placement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub install_progressions: Vec<InstallProgression>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How far an addon has come on the clusters of a placement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstallProgression {
    /// The configurations for these clusters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_references: Vec<ConfigReference>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A configuration for clusters which have no other of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DefaultConfig {
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name; [`super::super::names::NO_DEFAULT_CONFIG`] if there is none.
    pub name: String,
}

/// An addon on the cluster whose namespace it is in.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "addon.open-cluster-management.io",
    version = "v1beta1",
    kind = "ManagedClusterAddOn",
    plural = "managedclusteraddons",
    namespaced,
    status = "ManagedClusterAddOnStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedClusterAddOnSpec {
    /// Configurations of this addon on this cluster; they win over all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<AddOnConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A configuration asked for by a `ManagedClusterAddOn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddOnConfig {
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What several components have found out; each owns its own conditions and fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedClusterAddOnStatus {
    /// Conditions, by type (a map list).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Kinds of configuration that the addon reads (a map list, by the framework).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_configs: Vec<GroupResource>,
    /// Configurations of this addon on this cluster (an atomic list, by OCM's addon-manager).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_references: Vec<ConfigReference>,
    /// Namespace of the agent on the managed cluster: there the registration agent puts its credentials (by the framework).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the registration agent shall get credentials for (an atomic list, by the framework and the registration agent).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registrations: Vec<RegistrationConfig>,
    /// How the health is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One set of credentials of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistrationConfig {
    /// [`KUBE_CLIENT`] or [`CUSTOM_SIGNER`].
    #[serde(rename = "type")]
    pub type_: String,
    /// Set with [`KUBE_CLIENT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_client: Option<KubeClientConfig>,
    /// Set with [`CUSTOM_SIGNER`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_signer: Option<CustomSignerConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Credentials for the hub's API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeClientConfig {
    /// Who the agent will be; written by the registration agent if `driver` is [`TOKEN_DRIVER`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// [`CSR_DRIVER`] or [`TOKEN_DRIVER`]; always written by the registration agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A certificate of a signer of the addon's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomSignerConfig {
    /// The signer, such as `example.com/mine`.
    pub signer_name: String,
    /// Who the agent will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A user as an API server or another server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// User name (CN of a certificate).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Groups (O of a certificate).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Organisation units (OU of a certificate); custom signers only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organization_units: Vec<String>,
}
