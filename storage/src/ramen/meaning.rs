//! What a configuration says, without its text: what an edit must and must not change.
use serde_json::{Map, Value, json};

use super::{KEY, LIST, RamenError};

/// Reads a configuration. An empty one is an empty map.
pub(super) fn read(text: &str) -> Result<Value, RamenError> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        let first = error.to_string();
        RamenError::Malformed(first.lines().next().unwrap_or_default().to_owned())
    })?;
    let document = if document.is_null() { json!({}) } else { document };
    let Some(fields) = document.as_object() else {
        return Err(RamenError::Structure("expected a map at the top"));
    };
    match fields.get(LIST) {
        None | Some(Value::Null) => Ok(document),
        Some(Value::Array(entries)) if entries.iter().all(Value::is_object) => Ok(document),
        Some(_) => Err(RamenError::Structure("expected s3StoreProfiles to be a list of maps")),
    }
}

fn entries(document: &Value) -> &[Value] {
    document.get(LIST).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_named(entry: &Value, name: &str) -> bool {
    entry.get(KEY).and_then(Value::as_str) == Some(name)
}

/// The first entry of that name: Ramen takes that one too.
pub(super) fn entry<'d>(document: &'d Value, name: &str) -> Option<&'d Value> {
    entries(document).iter().find(|entry| is_named(entry, name))
}

/// Whether there is no entry.
pub(super) fn is_empty(document: &Value) -> bool {
    entries(document).is_empty()
}

/// The same with an entry that has these fields, and without one.
pub(super) fn with(
    document: &Value,
    name: &str,
    fields: &[(&str, Value)],
    dropped: Option<&str>,
) -> Result<Value, RamenError> {
    let mut new = document.clone();
    let list = new
        .as_object_mut()
        .map(|document| document.entry(LIST).or_insert(Value::Null))
        .ok_or(RamenError::Structure("expected a map at the top"))?;
    if list.is_null() {
        *list = json!([]);
    }
    let list = list
        .as_array_mut()
        .ok_or(RamenError::Structure("expected s3StoreProfiles to be a list of maps"))?;
    if !list.iter().any(|entry| is_named(entry, name)) {
        list.push(json!({}));
    }
    let end = list.len().saturating_sub(1);
    let index = list.iter().position(|entry| is_named(entry, name)).unwrap_or(end);
    let entry = list
        .get_mut(index)
        .and_then(Value::as_object_mut)
        .ok_or(RamenError::Structure("expected s3StoreProfiles to be a list of maps"))?;
    for (key, value) in fields {
        entry.insert((*key).to_owned(), value.clone());
    }
    if let Some(key) = dropped {
        entry.remove(key);
    }
    Ok(new)
}

/// The same without the first entry of that name.
pub(super) fn without(document: &Value, name: &str) -> Value {
    let mut new = document.clone();
    let list = new.get_mut(LIST).and_then(Value::as_array_mut);
    if let Some(list) = list
        && let Some(index) = list.iter().position(|entry| is_named(entry, name))
    {
        list.remove(index);
    }
    new
}

/// The same with what stood in place of the list before it had entries, if that is known.
pub(super) fn emptied(document: &Value, original: Option<&str>) -> Value {
    let mut new = document.clone();
    if let (Some(fields), Some(line)) = (new.as_object_mut(), original) {
        let said = serde_saphyr::from_str::<Map<String, Value>>(line).ok();
        match said.and_then(|mut said| said.remove(LIST)) {
            Some(value) => drop(fields.insert(LIST.to_owned(), value)),
            None => drop(fields.remove(LIST)),
        }
    }
    new
}
