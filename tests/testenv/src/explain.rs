//! What a failed wait prints: the objects that tell why, and the tails of the logs.

use std::{fmt::Write, path::Path};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    core::discovery::verbs,
    discovery::oneshot,
};
use serde_json::{Value, json};

use crate::{cluster::Cluster, env::Env, files, ocm};

/// The group of our own kinds, all of which are shown.
const OWN_GROUP: &str = "peering.open-cluster-management.io";

/// The kinds of others that are shown from the hub: group, version, kind.
const HUB_KINDS: [(&str, &str, &str); 3] = [
    ("cluster.open-cluster-management.io", "v1", "ManagedCluster"),
    ("addon.open-cluster-management.io", "v1alpha1", "ManagedClusterAddOn"),
    ("work.open-cluster-management.io", "v1", "ManifestWork"),
];

/// The kinds that are shown from every cluster.
const ALL_KINDS: [(&str, &str, &str); 1] = [("apps", "v1", "Deployment")];

/// Describes an environment.
pub async fn explain(env: &Env) -> String {
    let mut text = String::new();
    if let Err(error) = env.check() {
        let _ = writeln!(text, "--- a process has died: {error:#}");
    }
    for cluster in std::iter::once(env.hub().clone()).chain(env.spokes()) {
        describe(&mut text, &cluster, cluster.name() == env.hub().name()).await;
    }
    for log in env.workload_logs() {
        log_tail(&mut text, &log);
    }
    log_tail(&mut text, &env.hub().log("ocm-addon-manager"));
    let managed = env.spokes().into_iter().chain(env.spoke(ocm::LOCAL_CLUSTER).ok());
    for cluster in managed {
        log_tail(&mut text, &cluster.log("registration-agent"));
        log_tail(&mut text, &cluster.log("work-agent"));
    }
    text
}

async fn describe(text: &mut String, cluster: &Cluster, hub: bool) {
    let client = match cluster.client().await {
        Ok(client) => client,
        Err(error) => {
            let _ = writeln!(text, "--- {}: {error:#}", cluster.name());
            return;
        }
    };
    let kinds = HUB_KINDS.iter().filter(|_| hub).chain(&ALL_KINDS);
    for (group, version, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        list(text, cluster.name(), &client, &resource).await;
    }
    if let Ok(group) = oneshot::group(&client, OWN_GROUP).await {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.supports_operation(verbs::LIST) {
                list(text, cluster.name(), &client, &resource).await;
            }
        }
    }
}

async fn list(text: &mut String, cluster: &str, client: &Client, resource: &ApiResource) {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    match api.list(&ListParams::default()).await {
        Ok(objects) => {
            let _ = writeln!(
                text,
                "--- {cluster}: {} of {} ({})",
                objects.items.len(),
                resource.kind,
                resource.api_version
            );
            for object in objects {
                let value = serde_json::to_value(object).unwrap_or_default();
                let _ = writeln!(text, "{}", compact(value));
            }
        }
        Err(error) => {
            let _ = writeln!(text, "--- {cluster}: {} cannot be listed: {error}", resource.kind);
        }
    }
}

/// One line per object: without what nobody reads, and without the bytes of Secrets wherever they are embedded.
fn compact(mut object: Value) -> String {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    redact(&mut object);
    object.to_string()
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("kind").is_some_and(|kind| kind == "Secret") {
                for field in ["data", "stringData"] {
                    if let Some(data) = fields.get_mut(field).and_then(Value::as_object_mut) {
                        for bytes in data.values_mut() {
                            *bytes = json!(format!("({} characters)", bytes.as_str().map_or(0, str::len)));
                        }
                    }
                }
                if let Some(annotations) = fields.get_mut("metadata").and_then(|m| m.get_mut("annotations")) {
                    *annotations = json!("(left out)");
                }
            }
            fields.values_mut().for_each(redact);
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn log_tail(text: &mut String, log: &Path) {
    let _ = writeln!(text, "--- the end of {}:\n{}", log.display(), files::tail(log, 30));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_embedded_secrets_is_not_shown() {
        let work = json!({"kind": "ManifestWork", "metadata": {"managedFields": [1]}, "spec": {"workload": {"manifests": [
            {"kind": "Secret", "data": {"token": "c2VjcmV0"}, "metadata": {"annotations": {"last": "c2VjcmV0"}}},
            {"kind": "ConfigMap", "data": {"a": "shown"}},
        ]}}});
        let text = compact(work);
        assert!(!text.contains("c2VjcmV0") && !text.contains("managedFields"), "{text}");
        assert!(text.contains("(8 characters)") && text.contains("shown"), "{text}");
    }
}
