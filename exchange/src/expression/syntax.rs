//! From the text of an expression to its tree.
//!
//! The grammar is that of the `cel` crate; what its parser yields is turned into a tree of our own here. Only its
//! parser is used: its evaluation (0.15) knows no limit of cost, its errors quote values and have no position, it
//! copies secrets into memory that is not wiped, and a panic in it would end the process (`panic = "abort"`).
use cel::{
    Env,
    common::ast::{
        CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SelectExpr, SourceInfo,
        operators as cel_names,
    },
};
use regex::{Regex, RegexBuilder};

use super::{
    ExpressionError, Position,
    error::Lines,
    functions, limits,
    mistake::Mistake,
    operators::Operator,
    tree::{Loop, LoopKind, Node, NodeKind},
};
use crate::value::Value;

/// Attempts of the parser to go on after a mistake. Only the first mistake is told.
const RECOVERIES: u32 = 1;

/// Parses the expression that stands at `start` in a text whose characters and lines are given.
pub(super) fn parse(characters: &[char], start: usize, lines: &Lines) -> Result<Node, ExpressionError> {
    let source: String = characters.iter().collect();
    // An environment without macros leaves has, all, map and the like as the calls they are written as.
    let parser = Env::default().with_optional_support(false).parser();
    match parser.error_recovery_limit(RECOVERIES).parse_with_source_info(&source) {
        Ok((expression, info)) => Lowering {
            info: &info,
            start,
            lines,
            locals: Vec::new(),
            depth: 0,
        }
        .node(&expression),
        Err(errors) => {
            let mistake = Mistake {
                characters,
                start,
                lines,
            };
            Err(mistake.told(&errors.errors))
        }
    }
}

/// Turns the parser's tree into ours.
struct Lowering<'t> {
    info: &'t SourceInfo,
    /// Offset of the expression in the text.
    start: usize,
    lines: &'t Lines,
    /// Variables of the enclosing loops, outermost first.
    locals: Vec<String>,
    depth: usize,
}

