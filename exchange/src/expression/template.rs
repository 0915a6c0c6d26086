//! Objects whose strings are texts with holes.
use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value as Json;
use thiserror::Error;

use super::{ExpressionError, Position, Reference, Scope, Text, limits::OUTPUT};

/// What is wrong with a template, and where: the path of the string as Kubernetes writes it, `spec.rules[0].host`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {error}")]
pub struct TemplateError {
    /// The path of the string; empty where the template is a single string.
    pub path: String,
    /// What is wrong with it.
    pub error: Box<ExpressionError>,
}

/// An object template whose strings have been parsed. Keys are taken as they are.
#[derive(Debug)]
pub struct Template(Part);

#[derive(Debug)]
enum Part {
    /// No holes in it.
    Plain(Json),
    Text {
        path: String,
        text: Text,
    },
    List(Vec<Part>),
    Object(Vec<(String, Part)>),
}

/// Fills the holes of all strings of an object template.
///
/// A string that is one hole becomes the value itself, whatever its type; bytes become base64, as `data` of a Secret
/// needs it. Any other string stays a string.
pub fn template(object: &Json, scope: &Scope) -> Result<Json, TemplateError> {
    Template::parse(object)?.fill(scope)
}

impl Template {
    /// Parses all strings of an object template.
    pub fn parse(object: &Json) -> Result<Self, TemplateError> {
        Part::parse(object, &mut String::new()).map(Self)
    }

    /// The object with its holes filled.
    pub fn fill(&self, scope: &Scope) -> Result<Json, TemplateError> {
        let mut left = OUTPUT;
        self.0.fill(scope, &mut left)
    }

    /// The texts with holes, and their paths.
    #[must_use]
    pub fn texts(&self) -> Vec<(&str, &Text)> {
        let mut texts = Vec::new();
        self.0.texts(&mut texts);
        texts
    }

    /// The variables that the holes use.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        self.texts()
            .into_iter()
            .flat_map(|(_, text)| text.references())
            .collect()
    }
}

impl Part {
    fn parse(json: &Json, path: &mut String) -> Result<Self, TemplateError> {
        let length = path.len();
        match json {
            Json::String(text) => {
                let text = Text::parse(text).map_err(|error| TemplateError {
                    path: path.clone(),
                    error: Box::new(error),
                })?;
                if !text.has_holes() {
                    return Ok(Self::Plain(json.clone()));
                }
                let path = path.clone();
                Ok(Self::Text { path, text })
            }
            Json::Array(items) => {
                let mut parts = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let _ = write!(path, "[{index}]");
                    parts.push(Self::parse(item, path)?);
                    path.truncate(length);
                }
                Ok(Self::List(parts))
            }
            Json::Object(entries) => {
                let mut parts = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    push_key(path, key);
                    parts.push((key.clone(), Self::parse(value, path)?));
                    path.truncate(length);
                }
                Ok(Self::Object(parts))
            }
            _ => Ok(Self::Plain(json.clone())),
        }
    }

    /// `left`: the bytes that all texts together may still yield.
    fn fill(&self, scope: &Scope, left: &mut usize) -> Result<Json, TemplateError> {
        match self {
            Self::Plain(json) => Ok(json.clone()),
            Self::Text { path, text } => {
                let failed = |error| TemplateError {
                    path: path.clone(),
                    error: Box::new(error),
                };
                let value = text.value(scope).map_err(failed)?;
                let at = Position::default();
                *left = left
                    .checked_sub(value.weight())
                    .ok_or_else(|| failed(ExpressionError::TooMuchOutput { at }))?;
                Ok(value.to_json())
            }
            Self::List(parts) => parts.iter().map(|part| part.fill(scope, left)).collect(),
            Self::Object(parts) => {
                let entries = parts
                    .iter()
                    .map(|(key, part)| Ok((key.clone(), part.fill(scope, left)?)));
                entries.collect::<Result<serde_json::Map<_, _>, _>>().map(Json::Object)
            }
        }
    }

    fn texts<'t>(&'t self, texts: &mut Vec<(&'t str, &'t Text)>) {
        match self {
            Self::Plain(_) => {}
            Self::Text { path, text } => texts.push((path, text)),
            Self::List(parts) => parts.iter().for_each(|part| part.texts(texts)),
            Self::Object(parts) => parts.iter().for_each(|(_, part)| part.texts(texts)),
        }
    }
}

/// Adds a key to a path: `.key`, or `[key]` where the key is not a plain name.
fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_');
    if !plain {
        let _ = write!(path, "[{key}]");
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

#[cfg(test)]
mod tests;
