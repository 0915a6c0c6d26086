//! Templates of objects.
use serde_json::json;

use super::*;
use crate::{expression::text::tests::scope, value::Value};

#[test]
fn holes_of_all_strings_are_filled_and_single_ones_keep_their_type() {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "peer-${source.cluster}", "labels": {"${not.a.hole}": "${params.pool}"}},
        "data": {"token": "${inputs.token.data.token}"},
        "stringData": {"url": "x=${inputs.token.data.token}"},
        "spec": {"replicas": "${inputs.pool.spec.size}", "peers": ["${inputs.pool.status.peers[0]}", 7, null, true]},
    });
    assert_eq!(
        template(&object, &scope()).unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "peer-east", "labels": {"${not.a.hole}": "rbd"}},
            "data": {"token": "czNjcjN0"},
            "stringData": {"url": "x=s3cr3t"},
            "spec": {"replicas": 3, "peers": [{"name": "a", "up": true}, 7, null, true]},
        })
    );
}

#[test]
fn errors_tell_the_path() {
    for (object, expected) in [
        (json!("${"), ": character 1: '${' has no matching '}'"),
        (
            json!({"a": {"b": ["x", {"c": "${"}]}}),
            "a.b[1].c: character 1: '${' has no matching '}'",
        ),
        (
            json!({"a": {"b.c/d": "${params.none}"}}),
            "a[b.c/d]: character 9: \"none\" is not there",
        ),
        (
            json!([["${1 +}"]]),
            "[0][0]: character 6: expected an expression, seen the end of the expression",
        ),
    ] {
        assert_eq!(
            template(&object, &scope()).unwrap_err().to_string(),
            expected,
            "{object}"
        );
    }
}

#[test]
fn texts_and_references_are_told() {
    let template = Template::parse(&json!({"a": ["${params.pool}", "plain"], "b": "${inputs.token.data}"})).unwrap();
    let texts: Vec<_> = template
        .texts()
        .into_iter()
        .map(|(path, text)| (path, text.source()))
        .collect();
    assert_eq!(texts, [("a[0]", "${params.pool}"), ("b", "${inputs.token.data}")]);
    assert_eq!(
        template.references(),
        BTreeSet::from([
            Reference::new("inputs", Some("token")),
            Reference::new("params", Some("pool"))
        ])
    );
}

#[test]
fn all_strings_together_are_bounded() {
    let mut scope = scope();
    scope.extra.insert("long".to_owned(), Value::Text("x".repeat(500_000)));
    assert!(template(&json!(["${long}", "${long}"]), &scope).is_ok());
    let seen = template(&json!(["${long}", "${long}", "${long}"]), &scope).unwrap_err();
    assert_eq!(seen.path, "[2]");
    assert!(matches!(*seen.error, ExpressionError::TooMuchOutput { .. }));
}
