//! The syntax tree of an expression after every name of a function is resolved: what is evaluated and checked.
use std::collections::BTreeSet;

use regex::Regex;

use super::{Position, functions::Function, operators::Operator};
use crate::value::Value;

/// One node, and where it stands in the text.
#[derive(Debug)]
pub(super) struct Node {
    pub at: Position,
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Value),
    /// A variable of the scope.
    Variable(String),
    /// A variable of an enclosing loop.
    Local(String),
    Select {
        of: Box<Node>,
        field: String,
    },
    /// `has(of.field)`
    Has {
        of: Box<Node>,
        field: String,
    },
    /// Of what, and the key.
    Index(Box<[Node; 2]>),
    Not(Box<[Node; 1]>),
    Negate(Box<[Node; 1]>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    /// Condition, then, else.
    Conditional(Box<[Node; 3]>),
    Binary {
        operator: Operator,
        sides: Box<[Node; 2]>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Loop(Box<Loop>),
    Matches {
        text: Box<Node>,
        pattern: Regex,
        /// Work per byte of the text.
        price: usize,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Node>,
    },
}

/// Which loop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// `range.kind(variable, test)`, `range.map(variable, step)` or `range.map(variable, test, step)`.
#[derive(Debug)]
pub(super) struct Loop {
    pub kind: LoopKind,
    pub range: Node,
    pub variable: String,
    /// `None` only in `map` without a filter.
    pub test: Option<Node>,
    /// In `map` only.
    pub step: Option<Node>,
}

/// A variable that an expression uses, and what it takes from under it: `inputs.token.data` is `inputs`, `token`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The variable.
    pub variable: String,
    /// The name under it; `None` where the variable is used as a whole or under a computed name.
    pub member: Option<String>,
}

impl Reference {
    /// `variable.member`, or the variable as a whole.
    #[must_use]
    pub fn new(variable: &str, member: Option<&str>) -> Self {
        Self {
            variable: variable.to_owned(),
            member: member.map(str::to_owned),
        }
    }
}

impl Node {
    /// The nodes right under this one.
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Literal(_) | NodeKind::Variable(_) | NodeKind::Local(_) => Vec::new(),
            NodeKind::Select { of: node, .. }
            | NodeKind::Has { of: node, .. }
            | NodeKind::Matches { text: node, .. } => vec![node],
            NodeKind::Not(nodes) | NodeKind::Negate(nodes) => nodes.iter().collect(),
            NodeKind::Index(nodes)
            | NodeKind::And(nodes)
            | NodeKind::Or(nodes)
            | NodeKind::Binary { sides: nodes, .. } => nodes.iter().collect(),
            NodeKind::Conditional(nodes) => nodes.iter().collect(),
            NodeKind::List(nodes) | NodeKind::Call { arguments: nodes, .. } => nodes.iter().collect(),
            NodeKind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            NodeKind::Loop(body) => std::iter::once(&body.range)
                .chain(&body.test)
                .chain(&body.step)
                .collect(),
        }
    }

    /// The variable and the literal name under it, where the node is such a path.
    pub fn member(&self) -> Option<(&str, &str)> {
        let (of, name) = match &self.kind {
            NodeKind::Select { of, field } | NodeKind::Has { of, field } => (of.as_ref(), field),
            NodeKind::Index(parts) => match parts.as_ref() {
                [
                    of,
                    Node {
                        kind: NodeKind::Literal(Value::Text(name)),
                        ..
                    },
                ] => (of, name),
                _ => return None,
            },
            _ => return None,
        };
        match &of.kind {
            NodeKind::Variable(variable) => Some((variable, name)),
            _ => None,
        }
    }

    /// Adds what the node and all under it refer to.
    pub fn collect(&self, references: &mut BTreeSet<Reference>) {
        if let Some((variable, member)) = self.member() {
            references.insert(Reference::new(variable, Some(member)));
            return;
        }
        if let NodeKind::Variable(name) = &self.kind {
            references.insert(Reference::new(name, None));
        }
        for child in self.children() {
            child.collect(references);
        }
    }
}
