//! The expressions of profiles: text with holes (`peer-${source.cluster}`), conditions and templates of objects.
//!
//! What stands in a hole is CEL. Follow an expression in this order: `scan` (where it ends, is it small enough),
//! `syntax` (its tree), `check` (what is wrong with it, told without values), `evaluation` (what it yields).
//! `operators` and `functions` are the tables that the last three share.
//!
//! Of CEL there are: all operators; `has`, `all`, `exists`, `exists_one` (`existsOne`), `filter`, `map`; `size`, `string`,
//! `bytes`, `int`, `double`, `bool`, `contains`, `startsWith`, `endsWith`, `matches` (with a literal pattern). Left out are
//! unsigned numbers, messages, timestamps and durations (times are RFC 3339 strings), optional syntax, and keys of maps
//! that are no strings. Added are:
//!
//! | function | yields |
//! |---|---|
//! | `lower(s)` `upper(s)` `trim(s)` `replace(s, old, new)` | string |
//! | `split(s, separator)` | list of strings |
//! | `join(list, separator)` | string |
//! | `sha256(x)` | lower-case hexadecimal of bytes or a string |
//! | `base64.encode(x)` `base64.decode(s)` | string; bytes |
//! | `json.encode(x)` `json.decode(x)` | string, bytes in it as base64; the value |
//! | `pem.certificates(x)` | list of `{subject, fingerprint, notBefore, notAfter, isCA}`, malformed blocks skipped |
//! | `pem.notAfter(x)` `pem.fingerprint(x)` | when the first one expires; fingerprint of the one that stands first |
//! | `url.parse(s)` | `{scheme, host, port, path}`, default ports filled |
//! | `kubeconfig({server, ca, context or name, token or clientCertificate + clientKey, tlsServerName})` | JSON text |
//!
//! Functions without a dot can be called on their first argument: `s.trim()`. `${` itself is written `${'${'}` in a text.
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
