//! Paths into an object as profiles write them: `spec.mirroring.peers.secretNames`, `metadata.annotations["a.b/c"]`.
//! They name fields only. There is no way to write a position in a list: positions change when others edit the list.
use std::{fmt, str::FromStr};

use json_patch::jsonptr::PointerBuf;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no path. Positions count characters, from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Nothing stands where a field should be named.
    #[error("character {0}: a field name is missing")]
    MissingName(usize),
    /// A character that may stand in quotes only.
    #[error("character {position}: {found:?} is not expected here; quote unusual names, as in data[\"ca.crt\"]")]
    Unexpected {
        /// Where.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// A bracket or the quotes in it are not closed.
    #[error("character {0}: this bracket is not closed by a quote and ']'")]
    Unclosed(usize),
    /// A position in a list.
    #[error(
        "character {0}: positions in lists change and cannot be named; use addToList, with a key in a list of objects"
    )]
    Position(usize),
}

/// The names of the fields that lead to a place in an object; at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Vec<String>);

impl Path {
    /// A path of known names.
    pub(super) fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// The names of the fields, outermost first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The field of this name in the object at this path.
    pub(super) fn child(&self, name: &str) -> Self {
        Self(self.0.iter().cloned().chain([name.to_owned()]).collect())
    }

    /// The paths of everything around this place, outermost first; the whole object left out.
    pub(super) fn parents(&self) -> impl DoubleEndedIterator<Item = Self> + '_ {
        (1..self.0.len()).map(|length| Self(self.0[..length].to_vec()))
    }

    /// The name of the field itself.
    pub(super) fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Whether this is the place `outer` or lies in it.
    pub(super) fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// The same place as JSON patches name it.
    pub(super) fn pointer(&self) -> PointerBuf {
        PointerBuf::from_tokens(self.0.iter().map(String::as_str))
    }

    /// The object that holds the field, as JSON patches name it.
    pub(super) fn holder(&self) -> PointerBuf {
        let mut pointer = self.pointer();
        pointer.pop_back();
        pointer
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if !name.chars().all(is_bare) {
                write!(f, "[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\""))?;
            } else if index == 0 {
                f.write_str(name)?;
            } else {
                write!(f, ".{name}")?;
            }
        }
        Ok(())
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for Path {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut parser = Parser {
            text: text.chars().collect(),
            at: 0,
        };
        parser.path()
    }
}

/// Whether a character may stand in a name without quotes.
fn is_bare(c: char) -> bool {
    !matches!(c, '.' | '[' | ']' | '"' | '\'' | '\\') && !c.is_whitespace() && !c.is_control()
}

struct Parser {
    text: Vec<char>,
    at: usize,
}

impl Parser {
    fn path(&mut self) -> Result<Path, PathError> {
        let first = if self.peek() == Some('[') {
            self.quoted()
        } else {
            self.bare()
        };
        let mut names = vec![first?];
        while let Some(found) = self.peek() {
            names.push(match found {
                '.' => {
                    self.at += 1;
                    self.bare()?
                }
                '[' => self.quoted()?,
                found => {
                    let position = self.position();
                    return Err(PathError::Unexpected { position, found });
                }
            });
        }
        Ok(Path(names))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn position(&self) -> usize {
        self.at + 1
    }

    fn bare(&mut self) -> Result<String, PathError> {
        let start = self.position();
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|&c| is_bare(c)) {
            name.push(c);
            self.at += 1;
        }
        match self.peek() {
            Some(found) if found != '.' && found != '[' => Err(PathError::Unexpected {
                position: self.position(),
                found,
            }),
            _ if name.is_empty() => Err(PathError::MissingName(start)),
            _ => Ok(name),
        }
    }

    /// `["name"]` or `['name']`; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, PathError> {
        let bracket = self.position();
        self.at += 1;
        let quote = match self.peek() {
            Some(quote @ ('"' | '\'')) => quote,
            Some(digit) if digit.is_ascii_digit() => return Err(PathError::Position(self.position())),
            Some(found) => {
                let position = self.position();
                return Err(PathError::Unexpected { position, found });
            }
            None => return Err(PathError::Unclosed(bracket)),
        };
        self.at += 1;
        let mut name = String::new();
        loop {
            let mut c = self.next().ok_or(PathError::Unclosed(bracket))?;
            if c == quote {
                break;
            }
            if c == '\\' {
                c = self.next().ok_or(PathError::Unclosed(bracket))?;
            }
            name.push(c);
        }
        match self.next() {
            Some(']') if name.is_empty() => Err(PathError::MissingName(bracket)),
            Some(']') => Ok(name),
            _ => Err(PathError::Unclosed(bracket)),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_quoted_names() {
        for (text, names, pointer) in [
            ("data", &["data"][..], "/data"),
            (
                "spec.mirroring.peers.secretNames",
                &["spec", "mirroring", "peers", "secretNames"],
                "/spec/mirroring/peers/secretNames",
            ),
            (
                "metadata.annotations[\"a.b/c\"]",
                &["metadata", "annotations", "a.b/c"],
                "/metadata/annotations/a.b~1c",
            ),
            ("['x.y'].z", &["x.y", "z"], "/x.y/z"),
            (r#"a["q\"\\"]"#, &["a", r#"q"\"#], r#"/a/q"\"#),
            ("spec.0.~x", &["spec", "0", "~x"], "/spec/0/~0x"),
        ] {
            let path: Path = text.parse().unwrap();
            assert_eq!(path.names(), names, "{text}");
            assert_eq!(path.pointer().as_str(), pointer, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_says_where() {
        let unexpected = |position, found| PathError::Unexpected { position, found };
        for (text, error) in [
            ("", PathError::MissingName(1)),
            (".a", PathError::MissingName(1)),
            ("a..b", PathError::MissingName(3)),
            ("a.", PathError::MissingName(3)),
            ("a.[\"b\"]", PathError::MissingName(3)),
            ("a[\"\"]", PathError::MissingName(2)),
            ("a b", unexpected(2, ' ')),
            ("spec.l[*]", unexpected(8, '*')),
            ("a]", unexpected(2, ']')),
            ("a[\"b\"]c", unexpected(7, 'c')),
            ("a[\"b", PathError::Unclosed(2)),
            ("a[\"b\\", PathError::Unclosed(2)),
            ("a[\"b\"", PathError::Unclosed(2)),
            ("a[", PathError::Unclosed(2)),
            ("spec.l[0].x", PathError::Position(8)),
        ] {
            assert_eq!(text.parse::<Path>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(names in prop::collection::vec("\\PC{1,8}|[\\[\\].\"' \\\\a]{1,5}", 1..5)) {
            let path = Path(names);
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn nothing_makes_the_parser_stumble(text in "[a.\\[\\]\"'\\\\0 ]{0,12}") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert!(!path.names().is_empty() && path.names().iter().all(|name| !name.is_empty()));
            }
        }
    }
}
