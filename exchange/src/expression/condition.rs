//! Conditions: `readyWhen`, probes.
use std::{collections::BTreeSet, fmt};

use super::{
    ExpressionError, Position, Reference, Scope, Text,
    error::Lines,
    evaluation::Evaluation,
    scan, syntax,
    text::{Hole, characters},
};
use crate::value::Value;

/// A bare expression that yields a bool: `size(inputs.token.data.token) > 0`.
pub struct Condition {
    source: String,
    hole: Hole,
}

impl Condition {
    /// Parses a condition. One written as a single hole, `${ … }`, is understood too.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let hole = if text.trim_start().starts_with("${") {
            single_hole(text)?
        } else {
            let characters = characters(text)?;
            let lines = Lines::new(&characters);
            scan::bound(&characters, &lines)?;
            Hole {
                at: Position::default(),
                expression: syntax::parse(&characters, 0, &lines)?,
            }
        };
        Ok(Self {
            source: text.to_owned(),
            hole,
        })
    }

    /// The condition as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn hole(&self) -> &Hole {
        &self.hole
    }

    /// True if the condition holds.
    pub fn holds(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match Evaluation::new(scope).value(&self.hole.expression)?.as_ref() {
            Value::Bool(holds) => Ok(*holds),
            other => Err(ExpressionError::Result {
                at: self.hole.at,
                expected: "a bool",
                seen: other.kind(),
            }),
        }
    }

    /// The variables that the condition uses.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        let mut references = BTreeSet::new();
        self.hole.expression.collect(&mut references);
        references
    }
}

fn single_hole(text: &str) -> Result<Hole, ExpressionError> {
    Text::parse(text)?
        .into_single()
        .ok_or(ExpressionError::NotOneExpression {
            at: Position::default(),
        })
}

impl fmt::Debug for Condition {
    /// Shows the condition as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}
