//! Finds where an expression ends, and bounds its size before the CEL parser sees it.
//!
//! This follows CEL's rules for strings, bytes and comments (cel-spec, "Syntax"), so that a brace or quote inside of
//! one ends nothing. Where it should differ from the parser, the parser's word counts: it refuses what it is given.
use super::{
    ExpressionError,
    error::Lines,
    limits::{NESTING, TOKENS},
};

/// Walks over the tokens of one expression.
struct Scanner<'t> {
    characters: &'t [char],
    lines: &'t Lines,
    at: usize,
    /// Open brackets of all kinds.
    open: usize,
    /// Open braces: one more `}` ends the hole.
    braces: usize,
    /// `?` so far.
    conditionals: usize,
    tokens: usize,
}

/// The offset of the `}` that ends the hole whose expression starts at `from`; `None` where there is none.
pub(super) fn end_of_hole(characters: &[char], from: usize, lines: &Lines) -> Result<Option<usize>, ExpressionError> {
    Scanner::new(characters, from, lines).run(true)
}

/// Bounds an expression that stands alone.
pub(super) fn bound(characters: &[char], lines: &Lines) -> Result<(), ExpressionError> {
    Scanner::new(characters, 0, lines).run(false).map(drop)
}

impl<'t> Scanner<'t> {
    fn new(characters: &'t [char], at: usize, lines: &'t Lines) -> Self {
        Self {
            characters,
            lines,
            at,
            open: 0,
            braces: 0,
            conditionals: 0,
            tokens: 0,
        }
    }

    fn run(mut self, hole: bool) -> Result<Option<usize>, ExpressionError> {
        while let Some(character) = self.peek(0) {
            if hole && character == '}' && self.braces == 0 {
                return Ok(Some(self.at));
            }
            match character {
                '/' if self.peek(1) == Some('/') => self.skip_while(|character| character != '\n'),
                _ if character.is_whitespace() => self.at += 1,
                '"' | '\'' => self.string(false)?,
                _ if is_word(character) => self.word()?,
                _ => self.punctuation(character)?,
            }
        }
        Ok(None)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.at += 1;
        }
    }

    fn too_complex(&self, what: &'static str, limit: usize) -> ExpressionError {
        let at = self.lines.position(self.at);
        ExpressionError::TooComplex { at, what, limit }
    }

    fn count(&mut self) -> Result<(), ExpressionError> {
        self.tokens += 1;
        if self.tokens > TOKENS {
            return Err(self.too_complex("parts", TOKENS));
        }
        Ok(())
    }

    /// A name, number or keyword, or the prefix of a string.
    fn word(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        self.skip_while(is_word);
        if matches!(self.peek(0), Some('"' | '\'')) {
            let raw = match &self.characters[start..self.at] {
                ['r' | 'R'] | ['b' | 'B', 'r' | 'R'] => Some(true),
                ['b' | 'B'] => Some(false),
                _ => None,
            };
            if let Some(raw) = raw {
                return self.string(raw);
            }
        }
        self.count()
    }

    fn punctuation(&mut self, character: char) -> Result<(), ExpressionError> {
        match character {
            '(' | '[' | '{' => self.open += 1,
            ')' | ']' | '}' => self.open = self.open.saturating_sub(1),
            '?' => self.conditionals += 1,
            _ => {}
        }
        match character {
            '{' => self.braces += 1,
            '}' => self.braces = self.braces.saturating_sub(1),
            _ => {}
        }
        if self.open > NESTING {
            return Err(self.too_complex("nested brackets", NESTING));
        }
        if self.conditionals > NESTING {
            return Err(self.too_complex("conditionals", NESTING));
        }
        self.at += 1;
        self.count()
    }

    /// A string from its opening quote: one or three quotes; escapes count unless it is raw.
    fn string(&mut self, raw: bool) -> Result<(), ExpressionError> {
        let (start, quote) = (self.at, self.peek(0));
        let long = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if long { 3 } else { 1 };
        while let Some(character) = self.peek(0) {
            if character == '\\' && !raw {
                self.at += 2;
            } else if Some(character) == quote && (!long || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.at += if long { 3 } else { 1 };
                return self.count();
            } else if !long && matches!(character, '\n' | '\r') {
                break;
            } else {
                self.at += 1;
            }
        }
        let at = self.lines.position(start);
        Err(ExpressionError::UnclosedString { at })
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Result<Option<usize>, ExpressionError> {
        let characters: Vec<_> = text.chars().collect();
        end_of_hole(&characters, 0, &Lines::new(&characters))
    }

    #[test]
    fn braces_in_strings_maps_and_comments_end_nothing() {
        for (text, expected) in [
            ("a} b", Some(1)),
            ("{'a': {}}['a']}", Some(14)),
            ("'}'}", Some(3)),
            (r"'\'}'}", Some(5)),
            (r"r'\'}", Some(4)),
            (r"bR'\'}", Some(5)),
            ("'''it's }'''}", Some(12)),
            ("\"\"\"\n}\"\"\"}", Some(8)),
            ("''}", Some(2)),
            ("a // }\n}", Some(7)),
            ("a / b}", Some(5)),
            ("'é😀}' }", Some(6)),
            ("", None),
            ("{}", None),
            ("bar'}'}", Some(6)),
        ] {
            assert_eq!(end(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn open_strings_are_named() {
        for (text, offset) in [
            ("1 + 'a}", 4),
            ("'a\n'}", 0),
            ("'''a''}", 0),
            (r"'\'}", 0),
            ("b\"", 1),
            ("'\\", 0),
        ] {
            let seen = end(text);
            let Err(ExpressionError::UnclosedString { at }) = seen else {
                panic!("{text}: {seen:?}");
            };
            assert_eq!(at.offset, offset, "{text}");
        }
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let deep = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        for (text, fits) in [
            (deep(NESTING), true),
            (deep(NESTING + 1), false),
            ("[{(".repeat(4000), false),
            ("a ? b : ".repeat(NESTING), true),
            ("a ? b : ".repeat(NESTING + 1), false),
            ("+".repeat(TOKENS), true),
            ("+".repeat(TOKENS + 1), false),
            (")".repeat(TOKENS), true),
            ("'' ".repeat(TOKENS + 1), false),
        ] {
            let seen = end(&text);
            assert_eq!(
                !matches!(seen, Err(ExpressionError::TooComplex { .. })),
                fits,
                "{} characters: {seen:?}",
                text.len()
            );
        }
    }
}
