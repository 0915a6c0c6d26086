//! From the text of an expression to its tree.
//!
//! The grammar is that of the `cel` crate; what its parser yields is turned into a tree of our own here. Only its
//! parser is used: its evaluation (0.15) knows no limit of cost, its errors quote values and have no position, it
//! copies secrets into memory that is not wiped, and a panic in it would end the process (`panic = "abort"`).
use cel::{
    Env,
    common::ast::{
        CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo, operators as cel_names,
    },
};
use regex::RegexBuilder;

use super::{
    ExpressionError, Position,
    error::Lines,
    functions::{self, Function},
    limits,
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
        .node(expression),
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

    fn node(&mut self, expression: IdedExpr) -> Result<Node, ExpressionError> {
        let at = self.position(expression.id);
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(ExpressionError::TooComplex {
                at,
                what: "levels",
                limit: limits::DEPTH,
            });
        }
        let kind = self.kind(at, expression.expr)?;
        self.depth -= 1;
        Ok(Node { at, kind })
    }

    fn boxed(&mut self, expression: IdedExpr) -> Result<Box<Node>, ExpressionError> {
        self.node(expression).map(Box::new)
    }

    fn nodes(&mut self, expressions: Vec<IdedExpr>) -> Result<Vec<Node>, ExpressionError> {
        expressions
            .into_iter()
            .map(|expression| self.node(expression))
            .collect()
    }

    fn kind(&mut self, at: Position, expression: Expr) -> Result<NodeKind, ExpressionError> {
        let unsupported = |what| Err(ExpressionError::Unsupported { at, what });
        match expression {
            Expr::Literal(literal) => match value(literal) {
                Some(value) => Ok(NodeKind::Literal(value)),
                None => unsupported("an unsigned number"),
            },
            Expr::Ident(name) => Ok(self.variable(name)),
            Expr::Select(select) if !select.test => Ok(NodeKind::Select {
                of: self.boxed(*select.operand)?,
                field: select.field,
            }),
            Expr::List(list) => self.nodes(list.elements).map(NodeKind::List),
            Expr::Map(map) => self.entries(at, map.entries),
            Expr::Call(call) => self.call(at, call),
            Expr::Struct(_) => unsupported("a message"),
            Expr::Select(_) | Expr::Comprehension(_) | Expr::Unspecified => unsupported("this form of CEL"),
        }
    }

    /// A variable of a loop if there is one, else of the scope. `.name` is always of the scope.
    fn variable(&self, name: String) -> NodeKind {
        match name.strip_prefix('.') {
            Some(global) => NodeKind::Variable(global.to_owned()),
            None if self.locals.contains(&name) => NodeKind::Local(name),
            None => NodeKind::Variable(name),
        }
    }

    fn entries(&mut self, at: Position, entries: Vec<IdedEntryExpr>) -> Result<NodeKind, ExpressionError> {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry.expr else {
                return Err(ExpressionError::Unsupported { at, what: "a message" });
            };
            nodes.push((self.node(entry.key)?, self.node(entry.value)?));
        }
        Ok(NodeKind::Map(nodes))
    }

    fn call(&mut self, at: Position, call: CallExpr) -> Result<NodeKind, ExpressionError> {
        let CallExpr {
            func_name: name,
            target,
            args,
        } = call;
        match target {
            None => self.global(at, &name, args),
            Some(target) => self.method(at, name, *target, args),
        }
    }

    /// `name(…)`, or an operator.
    fn global(&mut self, at: Position, name: &str, args: Vec<IdedExpr>) -> Result<NodeKind, ExpressionError> {
        match (name, args.len()) {
            (cel_names::CONDITIONAL, 3) => self.array(at, args).map(Box::new).map(NodeKind::Conditional),
            (cel_names::LOGICAL_AND, 2) => self.array(at, args).map(Box::new).map(NodeKind::And),
            (cel_names::LOGICAL_OR, 2) => self.array(at, args).map(Box::new).map(NodeKind::Or),
            (cel_names::INDEX, 2) => {
                let [of, key] = self.array(at, args)?;
                Ok(NodeKind::Index {
                    of: Box::new(of),
                    key: Box::new(key),
                })
            }
            (cel_names::LOGICAL_NOT, 1) => self.array(at, args).map(|[node]| NodeKind::Not(Box::new(node))),
            (cel_names::NEGATE, 1) => self.array(at, args).map(|[node]| NodeKind::Negate(Box::new(node))),
            (cel_names::HAS, _) => self.has(at, args),
            ("matches", _) => self.matches(at, args),
            _ => {
                let arguments = self.nodes(args)?;
                match Operator::from_cel(name) {
                    Some(operator) => Ok(NodeKind::Binary {
                        operator,
                        sides: array(at, arguments).map(Box::new)?,
                    }),
                    None => function(at, name, arguments),
                }
            }
        }
    }

    /// `target.name(…)`: a function of a namespace, a loop, or a function on its first argument.
    fn method(
        &mut self,
        at: Position,
        name: String,
        target: IdedExpr,
        mut args: Vec<IdedExpr>,
    ) -> Result<NodeKind, ExpressionError> {
        if let Expr::Ident(namespace) = &target.expr
            && functions::is_namespace(namespace)
            && !self.locals.contains(namespace)
        {
            let name = format!("{namespace}.{name}");
            let arguments = self.nodes(args)?;
            return function(at, &name, arguments);
        }
        let kind = match name.as_str() {
            "all" => Some(LoopKind::All),
            "exists" => Some(LoopKind::Exists),
            "exists_one" | "existsOne" => Some(LoopKind::ExistsOne),
            "filter" => Some(LoopKind::Filter),
            "map" => Some(LoopKind::Map),
            _ => None,
        };
        if let Some(kind) = kind {
            return self.repetition(at, kind, target, args);
        }
        args.insert(0, target);
        if name == "matches" {
            return self.matches(at, args);
        }
        let arguments = self.nodes(args)?;
        match functions::find(&name) {
            Some(_) => function(at, &name, arguments),
            None => Err(ExpressionError::UnknownFunction { at, name }),
        }
    }

    fn array<const N: usize>(&mut self, at: Position, args: Vec<IdedExpr>) -> Result<[Node; N], ExpressionError> {
        array(at, self.nodes(args)?)
    }

    fn has(&mut self, at: Position, args: Vec<IdedExpr>) -> Result<NodeKind, ExpressionError> {
        let seen = args.len();
        let wrong = || ExpressionError::Arguments {
            at,
            expected: "has(map.field)".to_owned(),
            seen,
        };
        let [argument] = <[IdedExpr; 1]>::try_from(args).map_err(|_| wrong())?;
        match self.node(argument)?.kind {
            NodeKind::Select { of, field } => Ok(NodeKind::Has { of, field }),
            _ => Err(wrong()),
        }
    }

    fn matches(&mut self, at: Position, args: Vec<IdedExpr>) -> Result<NodeKind, ExpressionError> {
        let seen = args.len();
        let Ok([text, pattern]) = <[IdedExpr; 2]>::try_from(args) else {
            return Err(ExpressionError::Arguments {
                at,
                expected: "matches(string, pattern)".to_owned(),
                seen,
            });
        };
        let text = self.boxed(text)?;
        let pattern = self.node(pattern)?;
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
        let pattern = RegexBuilder::new(pattern)
            .size_limit(limits::PATTERN_MEMORY)
            .dfa_size_limit(limits::PATTERN_MEMORY)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => wrong("takes too much memory: use smaller repetitions"),
                _ => wrong("is not a regular expression"),
            })?;
        Ok(NodeKind::Matches { text, pattern })
    }

    /// `range.kind(variable, …)`
    fn repetition(
        &mut self,
        at: Position,
        kind: LoopKind,
        range: IdedExpr,
        args: Vec<IdedExpr>,
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
        let range = self.node(range)?;
        let mut args = args.into_iter();
        let Some(Expr::Ident(variable)) = args.next().map(|argument| argument.expr) else {
            return Err(wrong());
        };
        if variable.starts_with('.') {
            return Err(wrong());
        }
        if self.locals.len() >= limits::LOOPS {
            return Err(ExpressionError::TooComplex {
                at,
                what: "nested loops",
                limit: limits::LOOPS,
            });
        }
        self.locals.push(variable.clone());
        let mut body = args
            .map(|argument| self.node(argument))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
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

/// The operands of an operator.
fn array<const N: usize>(at: Position, nodes: Vec<Node>) -> Result<[Node; N], ExpressionError> {
    let seen = nodes.len();
    nodes.try_into().map_err(|_| ExpressionError::Arguments {
        at,
        expected: format!("{N} operand(s)"),
        seen,
    })
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
            expected: Function::signature(function),
            seen: arguments.len(),
        });
    }
    Ok(NodeKind::Call { function, arguments })
}

fn value(literal: LiteralValue) -> Option<Value> {
    Some(match literal {
        LiteralValue::Null => Value::Null,
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::String(text) => Value::from(text.inner()),
        LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().to_vec().into()),
        LiteralValue::UInt(_) => return None,
    })
}

#[cfg(test)]
mod tests;
