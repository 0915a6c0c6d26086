//! The same expressions, evaluated here and by the `cel` crate, must yield the same, or fail on both sides.
//!
//! Expressions are evaluated here with the grammar of that crate but not with its evaluation (`expression/syntax.rs`
//! tells why). This test keeps the meaning of what profiles may write the meaning that CEL gives it.
// A helper outside of `#[test]` functions is test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[allow(dead_code)]
mod generator;

use cel::{Context, Program};
use exchange::{
    expression::{ExpressionError, Scope, Text},
    value::Value,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::json;

fn variables() -> Vec<(&'static str, Value)> {
    let map = json!({"a": 1, "inner": {"b": "c"}, "list": [1, "a", null, {"a": true}]});
    let values = [json!(5), json!("ab"), json!([1, 2, 3]), map];
    generator::VARIABLES.into_iter().zip(values.map(Value::from)).collect()
}

fn scope() -> Scope {
    Scope {
        extra: variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..Scope::default()
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Int(value) => cel::Value::Int(*value),
        Value::Float(value) => cel::Value::Float(*value),
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(bytes) => bytes.expose().to_vec().into(),
        Value::List(items) => items.iter().map(to_cel).collect::<Vec<_>>().into(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), to_cel(value)));
            entries.collect::<std::collections::HashMap<_, _>>().into()
        }
    }
}

/// `None`: a value that profiles cannot have.
fn from_cel(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(value) => Value::Int(*value),
        cel::Value::Float(value) => Value::Float(*value),
        cel::Value::String(text) => Value::from(text.as_str()),
        cel::Value::Bytes(bytes) => Value::Bytes(bytes.to_vec().into()),
        cel::Value::List(items) => Value::List(items.iter().map(from_cel).collect::<Option<_>>()?),
        cel::Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| match key {
                cel::objects::Key::String(key) => Some((key.to_string(), from_cel(value)?)),
                _ => None,
            });
            Value::Map(entries.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The value of an expression as JSON, with its kind so that bytes and strings differ.
fn ours(expression: &str) -> Result<String, ExpressionError> {
    let value = Text::parse(&format!("${{{expression}}}"))?.value(&scope())?;
    Ok(format!("{} {}", value.kind(), value.to_json()))
}

fn theirs(expression: &str) -> Result<String, String> {
    let program = Program::compile(expression).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    for (name, value) in variables() {
        context.add_variable_from_value(name, to_cel(&value));
    }
    let value = program.execute(&context).map_err(|error| error.to_string())?;
    let value = from_cel(&value).ok_or("not a value of ours")?;
    Ok(format!("{} {}", value.kind(), value.to_json()))
}

/// True where profiles are meant to be narrower than CEL (limits, and keys of maps that are no strings), and where the
/// cel crate is wider (a list plus a map, which no CEL document knows).
fn is_narrower(error: &ExpressionError) -> bool {
    match error {
        ExpressionError::TooComplex { .. } | ExpressionError::TooLong { .. } | ExpressionError::TooMuchWork { .. } => {
            true
        }
        ExpressionError::Type { what, seen, .. } => {
            what == "the key of a map" || (what == "+" && seen == "list and map")
        }
        _ => false,
    }
}

/// True where the cel crate fails though CEL knows a value: `null in {}` is false there too.
fn is_gap(error: &str) -> bool {
    error.contains("no matching overload for '@in'")
}

proptest! {
    #![proptest_config(Config {
        cases: 3000,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn values_are_those_of_cel(expression in generator::expression()) {
        let (ours, theirs) = (ours(&expression), theirs(&expression));
        match (&ours, &theirs) {
            (Err(error), _) if is_narrower(error) => {}
            (Ok(_), Err(error)) if is_gap(error) => {}
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (ours, theirs) => prop_assert!(ours.is_err() && theirs.is_err(), "{ours:?} / {theirs:?}"),
        }
    }
}

#[test]
fn the_generator_yields_values_as_well_as_errors() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let good = (0..300).filter(|_| ours(&generator::expression().new_tree(&mut runner).unwrap().current()).is_ok());
    let good = good.count();
    assert!((30..270).contains(&good), "{good} of 300 yield a value");
}
