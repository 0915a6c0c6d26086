//! The programming model: what an addon says about itself. Everything here is asked often and must be quick and pure;
//! only [`Addon::before_removal`] may talk to an API server.
use std::{error::Error as StdError, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use peering_api::{
    k8s_openapi::api::rbac::v1::PolicyRule,
    kube::{ResourceExt, core::DynamicObject},
    ocm::{
        ManagedCluster, ManagedClusterAddOn,
        addon::v1beta1::{KUBE_CLIENT, KubeClientConfig, RegistrationConfig, Subject},
        names::HOSTING_CLUSTER_ANNOTATION,
        work::ManifestConfig,
    },
};
use serde::Serialize;
use thiserror::Error;

use crate::{
    config::ConfigKind,
    csr::{Signer, SigningCa},
    health::Health,
    site::Site,
};

/// Why an addon cannot say what it wants.
#[derive(Debug, Error)]
pub enum AddonError {
    /// Said in full by the text: what was expected, what was seen, what to do.
    #[error("{0}")]
    Failed(String),
    /// Something else failed.
    #[error("{context}")]
    Caused {
        /// What the addon was doing.
        context: String,
        /// What failed.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl AddonError {
    /// An error with its cause.
    pub fn caused(context: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Caused {
            context: context.into(),
            source: source.into(),
        }
    }
}

/// An addon, as the manager drives it for each cluster.
///
/// ```
/// use addon_framework::{Addon, AddonError, Site, object};
/// use peering_api::{k8s_openapi::api::core::v1::ConfigMap, kube::core::{DynamicObject, ObjectMeta}};
///
/// struct Greeting;
///
/// impl Addon for Greeting {
///     fn name(&self) -> &str {
///         "greeting"
///     }
///
///     fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
///         let mut map = ConfigMap::default();
///         map.metadata = ObjectMeta { name: Some("greeting".into()), namespace: Some("default".into()), ..Default::default() };
///         map.data = Some([("hello".to_owned(), site.cluster_name())].into());
///         Ok(vec![object(&map)?])
///     }
/// }
/// ```
pub trait Addon: Send + Sync + 'static {
    /// The name of the addon: of its `ClusterManagementAddOn`, of each `ManagedClusterAddOn`, and of the agent's Lease.
    fn name(&self) -> &str;

    /// The objects to deploy on this cluster. None at all is fine.
    ///
    /// A pure function of its argument: the same site must give the same objects, or the work is written for ever. Called
    /// once per change of the site; [`crate::Manager::trigger`] is for what else has changed.
    fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError>;

    /// What the agent gets on the hub; `None`: nothing. By default the usual user and groups, with no permissions.
    fn registration(&self, cluster: &ManagedCluster, addon: &ManagedClusterAddOn) -> Option<Registration> {
        let _ = addon;
        Some(Registration::kube_client(
            cluster.metadata.name.as_deref().unwrap_or_default(),
            self.name(),
        ))
    }

    /// The CA that signs for a signer of this addon's own, if it is not in [`Options::signing_cas`]: one that [`Addon::registration`] names as `customSigner`, with a
    /// subject. `None`: somebody else signs.
    ///
    /// Asked for each request, so a renewed CA is used from the next request on; certificates by the old one stay valid.
    fn signer(&self, cluster: &str, name: &str) -> Option<Arc<Signer>> {
        let _ = (cluster, name);
        None
    }

    /// The cluster that the agent runs on if it is another one than its own; asked if [`Options::hosted`] is set. By default
    /// what the annotation `addon.open-cluster-management.io/hosting-cluster-name` says.
    fn hosting_cluster(&self, cluster: &ManagedCluster, addon: &ManagedClusterAddOn) -> Option<String> {
        let _ = cluster;
        addon.annotations().get(HOSTING_CLUSTER_ANNOTATION).cloned()
    }

    /// Settings which are the same for all clusters. Asked once.
    fn options(&self) -> Options {
        Options::default()
    }

    /// Called while the `ManagedClusterAddOn` is being deleted, if [`Options::finalizer`] is set, until it says
    /// [`Removal::Done`]. Agent and permissions stay until then. Called again after errors, on each change of the addon, at
    /// [`crate::Manager::trigger`], and every half minute; not called if the cluster itself is gone.
    fn before_removal<'a>(
        &'a self,
        cluster: &'a str,
        addon: &'a ManagedClusterAddOn,
    ) -> BoxFuture<'a, Result<Removal, AddonError>> {
        let _ = (cluster, addon);
        async { Ok(Removal::Done) }.boxed()
    }
}

