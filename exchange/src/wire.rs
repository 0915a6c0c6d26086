//! What a link changes in a *consumer*, an object that belongs to somebody else, and how exactly that is undone: a name is
//! added to a list, a field is set, a workload is annotated.
//!
//! [`plan`] compares the consumer with what a link wants and gives a JSON patch; [`undo`] takes everything of a link back.
//! Both are pure. What each link has set is recorded in an annotation of the consumer, `…/wired`, by the same patch as the
//! change itself. The record alone is enough to undo it: profile, link and status may be gone.
//!
//! The rules:
//! * **Foreign stays foreign.** What somebody else has set is never changed: it is either what we want, or a conflict. A
//!   field may be adopted; then the value before is recorded and put back. What somebody else changes after us is theirs
//!   from then on: we neither set it again nor remove it. What they remove is set again.
//! * **Equal is enough.** What is wanted and there already counts as wired. It stays foreign, and is never removed.
//! * **Field by field.** An object as value of [`Change::SetField`] sets the fields in it; what others keep beside them
//!   is theirs. A list is one value; to share it, use [`Change::AddToList`]. An item that we have added to a list of
//!   objects goes as a whole, with what others or defaults have added to it.
//! * **What was made for us goes with us.** Objects and lists that had to be made on the way to a field are removed when
//!   the last link leaves them empty, and only then.
//! * **Links share.** Two links that want the same in the same place both record it; it stays until the last of them has
//!   gone. Two links that want different things there: the first one has it, the second reports a conflict.
//! * **Make before break.** What a link no longer wants is taken back by the patch that brings all that it wants instead.
//!   As long as one change is a conflict or invalid, the old stays.
//! * **No lost update.** Every patch tests what it was computed from: the places it changes, the record and the uid. The
//!   API server refuses it (422) if one of them has changed; the caller plans again with what the watch brings.
//!
//! The consumer's uid, annotations and (for values that cannot be tested, see `edit`) resource version must be in the
//! observed object. Messages name places and links, never values: those may come from secret payload.
//!
//! ```
//! use exchange::wire::{Change, Outcome, plan, undo};
//! use serde_json::json;
//!
//! let pool = json!({
//!     "apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool",
//!     "metadata": {"namespace": "rook-ceph", "name": "replicapool", "uid": "5d1f"},
//!     "spec": {"mirroring": {"enabled": true}},
//! });
//! let wanted = [Change::AddToList {
//!     path: "spec.mirroring.peers.secretNames".to_owned(),
//!     value: json!("peer-east"),
//!     key: None,
//! }];
//! let planned = plan(&pool, "1244d3bc", &wanted)?;
//! assert_eq!(planned.outcomes, [Outcome::Done]);
//! let patch = serde_json::to_value(planned.patch).unwrap();
//! assert_eq!(patch[2], json!({"op": "add", "path": "/spec/mirroring/peers", "value": {"secretNames": ["peer-east"]}}));
//! assert!(undo(&pool, "1244d3bc")?.patch.is_none(), "nothing of ours is there yet");
//! # Ok::<(), exchange::wire::WireError>(())
//! ```
mod claim;
mod edit;
mod pass;
mod path;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use json_patch::Patch;
use peering_api::names::WIRED_ANNOTATION;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub use self::path::{Path, PathError};
use self::record::Record;

/// One change that a link wants in a consumer; all texts are resolved. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// An item in a list; the list and what leads to it are made if absent.
    AddToList {
        /// The list, see [`Path`].
        path: String,
        /// The item: a string, number or boolean; or an object, which needs a key.
        value: Value,
        /// The field that tells the objects of the list apart.
        #[serde(default)]
        key: Option<String>,
    },
    /// A field.
    SetField {
        /// The field, see [`Path`].
        path: String,
        /// Its value. Of an object each field is set by itself.
        value: Value,
        /// What happens if the field has another value that is not ours.
        #[serde(default)]
        on_conflict: OnConflict,
    },
    /// An annotation.
    Annotate {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
        /// On the pod template of a workload, which makes its pods start anew, instead of on the object itself.
        #[serde(default)]
        pod_template: bool,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddToList { path, .. } => write!(f, "AddToList({path})"),
            Self::SetField { path, .. } => write!(f, "SetField({path})"),
            Self::Annotate { key, .. } => write!(f, "Annotate({key})"),
        }
    }
}

