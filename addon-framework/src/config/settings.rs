//! The deployment settings in force for an addon on a cluster, and how they get into its manifests. Pure.
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use peering_api::{
    k8s_openapi::api::core::v1::{ResourceRequirements, Toleration},
    ocm::{
        ManagedCluster,
        addon::{AddOnDeploymentConfigSpec, ContainerResources, ImageMirror, ProxyConfig},
    },
};
use serde_json::{Map, Value, json};

use super::image;

/// What the `AddOnDeploymentConfig`s of an addon say for one cluster. Of several, each setting is that of the last that has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Namespace of the agent: that of the first configuration. Empty: left alone.
    pub agent_install_namespace: Option<String>,
    /// Labels of the nodes that agents run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that agents tolerate.
    pub tolerations: Vec<Toleration>,
    /// The way out of the cluster.
    pub proxy: ProxyConfig,
    /// Where images come from.
    pub registries: Vec<ImageMirror>,
    /// Where the other images come from: the cluster's annotation.
    pub cluster_registries: Vec<ImageMirror>,
    /// What containers may use.
    pub resources: Vec<ContainerResources>,
    /// Free settings, by name.
    pub variables: BTreeMap<String, String>,
}

impl Settings {
    /// The settings of these configurations, in their order, on this cluster.
    #[must_use]
    pub fn new(configs: &[AddOnDeploymentConfigSpec], cluster: &ManagedCluster) -> Self {
        let mut settings = Self {
            agent_install_namespace: configs.first().and_then(|spec| spec.agent_install_namespace.clone()),
            cluster_registries: image::of_cluster(cluster),
            ..Self::default()
        };
        for spec in configs {
            let placement = spec.node_placement.clone().unwrap_or_default();
            replace(&mut settings.node_selector, placement.node_selector);
            replace(&mut settings.tolerations, placement.tolerations);
            replace(&mut settings.proxy, spec.proxy_config.clone());
            replace(&mut settings.registries, some(&spec.registries));
            replace(&mut settings.resources, some(&spec.resource_requirements));
            let variables = spec.customized_variables.iter();
            settings
                .variables
                .extend(variables.map(|variable| (variable.name.clone(), variable.value.clone())));
        }
        settings
    }

    /// Where this image comes from: the configurations' registries win over the cluster's.
    #[must_use]
    pub fn image(&self, image: &str) -> String {
        image::rewrite(image, &self.registries)
            .or_else(|| image::rewrite(image, &self.cluster_registries))
            .unwrap_or_else(|| image.to_owned())
    }

    /// What a container may use: of the entries that fit it, the last. `kind` is the plural of the workload's kind.
    #[must_use]
    pub fn resources(&self, kind: &str, workload: &str, container: &str) -> Option<&ResourceRequirements> {
        let fits = |entry: &&ContainerResources| {
            let parts: Vec<_> = entry.container_id.splitn(3, ':').collect();
            parts.len() == 3
                && [kind, workload, container]
                    .iter()
                    .zip(parts)
                    .all(|(text, pattern)| glob(pattern, text))
        };
        self.resources.iter().rev().find(fits).map(|entry| &entry.resources)
    }

    /// The proxy's CA certificates, as PEM.
    #[must_use]
    pub fn proxy_ca(&self) -> Option<String> {
        let bytes = BASE64.decode(&self.proxy.ca_bundle).ok()?;
        String::from_utf8(bytes).ok().filter(|pem| !pem.is_empty())
    }

    /// The settings as values for templates, with the names that the Go framework gives them.
    #[must_use]
    pub fn values(&self) -> Map<String, Value> {
        let mut values = Map::new();
        let mut put = |name: &str, value: Value| values.insert(name.to_owned(), value);
        if !self.node_selector.is_empty() {
            put("NodeSelector", json!(self.node_selector));
        }
        if !self.tolerations.is_empty() {
            put("Tolerations", json!(self.tolerations));
        }
        let proxy = [
            ("HTTPProxy", self.proxy.http.clone()),
            ("HTTPSProxy", self.proxy.https.clone()),
            ("NoProxy", self.proxy.no_proxy.clone()),
            ("ProxyCABundle", self.proxy_ca().unwrap_or_default()),
        ];
        for (name, value) in proxy.into_iter().filter(|(_, value)| !value.is_empty()) {
            put(name, value.into());
        }
        if !self.resources.is_empty() {
            let entry = |entry: &ContainerResources| json!({"ContainerIDRegex": regex(&entry.container_id), "Resources": entry.resources});
            put("ResourceRequirements", self.resources.iter().map(entry).collect());
        }
        for (name, value) in &self.variables {
            put(name, value.clone().into());
        }
        values
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// Whether `text` fits the pattern, in which `*` is any text of at least one character.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, char)| at + char.len_utf8());
    starts.into_iter().any(|start| glob(after, &rest[start..]))
}

/// The pattern as an anchored regular expression.
fn regex(pattern: &str) -> String {
    format!("^{}$", pattern.replace('*', ".+"))
}

#[cfg(test)]
mod tests {
    use peering_api::kube::core::ObjectMeta;
    use proptest::prelude::*;

    use super::*;

    fn spec(wire: Value) -> AddOnDeploymentConfigSpec {
        serde_json::from_value(wire).unwrap()
    }

