//! Whether what is there is what is wanted, by parsed values: what the API server fills in or writes in another way is no difference.
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

/// Whether two values say the same: numbers by value (1 and 1.0), and a null, an empty list or map in an object as if absent.
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = |value: Option<&Value>| value.is_none_or(is_empty);
            a.iter()
                .all(|(key, value)| b.get(key).map_or_else(|| is_empty(value), |other| same(value, other)))
                && b.iter().all(|(key, value)| a.contains_key(key) || missing(Some(value)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => scalar(a, b),
    }
}

/// Whether `observed` says everything that `wanted` says, and perhaps more in its objects (defaults, other writers' fields).
/// Lists are compared as wholes: this is for lists with one owner.
#[must_use]
pub fn covers(observed: &Value, wanted: &Value) -> bool {
    match (observed, wanted) {
        (Value::Object(observed), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            observed
                .get(key)
                .map_or_else(|| is_empty(value), |other| covers(other, value))
        }),
        (Value::Array(observed), Value::Array(wanted)) => {
            observed.len() == wanted.len()
                && observed
                    .iter()
                    .zip(wanted)
                    .all(|(observed, wanted)| covers(observed, wanted))
        }
        _ => scalar(observed, wanted),
    }
}

/// Whether the metadata that we own is there: our labels, annotations and owner references; those of others may stand beside.
#[must_use]
pub fn covers_metadata(observed: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    covers_map(observed.labels.as_ref(), wanted.labels.as_ref())
        && covers_map(observed.annotations.as_ref(), wanted.annotations.as_ref())
        && wanted
            .owner_references
            .iter()
            .flatten()
            .all(|owner| has_owner(observed, owner))
}

fn covers_map(observed: Option<&BTreeMap<String, String>>, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| observed.and_then(|map| map.get(key)) == Some(value))
}

fn has_owner(observed: &ObjectMeta, wanted: &OwnerReference) -> bool {
    observed.owner_references.iter().flatten().any(|owner| owner == wanted)
}

fn scalar(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => a == b || x.as_f64() == y.as_f64(),
        _ => a == b || (is_empty(a) && is_empty(b)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_in_other_words() {
        for (a, b) in [
            (json!({"a": 1}), json!({"a": 1.0})),
            (json!({"a": 1, "b": null, "c": [], "d": {}}), json!({"a": 1})),
            (json!({"a": {"creationTimestamp": null}}), json!({"a": {}})),
            (json!([1, {"a": "b"}]), json!([1, {"a": "b", "c": {}}])),
        ] {
            assert!(same(&a, &b) && same(&b, &a), "{a} {b}");
            assert!(covers(&a, &b) && covers(&b, &a), "{a} {b}");
        }
    }

    #[test]
    fn differences() {
        for (a, b) in [
            (json!({"a": 1}), json!({"a": 2})),
            (json!({"a": 1}), json!({"a": "1"})),
            (json!({"a": false}), json!({})),
            (json!({"a": ""}), json!({})),
            (json!([1]), json!([1, 2])),
            (json!([1, 2]), json!([2, 1])),
        ] {
            assert!(!same(&a, &b) && !same(&b, &a), "{a} {b}");
        }
    }

    #[test]
    fn defaults_are_covered_but_not_the_same() {
        let wanted = json!([{"rules": [{"type": "WellKnownStatus"}]}]);
        let observed = json!([{"rules": [{"type": "WellKnownStatus"}], "scrape": "Poll"}]);
        assert!(covers(&observed, &wanted) && !covers(&wanted, &observed) && !same(&observed, &wanted));
    }
}
