//! The kinds of Open Cluster Management that we read or write, cut down to the fields that somebody here looks at.
//!
//! Every field is optional, so that an older or a newer hub never breaks a watch; what these types do not name is kept in
//! `extra` and written back unchanged. The module paths follow the API groups and versions. What this crate uses by default
//! is re-exported here: `addon.open-cluster-management.io` in v1beta1, which OCM serves since 1.2.
/// Reads a missing or null `spec` as the default: some CRDs of OCM do not require one, and a single object without it would
/// stop a watch. kube's derive allows no `serde(default)` on the field; so the type (with `serde(remote = "Self")`) takes
/// itself from an `Option`, which serde fills with `None` when the field is absent.
macro_rules! absent_is_default {
    ($spec:ident) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                struct Present(#[serde(with = "Present_")] $spec);
                use $spec as Present_;
                let present = Option::<Present>::deserialize(deserializer)?;
                Ok(present.map(|present| present.0).unwrap_or_default())
            }
        }

        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
}

pub mod addon;
pub mod cluster;
pub mod names;
pub mod work;

pub use self::{
    addon::{
        AddOnDeploymentConfig,
        v1beta1::{ClusterManagementAddOn, ManagedClusterAddOn},
    },
    cluster::{ManagedCluster, Placement, PlacementDecision},
    work::ManifestWork,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Fields which a type does not name, kept so that writing an object back loses nothing.
pub type Extra = BTreeMap<String, serde_json::Value>;

/// A kind of configuration: group and plural resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupResource {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource, such as `addondeploymentconfigs`.
    pub resource: String,
}

#[cfg(test)]
mod tests;