/// What [`Addon::before_removal`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Nothing is left to do: the addon may go.
    Done,
    /// Something is; the text says what is waited for, and becomes the message of the condition `Removable`.
    Wait(String),
}

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
    /// Signers of its own whose CAs are in Secrets on the hub; for others there is [`Addon::signer`].
    pub signing_cas: Vec<SigningCa>,
    /// Whether its agent can run on another cluster (hosted mode): manifests with the annotation
    /// `addon.open-cluster-management.io/hosted-manifest-location: hosting` are deployed there then.
    pub hosted: bool,
    /// How long the hooks of an addon which is being deleted (Jobs and Pods with the annotation
    /// `addon.open-cluster-management.io/addon-pre-delete`) are waited for; a failed one is run again meanwhile. `None`: until
    /// they are done. The annotation `addon.open-cluster-management.io/skip-pre-delete: "true"` on the addon ends the wait.
    pub hook_deadline: Option<Duration>,
    /// A finalizer on each `ManagedClusterAddOn`, which guards [`Addon::before_removal`]; such as `example.com/cleanup`.
    pub finalizer: Option<String>,
}

/// What an agent is on the hub and what it may do there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// The credentials it gets, for `status.registrations`.
    pub configs: Vec<RegistrationConfig>,
    /// The rules of its Role in the cluster's namespace on the hub. None: no Role. The manager itself must have them.
    pub permissions: Vec<PolicyRule>,
    /// Names of `ClusterRole`s that it has in the cluster's namespace too. The manager must have what they grant, or the verb
    /// `bind` on them.
    pub cluster_roles: Vec<String>,
}

impl Registration {
    /// The usual identity at the hub's API server (as of the Go framework, with the addon's name as the agent's), with no permissions.
    #[must_use]
    pub fn kube_client(cluster: &str, addon: &str) -> Self {
        let subject = Subject {
            user: format!("system:open-cluster-management:cluster:{cluster}:addon:{addon}:agent:{addon}"),
            groups: vec![
                format!("system:open-cluster-management:cluster:{cluster}:addon:{addon}"),
                format!("system:open-cluster-management:addon:{addon}"),
            ],
            organization_units: vec![],
        };
        let config = RegistrationConfig {
            type_: KUBE_CLIENT.to_owned(),
            kube_client: Some(KubeClientConfig {
                subject: Some(subject),
                ..KubeClientConfig::default()
            }),
            ..RegistrationConfig::default()
        };
        Self {
            configs: vec![config],
            ..Self::default()
        }
    }

    /// The same with these permissions.
    #[must_use]
    pub fn allow(mut self, rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        self.permissions.extend(rules);
        self
    }

    /// The same with this existing `ClusterRole`, in the cluster's namespace.
    #[must_use]
    pub fn bind(mut self, cluster_role: impl Into<String>) -> Self {
        self.cluster_roles.push(cluster_role.into());
        self
    }
}

/// A typed object as a manifest.
pub fn object(object: &impl Serialize) -> Result<DynamicObject, AddonError> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| AddonError::caused("cannot make a manifest of an object", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_identity_is_that_of_the_go_framework() {
        let registration = Registration::kube_client("c1", "hello");
        let subject = registration.configs[0].kube_client.clone().unwrap().subject.unwrap();
        assert_eq!(
            subject.user,
            "system:open-cluster-management:cluster:c1:addon:hello:agent:hello"
        );
        assert_eq!(
            subject.groups,
            [
                "system:open-cluster-management:cluster:c1:addon:hello",
                "system:open-cluster-management:addon:hello"
            ]
        );
    }
}
