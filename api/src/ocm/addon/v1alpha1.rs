//! `addon.open-cluster-management.io/v1alpha1`: the same objects as users of older hubs write them, and as all hubs store them.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{
    super::{Extra, GroupResource},
    ConfigReference, HealthCheck,
    v1beta1::AddOnConfig,
};

/// An addon that exists on this hub (cluster-scoped).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "addon.open-cluster-management.io",
    version = "v1alpha1",
    kind = "ClusterManagementAddOn",
    plural = "clustermanagementaddons",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterManagementAddOnSpec {
    /// Kinds of configuration that the addon reads, each with an optional default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_configs: Vec<SupportedConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A kind of configuration with its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SupportedConfig {
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// The configuration of clusters which have no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_config: Option<ConfigReferent>,
}

/// Where a configuration is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigReferent {
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An addon on the cluster whose namespace it is in.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "addon.open-cluster-management.io",
    version = "v1alpha1",
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
    /// Namespace of the agent on the managed cluster; the API server defaults it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_namespace: Option<String>,
    /// Configurations of this addon on this cluster; they win over all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<AddOnConfig>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What several components have found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedClusterAddOnStatus {
    /// Conditions, by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Kinds of configuration that the addon reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_configs: Vec<GroupResource>,
    /// Configurations of this addon on this cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_references: Vec<ConfigReference>,
    /// Namespace of the agent on the managed cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the registration agent shall get credentials for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registrations: Vec<RegistrationConfig>,
    /// `csr` or `token`, for all registrations at the hub's API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_client_driver: Option<String>,
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
    /// The signer; [`super::super::names::KUBE_CLIENT_SIGNER`] for the hub's API server.
    pub signer_name: String,
    /// Who the agent will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A user as a server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// User name (CN of a certificate).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Groups (O of a certificate).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Organisation units (OU of a certificate).
    #[serde(rename = "organizationUnit", skip_serializing_if = "Vec::is_empty")]
    pub organization_units: Vec<String>,
}
