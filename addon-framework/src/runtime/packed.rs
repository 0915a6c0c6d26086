//! Objects that are kept as their JSON: a watch of thousands of them takes a fifth of the memory (a map of one entry takes
//! more than half a KiB, and objects are made of maps).
use std::{borrow::Cow, fmt, hash::Hash, marker::PhantomData, sync::Arc};

use peering_api::kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};
use tracing::error;

use super::Watch;

/// An object as its JSON, with so much of its metadata as tells one object and one version from another. `Debug` prints no
/// more than that. Not for objects with secrets in them: the JSON is not wiped.
pub struct Packed<K> {
    meta: ObjectMeta,
    json: Arc<[u8]>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self {
            meta: self.meta.clone(),
            json: self.json.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Packed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = (&self.meta.namespace, &self.meta.name, &self.meta.resource_version);
        f.debug_tuple("Packed").field(&meta).finish()
    }
}

impl<K: Resource + Serialize> Packed<K> {
    /// Packs an object, without its `managedFields`.
    pub fn new(mut object: K) -> Result<Self, serde_json::Error> {
        object.meta_mut().managed_fields = None;
        let meta = object.meta();
        Ok(Self {
            meta: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                ..ObjectMeta::default()
            },
            json: serde_json::to_vec(&object)?.into(),
            kind: PhantomData,
        })
    }
}

impl<K: DeserializeOwned> Packed<K> {
    /// The object.
    pub fn open(&self) -> Result<K, serde_json::Error> {
        serde_json::from_slice(&self.json)
    }

    /// The object; an error is told to the log. There is none for a type that reads what it writes.
    #[must_use]
    pub fn opened(&self) -> Option<K> {
        let told = |error| error!(object = ?self, %error, "a packed object cannot be read, it counts as missing");
        self.open().map_err(told).ok()
    }
}

impl<'de, K: Resource + Serialize + Deserialize<'de>> Deserialize<'de> for Packed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(K::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<K: Resource> Resource for Packed<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<K> Watch<Packed<K>>
where
    K: Resource + DeserializeOwned + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    /// The object of that name, in that namespace (`None` for cluster-scoped kinds), opened.
    #[must_use]
    pub fn open(&self, namespace: Option<&str>, name: &str) -> Option<K> {
        self.get(namespace, name)?.opened()
    }
}

#[cfg(test)]
mod tests {
    use peering_api::{
        kube::ResourceExt,
        ocm::{ManagedCluster, ManagedClusterAddOn, ManifestWork},
    };
    use serde_json::{Value, json};

    use super::*;

    fn wire(more: &[(&str, Value)]) -> Value {
        let mut wire = json!({"metadata": {"name": "a", "namespace": "c1", "uid": "u", "resourceVersion": "7",
            "labels": {"k": "v"}, "managedFields": [{"manager": "someone"}]}});
        for (key, value) in more {
            wire[key] = value.clone();
        }
        wire
    }

    fn packs<K>(wire: &Value)
    where
        K: Resource + Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        let packed: Packed<K> = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!((packed.name_any(), packed.uid().unwrap()), ("a".into(), "u".into()));
        let mut whole: K = serde_json::from_value(wire.clone()).unwrap();
        whole.meta_mut().managed_fields = None;
        assert_eq!(packed.open().unwrap(), whole);
    }

    #[test]
    fn what_is_opened_is_what_was_packed() {
        let condition = json!([{"type": "Available", "status": "True", "reason": "R", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        packs::<ManagedCluster>(&wire(&[
            ("spec", json!({"hubAcceptsClient": true, "later": [1.5, null]})),
            ("status", json!({"conditions": condition})),
        ]));
        packs::<ManagedClusterAddOn>(&wire(&[
            ("spec", json!({"configs": [{"resource": "x", "name": "y"}]})),
            ("status", json!({"conditions": condition, "later": {"a": 1}})),
        ]));
        packs::<ManifestWork>(&wire(&[(
            "spec",
            json!({"workload": {"manifests": [{"kind": "ConfigMap", "data": {"a": "\u{1F511}\n"}}]}}),
        )]));
    }

    #[test]
    fn debug_shows_no_content() {
        let work = wire(&[("spec", json!({"workload": {"manifests": [{"data": "s3cr3t"}]}}))]);
        let packed: Packed<ManifestWork> = serde_json::from_value(work).unwrap();
        assert!(!format!("{packed:?}").contains("s3cr3t"));
    }
}
