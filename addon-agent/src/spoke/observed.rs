//! Objects on this cluster as the agent sees them: secret bytes are wrapped here, at the edge, and stay wrapped.
use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
};

use exchange::source::SourceObject;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use peering_api::{
    Sensitive, names,
    peering::{PeerExportSpec, PeerLinkSpec, TargetKind},
};

/// Where an object stands on this cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Kind.
    pub kind: TargetKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind.as_str(), &self.namespace, &self.name).hash(state);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

impl Place {
    /// Where a link writes.
    #[must_use]
    pub fn target(link: &PeerLinkSpec) -> Self {
        Self {
            kind: link.target.kind,
            namespace: link.target.namespace.clone(),
            name: link.target.name.clone(),
        }
    }

    /// Where the envelope of a link arrives: sealed ones in a Secret, public ones in a `ConfigMap`.
    #[must_use]
    pub fn carrier(link: &PeerLinkSpec, agent_namespace: &str) -> Self {
        let kind = if link.confidential {
            TargetKind::Secret
        } else {
            TargetKind::ConfigMap
        };
        Self {
            kind,
            namespace: agent_namespace.to_owned(),
            name: names::carrier_name(&link.peering),
        }
    }

    /// What an export reads; `None` for kinds that this version cannot read.
    #[must_use]
    pub fn source(export: &PeerExportSpec) -> Option<Self> {
        let source = &export.source;
        let kind = match (source.api_version.as_str(), source.kind.as_str()) {
            ("v1", "Secret") => TargetKind::Secret,
            ("v1", "ConfigMap") => TargetKind::ConfigMap,
            _ => return None,
        };
        Some(Self {
            kind,
            namespace: source.namespace.clone(),
            name: source.name.clone(),
        })
    }
}

/// A Secret or a `ConfigMap`, reduced to what decisions look at.
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

    /// The same as a source.
    #[must_use]
    pub fn into_source(self) -> SourceObject {
        SourceObject {
            type_: self.type_,
            data: self.data,
        }
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
            immutable: map.immutable.unwrap_or_default(),
            ..Self::new(&map.metadata)
        }
    }
}

/// What a watch of one object knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet.
    Pending,
    /// The agent may not read the object (yet).
    Denied,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Observed),
}

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
