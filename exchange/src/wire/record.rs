//! The record of what links have changed in a consumer: an annotation on the consumer itself, written by the same patch as
//! the changes. It survives every restart and a lost status, and goes when the last link goes.
//!
//! The record shows no value that a link has set. Values may come from secret payload, and annotations are seen by more
//! people than fields are: metadata-only watches, tools that mask a field. It holds an *imprint*: the value with a digest
//! in the place of each string, number and boolean. The digest is not keyed. It would let somebody test guesses of a weak
//! secret, but the value itself stands readable in the same object. The one plain value is `before`, which was there
//! before us and has to be put back.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::names;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::path::Path;

/// Characters of a digest: 128 bits.
const DIGEST: usize = 32;

/// What all links have changed in one consumer.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Objects and lists that were made on the way to a field. They are removed when nothing is left in them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub created: BTreeSet<Path>,
    /// What each link has set or added, by link id.
    pub links: BTreeMap<String, Vec<Entry>>,
}

/// One thing that a link has set or added.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Entry {
    /// A field: a scalar, a list or an empty object.
    Field {
        path: Path,
        left: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
    },
    /// An item of a list. With a key it is an object that is known by that field, otherwise a scalar.
    Item {
        path: Path,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        left: Value,
    },
}

impl Record {
    /// The record in the text of an annotation; an absent one is empty.
    pub fn read(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }

    /// The text of the annotation; `None` if there is nothing to record.
    ///
    /// JSON without the characters that Go's encoder escapes, see `edit`: the record can be tested for in a patch.
    pub fn text(&self) -> Option<String> {
        let escape = |text: String, c: char| text.replace(c, &format!("\\u{:04x}", u32::from(c)));
        let special = ['<', '>', '&', '\u{2028}', '\u{2029}'];
        (!self.links.is_empty()).then(|| special.into_iter().fold(json!(self).to_string(), escape))
    }
}

impl Entry {
    pub fn path(&self) -> &Path {
        match self {
            Self::Field { path, .. } | Self::Item { path, .. } => path,
        }
    }

    /// The imprint of what the link left there.
    pub fn left(&self) -> &Value {
        match self {
            Self::Field { left, .. } | Self::Item { left, .. } => left,
        }
    }

    pub fn before(&self) -> Option<&Value> {
        match self {
            Self::Field { before, .. } => before.as_ref(),
            Self::Item { .. } => None,
        }
    }

    pub fn is_item(&self) -> bool {
        matches!(self, Self::Item { .. })
    }

    /// Whether `seen` still is what `link` left at this entry. Fields that others (or defaults) have added to an object
    /// do not count.
    pub fn is_left(&self, link: &str, seen: &Value) -> bool {
        is_left(link, self.path(), seen, self.left())
    }

    /// Position in its list of the item that this entry means, changed or not. `None` for a field.
    pub fn position(&self, link: &str, list: &[Value]) -> Option<usize> {
        let Self::Item { path, key, left } = self else {
            return None;
        };
        match key {
            Some(key) => list
                .iter()
                .position(|item| left.get(key).is_some_and(|left| is_left(link, path, &item[key], left))),
            None => list.iter().position(|item| is_left(link, path, item, left)),
        }
    }

    /// Order within a record: the same entries give the same text.
    pub fn order(&self) -> (Path, bool, String) {
        (self.path().clone(), self.is_item(), self.left().to_string())
    }
}

/// A value with a digest in the place of each scalar.
pub(super) fn imprint(link: &str, path: &Path, value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), imprint(link, path, value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(|value| imprint(link, path, value)).collect(),
        scalar => digest(link, path, scalar).into(),
    }
}

fn is_left(link: &str, path: &Path, seen: &Value, left: &Value) -> bool {
    match (seen, left) {
        (Value::Object(seen), Value::Object(left)) => left
            .iter()
            .all(|(key, left)| is_left(link, path, seen.get(key).unwrap_or(&Value::Null), left)),
        (Value::Array(seen), Value::Array(left)) => {
            seen.len() == left.len()
                && seen
                    .iter()
                    .zip(left)
                    .all(|(seen, left)| is_left(link, path, seen, left))
        }
        // An API server may drop what is empty.
        (Value::Null, Value::Object(left)) => left.is_empty(),
        (Value::Null, Value::Array(left)) => left.is_empty(),
        (scalar, Value::String(left)) => digest(link, path, scalar) == *left,
        _ => false,
    }
}

fn digest(link: &str, path: &Path, scalar: &Value) -> String {
    // An API server may write 1.0 as 1.
    #[allow(clippy::cast_possible_truncation)] // Checked: the number is whole and within i32.
    let text = match scalar.as_f64() {
        Some(number) if scalar.is_f64() && number.fract() == 0.0 && number.abs() < f64::from(i32::MAX) => {
            (number as i64).to_string()
        }
        _ => scalar.to_string(),
    };
    names::digest(&["wired/v1", link, &path.to_string(), &text], DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn an_imprint_shows_no_value_and_knows_it_again() {
        let place = path("spec.list");
        let value = json!({"name": "s3cr3t", "port": 4711, "tags": ["x-tag", true], "none": {}});
        let left = imprint("l", &place, &value);
        for shown in ["s3cr3t", "4711", "x-tag", "true"] {
            assert!(!left.to_string().contains(shown), "{left}");
        }
        let mut more = value.clone();
        more["added"] = json!("by others");
        let (mut changed, mut float, mut dropped) = (value.clone(), value.clone(), value.clone());
        changed["port"] = json!("4711");
        float["port"] = json!(4711.0);
        dropped.as_object_mut().unwrap().remove("none");
        for (seen, same) in [
            (&value, true),
            (&more, true),
            (&float, true),
            (&dropped, true),
            (&changed, false),
            (&json!({}), false),
            (&json!("s3cr3t"), false),
        ] {
            assert_eq!(is_left("l", &place, seen, &left), same, "{seen}");
        }
        assert!(!is_left("other", &place, &value, &left) && !is_left("l", &path("spec"), &value, &left));
    }

    #[test]
    fn vector() {
        let place = path("spec.mirroring.peers.secretNames");
        let record = Record {
            created: BTreeSet::from([path("spec.mirroring")]),
            links: BTreeMap::from([(
                "1244d3bc6c53866b576a23659f450d97".to_owned(),
                vec![
                    Entry::Field {
                        path: path("data[\"<a> b\"]"),
                        left: json!([]),
                        before: Some(json!("x&y")),
                    },
                    Entry::Item {
                        left: imprint("1244d3bc6c53866b576a23659f450d97", &place, &json!("peer-east")),
                        path: place,
                        key: None,
                    },
                ],
            )]),
        };
        let text = record.text().unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"created":["spec.mirroring"],"links":{"1244d3bc6c53866b576a23659f450d97":["#,
                r#"{"field":{"before":"x\u0026y","left":[],"path":"data[\"\u003ca\u003e b\"]"}},"#,
                r#"{"item":{"left":"867369db43c3f378395e881e32b30068","path":"spec.mirroring.peers.secretNames"}}]}}"#
            )
        );
        assert!(Record::read(Some(&text)).unwrap() == record);
    }

    #[test]
    fn nothing_to_record_is_no_annotation_and_the_unknown_is_refused() {
        assert_eq!(Record::default().text(), None);
        assert!(Record::read(None).unwrap() == Record::default());
        for text in [
            "",
            "{}",
            "[]",
            r#"{"links":{},"version":2}"#,
            r#"{"links":{"l":[{"other":{}}]}}"#,
        ] {
            assert!(Record::read(Some(text)).is_err(), "{text}");
        }
    }
}
