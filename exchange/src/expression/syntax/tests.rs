//! What is said about text that is not an expression.
use crate::expression::{Condition, ExpressionError, Text};

#[test]
fn mistakes_have_a_place_and_say_what_was_expected() {
    for (expression, expected) in [
        (
            "",
            "character 1: expected an expression, seen the end of the expression",
        ),
        (
            "a +",
            "character 4: expected an expression, seen the end of the expression",
        ),
        ("a b", "character 3: expected the end of the expression, seen \"b\""),
        (
            "a.",
            "character 3: expected a name or an expression, seen the end of the expression",
        ),
        ("a..b", "character 3: expected a name or an expression, seen \".\""),
        ("f(a,,b)", "character 5: expected an expression, seen \",\""),
        ("(a", "character 3: expected ')', seen the end of the expression"),
        ("a)", "character 2: expected the end of the expression, seen \")\""),
        ("[1,", "character 4: expected ']', seen the end of the expression"),
        ("{1}", "character 3: expected an operator or ':', seen \"}\""),
        ("{'a':}", "character 6: expected an expression, seen \"}\""),
        (
            "a ? b",
            "character 6: expected an operator or ':', seen the end of the expression",
        ),
        (
            "a & b",
            "character 3: expected a name, number, string or operator, seen \"&\"",
        ),
        (
            "a = b",
            "character 3: expected a name, number, string or operator, seen \"=\"",
        ),
        (
            "@a",
            "character 1: expected a name, number, string or operator, seen \"@\"",
        ),
        (
            "é",
            "character 1: expected a name, number, string or operator, seen \"é\"",
        ),
        ("in", "character 1: expected an expression, seen \"in\""),
        (
            "if",
            "character 1: expected a name that is no reserved word, seen \"if\"",
        ),
        (
            "99999999999999999999",
            "character 1: expected a number that fits into 64 bits, seen \"99999999999999999999\"",
        ),
        (
            "'\\uD800'",
            "character 1: expected a string with valid escapes, seen \"'\"",
        ),
        (
            "a\n  b",
            "line 2, column 3: expected the end of the expression, seen \"b\"",
        ),
        (
            "a.?b",
            "character 2: optional syntax with '?' (write has(map.field) ? … : …) cannot be used in profiles",
        ),
        (
            "a[?b]",
            "character 2: optional syntax with '?' (write has(map.field) ? … : …) cannot be used in profiles",
        ),
        (
            "a.`b-c`",
            "character 2: a name in backticks (write map[\"name\"]) cannot be used in profiles",
        ),
        ("1u", "character 1: an unsigned number cannot be used in profiles"),
        ("A{b: 1}", "character 2: a message cannot be used in profiles"),
    ] {
        let seen = Condition::parse(expression)
            .map(|_| ())
            .map_err(|error| error.to_string());
        assert_eq!(seen, Err(expected.to_owned()), "{expression}");
    }
}

#[test]
fn the_place_counts_from_the_start_of_the_whole_text() {
    let seen = Text::parse("é-${a b}").unwrap_err();
    let ExpressionError::Syntax { at, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!((at.offset, at.line), (6, None));
}