impl Lowering<'_> {
    fn position(&self, id: u64) -> Position {
        let offset = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        self.lines.position(self.start + offset)
    }

    fn node(&mut self, expression: &IdedExpr) -> Result<Node, ExpressionError> {
        let at = self.position(expression.id);
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(ExpressionError::TooComplex {
                at,
                what: "levels",
                limit: limits::DEPTH,
            });
        }
        let kind = self.kind(at, &expression.expr)?;
        self.depth -= 1;
        Ok(Node { at, kind })
    }

    fn nodes(&mut self, expressions: &[IdedExpr]) -> Result<Vec<Node>, ExpressionError> {
        let mut nodes = Vec::with_capacity(expressions.len());
        for expression in expressions {
            nodes.push(self.node(expression)?);
        }
        Ok(nodes)
    }

    /// Only short functions call each other around here: a level of the tree takes one frame of each from the stack.
    fn kind(&mut self, at: Position, expression: &Expr) -> Result<NodeKind, ExpressionError> {
        match expression {
            Expr::Literal(literal) => value(at, literal).map(NodeKind::Literal),
            Expr::Ident(name) => Ok(self.variable(name)),
            Expr::Select(select) => self.select(select),
            Expr::List(list) => self.nodes(&list.elements).map(NodeKind::List),
            Expr::Map(map) => self.entries(at, &map.entries),
            Expr::Call(call) => self.call(at, call),
            Expr::Struct(_) => unsupported(at, "a message"),
            Expr::Comprehension(_) | Expr::Unspecified => unsupported(at, "this form of CEL"),
        }
    }

    /// A variable of a loop if there is one, else of the scope. `.name` is always of the scope.
    fn variable(&self, name: &str) -> NodeKind {
        match name.strip_prefix('.') {
            Some(global) => NodeKind::Variable(global.to_owned()),
            None if self.is_local(name) => NodeKind::Local(name.to_owned()),
            None => NodeKind::Variable(name.to_owned()),
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|local| local == name)
    }

    fn select(&mut self, select: &SelectExpr) -> Result<NodeKind, ExpressionError> {
        let of = Box::new(self.node(&select.operand)?);
        let field = select.field.clone();
        Ok(if select.test {
            NodeKind::Has { of, field }
        } else {
            NodeKind::Select { of, field }
        })
    }

    fn entries(&mut self, at: Position, entries: &[IdedEntryExpr]) -> Result<NodeKind, ExpressionError> {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return unsupported(at, "a message");
            };
            nodes.push((self.node(&entry.key)?, self.node(&entry.value)?));
        }
        Ok(NodeKind::Map(nodes))
    }

    /// An operator, `name(…)`, `namespace.name(…)`, a loop, or `first.name(…)`.
    fn call(&mut self, at: Position, call: &CallExpr) -> Result<NodeKind, ExpressionError> {
        match &call.target {
            None => self.global(at, &call.func_name, &call.args),
            Some(target) => match (self.namespace(target), loop_kind(&call.func_name)) {
                (Some(namespace), _) => self.global(at, &format!("{namespace}.{}", call.func_name), &call.args),
                (None, Some(kind)) => {
                    let range = self.node(target)?;
                    self.repetition(at, kind, range, &call.args)
                }
                (None, None) => self.method(at, &call.func_name, target, &call.args),
            },
        }
    }

    fn global(&mut self, at: Position, name: &str, args: &[IdedExpr]) -> Result<NodeKind, ExpressionError> {
        let arguments = self.nodes(args)?;
        called(at, name, arguments)
    }

    fn method(
        &mut self,
        at: Position,
        name: &str,
        target: &IdedExpr,
        args: &[IdedExpr],
    ) -> Result<NodeKind, ExpressionError> {
        let mut arguments = self.nodes(std::slice::from_ref(target))?;
        arguments.append(&mut self.nodes(args)?);
        match name {
            "matches" => matches(at, arguments),
            _ => function(at, name, arguments),
        }
    }

    /// The namespace of functions that an expression is, unless a loop's variable has its name.
    fn namespace<'e>(&self, target: &'e IdedExpr) -> Option<&'e str> {
        match &target.expr {
            Expr::Ident(name) if functions::is_namespace(name) && !self.is_local(name) => Some(name),
            _ => None,
        }
    }

    /// `range.kind(variable, …)`
    fn repetition(
        &mut self,
        at: Position,
        kind: LoopKind,
        range: Node,
        args: &[IdedExpr],
    ) -> Result<NodeKind, ExpressionError> {
        let seen = args.len();
        let wrong = || ExpressionError::Arguments {
            at,
            expected: match kind {
                LoopKind::Map => "list.map(name, value) or list.map(name, condition, value)",
                _ => "list.all(name, condition), and likewise exists, exists_one and filter",
            }
            .to_owned(),
            seen,
        };
        let (variable, body) = match args {
            [
                IdedExpr {
                    expr: Expr::Ident(name),
                    ..
                },
                body @ ..,
            ] if !name.starts_with('.') => (name.clone(), body),
            _ => return Err(wrong()),
        };
        if self.locals.len() >= limits::LOOPS {
            return Err(ExpressionError::TooComplex {
                at,
                what: "nested loops",
                limit: limits::LOOPS,
            });
        }
        self.locals.push(variable.clone());
        let mut body = self.nodes(body)?.into_iter();
        self.locals.pop();
        let (test, step) = match (kind, body.next(), body.next(), body.next()) {
            (LoopKind::Map, Some(test), Some(step), None) => (Some(test), Some(step)),
            (LoopKind::Map, Some(step), None, None) => (None, Some(step)),
            (LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Filter, Some(test), None, None) => {
                (Some(test), None)
            }
            _ => return Err(wrong()),
        };
        Ok(NodeKind::Loop(Box::new(Loop {
            kind,
            range,
            variable,
            test,
            step,
        })))
    }
}

fn unsupported<T>(at: Position, what: &'static str) -> Result<T, ExpressionError> {
    Err(ExpressionError::Unsupported { at, what })
}

fn loop_kind(name: &str) -> Option<LoopKind> {
    match name {
        "all" => Some(LoopKind::All),
        "exists" => Some(LoopKind::Exists),
        "exists_one" | "existsOne" => Some(LoopKind::ExistsOne),
        "filter" => Some(LoopKind::Filter),
        "map" => Some(LoopKind::Map),
        _ => None,
    }
}

