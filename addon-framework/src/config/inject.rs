//! Puts deployment settings into the pods of manifests: for addons whose own manifests do not ask for them. Pure.
use std::collections::BTreeSet;

use peering_api::{
    k8s_openapi::api::core::v1::ConfigMap,
    kube::{
        ResourceExt,
        core::{ApiResource, DynamicObject},
    },
};
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

/// Volume with the proxy's CA certificates, where it is mounted, and its file.
const CA_VOLUME: &str = "proxy-ca";
const CA_DIRECTORY: &str = "/managed/proxy-ca";
const CA_FILE: &str = "ca-bundle.crt";

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

    /// Gives all pods of these manifests the proxy's CA certificates, if the settings have some: the file that the variable
    /// `CA_BUNDLE_FILE_PATH` names, from a `ConfigMap` `<addon>-proxy-ca` (names as OCM's template addons have them).
    pub fn inject_proxy_ca(&self, addon: &str, manifests: &mut Vec<DynamicObject>) {
        let Some(pem) = self.proxy_ca() else { return };
        let name = format!("{addon}-proxy-ca");
        let mut namespaces = BTreeSet::new();
        for manifest in manifests.iter_mut() {
            let kind = manifest
                .types
                .as_ref()
                .map(|types| types.kind.clone())
                .unwrap_or_default();
            let path = WORKLOADS
                .iter()
                .find(|(known, ..)| *known == kind)
                .map(|(.., path)| path);
            let pod = path
                .and_then(|path| manifest.data.pointer_mut(path))
                .and_then(Value::as_object_mut);
            if let Some(pod) = pod {
                mount_ca(pod, &name);
                namespaces.extend(manifest.namespace());
            }
        }
        for namespace in namespaces {
            let known = manifests.iter().any(|manifest| {
                let is_map = manifest.types.as_ref().is_some_and(|types| types.kind == "ConfigMap");
                is_map && manifest.name_any() == name && manifest.namespace().as_ref() == Some(&namespace)
            });
            if known {
                continue;
            }
            let kind = ApiResource::erase::<ConfigMap>(&());
            let mut map = DynamicObject::new(&name, &kind).within(&namespace);
            map.data = json!({"data": {CA_FILE: pem}});
            manifests.push(map);
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

fn mount_ca(pod: &mut Map<String, Value>, map: &str) {
    add_named(pod, "volumes", json!({"name": CA_VOLUME, "configMap": {"name": map}}));
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            add_named(
                container,
                "volumeMounts",
                json!({"name": CA_VOLUME, "mountPath": CA_DIRECTORY, "readOnly": true}),
            );
            add_variable(container, "CA_BUNDLE_FILE_PATH", &format!("{CA_DIRECTORY}/{CA_FILE}"));
        }
    }
}

/// Adds an entry to a list, unless one of its name is there.
fn add_named(fields: &mut Map<String, Value>, list: &str, entry: Value) {
    let entries = fields.entry(list).or_insert_with(|| json!([]));
    let Some(entries) = entries.as_array_mut() else { return };
    if !entries.iter().any(|known| known["name"] == entry["name"]) {
        entries.push(entry);
    }
}

fn add_variable(container: &mut Map<String, Value>, name: &str, value: &str) {
    add_named(container, "env", json!({"name": name, "value": value}));
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

    #[test]
    fn the_proxys_ca_is_mounted_into_all_containers_and_comes_along() {
        let spec = json!({"proxyConfig": {"caBundle": "cGVt"}});
        let settings = |spec: &Value| {
            Settings::new(
                &[serde_json::from_value(spec.clone()).unwrap()],
                &ManagedCluster::default(),
            )
        };
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}, "spec": {
            "initContainers": [{"name": "i", "image": "a"}], "containers": [{"name": "c", "image": "a"}]}});
        let mut manifests: Vec<DynamicObject> = vec![serde_json::from_value(pod).unwrap()];
        settings(&json!({})).inject_proxy_ca("hello", &mut manifests);
        assert_eq!(manifests.len(), 1);
        for _ in 0..2 {
            settings(&spec).inject_proxy_ca("hello", &mut manifests);
        }
        let pod = &manifests[0].data["spec"];
        assert_eq!(
            pod["volumes"],
            json!([{"name": "proxy-ca", "configMap": {"name": "hello-proxy-ca"}}])
        );
        for list in ["initContainers", "containers"] {
            assert_eq!(pod[list][0]["volumeMounts"][0]["mountPath"], "/managed/proxy-ca");
            assert_eq!(
                pod[list][0]["env"],
                json!([{"name": "CA_BUNDLE_FILE_PATH", "value": "/managed/proxy-ca/ca-bundle.crt"}])
            );
        }
        let map = serde_json::to_value(&manifests[1]).unwrap();
        assert_eq!(
            map,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hello-proxy-ca", "namespace": "ns"},
            "data": {"ca-bundle.crt": "pem"}})
        );
    }
}
