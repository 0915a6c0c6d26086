//! What is watched on the source cluster, and what can be known of it.
use std::{collections::BTreeMap, fmt};

use peering_api::{names, peering::ObjectRef};

use crate::value::Value;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// One object; its `resource` is always set, so that one object has one lookup.
    Object(ObjectRef),
    /// All objects of a kind with some labels. What is seen of them is a list, sorted by namespace and name.
    Selection(Selection),
}

/// Objects of a kind with some labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selection {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Plural name of the kind in the API.
    pub resource: String,
    /// Namespace. None: all of them, or a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Labels that all objects carry.
    pub labels: BTreeMap<String, String>,
}

/// What is known of a lookup. A list is never absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// Nothing yet.
    Pending,
    /// The agent may not read it (yet).
    Denied,
    /// The API server does not know the kind (yet).
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(T),
}

impl<T> Seen<T> {
    /// What is there, if it exists.
    #[must_use]
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(object) => Some(object),
            _ => None,
        }
    }
}

/// What was seen of each lookup. An object is a map as in its JSON, with `data` of a Secret and `binaryData` of a
/// `ConfigMap` as bytes.
pub type View<'v> = dyn Fn(&Lookup) -> Seen<Value> + 'v;

impl Lookup {
    /// One object.
    #[must_use]
    pub fn object(object: &ObjectRef) -> Self {
        Self::Object(ObjectRef {
            resource: Some(object.plural()),
            ..object.clone()
        })
    }

    /// One object of a kind of Kubernetes itself.
    pub(super) fn known(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self::object(&ObjectRef {
            api_version: api_version.to_owned(),
            ..ObjectRef::core(kind, namespace, name)
        })
    }

    /// Group and version, and kind.
    #[must_use]
    pub fn kind(&self) -> (&str, &str) {
        match self {
            Self::Object(object) => (&object.api_version, &object.kind),
            Self::Selection(selection) => (&selection.api_version, &selection.kind),
        }
    }

    /// The namespace; `None` where there is none.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Object(object) => object.namespace.as_deref(),
            Self::Selection(selection) => selection.namespace.as_deref(),
        }
    }
}

impl Selection {
    /// All nodes.
    pub(super) fn nodes() -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            resource: names::plural("Node"),
            namespace: None,
            labels: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Lookup {
    /// `Secret ns/name`, or `every Secret in namespace ns with a=b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => object.fmt(f),
            Self::Selection(selection) => selection.fmt(f),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        let mut before = " with";
        for (label, value) in &self.labels {
            write!(f, "{before} {label}={value}")?;
            before = ",";
        }
        Ok(())
    }
}
