//! What of Ramen's configuration is ours: JSON in an annotation of its `ConfigMap`.
use std::collections::BTreeMap;

use peering_api::names;
use serde::{Deserialize, Serialize};

/// What of the configuration is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Our entries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Entry>,
    /// The line that stood in place of the list before our first entry came; empty if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
}

/// One of our entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// Digest of the certificates that we have written; none, if those in the entry are somebody else's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

impl Record {
    /// Annotation in which it stands.
    pub const ANNOTATION: &'static str = "peering.open-cluster-management.io/s3-store-profiles";

    /// Reads the annotation. One that is missing or that somebody has spoilt is none: our entries are then taken over anew.
    #[must_use]
    pub fn read(annotation: Option<&String>) -> Self {
        annotation
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The annotation; none when nothing is ours.
    #[must_use]
    pub fn write(&self) -> Option<String> {
        // Maps of strings always serialise.
        (*self != Self::default()).then(|| serde_json::to_string(self).unwrap_or_default())
    }
}

/// Digest of certificates, to tell whether they are still those which we wrote.
pub(super) fn fingerprint(ca: &str) -> String {
    names::digest(&["ramen-ca/v1", ca], 16)
}
