//! Objects as wiring and probes see them: JSON for what is patched, values for expressions. Secret data stays wrapped.
use exchange::value::Value;
use serde_json::{Value as Json, json};

use super::{Observed, Place};

impl Observed {
    /// The object as JSON, with kind and version, which items of a list lack. Nothing of a Secret's data is in it.
    #[must_use]
    pub fn json(&self, place: &Place) -> Json {
        let mut object = match &self.body {
            Some(body) => body.0.clone(),
            None => json!({"metadata": {
                "name": place.name,
                "namespace": place.namespace,
                "uid": self.uid,
                "resourceVersion": self.resource_version,
                "labels": self.labels,
                "annotations": self.annotations,
            }}),
        };
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), place.api_version.as_str().into());
            object.insert("kind".to_owned(), place.kind.as_str().into());
        }
        object
    }

    /// The object as expressions see it as `self`; of a Secret `data` holds the decoded bytes.
    #[must_use]
    pub fn value(&self, place: &Place) -> Value {
        let mut value = Value::from(self.json(place));
        if let (Value::Map(object), true) = (&mut value, place.is_secret()) {
            let data = self.data.iter().map(|(key, bytes)| (key, Value::Bytes(bytes.clone())));
            object.insert("data".to_owned(), data.collect());
            let type_ = self.type_.as_deref().map_or(Value::Null, Value::from);
            object.insert("type".to_owned(), type_);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        ByteString,
        api::core::v1::{ConfigMap, Secret},
    };
    use kube::core::DynamicObject;

    use super::*;
    use crate::spoke::observed::normal;

    #[test]
    fn a_secret_is_patched_without_its_data_and_probed_with_it() {
        let secret = Secret {
            data: Some([("token".to_owned(), ByteString(b"hunter2".to_vec()))].into()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        let (seen, place) = (Observed::from(&secret), normal(&Place::core("Secret", "ns", "s")));
        let json = seen.json(&place);
        assert!(json.get("data").is_none() && json["kind"] == "Secret", "{json}");
        let Value::Map(value) = seen.value(&place) else {
            panic!("no map");
        };
        let token: Value = [("token", Value::Bytes(b"hunter2".to_vec().into()))].into_iter().collect();
        assert!(value["data"] == token && value["type"] == Value::from("Opaque"));
    }

    #[test]
    fn other_objects_are_whole() {
        let map = ConfigMap {
            data: Some([("a".to_owned(), "1".to_owned())].into()),
            binary_data: Some([("b".to_owned(), ByteString(b"2".to_vec()))].into()),
            ..ConfigMap::default()
        };
        let json = Observed::from(&map).json(&normal(&Place::core("ConfigMap", "ns", "c")));
        assert_eq!(
            (&json["apiVersion"], &json["data"], &json["binaryData"]),
            (&json!("v1"), &json!({"a": "1"}), &json!({"b": "Mg=="}))
        );
        let mut pool: DynamicObject = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"x": 1}})).unwrap();
        pool.types = None;
        let place = Place {
            api_version: "ceph.rook.io/v1".to_owned(),
            ..Place::core("CephBlockPool", "ns", "p")
        };
        let json = Observed::from(&pool).json(&normal(&place));
        assert_eq!(
            (&json["apiVersion"], &json["kind"], &json["spec"]),
            (&json!("ceph.rook.io/v1"), &json!("CephBlockPool"), &json!({"x": 1}))
        );
    }
}
