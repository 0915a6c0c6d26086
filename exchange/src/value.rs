//! Values that expressions see and yield. They may be secret: `Debug` prints kinds and sizes, never contents.
use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use peering_api::Sensitive;
use serde_json::Value as Json;

/// A value: what JSON can say, and bytes.
#[derive(Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, as in the `data` of a Secret.
    Bytes(Sensitive),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

/// What a value is, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Value::Null`].
    Null,
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Int`].
    Int,
    /// [`Value::Float`].
    Float,
    /// [`Value::Text`].
    Text,
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::List`].
    List,
    /// [`Value::Map`].
    Map,
}

impl fmt::Display for Kind {
    /// The name of the type in CEL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
        })
    }
}

impl Value {
    /// What the value is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
        }
    }

    /// The entry of that name, of a map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(name),
            _ => None,
        }
    }

    /// The entry that a path of names leads to; the value itself for an empty path.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON: bytes as base64, as in the `data` of a Secret, and numbers that JSON does not know as null.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Json::from(*value),
            Self::Text(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => Json::String(BASE64_STANDARD.encode(bytes.expose())),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// About how many bytes of memory the value takes: what copying it or looking through it costs.
    #[must_use]
    pub fn weight(&self) -> usize {
        const SELF: usize = size_of::<Value>();
        SELF + match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.expose().len(),
            Self::List(items) => items.iter().map(Self::weight).sum(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, value)| SELF + key.len() + value.weight())
                .sum(),
        }
    }
}

impl From<Json> for Value {
    /// Whole numbers beyond 64 bits with sign become [`Value::Float`].
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(float)) => Self::Float(float),
                (None, None) => Self::Null,
            },
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(entries) => entries
                .into_iter()
                .map(|(key, value)| (key, Self::from(value)))
                .collect(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Sensitive> for Value {
    fn from(bytes: Sensitive) -> Self {
        Self::Bytes(bytes)
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => write!(f, "{kind}"),
            Self::Text(text) => write!(f, "{kind}({})", text.len()),
            Self::Bytes(bytes) => write!(f, "{kind}({})", bytes.expose().len()),
            Self::List(items) => write!(f, "{kind}({})", items.len()),
            Self::Map(entries) => write!(f, "{kind}({})", entries.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn debug_shows_kinds_and_sizes_only() {
        let secret: Value = [
            ("hunter2", Value::from("hunter2")),
            ("bytes", Value::Bytes(b"hunter2".to_vec().into())),
        ]
        .into_iter()
        .collect();
        for (value, shown) in [
            (secret.clone(), "map(2)"),
            (Value::List(vec![secret]), "list(1)"),
            (Value::from("hunter2"), "string(7)"),
            (Value::Bytes(b"hunter2".to_vec().into()), "bytes(7)"),
            (Value::Int(4711), "int"),
            (Value::Float(47.11), "double"),
            (Value::Bool(true), "bool"),
            (Value::Null, "null"),
        ] {
            assert_eq!(format!("{value:?}"), shown);
            assert_eq!(format!("{value:#?}"), shown);
        }
    }

    #[test]
    fn entries_are_found_by_path() {
        let value = Value::from(json!({"a": {"b": "x"}, "c": []}));
        assert_eq!(value.at(&["a", "b"]).and_then(Value::text), Some("x"));
        assert_eq!(value.at(&[]), Some(&value));
        for path in [&["a", "c"][..], &["c", "a"], &["a", "b", "c"]] {
            assert_eq!(value.at(path), None, "{path:?}");
        }
        assert_eq!(value.get("c").and_then(Value::text), None);
    }

    #[test]
    fn json_comes_and_goes() {
        let json = json!({"a": [1, 2.5, true, null, "x"], "b": {}});
        assert_eq!(Value::from(json.clone()).to_json(), json);
        assert_eq!(Value::Bytes(vec![0, 255].into()).to_json(), json!("AP8="));
        assert_eq!(Value::Float(f64::NAN).to_json(), Json::Null);
        assert_eq!(Value::from(json!(u64::MAX)).kind(), Kind::Float);
        assert_eq!(Value::from(json!(i64::MIN)), Value::Int(i64::MIN));
    }

    proptest! {
        #[test]
        fn weight_grows_with_what_is_inside(text in ".{0,40}", count in 0_usize..20) {
            let one = Value::from(text.as_str());
            prop_assert!(one.weight() >= text.len());
            let many = Value::List(vec![one.clone(); count]);
            prop_assert!(many.weight() >= count * one.weight());
        }
    }
}
