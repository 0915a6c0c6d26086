//! The addon kinds between their versions, by the rules of OCM's conversion webhook. Pure.
use peering_api::ocm::{
    addon::{
        GROUP,
        v1beta1::{CUSTOM_SIGNER, KUBE_CLIENT},
    },
    names::{INSTALL_NAMESPACE_ANNOTATION, KUBE_CLIENT_SIGNER, NO_DEFAULT_CONFIG},
};
use serde_json::{Map, Value, json};

/// The version that the framework speaks.
pub const NEWER: &str = "v1beta1";
/// The version that hubs before OCM 1.2 serve.
pub const OLDER: &str = "v1alpha1";

/// Annotation which tells, within this process only, that a hub serves an object in [`OLDER`] alone.
pub const SERVED_ANNOTATION: &str = "addon-framework/served-version";

const ADDONS: &str = "managedclusteraddons";
const DEFINITIONS: &str = "clustermanagementaddons";

/// An object of this resource, or a list of such, from [`OLDER`] to [`NEWER`].
pub fn up(resource: &str, value: &mut Value) {
    relabel(value, OLDER, NEWER);
    if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            up(resource, item);
        }
        return;
    }
    match resource {
        ADDONS => addon_up(value),
        DEFINITIONS => definition_up(value),
        _ => {}
    }
}

/// An object of this resource, or a patch of one, from [`NEWER`] to [`OLDER`].
pub fn down(resource: &str, value: &mut Value) {
    if let Some(operations) = value.as_array_mut() {
        for operation in operations {
            operation_down(resource, operation);
        }
        return;
    }
    relabel(value, NEWER, OLDER);
    match resource {
        ADDONS => addon_down(value),
        DEFINITIONS => definition_down(value),
        _ => {}
    }
}

/// One operation of a JSON patch. Of what our patches name, only the list of registrations has another form in [`OLDER`].
fn operation_down(resource: &str, operation: &mut Value) {
    let path = operation["path"].as_str();
    if resource != ADDONS || path != Some("/status/registrations") {
        return;
    }
    if let Some(list) = operation.get_mut("value") {
        let mut whole = json!({"status": {"registrations": list.take()}});
        down(resource, &mut whole);
        *list = whole["status"]["registrations"].take();
    }
}

fn relabel(value: &mut Value, from: &str, to: &str) {
    if value["apiVersion"] == format!("{GROUP}/{from}") {
        value["apiVersion"] = format!("{GROUP}/{to}").into();
    }
}

fn object<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    value.get_mut(field)?.as_object_mut()
}

/// Moves a field to another name.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// Replaces each entry of a list.
fn each(fields: &mut Map<String, Value>, list: &str, change: impl Fn(&Value) -> Value) {
    if let Some(entries) = fields.get_mut(list).and_then(Value::as_array_mut) {
        for entry in entries {
            *entry = change(entry);
        }
    }
}

/// What is there of these fields.
fn take(from: &Value, fields: &[&str]) -> Map<String, Value> {
    let there = fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
    there.collect()
}

fn addon_up(value: &mut Value) {
    let namespace = object(value, "spec").and_then(|spec| spec.remove("installNamespace"));
    if let Some(metadata) = object(value, "metadata") {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(SERVED_ANNOTATION.to_owned(), OLDER.into());
            if let Some(namespace) = namespace {
                annotations.insert(INSTALL_NAMESPACE_ANNOTATION.to_owned(), namespace);
            }
        }
    }
    let Some(status) = object(value, "status") else { return };
    status.remove("addOnConfiguration");
    let driver = status.remove("kubeClientDriver");
    each(status, "registrations", |entry| registration_up(entry, driver.as_ref()));
    each(status, "configReferences", |entry| {
        let mut entry = entry.clone();
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("name");
            fields.remove("namespace");
        }
        entry
    });
}

