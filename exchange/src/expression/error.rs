//! What can be wrong with an expression. No error ever holds a value, only names and places from the text itself.
use std::fmt;

use thiserror::Error;

use super::limits;
use crate::value::Kind;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Characters in front of it.
    pub offset: usize,
    /// Line and column, both from 1, where the text has several lines.
    pub line: Option<(usize, usize)>,
}

impl fmt::Display for Position {
    /// Counts from 1, as editors do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            None => write!(f, "character {}", self.offset + 1),
            Some((line, column)) => write!(f, "line {line}, column {column}"),
        }
    }
}

/// Why a text cannot be understood or resolved.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpressionError {
    /// The text is too long.
    #[error("the text has {seen} characters, expected at most {limit}: shorten it", limit = limits::CHARACTERS)]
    TooLong {
        /// Characters of the text.
        seen: usize,
    },
    /// An expression has too many parts or is nested too deeply.
    #[error("{at}: the expression has too many {what}, expected at most {limit}: simplify it")]
    TooComplex {
        /// Where the limit is passed.
        at: Position,
        /// What is limited.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A hole is not closed.
    #[error("{at}: '${{' has no matching '}}'")]
    Unclosed {
        /// Where the hole starts.
        at: Position,
    },
    /// A string in an expression is not closed.
    #[error("{at}: the string that starts here has no closing quote")]
    UnclosedString {
        /// Where the string starts.
        at: Position,
    },
    /// A condition has text around its hole.
    #[error("{at}: expected one expression, seen text with holes: write the expression without '${{' and '}}'")]
    NotOneExpression {
        /// Where the other text starts.
        at: Position,
    },
    /// The expression is not CEL.
    #[error("{at}: expected {expected}, seen {seen}")]
    Syntax {
        /// Where the parser stopped.
        at: Position,
        /// What may stand there.
        expected: String,
        /// The word that stands there.
        seen: String,
    },
    /// CEL that profiles cannot use.
    #[error("{at}: {what} cannot be used in profiles")]
    Unsupported {
        /// Where it is.
        at: Position,
        /// What it is.
        what: &'static str,
    },
    /// A function that does not exist.
    #[error("{at}: there is no function {name:?}")]
    UnknownFunction {
        /// Where it is called.
        at: Position,
        /// How it is called.
        name: String,
    },
    /// A function is called with too few or too many arguments, or a loop is not written as one.
    #[error("{at}: expected {expected}, seen {seen} argument(s)")]
    Arguments {
        /// Where the function is called.
        at: Position,
        /// How the function is to be called.
        expected: String,
        /// How many arguments there are.
        seen: usize,
    },
    /// A regular expression is not a usable one.
    #[error("{at}: the pattern of matches() {problem}")]
    Pattern {
        /// Where the pattern is.
        at: Position,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A variable that does not exist.
    #[error("{at}: there is no variable {name:?} here, known: {known}")]
    UnknownVariable {
        /// Where it is used.
        at: Position,
        /// Its name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// Something under a variable that cannot exist: told by [`check`](fn@super::check) only.
    #[error("{at}: {variable:?} has no {name:?}, known: {known}")]
    UnknownMember {
        /// Where it is used.
        at: Position,
        /// The variable.
        variable: String,
        /// The name that was looked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A map has no such entry.
    #[error("{at}: {} is not there", quoted(name.as_deref()))]
    Missing {
        /// Where it is used.
        at: Position,
        /// The name as it stands in the expression. A computed one is not told: it may be a value.
        name: Option<String>,
    },
    /// A list is shorter.
    #[error("{at}: the list has only {size} item(s)")]
    OutOfBounds {
        /// Where it is used.
        at: Position,
        /// Items of the list.
        size: usize,
    },
    /// An operator or function does not take such a value.
    #[error("{at}: {what}: expected {expected}, seen {seen}")]
    Type {
        /// Where the value is used.
        at: Position,
        /// The operator or function.
        what: String,
        /// What it takes.
        expected: String,
        /// What it was given.
        seen: String,
    },
    /// A number cannot be computed.
    #[error("{at}: {problem}")]
    Arithmetic {
        /// Where it is computed.
        at: Position,
        /// What is wrong.
        problem: &'static str,
    },
    /// A function cannot do what it should with this value.
    #[error("{at}: {function}: {problem}")]
    Function {
        /// Where it is called.
        at: Position,
        /// The function.
        function: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// The expression yields something that cannot be used in this place.
    #[error("{at}: the expression must yield {expected}, seen {seen}")]
    Result {
        /// Where the expression starts.
        at: Position,
        /// What is needed.
        expected: &'static str,
        /// What it yields.
        seen: Kind,
    },
    /// The evaluation takes too long.
    #[error("{at}: the evaluation takes too much work: use shorter lists or texts, or fewer nested loops")]
    TooMuchWork {
        /// Where it was stopped.
        at: Position,
    },
    /// Too much comes out.
    #[error("{at}: the result has more than {limit} bytes", limit = limits::OUTPUT)]
    TooMuchOutput {
        /// Where the limit is passed.
        at: Position,
    },
}

fn quoted(name: Option<&str>) -> String {
    name.map_or_else(|| "what the key names".to_owned(), |name| format!("{name:?}"))
}

impl ExpressionError {
    /// True where something is not there, but may come: a field of a status, a key of a Secret.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::OutOfBounds { .. })
    }

    /// True where a limit stopped the evaluation: no other operand makes that good.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::TooMuchWork { .. } | Self::TooMuchOutput { .. })
    }
}

/// Where the lines of a text start, to tell positions.
#[derive(Debug)]
pub(super) struct Lines {
    /// Offset of the first character of each line.
    starts: Vec<usize>,
}

impl Lines {
    pub fn new(characters: &[char]) -> Self {
        let breaks = characters
            .iter()
            .enumerate()
            .filter(|(_, character)| **character == '\n');
        Self {
            starts: std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect(),
        }
    }

    pub fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Position {
            offset,
            line: (self.starts.len() > 1).then_some((line, offset - start + 1)),
        }
    }
}
