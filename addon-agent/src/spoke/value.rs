//! Objects in the form that expressions see: as in their JSON, but what is base64 there is bytes here.
use std::collections::BTreeMap;

use exchange::value::Value;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DynamicObject;

/// A Secret: `data` as bytes, always there.
pub fn of_secret(secret: &Secret) -> Value {
    let mut object = head("Secret", &secret.metadata);
    object.push(("data", bytes(secret.data.as_ref())));
    object.extend(secret.type_.as_deref().map(|type_| ("type", type_.into())));
    object.extend(secret.immutable.map(|immutable| ("immutable", Value::Bool(immutable))));
    object.into_iter().collect()
}

/// A `ConfigMap`: `data` as text and `binaryData` as bytes, both always there.
pub fn of_config_map(map: &ConfigMap) -> Value {
    let texts = map.data.iter().flatten();
    let texts = texts.map(|(key, text)| (key.clone(), Value::from(text.as_str())));
    let mut object = head("ConfigMap", &map.metadata);
    object.push(("data", texts.collect()));
    object.push(("binaryData", bytes(map.binary_data.as_ref())));
    object.extend(map.immutable.map(|immutable| ("immutable", Value::Bool(immutable))));
    object.into_iter().collect()
}

/// An object of any other kind, with that kind, which items of a list lack.
pub fn of_object(object: &DynamicObject, (api_version, kind): (&str, &str)) -> Value {
    // What was read as JSON can be written as JSON.
    let mut value = Value::from(serde_json::to_value(object).unwrap_or_default());
    if let Value::Map(object) = &mut value {
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind.into());
    }
    value
}

fn head(kind: &str, metadata: &ObjectMeta) -> Vec<(&'static str, Value)> {
    let metadata = serde_json::to_value(metadata).unwrap_or_default();
    vec![
        ("apiVersion", "v1".into()),
        ("kind", kind.into()),
        ("metadata", metadata.into()),
    ]
}

fn bytes(data: Option<&BTreeMap<String, ByteString>>) -> Value {
    let data = data.into_iter().flatten();
    data.map(|(key, value)| (key.clone(), Value::Bytes(value.0.clone().into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<K: serde::de::DeserializeOwned>(json: serde_json::Value) -> K {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn data_is_decoded_and_always_there() {
        let metadata = json!({"namespace": "ns", "name": "s", "labels": {"a": "b"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {"k": "aHVudGVyMg=="}});
        let value = of_secret(&read(secret.clone()));
        assert_eq!(
            value.at(&["data", "k"]),
            Some(&Value::Bytes(b"hunter2".to_vec().into()))
        );
        assert_eq!(value.to_json(), secret, "as JSON it is what it was");
        assert!(!format!("{value:?}").contains("hunter2"));
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"t": "x"}, "binaryData": {"b": "/w=="}});
        let value = of_config_map(&read(map.clone()));
        assert_eq!(value.at(&["data", "t"]), Some(&Value::from("x")));
        assert_eq!(value.at(&["binaryData", "b"]), Some(&Value::Bytes(vec![255].into())));
        assert_eq!(value.to_json(), map);
        for empty in [of_secret(&Secret::default()), of_config_map(&ConfigMap::default())] {
            assert_eq!(empty.get("data"), Some(&Value::Map(BTreeMap::new())));
        }
    }

    #[test]
    fn any_other_object_is_its_json() {
        let pool = json!({"apiVersion": "x.io/v1", "kind": "Pool", "metadata": {"name": "p"}, "spec": {"size": 3}});
        let mut item = pool.clone();
        item.as_object_mut().unwrap().remove("kind");
        for seen in [pool.clone(), item] {
            assert_eq!(of_object(&read(seen), ("x.io/v1", "Pool")).to_json(), pool);
        }
    }
}
