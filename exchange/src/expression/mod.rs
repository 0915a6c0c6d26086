//! The expressions of profiles: text with holes (`peer-${source.cluster}`), conditions and templates of objects.
//!
//! What stands in a hole is CEL. Follow an expression in this order: `scan` (where it ends, is it small enough),
//! `syntax` (its tree), `check` (what is wrong with it, told without values), `evaluation` (what it yields).
//! `operators` and `functions` are the tables that the last three share.
//!
//! Left out of CEL: unsigned numbers, messages, timestamps and durations (times are RFC 3339 strings), optional syntax,
//! keys of maps that are no strings. Added: the functions in `functions`. `\${` in a text is written `${'${'}`.
mod check;
mod condition;
mod error;
mod evaluation;
mod functions;
pub mod limits;
mod mistake;
mod operators;
mod scan;
mod scope;
mod syntax;
mod template;
mod text;
mod tree;

pub use self::{
    check::{Known, Use, check},
    condition::Condition,
    error::{ExpressionError, Position},
    scope::Scope,
    template::{Template, TemplateError, template},
    text::{Text, resolve},
    tree::Reference,
};