    fn settings(specs: &[Value]) -> Settings {
        let specs: Vec<_> = specs.iter().cloned().map(spec).collect();
        Settings::new(&specs, &ManagedCluster::default())
    }

    #[test]
    fn all_settings_become_values() {
        let all = settings(&[json!({
            "agentInstallNamespace": "ns",
            "nodePlacement": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]},
            "proxyConfig": {"httpProxy": "http://p", "httpsProxy": "https://p", "noProxy": ".svc", "caBundle": "cGVt"},
            "customizedVariables": [{"name": "Level", "value": "4"}],
            "resourceRequirements": [{"containerID": "*:agent:*", "resources": {"limits": {"memory": "1Gi"}}}],
        })]);
        assert_eq!(all.agent_install_namespace.as_deref(), Some("ns"));
        let expected = json!({
            "NodeSelector": {"a": "b"}, "Tolerations": [{"key": "k", "operator": "Exists"}],
            "HTTPProxy": "http://p", "HTTPSProxy": "https://p", "NoProxy": ".svc", "ProxyCABundle": "pem", "Level": "4",
            "ResourceRequirements": [{"ContainerIDRegex": "^.+:agent:.+$", "Resources": {"limits": {"memory": "1Gi"}}}],
        });
        assert_eq!(Value::Object(all.values()), expected);
        assert_eq!(settings(&[json!({})]).values(), Map::new());
    }

    #[test]
    fn of_several_configurations_the_last_that_says_something_counts() {
        let both = settings(&[
            json!({"agentInstallNamespace": "one", "nodePlacement": {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "k"}]},
                "customizedVariables": [{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]}),
            json!({"agentInstallNamespace": "two", "nodePlacement": {"nodeSelector": {"c": "2"}},
                "customizedVariables": [{"name": "b", "value": "2"}]}),
        ]);
        assert_eq!(both.agent_install_namespace.as_deref(), Some("one"));
        assert_eq!(both.node_selector, [("c".to_owned(), "2".to_owned())].into());
        assert_eq!(both.tolerations.len(), 1);
        let variables = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(both.variables, variables.into());
    }

    #[test]
    fn resources_go_to_the_containers_that_the_pattern_names() {
        let limits =
            |pattern: &str, memory: &str| json!({"containerID": pattern, "resources": {"limits": {"memory": memory}}});
        let some = settings(&[json!({"resourceRequirements": [
            limits("*:*:*", "1"), limits("deployments:agent:*", "2"), limits("deployments:agent-*:main", "3"), limits("broken", "4"),
        ]})]);
        for (kind, name, container, expected) in [
            ("daemonsets", "x", "y", "1"),
            ("deployments", "agent", "main", "2"),
            ("deployments", "agent-a", "main", "3"),
            ("deployments", "agent-", "main", "1"),
            ("deployments", "agent-a", "other", "1"),
        ] {
            let found = some.resources(kind, name, container).unwrap();
            assert_eq!(
                found.limits.as_ref().unwrap()["memory"].0,
                expected,
                "{kind}:{name}:{container}"
            );
        }
    }

    #[test]
    fn registries_of_the_configuration_win_over_those_of_the_cluster() {
        let text = r#"{"registries":[{"source":"quay.io","mirror":"cluster.example"}]}"#;
        let cluster = ManagedCluster {
            metadata: ObjectMeta {
                annotations: Some(
                    [(
                        "open-cluster-management.io/image-registries".to_owned(),
                        text.to_owned(),
                    )]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            ..ManagedCluster::default()
        };
        let registries = |source: &str| spec(json!({"registries": [{"source": source, "mirror": "config.example"}]}));
        let image = |specs: &[AddOnDeploymentConfigSpec]| Settings::new(specs, &cluster).image("quay.io/a/b:1");
        assert_eq!(image(&[]), "cluster.example/a/b:1");
        assert_eq!(image(&[registries("quay.io/a")]), "config.example/b:1");
        assert_eq!(image(&[registries("docker.io")]), "cluster.example/a/b:1");
        assert_eq!(
            image(&[registries("docker.io"), registries("quay.io")]),
            "config.example/a/b:1"
        );
    }

    proptest! {
        #[test]
        fn a_later_configuration_never_loses_what_an_earlier_one_alone_says(first in "[a-z]{1,4}", second in "[a-z]{1,4}") {
            let one = json!({"customizedVariables": [{"name": "First", "value": first}], "proxyConfig": {"httpProxy": first}});
            let two = json!({"customizedVariables": [{"name": "Second", "value": second}]});
            let both = settings(&[one, two]);
            prop_assert_eq!(&both.variables["First"], &first);
            prop_assert_eq!(&both.variables["Second"], &second);
            prop_assert_eq!(both.proxy.http, first);
        }

        #[test]
        fn a_star_stands_for_something(prefix in "[a-z]{0,3}", middle in "[a-z:]{0,3}", suffix in "[a-z]{0,3}") {
            let text = format!("{prefix}{middle}{suffix}");
            let pattern = format!("{prefix}*{suffix}");
            prop_assert_eq!(glob(&pattern, &text), !middle.is_empty());
            prop_assert!(glob(&text, &text));
        }
    }
}
