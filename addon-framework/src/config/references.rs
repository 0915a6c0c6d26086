//! What the framework writes into configuration references: hashes and generations. Pure.
use peering_api::ocm::{
    GroupResource, ManagedClusterAddOn,
    addon::{
        ConfigReference,
        v1beta1::{AddOnConfig, ClusterManagementAddOnStatus},
    },
};

use super::{ConfigKind, Find, Found, spec_hash, supports};

/// The references of an addon on a cluster with the generations that were seen, and with the hashes of those which its own
/// `spec.configs` names; all others are rolled out by OCM's addon-manager. `None` if nothing changes.
pub(crate) fn observed(
    kinds: &[ConfigKind],
    addon: &ManagedClusterAddOn,
    find: Find<'_>,
) -> Option<Vec<ConfigReference>> {
    let existing = &addon.status.as_ref()?.config_references;
    let mut references = existing.clone();
    for reference in &mut references {
        let kind = kind(reference);
        let Some(desired) = reference.desired_config.as_mut().filter(|_| supports(kinds, &kind)) else {
            continue;
        };
        let Found::Object(object) = find(&kind, desired) else {
            continue;
        };
        reference.last_observed_generation = object.metadata.generation;
        let own = |config: &AddOnConfig| {
            (&config.group, &config.resource, &config.namespace, &config.name)
                == (&kind.group, &kind.resource, &desired.namespace, &desired.name)
        };
        if addon.spec.configs.iter().any(own) {
            desired.spec_hash = spec_hash(&object);
        }
    }
    (references != *existing).then_some(references)
}

/// The references of an addon's defaults and placements with their hashes. `None` if nothing changes.
pub(crate) fn hashed(
    kinds: &[ConfigKind],
    status: &ClusterManagementAddOnStatus,
    find: Find<'_>,
) -> Option<ClusterManagementAddOnStatus> {
    let mut new = status.clone();
    let placed = new
        .install_progressions
        .iter_mut()
        .flat_map(|progress| &mut progress.config_references);
    for reference in new.default_config_references.iter_mut().chain(placed) {
        let kind = kind(reference);
        let Some(desired) = reference.desired_config.as_mut().filter(|_| supports(kinds, &kind)) else {
            continue;
        };
        if let Found::Object(object) = find(&kind, desired) {
            desired.spec_hash = spec_hash(&object);
        }
    }
    (new != *status).then_some(new)
}

fn kind(reference: &ConfigReference) -> GroupResource {
    GroupResource {
        group: reference.group.clone(),
        resource: reference.resource.clone(),
    }
}
