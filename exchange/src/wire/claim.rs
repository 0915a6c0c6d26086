//! What a link wants of a consumer, taken apart into single places: each is one field or one item of a list.
use peering_api::{compare::same, names::GROUP};
use serde_json::Value;
use thiserror::Error;

use super::{
    Change, OnConflict,
    path::{Path, PathError},
    record::{Entry, imprint},
};

/// Why a change cannot be understood, whatever the consumer looks like.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum InvalidChange {
    #[error("path {text:?} cannot be read: {problem}: correct it in the profile")]
    Path { text: String, problem: PathError },
    #[error(
        "{0} belongs to Kubernetes or to the consumer's controller and cannot be wired: choose a field of the spec"
    )]
    Reserved(Path),
    #[error("{0} is used by this addon itself and cannot be wired: choose another name")]
    Ours(Path),
    #[error("{0}: labels and annotations hold strings: set a string")]
    NotAString(Path),
    #[error("{0}: expected a value, seen null: leave out what is not to be set")]
    Null(Path),
    #[error(
        "{0}: expected a string, number or boolean, or an object together with 'key': set the key that tells the objects of the list apart"
    )]
    NoKey(Path),
    #[error("{path}: expected an object with a string, number or boolean under its key {key:?}: correct value or key")]
    KeyMissing { path: Path, key: String },
    #[error("{0}: two changes of this link want different things here: leave one")]
    Contradiction(Path),
    #[error(
        "expected a workload with a pod template under spec.template, seen none: podTemplate is for Deployment, StatefulSet and DaemonSet"
    )]
    NoPodTemplate,
}

/// One place and what a link wants there.
#[derive(PartialEq)]
pub(super) enum Claim {
    /// A scalar, a list or an empty object.
    Field { path: Path, value: Value, adopt: bool },
    /// An object that is known by `key`, or a scalar.
    Item {
        path: Path,
        key: Option<String>,
        value: Value,
    },
}

impl Claim {
    pub fn path(&self) -> &Path {
        match self {
            Self::Field { path, .. } | Self::Item { path, .. } => path,
        }
    }

    pub fn value(&self) -> &Value {
        match self {
            Self::Field { value, .. } | Self::Item { value, .. } => value,
        }
    }

    pub fn is_item(&self) -> bool {
        matches!(self, Self::Item { .. })
    }

    /// Whether an item of the list is the one that this claim means, as it should be or not.
    pub fn means(&self, item: &Value) -> bool {
        match self {
            Self::Field { .. } => false,
            Self::Item {
                key: Some(key), value, ..
            } => same(&item[key], &value[key]),
            Self::Item { value, .. } => same(item, value),
        }
    }

    /// Whether `link` has recorded this entry for the place of this claim.
    pub fn is_at(&self, link: &str, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::Field { path, .. }, Entry::Field { path: at, .. }) => path == at,
            (
                Self::Item { path, key, value },
                Entry::Item {
                    path: at,
                    key: by,
                    left,
                },
            ) => {
                let known =
                    |key: &String| left.get(key) == value.get(key).map(|value| imprint(link, path, value)).as_ref();
                path == at && key == by && key.as_ref().map_or_else(|| *left == imprint(link, path, value), known)
            }
            _ => false,
        }
    }

    /// What is recorded once the place holds what is wanted.
    pub fn entry(&self, link: &str, before: Option<Value>) -> Entry {
        let left = imprint(link, self.path(), self.value());
        match self {
            Self::Field { path, .. } => Entry::Field {
                path: path.clone(),
                left,
                before,
            },
            Self::Item { path, key, .. } => Entry::Item {
                path: path.clone(),
                key: key.clone(),
                left,
            },
        }
    }

    /// Whether both cannot be had at once.
    fn contradicts(&self, other: &Self) -> bool {
        if overlap((self.path(), self.is_item()), (other.path(), other.is_item())) {
            return true;
        }
        let same_place = self.path() == other.path();
        match (self, other) {
            (Self::Item { key, value, .. }, Self::Item { key: by, .. }) => {
                same_place && (key != by || (other.means(value) && self != other))
            }
            _ => same_place && self != other,
        }
    }
}

