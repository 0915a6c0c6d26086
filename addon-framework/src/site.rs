//! One addon on one cluster, with everything that its manifests may depend on. Pure.
use peering_api::{
    kube::ResourceExt,
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::{Map, Value, json};

use crate::{
    config::{Configs, Settings},
    error::AddonError,
    options::Options,
    registration::install_namespace,
};

/// Annotation on a `ManagedClusterAddOn`: values for templates, a JSON object.
const VALUES_ANNOTATION: &str = "addon.open-cluster-management.io/values";

/// One addon on one cluster: what [`crate::Addon::manifests`] sees.
///
/// `cluster` and `addon` have no conditions, finalizers, resource versions and the like here: those change all the time, and
/// manifests must not depend on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Site<'a> {
    /// The cluster.
    pub cluster: &'a ManagedCluster,
    /// The addon on it.
    pub addon: &'a ManagedClusterAddOn,
    /// The configurations in force.
    pub configs: &'a Configs,
    /// What the `AddOnDeploymentConfig`s among them say.
    pub settings: Settings,
    /// Namespace of the agent.
    pub install_namespace: String,
    /// The cluster that the agent runs on, if it is another one (hosted mode).
    pub hosting_cluster: Option<String>,
}

impl<'a> Site<'a> {
    /// A site, with what follows from these objects. The manager makes it; an addon's tests may too.
    pub fn new(
        cluster: &'a ManagedCluster,
        addon: &'a ManagedClusterAddOn,
        configs: &'a Configs,
        options: &Options,
    ) -> Result<Self, AddonError> {
        let settings = Settings::new(&configs.deployment_configs()?, cluster);
        let install_namespace = install_namespace(addon, options.install_namespace.as_ref(), &settings);
        Ok(Self {
            cluster,
            addon,
            configs,
            settings,
            install_namespace,
            hosting_cluster: None,
        })
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        self.cluster.name_any()
    }

    /// `Default`, or `Hosted` if the agent runs on another cluster.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.hosting_cluster.is_some() {
            "Hosted"
        } else {
            "Default"
        }
    }

    /// The values for templates, later ones over earlier ones: the defaults `HubKubeConfigSecret` and
    /// `ManagedKubeConfigSecret`, those of the configurations ([`Settings::values`]), `more`, those of the addon's
    /// annotation, and the builtin `ClusterName`, `AddonInstallNamespace` and `InstallMode`.
    pub fn values(&self, more: impl IntoIterator<Item = Map<String, Value>>) -> Result<Map<String, Value>, AddonError> {
        let name = self.addon.name_any();
        let mut values = Map::new();
        let secrets = [("HubKubeConfigSecret", "hub"), ("ManagedKubeConfigSecret", "managed")];
        values.extend(secrets.map(|(key, of)| (key.to_owned(), json!(format!("{name}-{of}-kubeconfig")))));
        values.extend(self.settings.values());
        for more in more {
            values.extend(more);
        }
        values.extend(annotated(self.addon)?);
        let builtin = [
            ("ClusterName", self.cluster_name()),
            ("AddonInstallNamespace", self.install_namespace.clone()),
            ("InstallMode", self.mode().to_owned()),
        ];
        values.extend(builtin.map(|(key, value)| (key.to_owned(), value.into())));
        Ok(values)
    }
}

fn annotated(addon: &ManagedClusterAddOn) -> Result<Map<String, Value>, AddonError> {
    let Some(text) = addon
        .annotations()
        .get(VALUES_ANNOTATION)
        .filter(|text| !text.is_empty())
    else {
        return Ok(Map::new());
    };
    serde_json::from_str(text)
        .map_err(|error| AddonError::caused(format!("annotation {VALUES_ANNOTATION} is not a JSON object"), error))
}

/// Both objects without what manifests must not depend on.
pub(crate) fn view(cluster: &ManagedCluster, addon: &ManagedClusterAddOn) -> (ManagedCluster, ManagedClusterAddOn) {
    let (mut cluster, mut addon) = (cluster.clone(), addon.clone());
    for metadata in [&mut cluster.metadata, &mut addon.metadata] {
        metadata.resource_version = None;
        metadata.generation = None;
        metadata.managed_fields = None;
        metadata.finalizers = None;
        metadata.deletion_timestamp = None;
        metadata.deletion_grace_period_seconds = None;
    }
    if let Some(status) = &mut cluster.status {
        status.conditions.clear();
    }
    if let Some(status) = &mut addon.status {
        status.conditions.clear();
        status.health_check = None;
        status.extra.clear();
        for reference in &mut status.config_references {
            reference.last_applied_config = None;
            reference.last_observed_generation = None;
        }
    }
    (cluster, addon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigKind;

    fn addon(annotation: &str) -> ManagedClusterAddOn {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1", "annotations": {VALUES_ANNOTATION: annotation}}, "spec": {}});
        serde_json::from_value(wire).unwrap()
    }

    fn cluster() -> ManagedCluster {
        serde_json::from_value(json!({"metadata": {"name": "c1"}})).unwrap()
    }

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn later_values_win_and_nothing_wins_over_the_builtin_ones() {
        let config = json!({"metadata": {"name": "a"}, "spec": {"agentInstallNamespace": "theirs",
            "customizedVariables": [{"name": "A", "value": "config"}, {"name": "B", "value": "config"}, {"name": "ClusterName", "value": "x"}]}});
        let configs = Configs::new([(ConfigKind::deployment_config(), serde_json::from_value(config).unwrap())]);
        let (cluster, addon) = (cluster(), addon(r#"{"C":"annotation","InstallMode":"x"}"#));
        let site = Site::new(&cluster, &addon, &configs, &Options::default()).unwrap();
        let more = [
            map(json!({"B": 1, "C": 1, "D": 1})),
            map(json!({"D": 2, "HubKubeConfigSecret": "mine"})),
        ];
        let expected = json!({"A": "config", "B": 1, "C": "annotation", "D": 2, "ClusterName": "c1", "AddonInstallNamespace": "theirs",
            "InstallMode": "Default", "HubKubeConfigSecret": "mine", "ManagedKubeConfigSecret": "hello-managed-kubeconfig"});
        assert_eq!(Value::Object(site.values(more).unwrap()), expected);
    }

    #[test]
    fn a_broken_annotation_is_an_error_that_names_it() {
        let (cluster, addon, configs) = (cluster(), addon("[1]"), Configs::default());
        let site = Site::new(&cluster, &addon, &configs, &Options::default()).unwrap();
        assert!(site.values([]).unwrap_err().to_string().contains(VALUES_ANNOTATION));
    }

    #[test]
    fn manifests_do_not_see_what_changes_all_the_time() {
        let wire = |version: &str, status: &str| {
            let condition = json!({"type": "Available", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"});
            json!({"metadata": {"name": "c1", "resourceVersion": version, "labels": {"a": "b"}}, "spec": {}, "status": {"conditions": [condition]}})
        };
        let viewed = |version: &str, status: &str| {
            let wire = wire(version, status);
            view(
                &serde_json::from_value(wire.clone()).unwrap(),
                &serde_json::from_value(wire).unwrap(),
            )
        };
        let (cluster, addon) = viewed("1", "True");
        assert_eq!((cluster.clone(), addon), viewed("2", "False"));
        assert_eq!(cluster.labels()["a"], "b");
    }
}
