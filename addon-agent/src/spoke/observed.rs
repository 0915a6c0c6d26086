//! Objects on this cluster as the agent sees them: secret bytes are wrapped here, at the edge, and stay wrapped.
use std::{collections::BTreeMap, fmt};

use exchange::source;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DynamicObject;
use peering_api::{
    Sensitive, names,
    peering::{ObjectRef, PeerLinkSpec},
};

/// Where an object stands on this cluster; `resource` is always set, so that one object has one place.
pub type Place = ObjectRef;

/// One form for each place.
#[must_use]
pub fn normal(object: &ObjectRef) -> Place {
    Place {
        resource: Some(object.plural()),
        ..object.clone()
    }
}

/// Where a link writes.
#[must_use]
pub fn target_of(link: &PeerLinkSpec) -> Place {
    normal(&link.target.object)
}

/// Where the envelope of a link arrives: sealed ones in a Secret, public ones in a `ConfigMap`.
#[must_use]
pub fn carrier_of(link: &PeerLinkSpec, agent_namespace: &str) -> Place {
    let kind = if link.confidential { "Secret" } else { "ConfigMap" };
    normal(&ObjectRef::core(kind, agent_namespace, &link.carrier))
}

/// The JSON of an object of any kind. `Debug` shows nothing of it: custom resources may hold secrets too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body(pub serde_json::Value);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(..)")
    }
}

/// An object, reduced to what decisions look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
    /// Type, of a Secret.
    pub type_: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys and bytes; of a `ConfigMap` both of `data` and of `binaryData`.
    pub data: BTreeMap<String, Sensitive>,
    /// The whole object, where it is no Secret.
    pub body: Option<Body>,
    /// It is marked as immutable.
    pub immutable: bool,
    /// It waits for its finalizers.
    pub terminating: bool,
}

impl Observed {
    /// The link or bundle that the object belongs to, as its label says.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.labels.get(names::LINK_LABEL).map(String::as_str)
    }

    /// The revisions that it holds, per link.
    #[must_use]
    pub fn revisions(&self) -> BTreeMap<String, i64> {
        let text = self.annotations.get(names::REVISIONS_ANNOTATION);
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    fn new(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            terminating: meta.deletion_timestamp.is_some(),
            ..Self::default()
        }
    }
}

impl From<&Secret> for Observed {
    fn from(secret: &Secret) -> Self {
        let data = secret.data.iter().flatten();
        Self {
            type_: secret.type_.clone(),
            data: data.map(|(key, value)| (key.clone(), value.0.clone().into())).collect(),
            immutable: secret.immutable.unwrap_or_default(),
            ..Self::new(&secret.metadata)
        }
    }
}

impl From<&ConfigMap> for Observed {
    fn from(map: &ConfigMap) -> Self {
        let text = map.data.iter().flatten();
        let text = text.map(|(key, value)| (key.clone(), value.clone().into_bytes().into()));
        let bytes = map.binary_data.iter().flatten();
        let bytes = bytes.map(|(key, value)| (key.clone(), value.0.clone().into()));
        Self {
            data: text.chain(bytes).collect(),
            body: serde_json::to_value(map).ok().map(Body),
            immutable: map.immutable.unwrap_or_default(),
            ..Self::new(&map.metadata)
        }
    }
}

impl From<&DynamicObject> for Observed {
    fn from(object: &DynamicObject) -> Self {
        Self {
            body: serde_json::to_value(object).ok().map(Body),
            ..Self::new(&object.metadata)
        }
    }
}

/// What a watch knows.
pub type Seen<T = Observed> = source::Seen<T>;

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn an_observed_secret_shows_no_bytes() {
        let secret = Secret {
            data: Some([("token".to_owned(), ByteString(b"hunter2".to_vec()))].into()),
            ..Secret::default()
        };
        let observed = Observed::from(&secret);
        assert_eq!(observed.data["token"].expose(), b"hunter2");
        let shown = format!("{observed:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn a_config_map_is_read_from_both_its_fields() {
        let map = ConfigMap {
            data: Some([("a".to_owned(), "1".to_owned())].into()),
            binary_data: Some([("b".to_owned(), ByteString(vec![255]))].into()),
            ..ConfigMap::default()
        };
        let keys: Vec<_> = Observed::from(&map).data.into_keys().collect();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn an_unreadable_annotation_holds_no_revisions() {
        let mut observed = Observed::default();
        assert!(observed.revisions().is_empty());
        observed
            .annotations
            .insert(names::REVISIONS_ANNOTATION.to_owned(), "{\"l\":7}".to_owned());
        assert_eq!(observed.revisions()["l"], 7);
        observed
            .annotations
            .insert(names::REVISIONS_ANNOTATION.to_owned(), "?".to_owned());
        assert!(observed.revisions().is_empty());
    }
}