/// Whether two different places (path, and whether it is an item of the list there) have something in common.
pub(super) fn overlap((a, a_item): (&Path, bool), (b, b_item): (&Path, bool)) -> bool {
    match (a_item, b_item) {
        (false, false) | (true, true) => a != b && (a.is_within(b) || b.is_within(a)),
        _ => a.is_within(b) || b.is_within(a),
    }
}

/// Takes the wanted changes apart. One that contradicts an earlier one is invalid.
pub(super) fn claims(wanted: &[Change], object: &Value) -> Vec<Result<Vec<Claim>, InvalidChange>> {
    let mut all: Vec<Result<Vec<Claim>, InvalidChange>> = Vec::new();
    for change in wanted {
        let claims = claims_of(change, object).and_then(|claims| {
            let earlier = || all.iter().flatten().flatten();
            let clash = claims
                .iter()
                .find(|claim| earlier().any(|other| claim.contradicts(other)));
            match clash {
                Some(clash) => Err(InvalidChange::Contradiction(clash.path().clone())),
                None => Ok(claims),
            }
        });
        all.push(claims);
    }
    all
}

fn claims_of(change: &Change, object: &Value) -> Result<Vec<Claim>, InvalidChange> {
    match change {
        Change::AddToList { path, value, key } => Ok(vec![item(parse(path)?, value, key.as_ref())?]),
        Change::SetField {
            path,
            value,
            on_conflict,
        } => {
            let mut claims = Vec::new();
            fields(parse(path)?, value, *on_conflict == OnConflict::Adopt, &mut claims)?;
            Ok(claims)
        }
        Change::Annotate {
            key,
            value,
            pod_template,
        } => {
            let template = ["spec", "template", "metadata", "annotations"];
            if *pod_template && !object["spec"]["template"].is_object() {
                return Err(InvalidChange::NoPodTemplate);
            }
            let path = Path::of(if *pod_template { &template } else { &template[2..] }).child(key);
            let mut claims = Vec::new();
            fields(path, &Value::from(value.as_str()), false, &mut claims)?;
            Ok(claims)
        }
    }
}

fn parse(text: &str) -> Result<Path, InvalidChange> {
    text.parse().map_err(|problem| InvalidChange::Path {
        text: text.to_owned(),
        problem,
    })
}

/// An object is set field by field, so that what others keep beside our fields in it is never touched.
fn fields(path: Path, value: &Value, adopt: bool, claims: &mut Vec<Claim>) -> Result<(), InvalidChange> {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                fields(path.child(name), value, adopt, claims)?;
            }
        }
        value => {
            check_field(&path, value)?;
            let value = value.clone();
            claims.push(Claim::Field { path, value, adopt });
        }
    }
    Ok(())
}

/// Which fields may be set: those of the consumer's own content, its labels and its annotations.
fn check_field(path: &Path, value: &Value) -> Result<(), InvalidChange> {
    let names: Vec<_> = path.names().iter().map(String::as_str).collect();
    match names[..] {
        ["metadata", "labels" | "annotations", name] => {
            // What carries our labels is taken for an object that we have made, and deleted as such.
            if name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/')) {
                return Err(InvalidChange::Ours(path.clone()));
            }
            let string = value.is_string().then_some(());
            string.ok_or_else(|| InvalidChange::NotAString(path.clone()))
        }
        ["apiVersion" | "kind" | "metadata" | "status", ..] => Err(InvalidChange::Reserved(path.clone())),
        _ if holds_null(value) => Err(InvalidChange::Null(path.clone())),
        _ => Ok(()),
    }
}

fn item(path: Path, value: &Value, key: Option<&String>) -> Result<Claim, InvalidChange> {
    let top = path.names().first().map(String::as_str);
    if matches!(top, Some("apiVersion" | "kind" | "metadata" | "status")) {
        return Err(InvalidChange::Reserved(path));
    }
    if holds_null(value) {
        return Err(InvalidChange::Null(path));
    }
    match (value, key) {
        (Value::Object(map), Some(key)) if map.get(key).is_some_and(is_scalar) => {}
        (_, Some(key)) => {
            let key = key.clone();
            return Err(InvalidChange::KeyMissing { path, key });
        }
        (value, None) if is_scalar(value) => {}
        (_, None) => return Err(InvalidChange::NoKey(path)),
    }
    Ok(Claim::Item {
        path,
        key: key.cloned(),
        value: value.clone(),
    })
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(holds_null),
        Value::Object(map) => map.values().any(holds_null),
        _ => false,
    }
}
