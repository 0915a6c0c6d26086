//! Configurations of an addon: which are in force on a cluster, what they say, and the hashes by which rollouts are tracked.
//! Pure; the controllers are in `manager`.
//!
//! OCM's addon-manager decides which configuration is for which cluster, and when (`status.configReferences`); the framework
//! fills in the hashes that it computes, and tells by an annotation on the works which hashes were rendered. An object is
//! rendered only while its hash is the one that was rolled out to the cluster: a configuration which is edited in place
//! reaches a cluster when its rollout does, and hash and content never diverge.
mod hash;
mod image;
mod inject;
mod references;
mod settings;

use std::sync::Arc;

use peering_api::{
    kube::core::{ApiResource, DynamicObject, GroupVersionKind},
    ocm::{
        GroupResource, ManagedClusterAddOn,
        addon::{self, AddOnDeploymentConfigSpec, ConfigSpecHash},
        names::{NO_DEFAULT_CONFIG, condition},
    },
};

pub(crate) use self::references::{hashed, observed};
pub use self::{hash::spec_hash, image::rewrite as rewrite_image, settings::Settings};
use crate::{error::AddonError, runtime::conditions};

/// A kind of configuration which an addon reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfigKind {
    /// API group; empty for the core group.
    pub group: String,
    /// The version to read.
    pub version: String,
    /// Plural resource.
    pub resource: String,
}

impl ConfigKind {
    /// A kind by its group, version and plural resource.
    pub fn new(group: impl Into<String>, version: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        }
    }

    /// OCM's own `AddOnDeploymentConfig`.
    #[must_use]
    pub fn deployment_config() -> Self {
        Self::new(addon::GROUP, "v1beta1", "addondeploymentconfigs")
    }

    pub(crate) fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }

    /// What kube needs to watch it. The kind itself does not matter for that.
    pub(crate) fn api_resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(&self.group, &self.version, &self.resource);
        ApiResource::from_gvk_with_plural(&kind, &self.resource)
    }
}

/// The configurations in force for an addon on a cluster, in the order in which OCM's addon-manager lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs(Vec<(GroupResource, Arc<DynamicObject>)>);

impl Configs {
    /// Configurations by kind; for tests of an addon.
    #[must_use]
    pub fn new(configs: impl IntoIterator<Item = (ConfigKind, DynamicObject)>) -> Self {
        let configs = configs.into_iter();
        Self(
            configs
                .map(|(kind, object)| (kind.group_resource(), Arc::new(object)))
                .collect(),
        )
    }

    /// Those of one kind.
    pub fn of(&self, kind: &ConfigKind) -> impl Iterator<Item = &DynamicObject> {
        let kind = kind.group_resource();
        self.0
            .iter()
            .filter(move |(known, _)| *known == kind)
            .map(|(_, object)| &**object)
    }

    /// The specs of the `AddOnDeploymentConfig`s.
    pub fn deployment_configs(&self) -> Result<Vec<AddOnDeploymentConfigSpec>, AddonError> {
        let spec = |object: &DynamicObject| match object.data.get("spec") {
            Some(spec) => serde_json::from_value(spec.clone()),
            None => Ok(AddOnDeploymentConfigSpec::default()),
        };
        let specs: Result<_, _> = self.of(&ConfigKind::deployment_config()).map(spec).collect();
        specs.map_err(|error| AddonError::caused("cannot read an AddOnDeploymentConfig", error))
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &DynamicObject> {
        self.0.iter().map(|(_, object)| &**object)
    }
}

/// What is known about an object which a configuration reference names.
pub(crate) enum Found {
    /// This is it.
    Object(Arc<DynamicObject>),
    /// It does not exist.
    Missing,
    /// Its kind cannot be read now.
    Unreadable,
}

/// Finds a configuration by its kind, namespace and name.
pub(crate) type Find<'a> = &'a dyn Fn(&GroupResource, &ConfigSpecHash) -> Found;

/// Whether it is known what is to be rendered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolution {
    /// It is.
    Known(Configs),
    /// Not yet.
    Pending {
        /// What is waited for, if that may take long: a person has to do something.
        told: Option<String>,
        /// What there is.
        found: Configs,
    },
}

/// The configurations of `kinds` for this addon. `managed`: OCM's addon-manager takes care of it, which says by the
/// condition `Configured` that it has; without that an addon would first be installed unconfigured.
pub(crate) fn resolve(kinds: &[ConfigKind], addon: &ManagedClusterAddOn, managed: bool, find: Find<'_>) -> Resolution {
    if kinds.is_empty() {
        return Resolution::Known(Configs::default());
    }
    let status = addon.status.clone().unwrap_or_default();
    let (mut found, mut told, mut settled) = (vec![], None, true);
    for reference in &status.config_references {
        let kind = GroupResource {
            group: reference.group.clone(),
            resource: reference.resource.clone(),
        };
        let Some(desired) = reference.desired_config.as_ref().filter(|_| supports(kinds, &kind)) else {
            continue;
        };
        if desired.name == NO_DEFAULT_CONFIG {
            continue;
        }
        match find(&kind, desired) {
            Found::Object(object) => {
                settled &= spec_hash(&object) == desired.spec_hash;
                found.push((kind, object));
            }
            Found::Missing => told = told.or_else(|| Some(missing(&kind, desired))),
            Found::Unreadable => settled = false,
        }
    }
    settled &= !managed || conditions::is_true(&status.conditions, condition::CONFIGURED);
    let found = Configs(found);
    if settled && told.is_none() {
        Resolution::Known(found)
    } else {
        Resolution::Pending { told, found }
    }
}

pub(crate) fn supports(kinds: &[ConfigKind], kind: &GroupResource) -> bool {
    kinds
        .iter()
        .any(|known| known.group == kind.group && known.resource == kind.resource)
}

fn missing(kind: &GroupResource, config: &ConfigSpecHash) -> String {
    let dot = if kind.group.is_empty() { "" } else { "." };
    let slash = if config.namespace.is_empty() { "" } else { "/" };
    format!(
        "configuration {}{dot}{} {}{slash}{} does not exist; create it, or name another one in spec.configs or in the ClusterManagementAddOn",
        kind.resource, kind.group, config.namespace, config.name
    )
}

#[cfg(test)]
mod tests;
