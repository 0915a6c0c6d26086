//! The programming model: what an addon says about itself. Everything here is asked often and must be quick and pure;
//! only [`Addon::before_removal`] may talk to an API server.
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use peering_api::{
    kube::{ResourceExt, core::DynamicObject},
    ocm::{ManagedCluster, ManagedClusterAddOn, names::HOSTING_CLUSTER_ANNOTATION},
};
use serde::Serialize;

use crate::{csr::Signer, error::AddonError, options::Options, registration::Registration, site::Site};

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

/// A typed object as a manifest.
pub fn object(object: &impl Serialize) -> Result<DynamicObject, AddonError> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| AddonError::caused("cannot make a manifest of an object", error))
}
