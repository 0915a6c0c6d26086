//! Settings of an addon which are the same for all clusters.
use std::time::Duration;

use peering_api::ocm::work::ManifestConfig;

use crate::{config::ConfigKind, csr::SigningCa, health::Health};

/// Settings of an addon.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Namespace of the agent on the managed cluster, unless an `AddOnDeploymentConfig` says `agentInstallNamespace`. `None`:
    /// what the `ManagedClusterAddOn` asks for (`spec.installNamespace` of v1alpha1), or OCM's default.
    pub install_namespace: Option<String>,
    /// The kinds of configuration that it reads. The manager must be allowed to list and watch them, and to patch the
    /// status of its `ClusterManagementAddOn`.
    ///
    /// Unless that has the annotation `addon.open-cluster-management.io/lifecycle: self`, nothing is made for the addon
    /// before OCM's addon-manager has settled its configurations.
    pub configs: Vec<ConfigKind>,
    /// How its health is judged.
    pub health: Health,
    /// What is reported about its manifests, and how they are applied, besides what its health needs.
    pub manifest_configs: Vec<ManifestConfig>,
    /// Signers of its own whose CAs are in Secrets on the hub; for others there is [`crate::Addon::signer`].
    pub signing_cas: Vec<SigningCa>,
    /// Whether its agent can run on another cluster (hosted mode): manifests with the annotation
    /// `addon.open-cluster-management.io/hosted-manifest-location: hosting` are deployed there then.
    pub hosted: bool,
    /// How long the hooks of an addon which is being deleted (Jobs and Pods with the annotation
    /// `addon.open-cluster-management.io/addon-pre-delete`) are waited for; a failed one is run again meanwhile. `None`: until
    /// they are done. The annotation `addon.open-cluster-management.io/skip-pre-delete: "true"` on the addon ends the wait.
    pub hook_deadline: Option<Duration>,
    /// A finalizer on each `ManagedClusterAddOn`, which guards [`crate::Addon::before_removal`]; such as `example.com/cleanup`.
    pub finalizer: Option<String>,
}
