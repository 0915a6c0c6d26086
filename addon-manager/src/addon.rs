//! The addon `tokenexchange` as the framework drives it: what is deployed on a managed cluster, what its agent may do on the
//! hub, and what has to happen before it may be removed.
use std::sync::Arc;

use addon_framework::{Addon, AddonError, ConfigKind, Options, Registration, Removal, Site};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::{ResourceExt, core::DynamicObject};
use peering_api::{
    names,
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::Value;

use crate::peering::Hub;

/// The agent's manifests, with holes for namespace, cluster and image.
const MANIFESTS: &str = include_str!("../../manifests/agent/agent.yaml");

/// The addon `tokenexchange`.
pub(crate) struct TokenExchange {
    hub: Arc<Hub>,
    image: String,
}

impl TokenExchange {
    /// The addon, whose agents run from `image`.
    pub(crate) fn new(hub: Arc<Hub>, image: String) -> Self {
        Self { hub, image }
    }
}

impl Addon for TokenExchange {
    fn name(&self) -> &'static str {
        names::ADDON
    }

    fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
        let mut manifests = render(&site.install_namespace, &site.cluster_name(), &self.image)?;
        site.settings.inject(&mut manifests);
        Ok(manifests)
    }

    fn registration(&self, cluster: &ManagedCluster, _: &ManagedClusterAddOn) -> Option<Registration> {
        Some(Registration::kube_client(&cluster.name_any(), names::ADDON).allow(permissions()))
    }

    fn options(&self) -> Options {
        Options {
            finalizer: Some(names::WITHDRAW_FINALIZER.to_owned()),
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        }
    }

    /// The agent stays until it has withdrawn what it delivered; the links go as soon as the addon is being deleted.
    fn before_removal<'a>(
        &'a self,
        cluster: &'a str,
        _: &'a ManagedClusterAddOn,
    ) -> BoxFuture<'a, Result<Removal, AddonError>> {
        async move {
            self.hub.ready().await;
            Ok(if self.hub.has_links(cluster) {
                Removal::Wait(format!(
                    "the agent of cluster {cluster} is withdrawing what it delivered: see the PeerLinks in namespace {cluster}"
                ))
            } else {
                Removal::Done
            })
        }
        .boxed()
    }
}

/// What an agent may do on the hub, in its own cluster namespace: read its work list, report on it. No Secret.
fn permissions() -> [PolicyRule; 2] {
    let rule = |resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![names::GROUP.to_owned()]),
        resources: Some(resources.iter().map(ToString::to_string).collect()),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    };
    [
        rule(&["peermembers", "peerexports", "peerlinks"], &["get", "list", "watch"]),
        rule(
            &["peermembers/status", "peerexports/status", "peerlinks/status"],
            &["patch"],
        ),
    ]
}

fn render(namespace: &str, cluster: &str, image: &str) -> Result<Vec<DynamicObject>, AddonError> {
    let holes = [
        ("${namespace}", namespace),
        ("${cluster}", cluster),
        ("${image}", image),
    ];
    let documents: Vec<Value> = serde_saphyr::from_multiple(MANIFESTS)
        .map_err(|error| AddonError::caused("the agent's manifests are not valid YAML", error))?;
    let fill = |mut document: Value| {
        fill(&mut document, &holes);
        serde_json::from_value(document)
            .map_err(|error| AddonError::caused("an agent's manifest is not an object", error))
    };
    documents.into_iter().map(fill).collect()
}

/// Fills holes in the parsed document, so that no value can become YAML of its own.
fn fill(value: &mut Value, holes: &[(&str, &str)]) {
    match value {
        Value::String(text) => holes
            .iter()
            .for_each(|(hole, filling)| *text = text.replace(hole, filling)),
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, holes)),
        Value::Object(fields) => fields.values_mut().for_each(|item| fill(item, holes)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_rendered_for_its_cluster() {
        let objects = render("ns-x", "cluster-x", "image-x").unwrap();
        let kinds: Vec<_> = objects
            .iter()
            .map(|object| object.types.clone().unwrap().kind)
            .collect();
        assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "Deployment"]);
        assert!(
            objects
                .iter()
                .all(|object| object.namespace().as_deref() == Some("ns-x"))
        );
        let deployment = serde_json::to_string(&objects[3]).unwrap();
        assert!(deployment.contains("--cluster-name=cluster-x") && deployment.contains("\"image\":\"image-x\""));
        assert!(!deployment.contains("${"), "a hole was not filled");
        assert!(
            deployment.contains(&format!("{}-hub-kubeconfig", names::ADDON)),
            "the Secret that OCM writes"
        );
    }

    #[test]
    fn names_in_the_manifests_are_those_of_the_code() {
        for name in [names::AGENT, names::AGENT_KEY_SECRET, names::ADDON] {
            assert!(
                MANIFESTS.contains(&format!("[{name}]")) || MANIFESTS.contains(&format!("name: {name}")),
                "{name}"
            );
        }
    }

    #[test]
    fn agents_have_no_right_on_secrets_of_the_hub() {
        let rules = permissions();
        assert!(
            rules
                .iter()
                .all(|rule| rule.api_groups.as_deref() == Some(&[names::GROUP.to_owned()]))
        );
    }
}
