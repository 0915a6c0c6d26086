//! Generates CEL expressions: well-formed ones that mix types freely, and ugly ones.
use proptest::{prelude::*, sample::select};

/// Variables that the expressions use: an int, a string, a list of ints, a map.
pub const VARIABLES: [&str; 4] = ["n", "s", "items", "m"];

/// What a generated expression is meant to yield.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Int,
    Float,
    Text,
    Bytes,
    Bool,
    List,
    Map,
}

const KINDS: [Kind; 7] = [
    Kind::Int,
    Kind::Float,
    Kind::Text,
    Kind::Bytes,
    Kind::Bool,
    Kind::List,
    Kind::Map,
];

fn leaf(kind: Kind) -> BoxedStrategy<String> {
    let leaves = match kind {
        Kind::Int => vec![
            "0",
            "1",
            "-1",
            "7",
            "9223372036854775807",
            "n",
            "m.a",
            "x",
            "y",
            "m.none",
            "null",
        ],
        // Nothing here yields NaN: the cel crate cannot compare it, where CEL says false.
        Kind::Float => vec!["0.5", "1.5", "2.0"],
        Kind::Text => vec![
            "''",
            "'a'",
            "'b'",
            "'é😀'",
            "\"it's\"",
            "'7'",
            "'true'",
            "s",
            "m.inner.b",
            "x",
            "nothing",
        ],
        Kind::Bytes => vec!["b''", "b'a'", "b'\\xff'"],
        Kind::Bool => vec!["true", "false", "x"],
        Kind::List => vec!["[]", "['a', 'b']", "[1, 2]", "items", "m.list", "[m, {'a': 2}]"],
        Kind::Map => vec!["{}", "{'a': 1, 'b': 'c'}", "m", "m.inner"],
    };
    select(leaves).prop_map(str::to_owned).boxed()
}

/// Sub-expressions are of the kind that fits, but for one in twenty.
fn of(kind: Kind, depth: usize) -> BoxedStrategy<String> {
    if depth == 0 {
        return leaf(kind);
    }
    // The order in which the cel crate loops over a map is random.
    let wrong = if matches!(kind, Kind::List) {
        &KINDS[..6]
    } else {
        &KINDS[..]
    };
    let wrong = select(wrong.to_vec()).prop_flat_map(move |kind| deep(kind, depth - 1));
    prop_oneof![5 => leaf(kind), 13 => deep(kind, depth - 1), 1 => wrong].boxed()
}

/// Strings with `$1`, `$2` and `$3` replaced by expressions of these kinds.
fn fill(form: &'static str, kinds: [Kind; 3], depth: usize) -> BoxedStrategy<String> {
    let [one, two, three] = kinds.map(|kind| of(kind, depth));
    (one, two, three)
        .prop_map(move |(one, two, three)| form.replace("$1", &one).replace("$2", &two).replace("$3", &three))
        .boxed()
}

