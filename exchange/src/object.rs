//! Delivered targets of any kind: the filled template of a profile becomes the object that is applied, and an observed
//! object is compared with it.
use std::collections::BTreeMap;

use peering_api::compare::covers;
use serde_json::{Map, Value};
use thiserror::Error;

/// Where a target stands, as the link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

/// Why a template cannot become a target. The texts quote nothing of the template: it may hold secret payload.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ObjectError {
    /// Something else stands where a map is needed.
    #[error("{0}: expected an object, seen something else: correct the template")]
    NotAnObject(&'static str),
    /// The template names another object than the link.
    #[error("{field}: expected {expected}, seen something else: leave it out of the template, it is filled in")]
    Elsewhere {
        /// The field.
        field: &'static str,
        /// What the link says.
        expected: String,
    },
    /// A field that a template must not state.
    #[error("{0}: this field is not for templates, it belongs to the API server or to controllers: leave it out")]
    Reserved(String),
    /// `stringData` is never read back, so the object could not be compared.
    #[error("stringData: expected data with base64 values, seen stringData: use data and base64.encode(...)")]
    StringData,
    /// Labels and annotations hold strings.
    #[error("{0}: expected a string, seen something else: convert it in the expression, as in string(...)")]
    NotAString(String),
    /// A label or annotation by which we know our objects.
    #[error("{0}: this name is used by the addon itself: choose another one")]
    Ours(String),
}

/// The object to apply: the template at its place, with labels and annotations of ours.
///
/// Kind, apiVersion, name and namespace may be left out of the template. Of metadata it may state labels and annotations
/// besides; what the API server or controllers write (status, owner references, finalizers, ...) is refused.
pub fn desired(
    template: Value,
    place: &Place,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Result<Value, ObjectError> {
    let mut object = map(template, "the template")?;
    let mut metadata = map(object.remove("metadata").unwrap_or_default(), "metadata")?;
    if object.contains_key("status") {
        return Err(ObjectError::Reserved("status".to_owned()));
    }
    if object.contains_key("stringData") && place.kind == "Secret" && place.api_version == "v1" {
        return Err(ObjectError::StringData);
    }
    let allowed = ["name", "namespace", "labels", "annotations"];
    if let Some(name) = metadata.keys().find(|name| !allowed.contains(&name.as_str())) {
        return Err(ObjectError::Reserved(format!("metadata.{name}")));
    }
    fill(&mut object, "apiVersion", "apiVersion", Some(&place.api_version))?;
    fill(&mut object, "kind", "kind", Some(&place.kind))?;
    fill(&mut metadata, "name", "metadata.name", Some(&place.name))?;
    fill(
        &mut metadata,
        "namespace",
        "metadata.namespace",
        place.namespace.as_ref(),
    )?;
    unite(&mut metadata, "labels", "metadata.labels", labels)?;
    unite(&mut metadata, "annotations", "metadata.annotations", annotations)?;
    object.insert("metadata".to_owned(), metadata.into());
    Ok(object.into())
}

/// Whether an observed object says all that is desired, so that nothing has to be written.
///
/// Objects may say more: defaults, and fields of other writers. Lists must have as many items, in the same order, each
/// compared like that: in a list of a target we are the only writer. A field that the template has stated before and no
/// longer does is not seen here; the revision among our annotations is, and every new template has a new revision.
#[must_use]
pub fn stands(desired: &Value, observed: &Value) -> bool {
    covers(observed, desired)
}

fn map(value: Value, what: &'static str) -> Result<Map<String, Value>, ObjectError> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(ObjectError::NotAnObject(what)),
    }
}

fn fill(
    map: &mut Map<String, Value>,
    name: &str,
    field: &'static str,
    value: Option<&String>,
) -> Result<(), ObjectError> {
    let stated = map.remove(name).filter(|stated| !stated.is_null());
    match (stated, value) {
        (None, None) => {}
        (None, Some(value)) => {
            map.insert(name.to_owned(), value.as_str().into());
        }
        (Some(stated), Some(value)) if stated == *value => {
            map.insert(name.to_owned(), stated);
        }
        (Some(_), value) => {
            let expected = value.map_or_else(
                || "none, since the target is cluster-scoped".to_owned(),
                |v| format!("{v:?}"),
            );
            return Err(ObjectError::Elsewhere { field, expected });
        }
    }
    Ok(())
}

