//! Evaluates the tree of an expression.
//!
//! Values are borrowed from the scope and the tree where they can be. Every node, and every byte that is copied or
//! looked at, is work, and the work is bounded: no expression hangs, and none fills the memory.
use std::borrow::Cow;

use regex::Regex;

use super::{
    ExpressionError, Position, Scope,
    functions::{self, Fault, Function},
    limits::{NODE, Work},
    operators::{self, Operator},
    tree::{Loop, LoopKind, Node, NodeKind},
};
use crate::value::{Kind, Value};

type Outcome<'a> = Result<Cow<'a, Value>, ExpressionError>;

/// One evaluation: the work of all holes of a text counts together.
pub(super) struct Evaluation<'a> {
    scope: &'a Scope,
    /// Variables of the loops around, innermost last.
    locals: Vec<(&'a str, Cow<'a, Value>)>,
    work: Work,
}

impl<'a> Evaluation<'a> {
    pub fn new(scope: &'a Scope) -> Self {
        Self {
            scope,
            locals: Vec::new(),
            work: Work::default(),
        }
    }

    /// The value of a node. Only short functions call it again: see `Lowering::kind`.
    pub fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.work.charge(node.at, NODE)?;
        match &node.kind {
            NodeKind::Literal(value) => Ok(Cow::Borrowed(value)),
            NodeKind::Variable(name) => self.variable(node.at, name),
            NodeKind::Local(name) => self.local(node.at, name),
            NodeKind::Select { of, field } => self.select(node.at, of, field),
            NodeKind::Has { of, field } => self.has(node.at, of, field),
            NodeKind::Index(parts) => self.index(node.at, parts),
            NodeKind::Not(of) => self.not(of),
            NodeKind::Negate(of) => self.negate(node.at, of),
            NodeKind::And(sides) => self.connective(sides, "&&", false),
            NodeKind::Or(sides) => self.connective(sides, "||", true),
            NodeKind::Conditional(parts) => self.conditional(parts),
            NodeKind::Binary { operator, sides } => self.binary(node.at, *operator, sides),
            NodeKind::List(nodes) => self.list(nodes),
            NodeKind::Map(entries) => self.map(entries),
            NodeKind::Loop(body) => self.repeat(body),
            NodeKind::Matches { text, pattern, price } => self.matches(node.at, text, pattern, *price),
            NodeKind::Call { function, arguments } => self.call(node.at, function, arguments),
        }
    }

    fn select(&mut self, at: Position, of: &'a Node, field: &str) -> Outcome<'a> {
        let of = self.value(of)?;
        entry(at, of, field, Some(field))
    }

    fn has(&mut self, at: Position, of: &'a Node, field: &str) -> Outcome<'a> {
        match self.value(of)?.as_ref() {
            Value::Map(entries) => Ok(bool(entries.contains_key(field))),
            other => Err(mismatch(at, "has()", "map", other.kind())),
        }
    }

    fn conditional(&mut self, [condition, then, otherwise]: &'a [Node; 3]) -> Outcome<'a> {
        let chosen = if self.truth(condition, "?:")? { then } else { otherwise };
        self.value(chosen)
    }

    /// The value as one of our own; copying it is work.
    pub fn owned(&mut self, at: Position, value: Cow<'a, Value>) -> Result<Value, ExpressionError> {
        if let Cow::Borrowed(value) = &value {
            self.work.charge(at, value.weight())?;
        }
        Ok(value.into_owned())
    }

    fn variable(&mut self, at: Position, name: &str) -> Outcome<'a> {
        let scope = self.scope;
        let Some(value) = scope.variable(name) else {
            return Err(ExpressionError::UnknownVariable {
                at,
                name: name.to_owned(),
                known: scope.names(),
            });
        };
        if let Cow::Owned(value) = &value {
            self.work.charge(at, value.weight())?;
        }
        Ok(value)
    }

    fn local(&mut self, at: Position, name: &str) -> Outcome<'a> {
        let found = self.locals.iter().rev().find(|(local, _)| *local == name);
        match found {
            Some((_, Cow::Borrowed(value))) => Ok(Cow::Borrowed(value)),
            Some((_, Cow::Owned(value))) => {
                self.work.charge(at, value.weight())?;
                Ok(Cow::Owned(value.clone()))
            }
            None => self.variable(at, name),
        }
    }

    /// A bool, and nothing else.
    fn truth(&mut self, node: &'a Node, what: &str) -> Result<bool, ExpressionError> {
        match self.value(node)?.as_ref() {
            Value::Bool(holds) => Ok(*holds),
            other => Err(mismatch(node.at, what, "bool", other.kind())),
        }
    }

    /// `&&` and `||`: either side alone may decide, also when the other one fails (cel-spec, "Logical operators").
    fn connective(&mut self, sides: &'a [Node; 2], what: &str, decisive: bool) -> Outcome<'a> {
        let [left, right] = sides;
        let failed = match self.truth(left, what) {
            Ok(holds) if holds == decisive => return Ok(bool(decisive)),
            Ok(_) => None,
            Err(error) if error.is_limit() => return Err(error),
            Err(error) => Some(error),
        };
        match (self.truth(right, what), failed) {
            (Ok(holds), _) if holds == decisive => Ok(bool(decisive)),
            (Err(error), _) if error.is_limit() => Err(error),
            (_, Some(error)) => Err(error),
            (holds, None) => holds.map(bool),
        }
    }

    fn not(&mut self, [of]: &'a [Node; 1]) -> Outcome<'a> {
        self.truth(of, "!").map(|holds| bool(!holds))
    }

    fn negate(&mut self, at: Position, [of]: &'a [Node; 1]) -> Outcome<'a> {
        match self.value(of)?.as_ref() {
            Value::Int(value) => {
                value
                    .checked_neg()
                    .map(Value::Int)
                    .map(Cow::Owned)
                    .ok_or(ExpressionError::Arithmetic {
                        at,
                        problem: "the result does not fit into 64 bits",
                    })
            }
            Value::Float(value) => Ok(Cow::Owned(Value::Float(-value))),
            other => Err(mismatch(at, "-", "int or double", other.kind())),
        }
    }

    fn index(&mut self, at: Position, [of, key]: &'a [Node; 2]) -> Outcome<'a> {
        let of = self.value(of)?;
        let at_key = key.at;
        let literal = match &key.kind {
            NodeKind::Literal(Value::Text(name)) => Some(name.as_str()),
            _ => None,
        };
        match (self.value(key)?.as_ref(), of.kind()) {
            (Value::Text(key), Kind::Map) => entry(at, of, key, literal),
            (Value::Int(index), Kind::List) => item(at, of, *index),
            // A whole number is an index whatever its type (cel-spec). The cast saturates.
            #[allow(clippy::cast_possible_truncation)]
            (Value::Float(index), Kind::List) if index.fract() == 0.0 => item(at, of, *index as i64),
            (key, Kind::Map) => Err(mismatch(at_key, "[]", "string", key.kind())),
            (key, Kind::List) => Err(mismatch(at_key, "[]", "int", key.kind())),
            (_, other) => Err(mismatch(at, "[]", "map or list", other)),
        }
    }

    fn binary(&mut self, at: Position, operator: Operator, sides: &'a [Node; 2]) -> Outcome<'a> {
        let [left, right] = sides;
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.work.charge(at, left.weight().saturating_add(right.weight()))?;
        operator
            .apply(&left, &right)
            .map(Cow::Owned)
            .map_err(|fault| match fault {
                operators::Fault::Types => ExpressionError::Type {
                    at,
                    what: operator.to_string(),
                    expected: operator.expected(left.kind()).to_owned(),
                    seen: format!("{} and {}", left.kind(), right.kind()),
                },
                operators::Fault::Arithmetic(problem) => ExpressionError::Arithmetic { at, problem },
            })
    }

    fn list(&mut self, nodes: &'a [Node]) -> Outcome<'a> {
        let mut items = Vec::with_capacity(nodes.len());
        for node in nodes {
            let value = self.value(node)?;
            items.push(self.owned(node.at, value)?);
        }
        Ok(Cow::Owned(Value::List(items)))
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        let mut map = std::collections::BTreeMap::new();
        for (key, value) in entries {
            let name = match self.value(key)?.into_owned() {
                Value::Text(name) => name,
                other => return Err(mismatch(key.at, "the key of a map", "string", other.kind())),
            };
            self.work.charge(key.at, name.len())?;
            let evaluated = self.value(value)?;
            let value = self.owned(value.at, evaluated)?;
            if map.insert(name, value).is_some() {
                return Err(ExpressionError::Syntax {
                    at: key.at,
                    expected: "each key of a map once".to_owned(),
                    seen: "the same key again".to_owned(),
                });
            }
        }
        Ok(Cow::Owned(Value::Map(map)))
    }

    fn matches(&mut self, at: Position, text: &'a Node, pattern: &Regex, price: usize) -> Outcome<'a> {
        let value = self.value(text)?;
        let Value::Text(text) = value.as_ref() else {
            return Err(mismatch(text.at, "matches()", "string", value.kind()));
        };
        self.work.charge(at, text.len().saturating_mul(price))?;
        Ok(bool(pattern.is_match(text)))
    }

    fn call(&mut self, at: Position, function: &'static Function, nodes: &'a [Node]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(nodes.len());
        for (index, (node, kinds)) in nodes.iter().zip(function.parameters).enumerate() {
            let value = self.value(node)?;
            if !kinds.is_empty() && !kinds.contains(&value.kind()) {
                let what = format!("argument {} of {}", index + 1, function.name);
                return Err(mismatch(node.at, &what, &functions::expected(kinds), value.kind()));
            }
            values.push(value);
        }
        let arguments: Vec<&Value> = values.iter().map(AsRef::as_ref).collect();
        function
            .call(&arguments, &mut self.work)
            .map(Cow::Owned)
            .map_err(|fault| match fault {
                Fault::Problem(problem) => ExpressionError::Function {
                    at,
                    function: function.name,
                    problem,
                },
                Fault::Exhausted => ExpressionError::TooMuchWork { at },
            })
    }

    fn repeat(&mut self, body: &'a Loop) -> Outcome<'a> {
        let range: Box<dyn Iterator<Item = Cow<'a, Value>> + 'a> = match self.value(&body.range)? {
            Cow::Borrowed(Value::List(items)) => Box::new(items.iter().map(Cow::Borrowed)),
            Cow::Owned(Value::List(items)) => Box::new(items.into_iter().map(Cow::Owned)),
            Cow::Borrowed(Value::Map(entries)) => {
                Box::new(entries.keys().map(|key| Cow::Owned(Value::Text(key.clone()))))
            }
            Cow::Owned(Value::Map(entries)) => Box::new(entries.into_keys().map(|key| Cow::Owned(Value::Text(key)))),
            other => return Err(mismatch(body.range.at, "the loop", "list or map", other.kind())),
        };
        match body.kind {
            LoopKind::All => self.quantify(body, range, false),
            LoopKind::Exists => self.quantify(body, range, true),
            LoopKind::ExistsOne => {
                let mut count = 0_usize;
                for item in range {
                    count += usize::from(self.selects(body, item)?.is_some());
                }
                Ok(bool(count == 1))
            }
            LoopKind::Filter | LoopKind::Map => {
                let mut items = Vec::new();
                for item in range {
                    items.extend(self.collect(body, item)?);
                }
                Ok(Cow::Owned(Value::List(items)))
            }
        }
    }

    /// `all` and `exists`: one item may decide, also when others fail.
    fn quantify(&mut self, body: &'a Loop, range: impl Iterator<Item = Cow<'a, Value>>, decisive: bool) -> Outcome<'a> {
        let mut failed = None;
        for item in range {
            match self.selects(body, item) {
                Ok(selected) if selected.is_some() == decisive => return Ok(bool(decisive)),
                Ok(_) => {}
                Err(error) if error.is_limit() => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(bool(!decisive)), Err)
    }

    /// The item, if the loop's test holds for it.
    fn selects(&mut self, body: &'a Loop, item: Cow<'a, Value>) -> Result<Option<Cow<'a, Value>>, ExpressionError> {
        let Some(test) = &body.test else {
            return Ok(Some(item));
        };
        self.locals.push((&body.variable, item));
        let holds = self.truth(test, "the condition of the loop");
        let item = self.locals.pop().map(|(_, item)| item);
        Ok(if holds? { item } else { None })
    }

    /// What the item adds to the list that `filter` or `map` yields.
    fn collect(&mut self, body: &'a Loop, item: Cow<'a, Value>) -> Result<Option<Value>, ExpressionError> {
        let Some(item) = self.selects(body, item)? else {
            return Ok(None);
        };
        let Some(step) = &body.step else {
            return self.owned(body.range.at, item).map(Some);
        };
        self.locals.push((&body.variable, item));
        let value = self.value(step);
        self.locals.pop();
        self.owned(step.at, value?).map(Some)
    }
}

fn bool<'a>(holds: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Bool(holds))
}

fn mismatch(at: Position, what: &str, expected: &str, seen: Kind) -> ExpressionError {
    ExpressionError::Type {
        at,
        what: what.to_owned(),
        expected: expected.to_owned(),
        seen: seen.to_string(),
    }
}

/// An entry of a map. `told` is the key as it stands in the expression.
fn entry<'a>(at: Position, of: Cow<'a, Value>, key: &str, told: Option<&str>) -> Outcome<'a> {
    let kind = of.kind();
    let found = match of {
        Cow::Borrowed(Value::Map(entries)) => entries.get(key).map(Cow::Borrowed),
        Cow::Owned(Value::Map(mut entries)) => entries.remove(key).map(Cow::Owned),
        _ => {
            let what = told.map_or_else(|| "[]".to_owned(), |name| format!(".{name}"));
            return Err(mismatch(at, &what, "map", kind));
        }
    };
    found.ok_or_else(|| ExpressionError::Missing {
        at,
        name: told.map(str::to_owned),
    })
}

/// An item of a list.
fn item(at: Position, of: Cow<'_, Value>, index: i64) -> Outcome<'_> {
    let index = usize::try_from(index).ok();
    let (found, size) = match of {
        Cow::Borrowed(Value::List(items)) => (index.and_then(|index| items.get(index)).map(Cow::Borrowed), items.len()),
        Cow::Owned(Value::List(mut items)) => {
            let size = items.len();
            let index = index.filter(|index| *index < size);
            (index.map(|index| Cow::Owned(items.swap_remove(index))), size)
        }
        other => return Err(mismatch(at, "[]", "list", other.kind())),
    };
    found.ok_or(ExpressionError::OutOfBounds { at, size })
}