/// What happens if a field has a value that is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum OnConflict {
    /// It stays, and the change is a conflict.
    #[default]
    Refuse,
    /// It is overwritten, and put back when the last link has gone. What another link has set is never overwritten.
    Adopt,
}

/// What becomes of one wanted change. The messages say what was expected and seen, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The patch makes it.
    Done,
    /// The consumer has it already.
    AlreadyThere,
    /// Somebody else's value stands in the way; it is not touched.
    Conflict(String),
    /// The change makes no sense for this consumer, or for any.
    Invalid(String),
}

impl Outcome {
    fn is_good(&self) -> bool {
        matches!(self, Self::Done | Self::AlreadyThere)
    }
}

/// What is to be done with a consumer. Its `Debug` shows no value.
#[derive(Clone, Default, PartialEq)]
pub struct Plan {
    /// The patch; `None` if there is nothing to write.
    pub patch: Option<Patch>,
    /// What becomes of each wanted change, in their order.
    pub outcomes: Vec<Outcome>,
    /// What was the link's and is not taken back, since somebody else has changed it: a message for each.
    pub left: Vec<String>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("operations", &self.patch.as_ref().map_or(0, |patch| patch.len()))
            .field("outcomes", &self.outcomes)
            .field("left", &self.left)
            .finish()
    }
}

/// Why a consumer cannot be wired at all.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The annotation is not ours, from a newer version, or was edited.
    #[error(
        "{consumer}: expected the record of what links have set in annotation {WIRED_ANNOTATION}, seen something else: put it back; or remove it together with what links have set in this object"
    )]
    Record {
        /// Kind, namespace and name.
        consumer: String,
    },
    /// Its fields are secret, its annotations are not.
    #[error(
        "{consumer}: a Secret cannot be wired, since the record would stand in its annotations: deliver a Secret of its own"
    )]
    Secret {
        /// Kind, namespace and name.
        consumer: String,
    },
}

/// What has to be done so that a consumer has what a link wants of it, all of it and nothing more: `wanted` holds all
/// changes of the link in this consumer, since what it had set and does not want any more is taken back.
///
/// A change that cannot be made does not keep the others from being made.
pub fn plan(object: &Value, link: &str, wanted: &[Change]) -> Result<Plan, WireError> {
    if !wanted.is_empty() && object["apiVersion"] == "v1" && object["kind"] == "Secret" {
        let consumer = describe(object);
        return Err(WireError::Secret { consumer });
    }
    let record = object["metadata"]["annotations"][WIRED_ANNOTATION].as_str();
    let record = Record::read(record).map_err(|_| WireError::Record {
        consumer: describe(object),
    })?;
    let claims = claim::claims(wanted, object);
    let mut done = pass::pass(object, &record, link, &claims, true);
    if !done.outcomes.iter().all(Outcome::is_good) {
        done = pass::pass(object, &record, link, &claims, false);
    }
    let consumer = describe(object);
    let named = |text: String| format!("{consumer}: {text}");
    let outcomes = done.outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Conflict(message) => Outcome::Conflict(named(message)),
        Outcome::Invalid(message) => Outcome::Invalid(named(message)),
        good => good,
    });
    Ok(Plan {
        patch: done.patch,
        outcomes: outcomes.collect(),
        left: done.left.into_iter().map(named).collect(),
    })
}

/// What has to be done so that nothing of a link is left in a consumer.
pub fn undo(object: &Value, link: &str) -> Result<Plan, WireError> {
    plan(object, link, &[])
}

/// Kind, namespace and name of an object.
fn describe(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
    match (text(&metadata["namespace"]), text(&metadata["name"])) {
        (namespace, name) if namespace.is_empty() => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}
