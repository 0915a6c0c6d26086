//! Whether an object is what its CRD's schema allows: required fields, no unknown ones (the API server would drop them in silence),
//! types and enums. Not CEL: the API server's own tests are in the scenarios.
use serde_json::Value;

/// What is wrong with an object, by the path of the field; empty: nothing.
#[must_use]
pub fn problems(crd: &Value, object: &Value) -> Vec<String> {
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let version = object["apiVersion"].as_str().unwrap_or_default().rsplit('/').next();
    let found = versions
        .filter(|candidate| candidate["name"].as_str() == version)
        .map(|found| &found["schema"]["openAPIV3Schema"])
        .next();
    let Some(schema) = found else {
        return vec![format!("the CRD has no version {version:?}")];
    };
    let mut problems = Vec::new();
    let mut body = object.clone();
    if let Some(fields) = body.as_object_mut() {
        // The API server's own fields are in no schema.
        fields.retain(|name, _| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
    }
    check("", schema, &body, &mut problems);
    problems
}

fn check(at: &str, schema: &Value, value: &Value, problems: &mut Vec<String>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !has_type(schema, value) {
        problems.push(format!("{at}: not of type {}", schema["type"]));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        problems.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(&format!("{at}[{index}]"), &schema["items"], item, problems);
            }
        }
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                if name.as_str().is_some_and(|name| !fields.contains_key(name)) {
                    problems.push(format!("{at}: {name} is missing"));
                }
            }
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
            for (name, field) in fields {
                let path = format!("{at}.{name}");
                let (named, any) = (&schema["properties"][name], &schema["additionalProperties"]);
                match (named.is_object(), any.is_object()) {
                    (true, _) => check(&path, named, field, problems),
                    (false, true) => check(&path, any, field, problems),
                    (false, false) if open || *any == true => {}
                    (false, false) => problems.push(format!("{path}: unknown field")),
                }
            }
        }
        _ => {}
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}