fn addon_down(value: &mut Value) {
    let mut namespace = None;
    if let Some(metadata) = object(value, "metadata")
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(SERVED_ANNOTATION);
        namespace = annotations.remove(INSTALL_NAMESPACE_ANNOTATION);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    if let Some(namespace) = namespace {
        let spec = value
            .as_object_mut()
            .map(|fields| fields.entry("spec").or_insert_with(|| json!({})));
        if let Some(spec) = spec.and_then(Value::as_object_mut) {
            spec.insert("installNamespace".to_owned(), namespace);
        }
    }
    let Some(status) = object(value, "status") else { return };
    each(status, "registrations", registration_down);
    each(status, "configReferences", |entry| {
        let mut entry = entry.clone();
        let referent = take(&entry["desiredConfig"], &["name", "namespace"]);
        if let Some(fields) = entry.as_object_mut() {
            fields.extend(referent);
        }
        entry
    });
}

fn registration_up(entry: &Value, driver: Option<&Value>) -> Value {
    let mut subject = entry.get("subject").cloned();
    if let Some(subject) = subject.as_mut().and_then(Value::as_object_mut) {
        rename(subject, "organizationUnit", "organizationUnits");
    }
    let mut config = Map::new();
    if let Some(subject) = subject {
        config.insert("subject".to_owned(), subject);
    }
    if entry["signerName"] == KUBE_CLIENT_SIGNER {
        if let Some(driver) = driver {
            config.insert("driver".to_owned(), driver.clone());
        }
        return json!({"type": KUBE_CLIENT, "kubeClient": config});
    }
    config.extend(take(entry, &["signerName"]));
    json!({"type": CUSTOM_SIGNER, "customSigner": config})
}

/// Without the driver: that belongs to the registration agent, and hubs which serve this version alone have none.
fn registration_down(entry: &Value) -> Value {
    let is_client = entry["type"] == KUBE_CLIENT;
    let config = &entry[if is_client { "kubeClient" } else { "customSigner" }];
    let signer = if is_client {
        json!(KUBE_CLIENT_SIGNER)
    } else {
        config["signerName"].clone()
    };
    let mut fields = Map::from_iter([("signerName".to_owned(), signer)]);
    let mut subject = config.get("subject").cloned();
    if let Some(subject) = subject.as_mut().and_then(Value::as_object_mut) {
        rename(subject, "organizationUnits", "organizationUnit");
    }
    if let Some(subject) = subject {
        fields.insert("subject".to_owned(), subject);
    }
    Value::Object(fields)
}

fn definition_up(value: &mut Value) {
    if let Some(spec) = object(value, "spec") {
        spec.remove("addOnConfiguration");
        rename(spec, "supportedConfigs", "defaultConfigs");
        each(spec, "defaultConfigs", |entry| {
            let mut fields = take(entry, &["group", "resource"]);
            fields.extend(take(&entry["defaultConfig"], &["namespace", "name"]));
            fields.entry("name").or_insert_with(|| NO_DEFAULT_CONFIG.into());
            Value::Object(fields)
        });
    }
    if let Some(status) = object(value, "status") {
        rename(status, "defaultconfigReferences", "defaultConfigReferences");
    }
}

