//! What can be told about an expression without any value: unknown names and types that cannot fit.
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Condition, ExpressionError, Position, Text,
    functions::{self, Function},
    operators::Operator,
    text::Hole,
    tree::{Loop, LoopKind, Node, NodeKind},
};
use crate::value::Kind;

/// What an expression is used for: what it must yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A name: strings and ints.
    Name,
    /// A text: strings, ints, bools, and bytes that are UTF-8.
    Text,
    /// Bytes to hand over: bytes, strings, ints and bools.
    Bytes,
    /// A value of any type.
    Value,
    /// A condition: a bool. The text is a bare expression.
    Condition,
}

/// The variables that exist where an expression is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    variables: BTreeMap<String, Members>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Members {
    /// The variable may be anything.
    Any,
    /// A map with these names; the values are of one type, where that is known.
    Only(BTreeSet<String>, Option<Kind>),
}

impl Known {
    /// What every expression sees: `params` with these parameters, `peering.name` and `source.cluster`.
    #[must_use]
    pub fn new<'p>(params: impl IntoIterator<Item = &'p str>) -> Self {
        Self::default()
            .members("params", params, Some(Kind::Text))
            .members("peering", ["name"], Some(Kind::Text))
            .members("source", ["cluster"], Some(Kind::Text))
    }

    /// Adds `destination.cluster`.
    #[must_use]
    pub fn destination(self) -> Self {
        self.members("destination", ["cluster"], Some(Kind::Text))
    }

    /// Adds a variable of which nothing more is known.
    #[must_use]
    pub fn variable(mut self, name: &str) -> Self {
        self.variables.insert(name.to_owned(), Members::Any);
        self
    }

    /// Adds a variable that is a map with these names: `inputs`. `kind` is the type of the values, where it is known.
    #[must_use]
    pub fn members<'n>(mut self, name: &str, members: impl IntoIterator<Item = &'n str>, kind: Option<Kind>) -> Self {
        let members = members.into_iter().map(str::to_owned).collect();
        self.variables.insert(name.to_owned(), Members::Only(members, kind));
        self
    }
}

/// Everything that is wrong with a text (or, for [`Use::Condition`], with a bare expression). What cannot be parsed
/// yields one problem.
#[must_use]
pub fn check(text: &str, used: Use, known: &Known) -> Vec<ExpressionError> {
    let checked = match used {
        Use::Condition => Condition::parse(text).map(|condition| condition.check(known)),
        used => Text::parse(text).map(|text| text.check(used, known)),
    };
    checked.unwrap_or_else(|error| vec![error])
}

impl Condition {
    /// Everything that is wrong with the condition.
    #[must_use]
    pub fn check(&self, known: &Known) -> Vec<ExpressionError> {
        let mut checker = Checker::new(known);
        checker.hole(self.hole(), "a bool", &[Kind::Bool]);
        checker.problems
    }
}

impl Text {
    /// Everything that is wrong with the holes.
    #[must_use]
    pub fn check(&self, used: Use, known: &Known) -> Vec<ExpressionError> {
        // A text around a hole makes a string of it, whatever the text is used for.
        let used = if used == Use::Value && self.single().is_none() {
            Use::Text
        } else {
            used
        };
        let (expected, kinds): (_, &[Kind]) = match used {
            Use::Name => ("a string or an int", &[Kind::Text, Kind::Int]),
            Use::Text => (
                "a string, an int, a bool, or bytes that are UTF-8",
                &[Kind::Text, Kind::Int, Kind::Bool, Kind::Bytes],
            ),
            Use::Bytes => (
                "bytes, a string, an int or a bool",
                &[Kind::Bytes, Kind::Text, Kind::Int, Kind::Bool],
            ),
            Use::Value => ("a value", &[]),
            Use::Condition => ("a bool", &[Kind::Bool]),
        };
        let mut checker = Checker::new(known);
        self.holes().for_each(|hole| checker.hole(hole, expected, kinds));
        checker.problems
    }
}

/// Walks over a tree and finds the type of each node, where that can be told.
struct Checker<'k> {
    known: &'k Known,
    problems: Vec<ExpressionError>,
}

impl<'k> Checker<'k> {
    fn new(known: &'k Known) -> Self {
        Self {
            known,
            problems: Vec::new(),
        }
    }

    fn hole(&mut self, hole: &Hole, expected: &'static str, kinds: &[Kind]) {
        if let Some(seen) = self.kind(&hole.expression)
            && !kinds.is_empty()
            && !kinds.contains(&seen)
        {
            let at = hole.at;
            self.problems.push(ExpressionError::Result { at, expected, seen });
        }
    }

