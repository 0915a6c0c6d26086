//! Kinds and configuration of Ramen, group `ramendr.openshift.io` (2.5, 4.6).
use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::ocm::Extra;

/// `ConfigMap` with the configuration of Ramen's hub operator, in that operator's namespace.
pub const RAMEN_CONFIG_MAP: &str = "ramen-hub-operator-config";
/// Its key.
pub const RAMEN_CONFIG_KEY: &str = "ramen_manager_config.yaml";

/// A managed cluster as Ramen knows it (cluster-scoped).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ramendr.openshift.io",
    version = "v1alpha1",
    kind = "DRCluster",
    plural = "drclusters",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct DRClusterSpec {
    /// Name of the entry in `s3StoreProfiles` where its metadata is kept.
    #[serde(rename = "s3ProfileName", skip_serializing_if = "String::is_empty")]
    pub s3_profile_name: String,
    /// Everything else, such as `cidrs` and `clusterFence`, which are the user's.
    #[serde(flatten)]
    pub extra: Extra,
}

absent_is_default!(DRClusterSpec);

/// Which clusters protect each other and how often (cluster-scoped).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ramendr.openshift.io",
    version = "v1alpha1",
    kind = "DRPolicy",
    plural = "drpolicies",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct DRPolicySpec {
    /// How often data is mirrored, such as `5m`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheduling_interval: String,
    /// Names of the `DRCluster`s.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dr_clusters: Vec<String>,
    /// Labels of the replication classes that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_class_selector: Option<LabelSelector>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

absent_is_default!(DRPolicySpec);

/// Selects by labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An entry of `s3StoreProfiles` in Ramen's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct S3StoreProfile {
    /// Its name.
    pub s3_profile_name: String,
    /// The bucket.
    pub s3_bucket: String,
    /// The region; never empty, Ramen refuses that.
    pub s3_region: String,
    /// URL of the endpoint.
    pub s3_compatible_endpoint: String,
    /// The Secret with the credentials, in the namespace of Ramen's operator.
    pub s3_secret_ref: S3SecretRef,
    /// CA certificates of the endpoint: PEM, in base64.
    #[serde(rename = "caCertificates", skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

/// A Secret. It has no namespace here: Ramen would look in a wrong one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3SecretRef {
    /// Its name.
    pub name: String,
}