fn definition_down(value: &mut Value) {
    if let Some(spec) = object(value, "spec") {
        rename(spec, "defaultConfigs", "supportedConfigs");
        each(spec, "supportedConfigs", |entry| {
            let mut fields = take(entry, &["group", "resource"]);
            if entry["name"] != NO_DEFAULT_CONFIG {
                fields.insert("defaultConfig".to_owned(), take(entry, &["namespace", "name"]).into());
            }
            Value::Object(fields)
        });
    }
    if let Some(status) = object(value, "status") {
        rename(status, "defaultConfigReferences", "defaultconfigReferences");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older_addon() -> Value {
        json!({
            "apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOn",
            "metadata": {"name": "hello", "namespace": "c1", "annotations": {"a": "b"}},
            "spec": {"installNamespace": "ns", "configs": []},
            "status": {
                "registrations": [
                    {"signerName": KUBE_CLIENT_SIGNER, "subject": {"user": "u", "groups": ["g"]}},
                    {"signerName": "example.com/mine", "subject": {"user": "v", "organizationUnit": ["ou"]}},
                ],
                "configReferences": [{"group": "g", "resource": "r", "name": "n", "namespace": "m", "lastObservedGeneration": 3,
                    "desiredConfig": {"name": "n", "namespace": "m", "specHash": "1"}}],
            },
        })
    }

    fn newer_addon() -> Value {
        json!({
            "apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ManagedClusterAddOn",
            "metadata": {"name": "hello", "namespace": "c1",
                "annotations": {"a": "b", SERVED_ANNOTATION: "v1alpha1", INSTALL_NAMESPACE_ANNOTATION: "ns"}},
            "spec": {"configs": []},
            "status": {
                "registrations": [
                    {"type": "kubeClient", "kubeClient": {"subject": {"user": "u", "groups": ["g"]}}},
                    {"type": "customSigner", "customSigner": {"signerName": "example.com/mine", "subject": {"user": "v", "organizationUnits": ["ou"]}}},
                ],
                "configReferences": [{"group": "g", "resource": "r", "lastObservedGeneration": 3,
                    "desiredConfig": {"name": "n", "namespace": "m", "specHash": "1"}}],
            },
        })
    }

    fn converted(convert: impl Fn(&str, &mut Value), resource: &str, mut value: Value) -> Value {
        convert(resource, &mut value);
        value
    }

    #[test]
    fn addons_there_and_back() {
        assert_eq!(converted(up, ADDONS, older_addon()), newer_addon());
        assert_eq!(converted(down, ADDONS, newer_addon()), older_addon());
    }

    #[test]
    fn the_driver_is_read_for_every_registration_and_never_written() {
        let mut older = older_addon();
        older["status"]["kubeClientDriver"] = json!("csr");
        older["status"]["addOnConfiguration"] = json!({});
        let newer = converted(up, ADDONS, older);
        assert_eq!(newer["status"]["registrations"][0]["kubeClient"]["driver"], "csr");
        assert_eq!(newer["status"]["registrations"][1]["customSigner"].get("driver"), None);
        assert_eq!(newer["status"].get("addOnConfiguration"), None);
        assert_eq!(converted(down, ADDONS, newer), older_addon());
    }

    #[test]
    fn a_patch_gets_nothing_that_it_did_not_say() {
        let patch = json!({"metadata": {"uid": "u"}, "status": {"conditions": []}});
        assert_eq!(converted(down, ADDONS, patch.clone()), patch);
    }

    #[test]
    fn a_json_patch_says_the_registrations_as_the_older_version_does() {
        let patch = |addon: &Value| {
            json!([{"op": "add", "path": "/status/registrations", "value": addon["status"]["registrations"]},
                {"op": "add", "path": "/status/namespace", "value": "ns"}, {"op": "remove", "path": "/status/registrations"}])
        };
        assert_eq!(converted(down, ADDONS, patch(&newer_addon())), patch(&older_addon()));
        assert_eq!(
            converted(down, DEFINITIONS, patch(&newer_addon())),
            patch(&newer_addon())
        );
    }

    #[test]
    fn definitions_there_and_back() {
        let older = json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ClusterManagementAddOn",
            "spec": {"supportedConfigs": [{"group": "g", "resource": "r", "defaultConfig": {"namespace": "n", "name": "d"}}, {"group": "g", "resource": "s"}]},
            "status": {"defaultconfigReferences": [{"group": "g"}], "installProgressions": []}});
        let newer = json!({"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ClusterManagementAddOn",
            "spec": {"defaultConfigs": [{"group": "g", "resource": "r", "namespace": "n", "name": "d"}, {"group": "g", "resource": "s", "name": NO_DEFAULT_CONFIG}]},
            "status": {"defaultConfigReferences": [{"group": "g"}], "installProgressions": []}});
        assert_eq!(converted(up, DEFINITIONS, older.clone()), newer);
        assert_eq!(converted(down, DEFINITIONS, newer), older);
    }

    #[test]
    fn lists_and_kinds_that_are_the_same_in_both() {
        let list = json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOnList", "items": [older_addon()]});
        let newer = converted(up, ADDONS, list);
        assert_eq!(
            (&newer["apiVersion"], &newer["items"][0]),
            (&json!("addon.open-cluster-management.io/v1beta1"), &newer_addon())
        );
        let config = json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "AddOnDeploymentConfig", "spec": {"a": 1}});
        let newer = converted(up, "addondeploymentconfigs", config.clone());
        assert_eq!(newer["spec"], config["spec"]);
        assert_eq!(converted(down, "addondeploymentconfigs", newer), config);
        let status = json!({"apiVersion": "v1", "kind": "Status", "code": 409});
        assert_eq!(converted(up, "addondeploymentconfigs", status.clone()), status);
    }
}