    /// The type of a node; `None` where it depends on values.
    fn kind(&mut self, node: &Node) -> Option<Kind> {
        let at = node.at;
        if let Some((variable, member)) = node.member() {
            return self.member(node, variable, member);
        }
        match &node.kind {
            NodeKind::Literal(value) => Some(value.kind()),
            NodeKind::Variable(name) => self.variable(at, name).and_then(|members| match members {
                Members::Any => None,
                Members::Only(..) => Some(Kind::Map),
            }),
            NodeKind::Local(_) => None,
            NodeKind::Select { of, field } => {
                self.expect(of, &format!(".{field}"), &[Kind::Map]);
                None
            }
            NodeKind::Has { of, .. } => {
                self.expect(of, "has()", &[Kind::Map]);
                Some(Kind::Bool)
            }
            NodeKind::Index(parts) => self.index(parts),
            NodeKind::Not(parts) => {
                let [of] = parts.as_ref();
                self.expect(of, "!", &[Kind::Bool]);
                Some(Kind::Bool)
            }
            NodeKind::Negate(parts) => {
                let [of] = parts.as_ref();
                self.expect(of, "-", &[Kind::Int, Kind::Float])
            }
            NodeKind::And(sides) => {
                self.connective(sides, "&&");
                Some(Kind::Bool)
            }
            NodeKind::Or(sides) => {
                self.connective(sides, "||");
                Some(Kind::Bool)
            }
            NodeKind::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                self.expect(condition, "?:", &[Kind::Bool]);
                let (then, otherwise) = (self.kind(then), self.kind(otherwise));
                then.filter(|_| then == otherwise)
            }
            NodeKind::Binary { operator, sides } => self.binary(at, *operator, sides),
            NodeKind::List(nodes) => {
                for node in nodes {
                    self.kind(node);
                }
                Some(Kind::List)
            }
            NodeKind::Map(entries) => {
                for (key, value) in entries {
                    self.expect(key, "the key of a map", &[Kind::Text]);
                    self.kind(value);
                }
                Some(Kind::Map)
            }
            NodeKind::Loop(body) => Some(self.repeat(body)),
            NodeKind::Matches { text, .. } => {
                self.expect(text, "matches()", &[Kind::Text]);
                Some(Kind::Bool)
            }
            NodeKind::Call { function, arguments } => self.call(function, arguments),
        }
    }

    /// The type of a node that must be of one of these types.
    fn expect(&mut self, node: &Node, what: &str, kinds: &[Kind]) -> Option<Kind> {
        let seen = self.kind(node)?;
        if kinds.is_empty() || kinds.contains(&seen) {
            return Some(seen);
        }
        self.problems.push(ExpressionError::Type {
            at: node.at,
            what: what.to_owned(),
            expected: functions::expected(kinds),
            seen: seen.to_string(),
        });
        None
    }

    fn variable(&mut self, at: Position, name: &str) -> Option<&'k Members> {
        let known = self.known;
        let members = known.variables.get(name);
        if members.is_none() {
            self.problems.push(ExpressionError::UnknownVariable {
                at,
                name: name.to_owned(),
                known: listed(known.variables.keys()),
            });
        }
        members
    }

    /// `variable.member`, `has(variable.member)` or `variable["member"]`.
    fn member(&mut self, node: &Node, variable: &str, member: &str) -> Option<Kind> {
        let kind = match self.variable(node.at, variable)? {
            Members::Any => None,
            Members::Only(names, kind) if names.contains(member) => *kind,
            Members::Only(names, _) => {
                self.problems.push(ExpressionError::UnknownMember {
                    at: node.at,
                    variable: variable.to_owned(),
                    name: member.to_owned(),
                    known: listed(names),
                });
                None
            }
        };
        match node.kind {
            NodeKind::Has { .. } => Some(Kind::Bool),
            _ => kind,
        }
    }

    fn index(&mut self, [of, key]: &[Node; 2]) -> Option<Kind> {
        match self.expect(of, "[]", &[Kind::Map, Kind::List]) {
            Some(Kind::Map) => self.expect(key, "[]", &[Kind::Text]),
            Some(Kind::List) => self.expect(key, "[]", &[Kind::Int, Kind::Float]),
            _ => self.expect(key, "[]", &[Kind::Text, Kind::Int, Kind::Float]),
        };
        None
    }

    fn connective(&mut self, sides: &[Node; 2], what: &str) {
        for side in sides {
            self.expect(side, what, &[Kind::Bool]);
        }
    }

    fn binary(&mut self, at: Position, operator: Operator, sides: &[Node; 2]) -> Option<Kind> {
        let [left, right] = sides;
        let (Some(left), Some(right)) = (self.kind(left), self.kind(right)) else {
            // A comparison is a bool whatever is compared.
            return operator.result(Kind::Int, Kind::Int).filter(|kind| *kind == Kind::Bool);
        };
        let result = operator.result(left, right);
        if result.is_none() {
            self.problems.push(ExpressionError::Type {
                at,
                what: operator.to_string(),
                expected: operator.expected(left).to_owned(),
                seen: format!("{left} and {right}"),
            });
        }
        result
    }

    fn repeat(&mut self, body: &Loop) -> Kind {
        self.expect(&body.range, "the loop", &[Kind::List, Kind::Map]);
        if let Some(test) = &body.test {
            self.expect(test, "the condition of the loop", &[Kind::Bool]);
        }
        if let Some(step) = &body.step {
            self.kind(step);
        }
        match body.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Kind::Bool,
            LoopKind::Filter | LoopKind::Map => Kind::List,
        }
    }

    fn call(&mut self, function: &Function, arguments: &[Node]) -> Option<Kind> {
        for (index, (argument, kinds)) in arguments.iter().zip(function.parameters).enumerate() {
            self.expect(argument, &format!("argument {} of {}", index + 1, function.name), kinds);
        }
        function.result
    }
}

fn listed<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests;
