//! The addon `tokenexchange` as the framework drives it: what is deployed on a managed cluster, what its agent may do on the
//! hub, and what has to happen before it may be removed.
use std::{collections::BTreeMap, sync::Arc};

use addon_framework::{Addon, AddonError, ConfigKind, Options, Registration, Removal, Site};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::{ResourceExt, core::DynamicObject};
use peering_api::{
    names,
    ocm::{ManagedCluster, ManagedClusterAddOn},
    peering::ReportRequest,
};
use serde_json::{Value, json};

use crate::peering::Hub;

/// The agent's manifests, with holes for namespace, cluster and image.
const MANIFESTS: &str = include_str!("../../manifests/agent/agent.yaml");

/// Name of the Roles by which agents read what their members report.
const REPORTS: &str = "token-exchange-agent-reports";

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
        let (namespace, name) = (&site.install_namespace, site.cluster_name());
        let mut manifests = render(namespace, &name, &self.image)?;
        site.settings.inject(&mut manifests);
        let member = self.hub.members.get(Some(&name), &name);
        let requests = member.map(|member| member.spec.reports.clone()).unwrap_or_default();
        manifests.extend(reading(namespace, &requests)?);
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

/// The rights to read what the member reports: each `ConfigMap` by its name.
fn reading(agent_namespace: &str, requests: &[ReportRequest]) -> Result<Vec<DynamicObject>, AddonError> {
    let verbs = ["get", "list", "watch"];
    let mut rules: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for request in requests {
        let rules = rules.entry(&request.namespace).or_default();
        rules.extend(request.config_map.as_ref().map(
            |name| json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": verbs}),
        ));
        rules.extend(request.objects.as_ref().map(|objects| {
            let group = objects.api_version.split_once('/').map_or("", |(group, _)| group);
            json!({"apiGroups": [group], "resources": [objects.resource], "verbs": verbs})
        }));
    }
    let group = "rbac.authorization.k8s.io";
    let objects = rules.iter().flat_map(|(namespace, rules)| {
        let metadata = json!({"name": REPORTS, "namespace": namespace});
        [
            json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules}),
            json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": REPORTS},
                "subjects": [{"kind": "ServiceAccount", "name": names::AGENT, "namespace": agent_namespace}]}),
        ]
    });
    let object =
        |object| serde_json::from_value(object).map_err(|error| AddonError::caused("a role is not an object", error));
    objects.map(object).collect()
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
        let in_namespace = ["ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Deployment"];
        assert_eq!(kinds.len(), in_namespace.len() + 1);
        for (kind, object) in kinds.iter().zip(&objects) {
            let namespaced = in_namespace.contains(&kind.as_str());
            assert_eq!(object.namespace().as_deref(), namespaced.then_some("ns-x"), "{kind}");
            assert!(namespaced || kind == "PriorityClass", "{kind}");
        }
        let deployment = serde_json::to_string(&objects[5]).unwrap();
        assert!(deployment.contains("--cluster-name=cluster-x") && deployment.contains("\"image\":\"image-x\""));
        assert!(!deployment.contains("${"), "a hole was not filled");
        assert!(
            deployment.contains(&format!("{}-hub-kubeconfig", names::ADDON)),
            "the Secret that OCM writes"
        );
    }

    #[test]
    fn what_is_reported_is_read_by_its_name_only() {
        let request = |namespace: &str, name: &str| ReportRequest {
            name: "r".to_owned(),
            namespace: namespace.to_owned(),
            config_map: Some(name.to_owned()),
            objects: None,
        };
        assert!(reading("agent", &[]).unwrap().is_empty());
        let requests = [request("a", "x"), request("b", "y"), request("a", "z")];
        let objects = serde_json::to_value(reading("agent", &requests).unwrap()).unwrap();
        assert_eq!(objects.as_array().unwrap().len(), 4);
        let rules = objects[0]["rules"].as_array().unwrap();
        let names: Vec<_> = rules.iter().map(|rule| &rule["resourceNames"]).collect();
        assert_eq!(names, [&json!(["x"]), &json!(["z"])]);
        assert_eq!(objects[1]["subjects"][0]["namespace"], "agent");
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
