//! The binary operators of CEL: which types each takes, and what it computes.
use std::{cmp::Ordering, fmt};

use cel::common::ast::operators as cel;

use crate::value::{Kind, Value};

/// A binary operator that is no connective of bools: those look at their right side only where they have to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// Why an operator yields nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not take these types.
    Types,
    /// The result does not exist.
    Arithmetic(&'static str),
}

const OVERFLOW: Fault = Fault::Arithmetic("the result does not fit into 64 bits");
const BY_ZERO: Fault = Fault::Arithmetic("division by zero");

impl Operator {
    #[cfg(test)]
    pub const ALL: [Self; 12] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Remainder,
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
    ];

    /// The operator as the CEL parser names it.
    pub fn from_cel(name: &str) -> Option<Self> {
        Some(match name {
            cel::ADD => Self::Add,
            cel::SUBSTRACT => Self::Subtract,
            cel::MULTIPLY => Self::Multiply,
            cel::DIVIDE => Self::Divide,
            cel::MODULO => Self::Remainder,
            cel::EQUALS => Self::Equal,
            cel::NOT_EQUALS => Self::NotEqual,
            cel::LESS => Self::Less,
            cel::LESS_EQUALS => Self::LessOrEqual,
            cel::GREATER => Self::Greater,
            cel::GREATER_EQUALS => Self::GreaterOrEqual,
            cel::IN => Self::In,
            _ => return None,
        })
    }

    /// What it yields for these types; `None`: it does not take them.
    pub fn result(self, left: Kind, right: Kind) -> Option<Kind> {
        use Kind::{Bool, Bytes, Float, Int, List, Map, Text};
        let numbers = matches!((left, right), (Int | Float, Int | Float));
        match (self, left, right) {
            (Self::Equal | Self::NotEqual, ..) | (Self::In, _, List | Map) => Some(Bool),
            (Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual, ..) => {
                (numbers || (left == right && matches!(left, Bool | Text | Bytes))).then_some(Bool)
            }
            (Self::Add, Text | Bytes | List, _) => (left == right).then_some(left),
            (Self::Add | Self::Subtract | Self::Multiply | Self::Divide, Int | Float, _) => {
                (left == right).then_some(left)
            }
            (Self::Remainder, Int, Int) => Some(Int),
            _ => None,
        }
    }

    /// What it takes on its right, given its left: for people.
    pub fn expected(self, left: Kind) -> &'static str {
        match (self, left) {
            (Self::In, _) => "a list or a map on the right",
            (Self::Add, _) => "two ints, doubles, strings, bytes or lists",
            (Self::Remainder, _) => "two ints",
            (Self::Subtract | Self::Multiply | Self::Divide, _) => "two ints or two doubles",
            _ => "two numbers, strings, bytes or bools",
        }
    }

    /// Computes the result.
    pub fn apply(self, left: &Value, right: &Value) -> Result<Value, Fault> {
        match self {
            Self::Equal => Ok(Value::Bool(equal(left, right))),
            Self::NotEqual => Ok(Value::Bool(!equal(left, right))),
            Self::Less => ordered(left, right, Ordering::is_lt),
            Self::LessOrEqual => ordered(left, right, Ordering::is_le),
            Self::Greater => ordered(left, right, Ordering::is_gt),
            Self::GreaterOrEqual => ordered(left, right, Ordering::is_ge),
            Self::In => contained(left, right),
            Self::Add => add(left, right),
            Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder => match (left, right) {
                (Value::Int(left), Value::Int(right)) => self.whole(*left, *right).map(Value::Int),
                (Value::Float(left), Value::Float(right)) => self.float(*left, *right).map(Value::Float),
                _ => Err(Fault::Types),
            },
        }
    }

    fn whole(self, left: i64, right: i64) -> Result<i64, Fault> {
        let result = match self {
            Self::Divide | Self::Remainder if right == 0 => return Err(BY_ZERO),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
            _ => return Err(Fault::Types),
        };
        result.ok_or(OVERFLOW)
    }

    fn float(self, left: f64, right: f64) -> Result<f64, Fault> {
        match self {
            Self::Subtract => Ok(left - right),
            Self::Multiply => Ok(left * right),
            Self::Divide => Ok(left / right),
            _ => Err(Fault::Types),
        }
    }
}

