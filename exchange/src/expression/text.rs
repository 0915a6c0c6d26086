//! Text with holes.
use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

use peering_api::Sensitive;
use zeroize::Zeroizing;

use super::{
    ExpressionError, Position, Reference, Scope,
    error::Lines,
    evaluation::Evaluation,
    limits::{CHARACTERS, OUTPUT},
    scan, syntax,
    tree::Node,
};
use crate::value::Value;

/// A text whose holes `${ expression }` have been parsed.
///
/// ```
/// # use exchange::expression::{Scope, Text};
/// let text = Text::parse("peer-${source.cluster}")?;
/// let scope = Scope { source: "east".to_owned(), ..Scope::default() };
/// assert_eq!(text.resolve(&scope)?, "peer-east");
/// # Ok::<_, exchange::expression::ExpressionError>(())
/// ```
pub struct Text {
    source: String,
    parts: Vec<Part>,
}

pub(super) enum Part {
    Plain(String),
    Hole(Hole),
}

/// One hole.
pub(super) struct Hole {
    /// Where its expression starts.
    pub at: Position,
    pub expression: Node,
}

/// Fills the holes of a text.
pub fn resolve(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    Text::parse(text)?.resolve(scope)
}

/// The characters of a text, unless there are too many.
pub(super) fn characters(text: &str) -> Result<Vec<char>, ExpressionError> {
    let characters: Vec<_> = text.chars().collect();
    if characters.len() > CHARACTERS {
        return Err(ExpressionError::TooLong { seen: characters.len() });
    }
    Ok(characters)
}

impl Text {
    /// Parses a text and all its holes.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let characters = characters(text)?;
        let lines = Lines::new(&characters);
        let mut parts = Vec::new();
        let mut from = 0;
        while let Some(start) = find_hole(&characters, from) {
            push_plain(&mut parts, &characters[from..start]);
            let inside = start + 2;
            let Some(end) = scan::end_of_hole(&characters, inside, &lines)? else {
                let at = lines.position(start);
                return Err(ExpressionError::Unclosed { at });
            };
            parts.push(Part::Hole(Hole {
                at: lines.position(inside),
                expression: syntax::parse(&characters[inside..end], inside, &lines)?,
            }));
            from = end + 1;
        }
        push_plain(&mut parts, &characters[from..]);
        Ok(Self {
            source: text.to_owned(),
            parts,
        })
    }

    /// The text as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True if there is at least one hole.
    #[must_use]
    pub fn has_holes(&self) -> bool {
        self.holes().next().is_some()
    }

    pub(super) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Hole(hole) => Some(hole),
        })
    }

    /// The hole, where the text is one hole and nothing else.
    pub(super) fn single(&self) -> Option<&Hole> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// The hole, where the text is one hole and white space around it.
    pub(super) fn into_single(self) -> Option<Hole> {
        let is_blank = |part: &Part| matches!(part, Part::Plain(text) if text.trim().is_empty());
        let mut parts = self.parts.into_iter().filter(|part| !is_blank(part));
        match (parts.next(), parts.next()) {
            (Some(Part::Hole(hole)), None) => Some(hole),
            _ => None,
        }
    }

    /// The variables that the holes use.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        let mut references = BTreeSet::new();
        self.holes().for_each(|hole| hole.expression.collect(&mut references));
        references
    }

    /// The text with its holes filled. Each must yield a string, an int, a bool, or bytes that are UTF-8.
    pub fn resolve(&self, scope: &Scope) -> Result<String, ExpressionError> {
        let mut resolved = Vec::with_capacity(self.parts.len());
        let mut evaluation = Evaluation::new(scope);
        let mut size = Size::default();
        for part in &self.parts {
            let (at, text) = match part {
                Part::Plain(text) => (Position::default(), Cow::Borrowed(text.as_str())),
                Part::Hole(hole) => (hole.at, hole.text(&mut evaluation)?),
            };
            size.add(at, text.len())?;
            resolved.push(text);
        }
        Ok(resolved.concat())
    }

    /// The text as bytes. A single hole passes bytes on as they are; around and between holes is text.
    pub fn evaluate(&self, scope: &Scope) -> Result<Sensitive, ExpressionError> {
        let mut evaluation = Evaluation::new(scope);
        let mut size = Size::default();
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (at, bytes) = match part {
                Part::Plain(text) => (Position::default(), Zeroizing::new(text.clone().into_bytes())),
                Part::Hole(hole) => (hole.at, hole.bytes(&mut evaluation)?),
            };
            size.add(at, bytes.len())?;
            parts.push(bytes);
        }
        let mut all = Vec::with_capacity(size.0);
        for part in &parts {
            all.extend_from_slice(part);
        }
        Ok(all.into())
    }

    /// The value of a single hole as it is; else the resolved text.
    pub fn value(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let Some(hole) = self.single() else {
            return self.resolve(scope).map(Value::Text);
        };
        let mut evaluation = Evaluation::new(scope);
        let value = hole.value(&mut evaluation)?;
        Size::default().add(hole.at, value.weight())?;
        evaluation.owned(hole.at, value)
    }
}

fn find_hole(characters: &[char], from: usize) -> Option<usize> {
    let found = characters[from..].windows(2).position(|pair| pair == ['$', '{']);
    found.map(|at| from + at)
}

fn push_plain(parts: &mut Vec<Part>, characters: &[char]) {
    if !characters.is_empty() {
        parts.push(Part::Plain(characters.iter().collect()));
    }
}

/// Bytes that have come out so far.
#[derive(Default)]
struct Size(usize);

impl Size {
    fn add(&mut self, at: Position, more: usize) -> Result<(), ExpressionError> {
        self.0 = self.0.saturating_add(more);
        if self.0 > OUTPUT {
            return Err(ExpressionError::TooMuchOutput { at });
        }
        Ok(())
    }
}

impl Hole {
    fn value<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Cow<'a, Value>, ExpressionError> {
        evaluation.value(&self.expression)
    }

    fn mismatch(&self, expected: &'static str, value: &Value) -> ExpressionError {
        ExpressionError::Result {
            at: self.at,
            expected,
            seen: value.kind(),
        }
    }

    fn text<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Cow<'a, str>, ExpressionError> {
        let value = self.value(evaluation)?;
        let wrong = |value: &Value| self.mismatch("a string, an int, a bool, or bytes that are UTF-8", value);
        match value {
            Cow::Borrowed(Value::Text(text)) => Ok(Cow::Borrowed(text)),
            Cow::Owned(Value::Text(text)) => Ok(Cow::Owned(text)),
            value => match value.as_ref() {
                Value::Int(number) => Ok(Cow::Owned(number.to_string())),
                Value::Bool(holds) => Ok(Cow::Owned(holds.to_string())),
                Value::Bytes(bytes) => match std::str::from_utf8(bytes.expose()) {
                    Ok(text) => Ok(Cow::Owned(text.to_owned())),
                    Err(_) => Err(wrong(&value)),
                },
                other => Err(wrong(other)),
            },
        }
    }

    fn bytes<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Zeroizing<Vec<u8>>, ExpressionError> {
        let value = self.value(evaluation)?;
        Ok(Zeroizing::new(match value.as_ref() {
            Value::Bytes(bytes) => bytes.expose().to_vec(),
            Value::Text(text) => text.clone().into_bytes(),
            Value::Int(number) => number.to_string().into_bytes(),
            Value::Bool(holds) => holds.to_string().into_bytes(),
            other => return Err(self.mismatch("bytes, a string, an int or a bool", other)),
        }))
    }
}

impl FromStr for Text {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Text {
    /// Shows the text as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Text").field(&self.source).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
