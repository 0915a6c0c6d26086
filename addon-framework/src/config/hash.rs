//! The hash by which a rollout of a configuration is tracked, byte for byte as the Go framework makes it. Pure.
use std::fmt::Write as _;

use peering_api::kube::core::DynamicObject;
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

/// What is not part of a configuration's content.
const NOT_CONTENT: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// Lower-case hex SHA-256 of everything in `object` but its type, metadata and status, as compact JSON of Go with sorted keys.
#[must_use]
pub fn spec_hash(object: &DynamicObject) -> String {
    let empty = Map::new();
    let data = object.data.as_object().unwrap_or(&empty);
    let content = data.iter().filter(|(key, _)| !NOT_CONTENT.contains(&key.as_str()));
    let mut json = String::new();
    write_object(&mut json, content);
    hex(&Sha256::digest(json))
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => write_object(out, fields.iter()),
    }
}

/// Sorted here, since `serde_json` keeps insertion order if any crate of a build asks for it.
fn write_object<'a>(out: &mut String, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(key, _)| *key);
    out.push('{');
    for (position, (key, value)) in fields.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// Go escapes what HTML would read, and the two line ends that JavaScript would.
fn write_string(out: &mut String, text: &str) {
    for char in Value::from(text).to_string().chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
}

/// Go reads a number as int64 if it is one, else as float64; floats get an exponent below 1e-6 and from 1e21 on.
fn write_number(out: &mut String, number: &Number) {
    let float = match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => return out.push_str(&integer.to_string()),
        (None, Some(float)) => float,
        (None, None) => return out.push_str(&number.to_string()),
    };
    let size = float.abs();
    let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{float:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
            _ => text,
        }
    } else {
        float.to_string()
    };
    out.push_str(&text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn go_json(value: &Value) -> String {
        let mut json = String::new();
        write_value(&mut json, value);
        json
    }

    fn hash(object: Value) -> String {
        spec_hash(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_hash_covers_the_spec_with_its_key_and_nothing_that_others_write() {
        // printf '{"spec":{"a":1,"b":["x"]}}' | sha256sum
        let expected = "226a7fe2337abd1fa68696bbd535d834b069940a097e0acd27699c0c9c257a7c";
        let plain =
            hash(json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {"b": ["x"], "a": 1}}));
        assert_eq!(plain, expected);
        let busy =
            json!({"metadata": {"name": "other", "generation": 7}, "spec": {"a": 1, "b": ["x"]}, "status": {"c": 2}});
        assert_eq!(hash(busy), expected);
    }

    #[test]
    fn other_content_is_hashed_too_and_none_is_an_empty_object() {
        // printf '{}' | sha256sum
        assert_eq!(
            hash(json!({"metadata": {"name": "n"}})),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        let map = |value: &str| hash(json!({"kind": "ConfigMap", "metadata": {}, "data": {"k": value}}));
        assert_ne!(map("a"), map("b"));
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        assert_eq!(
            go_json(&json!({"z": "<a href='x'>&\u{2028}\u{2029}é\n\t\"\\\u{1}\u{8}\u{c}", "a": null})),
            r#"{"a":null,"z":"\u003ca href='x'\u003e\u0026\u2028\u2029é\n\t\"\\\u0001\b\f"}"#
        );
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (text, expected) in [
            ("1", "1"),
            ("-3", "-3"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("9223372036854775807", "9223372036854775807"),
            ("18446744073709551615", "18446744073709552000"),
            ("0", "0"),
        ] {
            assert_eq!(go_json(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z<&]{0,4}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(value in value()) {
            let json = go_json(&value);
            prop_assert!(!json.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }

        #[test]
        fn only_content_decides(spec in value(), name in "[a-z]{1,5}", status in value()) {
            let bare = hash(json!({"metadata": {}, "spec": spec}));
            prop_assert_eq!(hash(json!({"metadata": {"name": name}, "spec": spec, "status": status})), bare);
        }
    }
}
