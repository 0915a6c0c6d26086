//! Puts deployment settings into the pods of manifests: for addons whose own manifests do not ask for them. Pure.
use peering_api::kube::{ResourceExt, core::DynamicObject};
use serde_json::{Map, Value, json};

use super::settings::Settings;

/// Kinds with pods, the plurals of their resources, and where the pod's spec stands in them.
const WORKLOADS: [(&str, &str, &str); 7] = [
    ("Deployment", "deployments", "/spec/template/spec"),
    ("DaemonSet", "daemonsets", "/spec/template/spec"),
    ("StatefulSet", "statefulsets", "/spec/template/spec"),
    ("ReplicaSet", "replicasets", "/spec/template/spec"),
    ("Job", "jobs", "/spec/template/spec"),
    ("CronJob", "cronjobs", "/spec/jobTemplate/spec/template/spec"),
    ("Pod", "pods", "/spec"),
];

impl Settings {
    /// Puts node selector, tolerations, images, resources and proxy variables into all pods of these manifests, init
    /// containers too. What a container says itself about its environment stays.
    pub fn inject(&self, manifests: &mut [DynamicObject]) {
        for manifest in manifests {
            let kind = manifest
                .types
                .as_ref()
                .map(|types| types.kind.clone())
                .unwrap_or_default();
            let Some((_, plural, path)) = WORKLOADS.iter().find(|(known, ..)| *known == kind) else {
                continue;
            };
            let name = manifest.name_any();
            if let Some(pod) = manifest.data.pointer_mut(path).and_then(Value::as_object_mut) {
                self.inject_pod(pod, plural, &name);
            }
        }
    }

    fn inject_pod(&self, pod: &mut Map<String, Value>, plural: &str, workload: &str) {
        if !self.node_selector.is_empty() {
            let selector = pod.entry("nodeSelector").or_insert_with(|| json!({}));
            if let Some(selector) = selector.as_object_mut() {
                selector.extend(
                    self.node_selector
                        .iter()
                        .map(|(key, value)| (key.clone(), json!(value))),
                );
            }
        }
        if !self.tolerations.is_empty() {
            let tolerations = pod.entry("tolerations").or_insert_with(|| json!([]));
            if let Some(tolerations) = tolerations.as_array_mut() {
                let new: Vec<_> = self.tolerations.iter().map(|toleration| json!(toleration)).collect();
                tolerations.retain(|known| !new.contains(known));
                tolerations.extend(new);
            }
        }
        for list in ["initContainers", "containers"] {
            let containers = pod.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                self.inject_container(container, plural, workload);
            }
        }
    }

    fn inject_container(&self, container: &mut Map<String, Value>, plural: &str, workload: &str) {
        if let Some(image) = container.get("image").and_then(Value::as_str) {
            let moved = self.image(image);
            container.insert("image".to_owned(), moved.into());
        }
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(resources) = self.resources(plural, workload, name) {
            container.insert("resources".to_owned(), json!(resources));
        }
        let variables = [
            ("HTTP_PROXY", &self.proxy.http),
            ("HTTPS_PROXY", &self.proxy.https),
            ("NO_PROXY", &self.proxy.no_proxy),
        ];
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            // Programs differ in which of the two they read.
            for name in [name.to_owned(), name.to_lowercase()] {
                add_variable(container, &name, value);
            }
        }
    }
}

fn add_variable(container: &mut Map<String, Value>, name: &str, value: &str) {
    let variables = container.entry("env").or_insert_with(|| json!([]));
    let Some(variables) = variables.as_array_mut() else {
        return;
    };
    if !variables.iter().any(|variable| variable["name"] == name) {
        variables.push(json!({"name": name, "value": value}));
    }
}

#[cfg(test)]
mod tests {
    use peering_api::ocm::ManagedCluster;

    use super::*;

    fn injected(settings: Value, manifest: Value) -> Value {
        let settings = Settings::new(&[serde_json::from_value(settings).unwrap()], &ManagedCluster::default());
        let mut manifests = [serde_json::from_value(manifest).unwrap()];
        settings.inject(&mut manifests);
        serde_json::to_value(&manifests[0]).unwrap()
    }

    #[test]
    fn pods_get_everything_and_keep_what_they_say_themselves() {
        let settings = json!({
            "nodePlacement": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}, {"key": "known"}]},
            "proxyConfig": {"httpsProxy": "http://p", "noProxy": ".svc"},
            "registries": [{"source": "quay.io", "mirror": "m.example"}],
            "resourceRequirements": [{"containerID": "deployments:agent:main", "resources": {"limits": {"memory": "1Gi"}}}],
        });
        let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "agent"}, "spec": {"template": {"spec": {
            "nodeSelector": {"os": "linux"}, "tolerations": [{"key": "known"}],
            "initContainers": [{"name": "init", "image": "quay.io/a/init:1"}],
            "containers": [{"name": "main", "image": "quay.io/a/b:1", "resources": {"limits": {"memory": "1Mi"}},
                "env": [{"name": "NO_PROXY", "value": "mine"}]}],
        }}}});
        let result = injected(settings, manifest);
        let pod = &result["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"], json!({"a": "b", "os": "linux"}));
        assert_eq!(pod["tolerations"], json!([{"key": "k"}, {"key": "known"}]));
        assert_eq!(pod["initContainers"][0]["image"], "m.example/a/init:1");
        assert_eq!(pod["initContainers"][0]["env"].as_array().unwrap().len(), 4);
        let main = &pod["containers"][0];
        assert_eq!(main["image"], "m.example/a/b:1");
        assert_eq!(main["resources"], json!({"limits": {"memory": "1Gi"}}));
        let names: Vec<_> = main["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| (&variable["name"], &variable["value"]))
            .collect();
        assert_eq!(
            json!(names),
            json!([
                ["NO_PROXY", "mine"],
                ["HTTPS_PROXY", "http://p"],
                ["https_proxy", "http://p"],
                ["no_proxy", ".svc"]
            ])
        );
    }

    #[test]
    fn tolerations_come_without_a_node_selector_too_and_other_kinds_stay_as_they_are() {
        let settings =
            json!({"nodePlacement": {"tolerations": [{"key": "k"}]}, "registries": [{"mirror": "m.example"}]});
        let job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a/b"}]}}}}}});
        let job = injected(settings.clone(), job);
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(
            *pod,
            json!({"tolerations": [{"key": "k"}], "containers": [{"name": "c", "image": "m.example/b"}]})
        );
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "spec": {"containers": [{"image": "a/b"}]}});
        assert_eq!(injected(settings, map.clone()), map);
    }

    #[test]
    fn no_settings_change_nothing() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a/b"}]}});
        assert_eq!(injected(json!({}), pod.clone()), pod);
    }
}