/// Adds our labels or annotations to those of the template.
fn unite(
    metadata: &mut Map<String, Value>,
    name: &str,
    field: &'static str,
    ours: &BTreeMap<String, String>,
) -> Result<(), ObjectError> {
    let mut all = map(metadata.remove(name).unwrap_or_default(), field)?;
    for (key, value) in &all {
        if !value.is_string() {
            return Err(ObjectError::NotAString(format!("{field}[{key:?}]")));
        }
        if ours.contains_key(key) {
            return Err(ObjectError::Ours(format!("{field}[{key:?}]")));
        }
    }
    all.extend(ours.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    if !all.is_empty() {
        metadata.insert(name.to_owned(), all.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(namespace: Option<&str>) -> Place {
        Place {
            api_version: "config.k8ssandra.io/v1beta1".to_owned(),
            kind: "ClientConfig".to_owned(),
            namespace: namespace.map(str::to_owned),
            name: "east".to_owned(),
        }
    }

    fn ours(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("peering.open-cluster-management.io/link".to_owned(), value.to_owned())])
    }

    fn build(template: Value) -> Result<Value, ObjectError> {
        desired(template, &place(Some("k8ssandra")), &ours("l"), &BTreeMap::new())
    }

    #[test]
    fn a_template_is_filled_and_labelled() {
        let whole = json!({
            "apiVersion": "config.k8ssandra.io/v1beta1", "kind": "ClientConfig",
            "metadata": {"name": "east", "namespace": "k8ssandra", "labels": {
                "team": "storage", "peering.open-cluster-management.io/link": "l"}},
            "spec": {"contextName": "east"},
        });
        let labels = json!({"labels": {"team": "storage"}});
        assert_eq!(
            build(json!({"metadata": labels, "spec": {"contextName": "east"}})),
            Ok(whole.clone())
        );
        let mut stated = whole.clone();
        stated["metadata"]["labels"] = json!({"team": "storage"});
        assert_eq!(build(stated), Ok(whole));
        let bare = desired(json!({"metadata": null}), &place(None), &BTreeMap::new(), &ours("a")).unwrap();
        assert_eq!(
            bare["metadata"],
            json!({"name": "east", "annotations": {"peering.open-cluster-management.io/link": "a"}})
        );
    }

    #[test]
    fn what_a_template_must_not_state() {
        let elsewhere = |field, expected: &str| ObjectError::Elsewhere {
            field,
            expected: expected.to_owned(),
        };
        let reserved = |field: &str| ObjectError::Reserved(field.to_owned());
        for (template, error) in [
            (json!([]), ObjectError::NotAnObject("the template")),
            (json!({"metadata": "x"}), ObjectError::NotAnObject("metadata")),
            (
                json!({"metadata": {"labels": []}}),
                ObjectError::NotAnObject("metadata.labels"),
            ),
            (json!({"kind": "Secret"}), elsewhere("kind", "\"ClientConfig\"")),
            (
                json!({"apiVersion": "v1"}),
                elsewhere("apiVersion", "\"config.k8ssandra.io/v1beta1\""),
            ),
            (json!({"metadata": {"name": 5}}), elsewhere("metadata.name", "\"east\"")),
            (
                json!({"metadata": {"namespace": "other"}}),
                elsewhere("metadata.namespace", "\"k8ssandra\""),
            ),
            (json!({"status": {}}), reserved("status")),
            (
                json!({"metadata": {"ownerReferences": []}}),
                reserved("metadata.ownerReferences"),
            ),
            (json!({"metadata": {"finalizers": []}}), reserved("metadata.finalizers")),
            (
                json!({"metadata": {"managedFields": []}}),
                reserved("metadata.managedFields"),
            ),
            (
                json!({"metadata": {"generateName": "x"}}),
                reserved("metadata.generateName"),
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                ObjectError::NotAString("metadata.labels[\"a\"]".to_owned()),
            ),
            (
                json!({"metadata": {"labels": {"peering.open-cluster-management.io/link": "l"}}}),
                ObjectError::Ours("metadata.labels[\"peering.open-cluster-management.io/link\"]".to_owned()),
            ),
        ] {
            assert_eq!(build(template.clone()), Err(error), "{template}");
        }
        let namespaced = json!({"metadata": {"namespace": "k8ssandra"}});
        let error = desired(namespaced, &place(None), &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("cluster-scoped"), "{error}");
        let secret = Place {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            ..place(None)
        };
        let error = desired(
            json!({"stringData": {"a": "s3cr3t"}}),
            &secret,
            &BTreeMap::new(),
            &BTreeMap::new(),
        );
        assert_eq!(error, Err(ObjectError::StringData));
    }

    #[test]
    fn what_stands_needs_no_write() {
        let desired = build(json!({"spec": {"servers": [{"name": "a"}], "tls": {}, "port": 1}})).unwrap();
        let mut observed = desired.clone();
        observed["metadata"]["uid"] = json!("u");
        observed["spec"]["port"] = json!(1.0);
        observed["spec"]["servers"][0]["weight"] = json!(5);
        observed["spec"].as_object_mut().unwrap().remove("tls");
        observed["status"] = json!({"ready": true});
        assert!(
            stands(&desired, &observed),
            "defaults, status and empty fields are no difference"
        );
        for (pointer, value) in [
            ("/metadata/labels/peering.open-cluster-management.io~1link", json!("m")),
            ("/metadata/name", json!("west")),
            ("/spec/port", json!(2)),
            ("/spec/servers", json!([{"name": "a"}, {"name": "b"}])),
            ("/spec/servers/0/name", json!("b")),
            ("/spec", json!({})),
        ] {
            let mut changed = observed.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(!stands(&desired, &changed), "{pointer}");
        }
    }
}
