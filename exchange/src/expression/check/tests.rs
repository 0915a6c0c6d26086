//! What is told about expressions before there is any value.
use super::*;
use crate::expression::text::tests::scope;

fn known() -> Known {
    Known::new(["namespace", "pool"])
        .destination()
        .members("inputs", ["pool", "token"], None)
        .variable("self")
}

fn told(text: &str, used: Use) -> Vec<String> {
    check(text, used, &known()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_right_yields_no_problem() {
    for (text, used) in [
        ("plain", Use::Name),
        ("peer-${source.cluster}-${params.pool}", Use::Name),
        ("${destination.cluster + string(1)}", Use::Name),
        ("${inputs.pool.status.info.name}", Use::Name),
        ("${size(params.pool)}", Use::Name),
        ("${params.pool == 'a'}", Use::Text),
        ("${base64.decode(params.pool)}", Use::Bytes),
        ("${[1, params.pool]}", Use::Value),
        ("size(inputs.token.data.token) > 0", Use::Condition),
        ("self.status.ready", Use::Condition),
        (
            "has(inputs.token.data) && self.items.all(x, x.ready == true)",
            Use::Condition,
        ),
        ("inputs[self.name] == inputs['pool']", Use::Condition),
        ("self.a + self.b > 1 || !self.c", Use::Condition),
        ("json.decode(self.text).ready", Use::Condition),
        ("(self.x ? 'a' : 'b') == params.pool", Use::Condition),
        ("{'a': 1}.a == 1 && [1][0] == 1", Use::Condition),
        ("'a'.matches('b')", Use::Condition),
        ("-self.x < 3", Use::Condition),
    ] {
        assert_eq!(told(text, used), Vec::<String>::new(), "{text}");
    }
}

const PROBLEMS: &[(&str, Use, &str)] = &[
    (
        "${param.pool}",
        Use::Name,
        "character 8: there is no variable \"param\" here, known: destination, inputs, params, peering, self, source",
    ),
    (
        "${params.pol}",
        Use::Name,
        "character 9: \"params\" has no \"pol\", known: namespace, pool",
    ),
    (
        "${params['pol']}",
        Use::Name,
        "character 9: \"params\" has no \"pol\", known: namespace, pool",
    ),
    (
        "${has(inputs.secret) ? 1 : 2}",
        Use::Name,
        "character 6: \"inputs\" has no \"secret\", known: pool, token",
    ),
    (
        "${inputs.secret.data}",
        Use::Name,
        "character 9: \"inputs\" has no \"secret\", known: pool, token",
    ),
    (
        "${lowr(params.pool)}",
        Use::Name,
        "character 7: there is no function \"lowr\"",
    ),
    (
        "${params.pool == 'a'}",
        Use::Name,
        "character 3: the expression must yield a string or an int, seen bool",
    ),
    (
        "${params}",
        Use::Name,
        "character 3: the expression must yield a string or an int, seen map",
    ),
    (
        "${b'a'}",
        Use::Name,
        "character 3: the expression must yield a string or an int, seen bytes",
    ),
    (
        "${['a']}",
        Use::Text,
        "character 3: the expression must yield a string, an int, a bool, or bytes that are UTF-8, seen list",
    ),
    (
        "${1.5}",
        Use::Bytes,
        "character 3: the expression must yield bytes, a string, an int or a bool, seen double",
    ),
    (
        "x${[1]}",
        Use::Value,
        "character 4: the expression must yield a string, an int, a bool, or bytes that are UTF-8, seen list",
    ),
    (
        "1",
        Use::Condition,
        "character 1: the expression must yield a bool, seen int",
    ),
    (
        "size(self)",
        Use::Condition,
        "character 1: the expression must yield a bool, seen int",
    ),
    (
        "${params.pool}",
        Use::Condition,
        "character 3: the expression must yield a bool, seen string",
    ),
    (
        "params.pool > 1",
        Use::Condition,
        "character 13: >: expected two numbers, strings, bytes or bools, seen string and int",
    ),
    (
        "params.pool && true",
        Use::Condition,
        "character 7: &&: expected bool, seen string",
    ),
    (
        "!params.pool",
        Use::Condition,
        "character 8: !: expected bool, seen string",
    ),
    (
        "-params.pool == 1",
        Use::Condition,
        "character 8: -: expected int or double, seen string",
    ),
    (
        "params.pool.x == 1",
        Use::Condition,
        "character 7: .x: expected map, seen string",
    ),
    (
        "params.pool[0] == 1",
        Use::Condition,
        "character 7: []: expected map or list, seen string",
    ),
    (
        "[1]['a'] == 1",
        Use::Condition,
        "character 5: []: expected int or double, seen string",
    ),
    (
        "params.pool.all(x, true)",
        Use::Condition,
        "character 7: the loop: expected list or map, seen string",
    ),
    (
        "[1].all(x, 1)",
        Use::Condition,
        "character 12: the condition of the loop: expected bool, seen int",
    ),
    (
        "size(1) == 1",
        Use::Condition,
        "character 6: argument 1 of size: expected string or bytes or list or map, seen int",
    ),
    (
        "{1: 2} == self",
        Use::Condition,
        "character 2: the key of a map: expected string, seen int",
    ),
    (
        "1 ? true : false",
        Use::Condition,
        "character 1: ?:: expected bool, seen int",
    ),
    (
        "has(params.pool.x)",
        Use::Condition,
        "character 11: has(): expected map, seen string",
    ),
    (
        "1.matches('a')",
        Use::Condition,
        "character 1: matches(): expected string, seen int",
    ),
    (
        "[y.z].exists(x, x)",
        Use::Condition,
        "character 3: there is no variable \"y\" here, known: destination, inputs, params, peering, self, source",
    ),
    (
        "1 +",
        Use::Condition,
        "character 4: expected an expression, seen the end of the expression",
    ),
];

#[test]
fn problems_are_told_without_values() {
    for (text, used, expected) in PROBLEMS {
        assert_eq!(told(text, *used), [*expected], "{text}");
    }
}

#[test]
fn all_problems_of_a_text_are_told() {
    let seen = told("${param.x}-${params.y + z.w}-${true}", Use::Name);
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn nothing_is_known_of_an_empty_scope() {
    let seen = check("${params.x}", Use::Name, &Known::new([]));
    assert_eq!(seen[0].to_string(), "character 9: \"params\" has no \"x\", known: none");
}

/// A type that is told must be the one that is seen.
#[test]
fn told_types_agree_with_evaluation() {
    for expression in [
        "1 + 1",
        "1.5 - 0.5",
        "'a' + 'b'",
        "[1] + [2]",
        "params.pool",
        "peering",
        "1 in [1]",
        "!true",
        "-1",
        "true ? 1 : 2",
        "{'a': 1}",
        "[1].map(x, x)",
        "[1].exists(x, x == 1)",
        "size('a')",
        "'a'.matches('a')",
        "has(params.pool)",
        "sha256('a')",
        "base64.decode('YQ==')",
        "url.parse('http://a')",
        "true || 1 == 2",
    ] {
        let text = Text::parse(&format!("${{{expression}}}")).unwrap();
        let mut known = known();
        known.variables.insert("inputs".to_owned(), Members::Any);
        let mut checker = Checker::new(&known);
        let told = checker.kind(&text.single().unwrap().expression);
        assert_eq!(told, Some(text.value(&scope()).unwrap().kind()), "{expression}");
        assert_eq!(checker.problems, []);
    }
}
