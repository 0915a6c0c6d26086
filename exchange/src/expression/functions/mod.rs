//! The functions of profiles: one table that the parser, the evaluation and the static check share.
//!
//! A function without a dot in its name can also be called on its first argument: `split(x, ",")` is `x.split(",")`.
mod convert;
mod kubeconfig;
mod pem;
mod strings;
mod url;

use super::limits::{Exhausted, Work};
use crate::value::{Kind, Value};

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name, with its namespace.
    pub name: &'static str,
    /// What each parameter takes; nothing listed: anything.
    pub parameters: &'static [&'static [Kind]],
    /// What it yields; `None`: that depends.
    pub result: Option<Kind>,
    /// Work per byte of its arguments.
    price: usize,
    run: Run,
}

/// Computes the result. The arguments have been checked against the parameters. What may become much larger than the
/// arguments spends work before it is made.
type Run = fn(&[&Value], &mut Work) -> Result<Value, Fault>;

/// Why a function yields nothing. The problem never quotes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Problem(&'static str),
    Exhausted,
}

impl From<Exhausted> for Fault {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Exhausted
    }
}

const TEXT: &[Kind] = &[Kind::Text];
const BYTES_OR_TEXT: &[Kind] = &[Kind::Bytes, Kind::Text];
const LIST: &[Kind] = &[Kind::List];
const MAP: &[Kind] = &[Kind::Map];
const ANY: &[Kind] = &[];

/// The price of what looks at each byte once or twice.
const CHEAP: usize = 1;
/// The price of what parses certificates and hashes each.
const CERTIFICATES: usize = 4;
/// The price of what makes many small values from a few bytes.
const MANY_VALUES: usize = 16;

const fn function(
    name: &'static str,
    parameters: &'static [&'static [Kind]],
    result: Kind,
    price: usize,
    run: Run,
) -> Function {
    Function {
        name,
        parameters,
        result: Some(result),
        price,
        run,
    }
}

/// All functions but `matches`, whose pattern is compiled along with the expression.
static FUNCTIONS: [Function; 25] = [
    function(
        "size",
        &[&[Kind::Text, Kind::Bytes, Kind::List, Kind::Map]],
        Kind::Int,
        CHEAP,
        convert::size,
    ),
    function(
        "string",
        &[&[Kind::Text, Kind::Bytes, Kind::Int, Kind::Float, Kind::Bool]],
        Kind::Text,
        CHEAP,
        convert::string,
    ),
    function("bytes", &[BYTES_OR_TEXT], Kind::Bytes, CHEAP, convert::bytes),
    function(
        "int",
        &[&[Kind::Int, Kind::Float, Kind::Text]],
        Kind::Int,
        CHEAP,
        convert::int,
    ),
    function(
        "double",
        &[&[Kind::Float, Kind::Int, Kind::Text]],
        Kind::Float,
        CHEAP,
        convert::double,
    ),
    function("bool", &[&[Kind::Bool, Kind::Text]], Kind::Bool, CHEAP, convert::bool),
    function("contains", &[TEXT, TEXT], Kind::Bool, CHEAP, strings::contains),
    function("startsWith", &[TEXT, TEXT], Kind::Bool, CHEAP, strings::starts_with),
    function("endsWith", &[TEXT, TEXT], Kind::Bool, CHEAP, strings::ends_with),
    function("lower", &[TEXT], Kind::Text, CHEAP, strings::lower),
    function("upper", &[TEXT], Kind::Text, CHEAP, strings::upper),
    function("trim", &[TEXT], Kind::Text, CHEAP, strings::trim),
    function("replace", &[TEXT, TEXT, TEXT], Kind::Text, CHEAP, strings::replace),
    function("split", &[TEXT, TEXT], Kind::List, CHEAP, strings::split),
    function("join", &[LIST, TEXT], Kind::Text, CHEAP, strings::join),
    function("sha256", &[BYTES_OR_TEXT], Kind::Text, CHEAP, convert::sha256),
    function(
        "base64.encode",
        &[BYTES_OR_TEXT],
        Kind::Text,
        CHEAP,
        convert::base64_encode,
    ),
    function("base64.decode", &[TEXT], Kind::Bytes, CHEAP, convert::base64_decode),
    function("json.encode", &[ANY], Kind::Text, CHEAP, convert::json_encode),
    Function {
        result: None,
        ..function(
            "json.decode",
            &[BYTES_OR_TEXT],
            Kind::Null,
            MANY_VALUES,
            convert::json_decode,
        )
    },
    function(
        "pem.certificates",
        &[BYTES_OR_TEXT],
        Kind::List,
        CERTIFICATES,
        pem::certificates,
    ),
    function(
        "pem.notAfter",
        &[BYTES_OR_TEXT],
        Kind::Text,
        CERTIFICATES,
        pem::not_after,
    ),
    function(
        "pem.fingerprint",
        &[BYTES_OR_TEXT],
        Kind::Text,
        CERTIFICATES,
        pem::fingerprint,
    ),
    function("url.parse", &[TEXT], Kind::Map, CHEAP, url::parse),
    function("kubeconfig", &[MAP], Kind::Text, CHEAP, kubeconfig::kubeconfig),
];

/// The function of this name, namespace included.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// True if some function is named `namespace.…`.
pub(super) fn is_namespace(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| {
        function
            .name
            .split_once('.')
            .is_some_and(|(namespace, _)| namespace == name)
    })
}

impl Function {
    /// How it is called, for people: `replace(string, string, string)`.
    pub fn signature(&self) -> String {
        let parameters: Vec<_> = self.parameters.iter().map(|kinds| expected(kinds)).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// Calls it.
    pub fn call(&self, arguments: &[&Value], work: &mut Work) -> Result<Value, Fault> {
        let size: usize = arguments.iter().map(|argument| argument.weight()).sum();
        work.spend(size.saturating_mul(self.price))?;
        let result = (self.run)(arguments, work)?;
        work.spend(result.weight())?;
        Ok(result)
    }
}

/// The types that a parameter takes, for people.
pub(super) fn expected(kinds: &[Kind]) -> String {
    if kinds.is_empty() {
        return "any value".to_owned();
    }
    let names: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

/// For arguments that the parameters do not allow; the caller has checked them.
const MISMATCH: Fault = Fault::Problem("it cannot take these arguments");

/// The bytes of bytes or text.
fn raw(value: &Value) -> Result<&[u8], Fault> {
    match value {
        Value::Bytes(bytes) => Ok(bytes.expose()),
        Value::Text(text) => Ok(text.as_bytes()),
        _ => Err(MISMATCH),
    }
}

/// All arguments, which are texts.
fn texts<'v, const N: usize>(arguments: &[&'v Value]) -> Result<[&'v str; N], Fault> {
    let mut texts = [""; N];
    if arguments.len() != N {
        return Err(MISMATCH);
    }
    for (text, argument) in texts.iter_mut().zip(arguments) {
        let Value::Text(argument) = argument else {
            return Err(MISMATCH);
        };
        *text = argument;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
