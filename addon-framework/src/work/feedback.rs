//! What the work agent has reported about single objects. Pure.
use std::collections::BTreeMap;

use peering_api::{
    kube::ResourceExt,
    ocm::{
        ManifestWork,
        work::{ManifestStatus, ResourceIdentifier},
    },
};
use serde_json::Value;

/// What was reported about one object of an addon's works.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    /// Which object.
    pub object: ResourceIdentifier,
    /// The work that it is in, as `<namespace>/<name>`.
    pub work: String,
    /// The reported values, by name. JSON of a raw value is parsed.
    pub values: BTreeMap<String, Value>,
}

impl Feedback {
    /// A reported number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.values.get(name)?.as_i64()
    }

    /// A reported text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }

    /// All that was reported in these works, of the objects with values.
    pub(crate) fn all(works: &[ManifestWork]) -> Vec<Self> {
        let mut all = vec![];
        for work in works {
            let name = format!("{}/{}", work.namespace().unwrap_or_default(), work.name_any());
            let manifests = work.status.iter().flat_map(|status| &status.resource_status.manifests);
            all.extend(
                manifests
                    .map(|manifest| Self::of(&name, manifest))
                    .filter(|found| !found.values.is_empty()),
            );
        }
        all
    }

    fn of(work: &str, manifest: &ManifestStatus) -> Self {
        let meta = &manifest.resource_meta;
        let text = |name: &str| {
            meta.extra
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let values = manifest
            .extra
            .get("statusFeedback")
            .and_then(|feedback| feedback["values"].as_array());
        let values = values.into_iter().flatten().filter_map(|value| {
            let name = value["name"].as_str()?;
            Some((name.to_owned(), value_of(&value["fieldValue"])?))
        });
        Self {
            object: ResourceIdentifier {
                group: text("group"),
                resource: text("resource"),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            },
            work: work.to_owned(),
            values: values.collect(),
        }
    }

    /// Whether this is an object that the pattern names; `*` stands for any text in its namespace and name.
    pub(crate) fn fits(&self, pattern: &ResourceIdentifier) -> bool {
        self.object.group == pattern.group
            && self.object.resource == pattern.resource
            && matches(&pattern.namespace, &self.object.namespace)
            && matches(&pattern.name, &self.object.name)
    }
}

fn value_of(field: &Value) -> Option<Value> {
    match field["type"].as_str()? {
        "Integer" => field.get("integer").cloned(),
        "String" => field.get("string").cloned(),
        "Boolean" => field.get("boolean").cloned(),
        "JsonRaw" => serde_json::from_str(field["jsonRaw"].as_str()?).ok(),
        _ => None,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    (0..=rest.len())
        .filter(|at| rest.is_char_boundary(*at))
        .any(|at| matches(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_by_their_type() {
        let value = |name: &str, type_: &str, field: &str, value: Value| json!({"name": name, "fieldValue": {"type": type_, field: value}});
        let wire = json!({"metadata": {"name": "w", "namespace": "c1"}, "spec": {}, "status": {"resourceStatus": {"manifests": [
            {"resourceMeta": {"group": "apps", "resource": "deployments", "kind": "Deployment", "namespace": "ns", "name": "a"},
                "statusFeedback": {"values": [value("n", "Integer", "integer", json!(3)), value("s", "String", "string", json!("x")),
                    value("b", "Boolean", "boolean", json!(true)), value("r", "JsonRaw", "jsonRaw", json!("{\"k\":1}")),
                    value("later", "Later", "later", json!(1))]}},
            {"resourceMeta": {"resource": "configmaps", "name": "b"}},
        ]}}});
        let all = Feedback::all(&[serde_json::from_value(wire).unwrap()]);
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].work.as_str(), all[0].number("n"), all[0].text("s")),
            ("c1/w", Some(3), Some("x"))
        );
        assert_eq!(
            json!(all[0].values),
            json!({"n": 3, "s": "x", "b": true, "r": {"k": 1}})
        );
    }

    #[test]
    fn patterns() {
        let found = |namespace: &str, name: &str| Feedback {
            object: ResourceIdentifier {
                group: "apps".into(),
                resource: "deployments".into(),
                namespace: namespace.into(),
                name: name.into(),
            },
            ..Feedback::default()
        };
        for (namespace, name, fits) in [
            ("ns", "agent", true),
            ("ns", "*", true),
            ("*", "a*t", true),
            ("n*", "agent*", true),
            ("*", "b*", false),
            ("other", "*", false),
        ] {
            let pattern = found(namespace, name).object;
            assert_eq!(found("ns", "agent").fits(&pattern), fits, "{namespace} {name}");
        }
        let mut other = found("ns", "agent").object;
        other.resource = "daemonsets".into();
        assert!(!found("ns", "agent").fits(&other));
    }
}
