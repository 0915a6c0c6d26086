//! Hosted mode: an agent that runs on another cluster than the one it is for. Which manifest goes where. Pure.
use peering_api::{
    kube::{ResourceExt, core::DynamicObject},
    ocm::ManagedCluster,
};

use crate::{
    error::AddonError,
    hooks::is_hook,
    runtime::conditions::{Status, Wanted},
};

/// Annotation on a manifest, or label: on which of the two clusters it is deployed in hosted mode.
const LOCATION: &str = "addon.open-cluster-management.io/hosted-manifest-location";

/// Condition of an addon in hosted mode: whether there is a cluster to host its agent.
pub const VALIDITY: &str = "HostingClusterValidity";
/// Condition of an addon in hosted mode: its works on the hosting cluster are applied.
pub const APPLIED: &str = "HostingManifestApplied";

/// What is deployed on one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// For as long as the addon is there.
    pub manifests: Vec<DynamicObject>,
    /// Before it goes.
    pub hooks: Vec<DynamicObject>,
}

/// An addon's manifests by cluster: its own, and the hosting one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// For the addon's own cluster.
    pub managed: Share,
    /// For the cluster that hosts its agent.
    pub hosting: Share,
}

/// Shares out the manifests. Outside hosted mode all are for the addon's own cluster.
pub fn share_out(manifests: &[DynamicObject], hosted: bool) -> Result<Shares, AddonError> {
    let mut shares = Shares::default();
    for manifest in manifests {
        let location = manifest
            .annotations()
            .get(LOCATION)
            .or_else(|| manifest.labels().get(LOCATION));
        let share = match location.map(String::as_str) {
            _ if !hosted => &mut shares.managed,
            None | Some("managed") => &mut shares.managed,
            Some("hosting") => &mut shares.hosting,
            Some("none") => continue,
            Some(other) => {
                let name = manifest.name_any();
                let message = format!("manifest {name} has {LOCATION}={other}; it may be managed, hosting or none");
                return Err(AddonError::Failed(message));
            }
        };
        if is_hook(manifest) {
            share.hooks.push(manifest.clone());
        } else {
            share.manifests.push(manifest.clone());
        }
    }
    Ok(shares)
}

/// Whether a cluster can host agents, and what to say about it.
pub fn validity(name: &str, cluster: Option<&ManagedCluster>) -> (bool, Wanted) {
    let missing = match cluster {
        None => Some("does not exist"),
        Some(cluster) if cluster.metadata.deletion_timestamp.is_some() => Some("is being deleted"),
        Some(_) => None,
    };
    let (status, reason, message) = match missing {
        Some(why) => {
            let message = format!("hosting cluster {name} {why}; name another one, or none, in the addon's annotation");
            (Status::False, "HostingClusterInvalid", message)
        }
        None => (
            Status::True,
            "HostingClusterValid",
            format!("hosting cluster {name} is there"),
        ),
    };
    (missing.is_none(), Wanted::new(VALIDITY, status, reason, message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(kind: &str, name: &str, metadata: &Value) -> DynamicObject {
        let mut wire = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
        wire["metadata"]["name"] = name.into();
        serde_json::from_value(wire).unwrap()
    }

    fn names(objects: &[DynamicObject]) -> Vec<String> {
        objects.iter().map(ResourceExt::name_any).collect()
    }

    fn all() -> Vec<DynamicObject> {
        let at = |location: &str| json!({"annotations": {LOCATION: location}});
        let hook = json!({"labels": {LOCATION: "hosting"}, "annotations": {"addon.open-cluster-management.io/addon-pre-delete": ""}});
        vec![
            manifest("ConfigMap", "plain", &json!({})),
            manifest("ConfigMap", "managed", &at("managed")),
            manifest("ConfigMap", "hosting", &at("hosting")),
            manifest("ConfigMap", "none", &at("none")),
            manifest("Job", "hook", &hook),
        ]
    }

    #[test]
    fn in_hosted_mode_manifests_go_where_they_say() {
        let shares = share_out(&all(), true).unwrap();
        assert_eq!(names(&shares.managed.manifests), ["plain", "managed"]);
        assert_eq!(names(&shares.hosting.manifests), ["hosting"]);
        assert_eq!(
            (names(&shares.hosting.hooks), shares.managed.hooks.len()),
            (vec!["hook".to_owned()], 0)
        );
    }

    #[test]
    fn otherwise_all_are_for_the_addons_own_cluster() {
        let shares = share_out(&all(), false).unwrap();
        assert_eq!(
            names(&shares.managed.manifests),
            ["plain", "managed", "hosting", "none"]
        );
        assert_eq!(names(&shares.managed.hooks), ["hook"]);
        assert_eq!(shares.hosting, Share::default());
    }

    #[test]
    fn an_unknown_location_is_an_error_that_names_the_manifest() {
        let wrong = [manifest(
            "ConfigMap",
            "wrong",
            &json!({"annotations": {LOCATION: "moon"}}),
        )];
        assert!(
            share_out(&wrong, true)
                .unwrap_err()
                .to_string()
                .contains("manifest wrong has")
        );
        assert!(share_out(&wrong, false).is_ok());
    }

    #[test]
    fn a_hosting_cluster_has_to_be_there_to_stay() {
        let cluster = |metadata: Value| {
            serde_json::from_value::<ManagedCluster>(json!({"metadata": metadata, "spec": {}})).unwrap()
        };
        assert!(validity("h", Some(&cluster(json!({"name": "h"})))).0);
        let leaving = cluster(json!({"name": "h", "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        for (found, why) in [(Some(&leaving), "is being deleted"), (None, "does not exist")] {
            let (valid, said) = validity("h", found);
            assert!(!valid && said.message.contains(why) && said.reason == "HostingClusterInvalid");
        }
    }
}