fn add(left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(left.checked_add(*right).ok_or(OVERFLOW)?),
        (Value::Float(left), Value::Float(right)) => Value::Float(left + right),
        (Value::Text(left), Value::Text(right)) => Value::Text([left.as_str(), right].concat()),
        (Value::Bytes(left), Value::Bytes(right)) => Value::Bytes([left.expose(), right.expose()].concat().into()),
        (Value::List(left), Value::List(right)) => Value::List([left.as_slice(), right].concat()),
        _ => return Err(Fault::Types),
    })
}

/// CEL's equality: numbers by value, whatever their type; values of different types are not equal.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            compare(left, right) == Some(Ordering::Equal)
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|((left_key, left), (right_key, right))| left_key == right_key && equal(left, right))
        }
        _ => left == right,
    }
}

// A comparison with a double is one of doubles in CEL too; beyond 2^53 neighbours fall together.
#[allow(clippy::cast_precision_loss)]
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.expose().cmp(right.expose())),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn ordered(left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Result<Value, Fault> {
    match compare(left, right) {
        Some(ordering) => Ok(Value::Bool(holds(ordering))),
        // Not a number is neither less nor greater.
        None if matches!(
            (left, right),
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_))
        ) =>
        {
            Ok(Value::Bool(false))
        }
        None => Err(Fault::Types),
    }
}

fn contained(item: &Value, container: &Value) -> Result<Value, Fault> {
    match (item, container) {
        (item, Value::List(items)) => Ok(Value::Bool(items.iter().any(|other| equal(item, other)))),
        (Value::Text(key), Value::Map(entries)) => Ok(Value::Bool(entries.contains_key(key))),
        (_, Value::Map(_)) => Ok(Value::Bool(false)),
        _ => Err(Fault::Types),
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Value> {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(3),
            Value::Float(1.5),
            Value::from("x"),
            Value::Bytes(b"x".to_vec().into()),
            Value::List(vec![Value::Int(3)]),
            [("x", Value::Null)].into_iter().collect(),
        ]
    }

    #[test]
    fn the_types_that_are_told_are_those_that_are_computed() {
        for operator in Operator::ALL {
            for left in samples() {
                for right in samples() {
                    let seen = operator.apply(&left, &right);
                    assert_eq!(
                        operator.result(left.kind(), right.kind()),
                        seen.as_ref().ok().map(Value::kind),
                        "{left:?} {operator} {right:?}: {seen:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn arithmetic_has_no_silent_overflow() {
        let int = Value::Int;
        for (operator, left, right, expected) in [
            (Operator::Add, i64::MAX, 1, Err(OVERFLOW)),
            (Operator::Subtract, i64::MIN, 1, Err(OVERFLOW)),
            (Operator::Multiply, i64::MAX, 2, Err(OVERFLOW)),
            (Operator::Divide, i64::MIN, -1, Err(OVERFLOW)),
            (Operator::Remainder, i64::MIN, -1, Err(OVERFLOW)),
            (Operator::Divide, 1, 0, Err(BY_ZERO)),
            (Operator::Remainder, 1, 0, Err(BY_ZERO)),
            (Operator::Divide, -7, 2, Ok(int(-3))),
            (Operator::Remainder, -7, 2, Ok(int(-1))),
        ] {
            assert_eq!(
                operator.apply(&int(left), &int(right)),
                expected,
                "{left} {operator} {right}"
            );
        }
    }

    #[test]
    fn numbers_compare_by_value_and_nan_with_nothing() {
        let (one, also_one, nan) = (Value::Int(1), Value::Float(1.0), Value::Float(f64::NAN));
        let list = |value: &Value| Value::List(vec![value.clone()]);
        assert!(equal(&one, &also_one));
        assert!(equal(&list(&one), &list(&also_one)));
        assert!(!equal(&nan, &nan));
        assert!(!equal(&one, &Value::from("1")));
        for operator in [
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Greater,
            Operator::GreaterOrEqual,
            Operator::Equal,
        ] {
            assert_eq!(operator.apply(&nan, &one), Ok(Value::Bool(false)), "{operator}");
        }
    }
}
