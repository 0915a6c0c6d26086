//! What the receiving side changes in consumers of a delivered target, and takes back when the link goes.
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deliver::{ObjectRef, ObjectTemplate, OnConflict};

/// One change on the destination cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.apply), has(self.addToList), has(self.setField), has(self.annotate)].filter(x, x).size() == 1")
        .message("a wire entry is one of: apply, addToList, setField, annotate"),
    validation = Rule::new("!has(self.apply) || self.apply.onConflict == 'Refuse'")
        .message("an object that is applied for a consumer is never somebody else's: remove apply.onConflict")
)]
pub struct Wire {
    /// Applies an object of our own and deletes it when the link goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<ObjectTemplate>,
    /// Adds an entry to a list of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_to_list: Option<AddToList>,
    /// Sets a field of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_field: Option<SetField>,
    /// Annotates an object, such as a workload that shall restart with new content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotate: Option<Annotate>,
}

/// An entry in a list of an object that belongs to somebody else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.of) != has(self.object)")
    .message("the object is named by 'of' (an input of the same name on this cluster) or by 'object': set one"))]
pub struct AddToList {
    /// The object that the input of this name denotes on the destination cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub of: Option<String>,
    /// The object; its namespace and name may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Path of the list, such as `spec.mirroring.peers.secretNames`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// The entry; its strings may hold expressions.
    #[schemars(schema_with = "super::any_value")]
    pub value: Value,
    /// The value is a list, and each of its items is an entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
    /// Field that tells one entry from another, in a list of objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// A field of an object that belongs to somebody else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.of) != has(self.object)")
    .message("the object is named by 'of' (an input of the same name on this cluster) or by 'object': set one"))]
pub struct SetField {
    /// The object that the input of this name denotes on the destination cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub of: Option<String>,
    /// The object; its namespace and name may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Path of the field.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// The value; its strings may hold expressions.
    #[schemars(schema_with = "super::any_value")]
    pub value: Value,
    /// What happens when the field has another value that is not ours. An empty text is taken for none.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

/// An annotation on an object that belongs to somebody else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.of) != has(self.object)")
    .message("the object is named by 'of' (an input of the same name on this cluster) or by 'object': set one"))]
pub struct Annotate {
    /// The object that the input of this name denotes on the destination cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub of: Option<String>,
    /// The object; its namespace and name may hold expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Name of the annotation.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Its value; may hold expressions. Default: the content hash, so that it changes with the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub value: Option<String>,
    /// Whether the pod template of a workload is annotated, which restarts its pods, instead of the object itself.
    #[serde(default)]
    pub pod_template: bool,
}
