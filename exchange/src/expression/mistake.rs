//! Says what the CEL parser found wrong in words of ours: its own are those of its grammar.
use cel::ParseError;

use super::{ExpressionError, error::Lines};

/// The expression in which the parser found something wrong.
pub(super) struct Mistake<'t> {
    pub characters: &'t [char],
    /// Offset of the expression in the text.
    pub start: usize,
    pub lines: &'t Lines,
}

impl Mistake<'_> {
    /// What is wrong and where: the first mistake.
    pub fn told(&self, errors: &[ParseError]) -> ExpressionError {
        // Errors of the grammar come first in time; what the parser says about the rest of the tree follows from them.
        let first = errors
            .iter()
            .find(|error| error.msg.starts_with("Syntax error"))
            .or_else(|| errors.first());
        let (message, position) = first.map_or(("", (1, 1)), |error| (error.msg.as_str(), error.pos));
        let offset = self.offset(position);
        let at = self.lines.position(self.start + offset);
        if let Some(what) = unsupported(message) {
            return ExpressionError::Unsupported { at, what };
        }
        ExpressionError::Syntax {
            at,
            expected: expected(message),
            seen: self.seen(offset),
        }
    }

    /// The offset of a line and column in the expression. Both count from 1.
    fn offset(&self, (line, column): (isize, isize)) -> usize {
        let line = usize::try_from(line - 1).unwrap_or(0);
        let column = usize::try_from(column - 1).unwrap_or(0);
        let lines = self.characters.split(|character| *character == '\n');
        let start: usize = lines.take(line).map(|line| line.len() + 1).sum();
        (start + column).min(self.characters.len())
    }

    /// The word at an offset.
    fn seen(&self, offset: usize) -> String {
        const LONGEST: usize = 20;
        let rest = &self.characters[offset..];
        let Some(first) = rest.first() else {
            return "the end of the expression".to_owned();
        };
        let word: String = match first {
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => rest
                .iter()
                .take_while(|character| character.is_alphanumeric() || **character == '_')
                .collect(),
            character => character.to_string(),
        };
        format!("{:?}", word.chars().take(LONGEST).collect::<String>())
    }
}

/// What of CEL the parser was told to refuse.
fn unsupported(message: &str) -> Option<&'static str> {
    let rest = message.strip_prefix("unsupported syntax")?;
    Some(if rest.contains('`') {
        "a name in backticks (write map[\"name\"])"
    } else {
        "optional syntax with '?' (write has(map.field) ? … : …)"
    })
}

/// What the parser expected. Its sets of tokens become one word each.
fn expected(message: &str) -> String {
    let set = message.split_once("expecting ").map_or("", |(_, set)| set);
    if set.contains("IDENTIFIER") {
        return "an expression".to_owned();
    }
    let closing: Vec<_> = ["')'", "']'", "'}'", "':'", "','"]
        .into_iter()
        .filter(|mark| set.contains(mark))
        .collect();
    let operator = set.contains("'=='").then_some("an operator");
    let end = set.contains("<EOF>").then_some("the end of the expression");
    let alternatives: Vec<_> = operator.into_iter().chain(closing).chain(end).collect();
    if !alternatives.is_empty() {
        return alternatives.join(" or ");
    }
    if let Some((_, rest)) = message.split_once("missing ") {
        return rest.split(" at ").next().unwrap_or(rest).to_owned();
    }
    match message {
        _ if message.starts_with("invalid int") || message.starts_with("invalid uint") => {
            "a number that fits into 64 bits"
        }
        _ if message.starts_with("invalid double") => "a number that fits into a double",
        _ if message.starts_with("invalid string") || message.starts_with("invalid bytes") => {
            "a string with valid escapes"
        }
        _ if message.starts_with("reserved identifier") => "a name that is no reserved word",
        _ if message.contains("no viable alternative") => "a name or an expression",
        _ if message.contains("token recognition error") => "a name, number, string or operator",
        _ => "a CEL expression",
    }
    .to_owned()
}