/// `name(arguments)`, or an operator.
fn called(at: Position, name: &str, arguments: Vec<Node>) -> Result<NodeKind, ExpressionError> {
    match name {
        cel_names::CONDITIONAL => array(at, arguments).map(NodeKind::Conditional),
        cel_names::LOGICAL_AND => array(at, arguments).map(NodeKind::And),
        cel_names::LOGICAL_OR => array(at, arguments).map(NodeKind::Or),
        cel_names::INDEX => array(at, arguments).map(NodeKind::Index),
        cel_names::LOGICAL_NOT => array::<1>(at, arguments).map(NodeKind::Not),
        cel_names::NEGATE => array::<1>(at, arguments).map(NodeKind::Negate),
        cel_names::HAS => has(at, arguments),
        "matches" => matches(at, arguments),
        _ => match Operator::from_cel(name) {
            Some(operator) => array(at, arguments).map(|sides| NodeKind::Binary { operator, sides }),
            None => function(at, name, arguments),
        },
    }
}

fn has(at: Position, arguments: Vec<Node>) -> Result<NodeKind, ExpressionError> {
    let wrong = ExpressionError::Arguments {
        at,
        expected: "has(map.field)".to_owned(),
        seen: arguments.len(),
    };
    match <[Node; 1]>::try_from(arguments) {
        Ok(
            [
                Node {
                    kind: NodeKind::Select { of, field },
                    ..
                },
            ],
        ) => Ok(NodeKind::Has { of, field }),
        _ => Err(wrong),
    }
}

fn matches(at: Position, arguments: Vec<Node>) -> Result<NodeKind, ExpressionError> {
    let seen = arguments.len();
    let Ok([text, pattern]) = <[Node; 2]>::try_from(arguments) else {
        return Err(ExpressionError::Arguments {
            at,
            expected: "matches(string, pattern)".to_owned(),
            seen,
        });
    };
    let wrong = |problem| ExpressionError::Pattern {
        at: pattern.at,
        problem,
    };
    let NodeKind::Literal(Value::Text(pattern)) = &pattern.kind else {
        return Err(wrong("must be a string literal"));
    };
    if pattern.chars().count() > limits::PATTERN {
        return Err(wrong("is longer than 256 characters"));
    }
    let (pattern, price) = compiled(pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => wrong("takes too much memory: use smaller repetitions"),
        _ => wrong("is not a regular expression"),
    })?;
    let text = Box::new(text);
    Ok(NodeKind::Matches { text, pattern, price })
}

/// A call of a function of the table.
fn function(at: Position, name: &str, arguments: Vec<Node>) -> Result<NodeKind, ExpressionError> {
    let Some(function) = functions::find(name) else {
        return Err(ExpressionError::UnknownFunction {
            at,
            name: name.to_owned(),
        });
    };
    if arguments.len() != function.parameters.len() {
        return Err(ExpressionError::Arguments {
            at,
            expected: function.signature(),
            seen: arguments.len(),
        });
    }
    Ok(NodeKind::Call { function, arguments })
}

/// A compiled pattern, and the work per byte of text that a search with it is.
fn compiled(pattern: &str) -> Result<(Regex, usize), regex::Error> {
    let mut compiled = Err(regex::Error::CompiledTooBig(0));
    for (size, price) in limits::PATTERNS {
        let built = RegexBuilder::new(pattern).size_limit(size).build();
        compiled = built.map(|regex| (regex, price));
        if !matches!(compiled, Err(regex::Error::CompiledTooBig(_))) {
            break;
        }
    }
    compiled
}

/// The operands of an operator.
fn array<const N: usize>(at: Position, nodes: Vec<Node>) -> Result<Box<[Node; N]>, ExpressionError> {
    let seen = nodes.len();
    nodes
        .into_boxed_slice()
        .try_into()
        .map_err(|_| ExpressionError::Arguments {
            at,
            expected: format!("{N} operand(s)"),
            seen,
        })
}

fn value(at: Position, literal: &LiteralValue) -> Result<Value, ExpressionError> {
    Ok(match literal {
        LiteralValue::Null => Value::Null,
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::String(text) => Value::from(text.inner()),
        LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().to_vec().into()),
        LiteralValue::UInt(_) => return unsupported(at, "an unsigned number"),
    })
}

#[cfg(test)]
mod tests;
