//! Text with holes: `peer-${source.cluster}`. What stands in a hole is a CEL expression that yields a string.
use std::collections::BTreeMap;

use cel::{Context, Program, Value};
use thiserror::Error;

/// Why a text cannot be resolved.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExpressionError {
    /// A hole is not closed.
    #[error("'${{' at character {0} has no matching '}}'")]
    Unclosed(usize),
    /// The expression cannot be parsed.
    #[error("expression {expression:?} is not valid CEL: {problem}")]
    Syntax {
        /// The text in the hole.
        expression: String,
        /// What the parser says, first line.
        problem: String,
    },
    /// The expression failed.
    #[error("expression {expression:?} cannot be evaluated: {problem}")]
    Evaluation {
        /// The text in the hole.
        expression: String,
        /// What the evaluator says.
        problem: String,
    },
    /// The expression yields something else than a string.
    #[error("expression {expression:?} must yield a string")]
    NotAString {
        /// The text in the hole.
        expression: String,
    },
}

/// What expressions see.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `params.<name>`: the values for the member on whose cluster the text is used.
    pub params: BTreeMap<String, String>,
    /// `peering.name`.
    pub peering: String,
    /// `source.cluster`.
    pub source: String,
    /// `destination.cluster`, in what is resolved per destination.
    pub destination: Option<String>,
}

impl Scope {
    fn context(&self) -> Context<'_, '_> {
        let mut context = Context::default();
        let map = |entries: Vec<(&str, &str)>| -> Value {
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect::<std::collections::HashMap<_, _>>()
                .into()
        };
        context.add_variable_from_value(
            "params",
            map(self.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
        );
        context.add_variable_from_value("peering", map(vec![("name", &self.peering)]));
        context.add_variable_from_value("source", map(vec![("cluster", &self.source)]));
        if let Some(destination) = &self.destination {
            context.add_variable_from_value("destination", map(vec![("cluster", destination)]));
        }
        context
    }
}

/// Fills the holes of a text.
pub fn resolve(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, hole)) = rest.split_once("${") {
        resolved.push_str(before);
        let Some(end) = closing(hole) else {
            return Err(ExpressionError::Unclosed(text.len() - hole.len() - 2));
        };
        resolved.push_str(&evaluate(hole[..end].trim(), scope)?);
        rest = &hole[end + 1..];
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// Position of the brace that closes a hole: braces and quotes inside the expression are skipped.
fn closing(hole: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, character) in hole.char_indices() {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn evaluate(expression: &str, scope: &Scope) -> Result<String, ExpressionError> {
    let named = |problem: String| {
        (
            expression.to_owned(),
            problem.lines().next().unwrap_or_default().to_owned(),
        )
    };
    let program = Program::compile(expression).map_err(|error| {
        let (expression, problem) = named(error.to_string());
        ExpressionError::Syntax { expression, problem }
    })?;
    let value = program.execute(&scope.context()).map_err(|error| {
        let (expression, problem) = named(error.to_string());
        ExpressionError::Evaluation { expression, problem }
    })?;
    match value {
        Value::String(text) => Ok(text.to_string()),
        _ => Err(ExpressionError::NotAString {
            expression: expression.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            params: [("namespace".to_owned(), "rook-ceph".to_owned())].into(),
            peering: "east-west".to_owned(),
            source: "east".to_owned(),
            destination: Some("west".to_owned()),
        }
    }

    #[test]
    fn holes_are_filled() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("${params.namespace}", "rook-ceph"),
            ("peer-${source.cluster}-${destination.cluster}", "peer-east-west"),
            ("${ peering.name + '-x' }", "east-west-x"),
            ("${'}' + \"{\"}", "}{"),
            ("${ source.cluster == 'east' ? 'yes' : 'no' }", "yes"),
            ("$5 and {braces}", "$5 and {braces}"),
        ] {
            assert_eq!(resolve(text, &scope()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            resolve("a-${params.namespace", &scope()),
            Err(ExpressionError::Unclosed(2))
        );
        assert!(matches!(
            resolve("${params.}", &scope()),
            Err(ExpressionError::Syntax { .. })
        ));
        assert!(matches!(
            resolve("${params.unknown}", &scope()),
            Err(ExpressionError::Evaluation { .. })
        ));
        assert!(matches!(
            resolve("${secrets.x}", &scope()),
            Err(ExpressionError::Evaluation { .. })
        ));
        assert!(matches!(
            resolve("${1 + 1}", &scope()),
            Err(ExpressionError::NotAString { .. })
        ));
        assert!(matches!(resolve("${}", &scope()), Err(ExpressionError::Syntax { .. })));
    }
}