fn deep(kind: Kind, depth: usize) -> BoxedStrategy<String> {
    use Kind::{Bool, Bytes, Float, Int, List, Map, Text};
    let forms: Vec<(&'static str, [Kind; 3])> = match kind {
        Int => vec![
            ("($1 + $2)", [Int; 3]),
            ("($1 - $2)", [Int; 3]),
            ("($1 * $2)", [Int; 3]),
            ("($1 / $2)", [Int; 3]),
            ("($1 % $2)", [Int; 3]),
            ("-($1)", [Int; 3]),
            ("size($1)", [Text; 3]),
            ("size($1)", [List; 3]),
            ("($1).size()", [Map; 3]),
            ("size(($1).filter(x, x != $2))", [Map, Text, Int]),
            ("size($1)", [Bytes; 3]),
            ("int($1)", [Text; 3]),
            ("int($1)", [Float; 3]),
            ("($1)[$2]", [List, Int, Int]),
            ("($1).a", [Map; 3]),
            ("($1)['a']", [Map; 3]),
        ],
        Float => vec![
            ("($1 + $2)", [Float; 3]),
            ("($1 * $2)", [Float; 3]),
            ("($1 / $2)", [Float; 3]),
            ("-($1)", [Float; 3]),
            ("double($1)", [Int; 3]),
        ],
        Text => vec![
            ("($1 + $2)", [Text; 3]),
            ("string($1)", [Int; 3]),
            ("string($1)", [Bool; 3]),
            ("string($1)", [Bytes; 3]),
            ("($1).b", [Map; 3]),
            ("($1 ? $2 : $3)", [Bool, Text, Text]),
        ],
        Bytes => vec![("bytes($1)", [Text; 3]), ("($1 + $2)", [Bytes; 3])],
        Bool => vec![
            ("($1 == $2)", [Int, Float, Int]),
            ("($1 == $2)", [Text; 3]),
            ("($1 != $2)", [List; 3]),
            ("($1 == $2)", [Map; 3]),
            ("($1 < $2)", [Int, Float, Int]),
            ("($1 <= $2)", [Text; 3]),
            ("($1 > $2)", [Bytes; 3]),
            ("($1 >= $2)", [Bool; 3]),
            ("($1 in $2)", [Int, List, Int]),
            ("($1 in $2)", [Text, Map, Int]),
            ("($1 && $2)", [Bool; 3]),
            ("($1 || $2)", [Bool; 3]),
            ("!($1)", [Bool; 3]),
            ("($1 ? $2 : $3)", [Bool; 3]),
            ("has(($1).a)", [Map; 3]),
            ("($1).all(x, $2)", [List, Bool, Int]),
            ("($1).exists(y, $2)", [List, Bool, Int]),
            ("($1).exists_one(x, $2)", [Map, Bool, Int]),
            ("($1).all(x, x == $2)", [List, Int, Int]),
            ("($1).exists(x, x / $2 == 1)", [List, Int, Int]),
            ("($1).contains($2)", [Text; 3]),
            ("($1).startsWith($2)", [Text; 3]),
            ("($1).endsWith($2)", [Text; 3]),
            ("bool($1)", [Text; 3]),
        ],
        List => vec![
            ("[$1, $2]", [Int, Text, Int]),
            ("($1 + $2)", [List; 3]),
            ("($1).map(x, $2)", [List, Int, Int]),
            ("($1).map(y, $2)", [List, Map, Int]),
            ("($1).map(x, $2, $3)", [List, Bool, Text]),
            ("($1).filter(x, $2)", [List, Bool, Int]),
            ("($1).filter(x, x != $2)", [List, Int, Int]),
        ],
        Map => vec![
            ("{'a': $1, 'b': $2}", [Int, Text, Int]),
            ("{$1: $2, $3: 1}", [Text, List, Text]),
            ("($1)[0]", [List; 3]),
        ],
    };
    select(forms)
        .prop_flat_map(move |(form, kinds)| fill(form, kinds, depth))
        .boxed()
}

/// An expression of CEL's core: every operator, loop and standard function that both sides know.
pub fn expression() -> impl Strategy<Value = String> {
    select(KINDS.to_vec()).prop_flat_map(|kind| of(kind, 4))
}

/// Parts of expressions that go well together, and ones that do not.
fn fragment() -> impl Strategy<Value = String> {
    let fixed = select(vec![
        "${",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        "'",
        "\"",
        "'''",
        "\"\"\"",
        "\\",
        "\\u",
        "\\x",
        "r'",
        "b'",
        "bR\"",
        "//",
        "\n",
        "\r",
        "\t",
        "\u{0}",
        "é",
        "😀",
        "\u{202e}",
        "$",
        "$$",
        ".",
        "..",
        "?",
        ":",
        "?.",
        "[?",
        ",",
        "-",
        "--",
        "!",
        "!!",
        "&",
        "&&",
        "|",
        "||",
        "=",
        "==",
        "@",
        "#",
        "`",
        "`a`",
        "1u",
        "0x",
        "1e",
        "1e999",
        "99999999999999999999",
        "in",
        "if",
        "null",
        "true",
        "A{",
        "has(",
        "has(m.a)",
        ".map(x,",
        ".map(x, x)",
        ".all(",
        "size(",
        "base64.decode(",
        "pem.certificates(",
        "json.decode(",
        "kubeconfig({",
        "url.parse('",
        "matches('(",
        ".matches('a*')",
        "replace(s, '', s)",
        "join(items, s)",
        "items",
        "s + s",
    ]);
    let repeated = (
        select(vec![
            "(",
            "[",
            "{",
            "!",
            "-",
            "+1",
            ".a",
            "a?b:",
            "['a'].map(x, ",
            "{'a':",
            "&&a",
            "''",
            "${",
        ]),
        1..200_usize,
    )
        .prop_map(|(part, times)| part.repeat(times));
    prop_oneof![6 => fixed.prop_map(str::to_owned), 1 => repeated, 2 => expression(), 1 => "\\PC{0,6}"]
}

/// Text that is hardly an expression, with or without holes.
pub fn ugly() -> impl Strategy<Value = String> {
    proptest::collection::vec(fragment(), 1..12).prop_map(|parts| parts.concat())
}
