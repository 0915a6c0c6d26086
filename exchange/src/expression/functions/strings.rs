//! Functions on texts.
use super::{Fault, MISMATCH, Work, texts};
use crate::value::Value;

/// What a value costs besides its text.
const VALUE: usize = size_of::<Value>();

pub(super) fn contains(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text, part] = texts(arguments)?;
    Ok(Value::Bool(text.contains(part)))
}

pub(super) fn starts_with(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text, part] = texts(arguments)?;
    Ok(Value::Bool(text.starts_with(part)))
}

pub(super) fn ends_with(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text, part] = texts(arguments)?;
    Ok(Value::Bool(text.ends_with(part)))
}

pub(super) fn lower(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text] = texts(arguments)?;
    Ok(text.to_lowercase().into())
}

pub(super) fn upper(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text] = texts(arguments)?;
    Ok(text.to_uppercase().into())
}

pub(super) fn trim(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text] = texts(arguments)?;
    Ok(text.trim().into())
}

/// `replace(text, old, new)`: every occurrence.
pub(super) fn replace(arguments: &[&Value], work: &mut Work) -> Result<Value, Fault> {
    let [text, old, new] = texts(arguments)?;
    work.spend(text.matches(old).count().saturating_mul(new.len()))?;
    Ok(text.replace(old, new).into())
}

/// `split(text, separator)`: an empty separator splits into characters.
pub(super) fn split(arguments: &[&Value], work: &mut Work) -> Result<Value, Fault> {
    let [text, separator] = texts(arguments)?;
    if separator.is_empty() {
        work.spend(text.len().saturating_mul(VALUE))?;
        return Ok(Value::List(
            text.chars().map(|character| character.to_string().into()).collect(),
        ));
    }
    work.spend(text.matches(separator).count().saturating_mul(VALUE))?;
    Ok(Value::List(text.split(separator).map(Value::from).collect()))
}

/// `join(list, separator)`, of strings.
pub(super) fn join(arguments: &[&Value], work: &mut Work) -> Result<Value, Fault> {
    let [Value::List(items), Value::Text(separator)] = arguments else {
        return Err(MISMATCH);
    };
    work.spend(items.len().saturating_mul(separator.len()))?;
    let texts: Option<Vec<_>> = items
        .iter()
        .map(|item| match item {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let texts = texts.ok_or(Fault::Problem(
        "the list holds something else than strings: use string(x) on its items",
    ))?;
    Ok(texts.join(separator).into())
}
