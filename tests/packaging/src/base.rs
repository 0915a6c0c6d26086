//! Reads a kustomize base that lists plain resources, as `manifests/hub` does. What it cannot read it refuses, so that nothing is
//! packaged that differs from what `kubectl apply -k` installs.
use std::path::Path;

use serde_json::Value;

use crate::{Error, read};

/// Every object of a base, in the order in which it names them.
pub fn objects(base: &Path) -> Result<Vec<Value>, Error> {
    let path = base.join("kustomization.yaml");
    let text = read(&path)?;
    let mut documents = documents(&path, &text)?;
    let Some(Value::Object(kustomization)) = documents.pop() else {
        return Err(Error::Unexpected(format!("{} holds no object", path.display())));
    };
    let known = ["apiVersion", "kind", "resources"];
    if let Some(field) = kustomization.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(Error::Unexpected(format!(
            "{} has `{field}`: only plain resources can be packaged; put it into an overlay",
            path.display()
        )));
    }
    let resources = kustomization.get("resources").and_then(Value::as_array);
    let mut objects = Vec::new();
    for resource in resources.into_iter().flatten().filter_map(Value::as_str) {
        let path = base.join(resource);
        if path.is_dir() {
            objects.extend(self::objects(&path)?);
        } else {
            objects.extend(self::documents(&path, &read(&path)?)?);
        }
    }
    Ok(objects)
}

/// The documents of a YAML file.
pub fn documents(path: &Path, text: &str) -> Result<Vec<Value>, Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| Error::Yaml {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    Ok(documents)
}

/// The kind of an object.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The name of an object.
#[must_use]
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], wanted: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| kind(object) == wanted)
}

/// The only object of a kind.
pub fn only<'a>(objects: &'a [Value], wanted: &'a str) -> Result<&'a Value, Error> {
    let mut found = of_kind(objects, wanted);
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        _ => Err(Error::Unexpected(format!(
            "the base does not hold exactly one {wanted}"
        ))),
    }
}

/// Puts another text in the place of every string that equals `from`.
pub fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        _ => {}
    }
}
