//! `VolumeReplicationClass` and `VolumeGroupReplicationClass`, group `replication.storage.openshift.io` (3.4, 4.3).
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A class of either kind, which differ in their kind only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationClass {
    /// `VolumeReplicationClass` or `VolumeGroupReplicationClass`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it says.
    pub spec: ReplicationClassSpec,
}

/// What a class says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationClassSpec {
    /// The CSI driver.
    pub provisioner: String,
    /// What the driver is told.
    pub parameters: BTreeMap<String, String>,
}

impl ReplicationClass {
    /// The object, as a work carries it.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut metadata = json!({"name": self.name, "labels": self.labels});
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        json!({
            "apiVersion": "replication.storage.openshift.io/v1alpha1",
            "kind": self.kind,
            "metadata": metadata,
            "spec": self.spec,
        })
    }
}
