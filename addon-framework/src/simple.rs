//! Addons without a type of their own: put together from a name, manifests and settings.
use std::sync::Arc;

use peering_api::{
    kube::core::DynamicObject,
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::{Map, Value};

use crate::{
    Templates, addon::Addon, csr::Signer, error::AddonError, options::Options, registration::Registration, site::Site,
};

type Rendering = Box<dyn Fn(&Site<'_>) -> Result<Vec<DynamicObject>, AddonError> + Send + Sync>;
type Registering = Box<dyn Fn(&ManagedCluster, &ManagedClusterAddOn) -> Option<Registration> + Send + Sync>;
type Valuing = Box<dyn Fn(&Site<'_>) -> Result<Map<String, Value>, AddonError> + Send + Sync>;
type Signing = Box<dyn Fn(&str, &str) -> Option<Arc<Signer>> + Send + Sync>;

/// An addon that is said rather than implemented.
///
/// ```
/// use addon_framework::{ConfigKind, Options, Simple, Templates};
///
/// let templates = Templates::new([("map.yaml", "
/// apiVersion: v1
/// kind: ConfigMap
/// metadata: {name: greeting, namespace: {{ AddonInstallNamespace }}}
/// data: {cluster: {{ ClusterName }}}
/// ")])?;
/// let addon = Simple::new("greeting")
///     .templates(templates)
///     .options(Options { configs: vec![ConfigKind::deployment_config()], ..Options::default() })
///     .without_registration();
/// # let _: std::sync::Arc<dyn addon_framework::Addon> = std::sync::Arc::new(addon);
/// # Ok::<(), addon_framework::AddonError>(())
/// ```
pub struct Simple {
    name: String,
    options: Options,
    sources: Vec<Rendering>,
    values: Vec<Valuing>,
    templates: Vec<Templates>,
    registration: Option<Registering>,
    signer: Option<Signing>,
    inject: bool,
}

impl std::fmt::Debug for Simple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simple")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Simple {
    /// An addon of this name which deploys nothing yet, with the usual identity on the hub.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            options: Options::default(),
            sources: vec![],
            values: vec![],
            templates: vec![],
            registration: None,
            signer: None,
            inject: false,
        }
    }

    /// Deploys these objects, the same on all clusters.
    #[must_use]
    pub fn objects(self, objects: Vec<DynamicObject>) -> Self {
        self.manifests(move |_| Ok(objects.clone()))
    }

    /// Deploys what this pure function says.
    #[must_use]
    pub fn manifests(
        mut self,
        manifests: impl Fn(&Site<'_>) -> Result<Vec<DynamicObject>, AddonError> + Send + Sync + 'static,
    ) -> Self {
        self.sources.push(Box::new(manifests));
        self
    }

    /// Deploys what these templates say, with [`Site::values`].
    #[must_use]
    pub fn templates(mut self, templates: Templates) -> Self {
        self.templates.push(templates);
        self
    }

    /// More values for the templates; later ones win.
    #[must_use]
    pub fn values(
        mut self,
        values: impl Fn(&Site<'_>) -> Result<Map<String, Value>, AddonError> + Send + Sync + 'static,
    ) -> Self {
        self.values.push(Box::new(values));
        self
    }

    /// Puts the deployment settings into all pods ([`crate::Settings::inject`] and [`crate::Settings::inject_proxy_ca`]).
    #[must_use]
    pub fn inject_settings(mut self) -> Self {
        self.inject = true;
        self
    }

    /// What the agent gets on the hub.
    #[must_use]
    pub fn registration(
        mut self,
        registration: impl Fn(&ManagedCluster, &ManagedClusterAddOn) -> Option<Registration> + Send + Sync + 'static,
    ) -> Self {
        self.registration = Some(Box::new(registration));
        self
    }

    /// The agent gets nothing on the hub.
    #[must_use]
    pub fn without_registration(self) -> Self {
        self.registration(|_, _| None)
    }

    /// The CA of a signer of its own ([`Addon::signer`]).
    #[must_use]
    pub fn signer(mut self, signer: impl Fn(&str, &str) -> Option<Arc<Signer>> + Send + Sync + 'static) -> Self {
        self.signer = Some(Box::new(signer));
        self
    }

    /// Settings that are the same on all clusters.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

impl Addon for Simple {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
        let mut manifests = vec![];
        for source in &self.sources {
            manifests.extend(source(site)?);
        }
        if !self.templates.is_empty() {
            let more: Result<Vec<_>, _> = self.values.iter().map(|values| values(site)).collect();
            let values = site.values(more?)?;
            for templates in &self.templates {
                manifests.extend(templates.render(&values)?);
            }
        }
        if self.inject {
            site.settings.inject(&mut manifests);
            site.settings.inject_proxy_ca(&self.name, &mut manifests);
        }
        Ok(manifests)
    }

    fn registration(&self, cluster: &ManagedCluster, addon: &ManagedClusterAddOn) -> Option<Registration> {
        match &self.registration {
            Some(registration) => registration(cluster, addon),
            None => Some(Registration::kube_client(
                cluster.metadata.name.as_deref().unwrap_or_default(),
                &self.name,
            )),
        }
    }

    fn signer(&self, cluster: &str, name: &str) -> Option<Arc<Signer>> {
        self.signer.as_ref().and_then(|signer| signer(cluster, name))
    }

    fn options(&self) -> Options {
        self.options.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ConfigKind, Configs};

    #[test]
    fn all_sources_are_deployed_with_values_and_settings() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ Name }}}\nspec: {containers: [{name: c, image: quay.io/a/b}]}";
        let addon = Simple::new("hello")
            .objects(vec![DynamicObject::new(
                "fixed",
                &ConfigKind::new("", "v1", "configmaps").api_resource(),
            )])
            .manifests(|site| {
                Ok(vec![DynamicObject::new(
                    &site.cluster_name(),
                    &ConfigKind::new("", "v1", "x").api_resource(),
                )])
            })
            .values(|_| Ok(Map::from_iter([("Name".to_owned(), json!("first"))])))
            .values(|site| {
                Ok(Map::from_iter([(
                    "Name".to_owned(),
                    json!(format!("on-{}", site.cluster_name())),
                )]))
            })
            .templates(Templates::new([("pod.yaml", pod)]).unwrap())
            .inject_settings();
        let config = json!({"metadata": {"name": "a"}, "spec": {"registries": [{"mirror": "m.example"}]}});
        let configs = Configs::new([(ConfigKind::deployment_config(), serde_json::from_value(config).unwrap())]);
        let cluster = serde_json::from_value(json!({"metadata": {"name": "c1"}})).unwrap();
        let object = ManagedClusterAddOn::default();
        let site = Site::new(&cluster, &object, &configs, &Addon::options(&addon)).unwrap();
        let made = Addon::manifests(&addon, &site).unwrap();
        let names: Vec<_> = made
            .iter()
            .filter_map(|object| object.metadata.name.as_deref())
            .collect();
        assert_eq!(names, ["fixed", "c1", "on-c1"]);
        assert_eq!(made[2].data["spec"]["containers"][0]["image"], "m.example/b");
        assert_eq!(Addon::registration(&addon, &cluster, &object).unwrap().configs.len(), 1);
        assert!(Addon::registration(&addon.without_registration(), &cluster, &object).is_none());
    }
}
