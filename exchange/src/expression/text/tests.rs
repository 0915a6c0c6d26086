//! What expressions yield, and what is said where they cannot yield anything.
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    expression::{Condition, limits},
    value::Kind,
};

/// A scope as an agent has it: a pool and a Secret were read.
pub(crate) fn scope() -> Scope {
    let secret: Value = [
        ("token", Value::Bytes(b"s3cr3t".to_vec().into())),
        ("binary", Value::Bytes(vec![0, 255].into())),
    ]
    .into_iter()
    .collect();
    let pool = json!({
        "spec": {"size": 3, "ratio": 1.5, "mirrored": true, "mode": null},
        "status": {"peers": [{"name": "a", "up": true}, {"name": "b", "up": false}]},
    });
    let inputs = [
        ("token", [("data", secret)].into_iter().collect()),
        ("pool", Value::from(pool)),
    ];
    Scope {
        params: [
            ("namespace".to_owned(), "rook-ceph".to_owned()),
            ("pool".to_owned(), "rbd".to_owned()),
        ]
        .into(),
        peering: "east-west".to_owned(),
        source: "east".to_owned(),
        destination: Some("west".to_owned()),
        extra: [("inputs".to_owned(), inputs.into_iter().collect())].into(),
    }
}

/// The value of an expression as JSON.
fn json_of(expression: &str) -> Result<serde_json::Value, String> {
    let text = Text::parse(&format!("${{{expression}}}")).map_err(|error| error.to_string())?;
    text.value(&scope())
        .map(|value| value.to_json())
        .map_err(|error| error.to_string())
}

#[test]
fn holes_are_filled() {
    for (text, expected) in [
        ("plain", "plain"),
        ("", ""),
        ("${params.namespace}", "rook-ceph"),
        ("peer-${source.cluster}-${destination.cluster}", "peer-east-west"),
        ("${ peering.name + '-x' }", "east-west-x"),
        ("${'}' + \"{\"}", "}{"),
        ("${ source.cluster == 'east' ? 'yes' : 'no' }", "yes"),
        ("$5 and {braces} $", "$5 and {braces} $"),
        ("${'${'}x}", "${x}"),
        ("${1 + 1} ${true}", "2 true"),
        ("${inputs.token.data.token}", "s3cr3t"),
        ("é${'é'}é", "ééé"),
        ("${1 // one }\n}", "1"),
    ] {
        assert_eq!(resolve(text, &scope()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn expressions_yield() {
    for (expression, expected) in [
        // literals
        ("null", json!(null)),
        (
            "[1, -2, 0x10, 1.5, 'a', \"b\", r'\\n', true]",
            json!([1, -2, 16, 1.5, "a", "b", "\\n", true]),
        ),
        ("{'a': {'b': 1}}", json!({"a": {"b": 1}})),
        ("b'\\x00\\xff'", json!("AP8=")),
        ("'\\u00e9\\n'", json!("é\n")),
        ("'''it's'''", json!("it's")),
        // operators
        ("1 + 2 * 3 - 4 / 2 % 2", json!(7)),
        ("-(1 + 2)", json!(-3)),
        ("-1.5 * 2.0", json!(-3.0)),
        ("'a' + 'b'", json!("ab")),
        ("b'a' + b'b' == b'ab'", json!(true)),
        ("[1] + [2]", json!([1, 2])),
        (
            "1 < 2 && 2.5 > 2 && 'a' < 'b' && false < true && b'a' < b'b'",
            json!(true),
        ),
        (
            "1 == 1.0 && 1 != '1' && [1] == [1.0] && {'a': 1} == {'a': 1.0}",
            json!(true),
        ),
        (
            "'a' in ['a'] && !('b' in ['a']) && 'a' in {'a': 1} && !(1 in {'a': 1})",
            json!(true),
        ),
        ("!true || !false", json!(true)),
        ("true ? 1 : nothing.at.all", json!(1)),
        // one side of a connective is enough
        ("false && inputs.none.x", json!(false)),
        ("inputs.none.x && false", json!(false)),
        ("true || 1 / 0 == 1", json!(true)),
        ("1 / 0 == 1 || true", json!(true)),
        ("'no bool' || true", json!(true)),
        // maps and lists
        ("inputs.pool.spec.size", json!(3)),
        ("inputs['pool']['spec'].size", json!(3)),
        ("inputs.pool.status.peers[1].name", json!("b")),
        ("[1, 2, 3][2] + [4][0.0]", json!(7)),
        ("{'a': 1}['a']", json!(1)),
        ("has(inputs.pool.status) && !has(inputs.pool.nothing)", json!(true)),
        ("has(inputs.pool.spec.mode)", json!(true)),
        (".params.pool", json!("rbd")),
        // loops
        ("[1, 2].all(x, x > 0)", json!(true)),
        ("[1, 2].exists(x, x > 1)", json!(true)),
        (
            "[1, 2].exists_one(x, x > 1) && ![1, 1].existsOne(x, x == 1)",
            json!(true),
        ),
        ("[1, 2, 3].filter(x, x != 2)", json!([1, 3])),
        ("[1, 2, 3].map(x, x * x)", json!([1, 4, 9])),
        ("[1, 2, 3].map(x, x > 1, x * x)", json!([4, 9])),
        ("inputs.pool.status.peers.filter(p, p.up).map(p, p.name)", json!(["a"])),
        ("{'b': 1, 'a': 2}.map(key, key)", json!(["a", "b"])),
        ("inputs.map(key, key)", json!(["pool", "token"])),
        ("[[1, 2], [3]].map(x, x.map(x, x + 1))", json!([[2, 3], [4]])),
        ("[1, 2].map(x, [3].map(y, x + y))", json!([[4], [5]])),
        ("['x'].map(source, .source.cluster + source)", json!(["eastx"])),
        ("[].all(x, x) && ![].exists(x, x)", json!(true)),
        ("[0, 1].exists(x, 1 / x == 1)", json!(true)),
        ("[0, 1].all(x, 1 / x == 2)", json!(false)),
    ] {
        assert_eq!(json_of(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn what_fails_says_where_and_why() {
    for (expression, expected) in [
        (
            "nothing.x",
            "character 3: there is no variable \"nothing\" here, known: destination, inputs, params, peering, source",
        ),
        ("params.none", "character 9: \"none\" is not there"),
        ("inputs['none']", "character 9: \"none\" is not there"),
        ("inputs[params.pool]", "character 9: what the key names is not there"),
        ("[1][1]", "character 6: the list has only 1 item(s)"),
        ("[1][-1]", "character 6: the list has only 1 item(s)"),
        ("[1][0.5]", "character 7: []: expected int, seen double"),
        (
            "inputs.pool.status.peers['a']",
            "character 28: []: expected int, seen string",
        ),
        ("params[1]", "character 10: []: expected string, seen int"),
        ("'a'.b", "character 6: .b: expected map, seen string"),
        ("'a'[0]", "character 6: []: expected map or list, seen string"),
        (
            "1 + 'a'",
            "character 5: +: expected two ints, doubles, strings, bytes or lists, seen int and string",
        ),
        (
            "'a' - 'b'",
            "character 7: -: expected two ints or two doubles, seen string and string",
        ),
        (
            "1 + 1.0",
            "character 5: +: expected two ints, doubles, strings, bytes or lists, seen int and double",
        ),
        (
            "'a' < 1",
            "character 7: <: expected two numbers, strings, bytes or bools, seen string and int",
        ),
        (
            "1 in 2",
            "character 5: in: expected a list or a map on the right, seen int and int",
        ),
        ("!1", "character 4: !: expected bool, seen int"),
        ("-'a'", "character 3: -: expected int or double, seen string"),
        ("1 ? 2 : 3", "character 3: ?:: expected bool, seen int"),
        ("1 && true", "character 3: &&: expected bool, seen int"),
        ("true && 1", "character 11: &&: expected bool, seen int"),
        ("1 / 0", "character 5: division by zero"),
        (
            "9223372036854775807 + 1",
            "character 23: the result does not fit into 64 bits",
        ),
        ("has(params.pool.x)", "character 6: has(): expected map, seen string"),
        ("{1: 2}", "character 4: the key of a map: expected string, seen int"),
        (
            "{'a': 1, 'a': 2}",
            "character 12: expected each key of a map once, seen the same key again",
        ),
        ("1.all(x, x)", "character 3: the loop: expected list or map, seen int"),
        (
            "[1].filter(x, x)",
            "character 17: the condition of the loop: expected bool, seen int",
        ),
        (
            "[1].map(x, y)",
            "character 14: there is no variable \"y\" here, known: destination, inputs, params, peering, source",
        ),
        ("matches(1, 'a')", "character 11: matches(): expected string, seen int"),
    ] {
        assert_eq!(json_of(expression), Err(expected.to_owned()), "{expression}");
    }
}

#[test]
fn what_a_hole_may_yield_depends_on_the_use() {
    let all = |expression: &str| {
        let text = Text::parse(expression).unwrap();
        let resolved = text.resolve(&scope()).ok();
        let evaluated = text.evaluate(&scope()).ok().map(|bytes| bytes.expose().to_vec());
        let value = text.value(&scope()).unwrap().kind();
        (resolved, evaluated, value)
    };
    let same = |text: &str| (Some(text.to_owned()), Some(text.as_bytes().to_vec()));
    for (expression, (resolved, evaluated), kind) in [
        ("${'a'}", same("a"), Kind::Text),
        ("${1}", same("1"), Kind::Int),
        ("${true}", same("true"), Kind::Bool),
        ("${inputs.token.data.token}", same("s3cr3t"), Kind::Bytes),
        ("x${inputs.token.data.token}", same("xs3cr3t"), Kind::Text),
        ("${inputs.token.data.binary}", (None, Some(vec![0, 255])), Kind::Bytes),
        ("${1.5}", (None, None), Kind::Float),
        ("${[1]}", (None, None), Kind::List),
        ("${{}}", (None, None), Kind::Map),
        ("${null}", (None, None), Kind::Null),
    ] {
        assert_eq!(all(expression), (resolved, evaluated, kind), "{expression}");
    }
    let seen = resolve("x${ [1] }", &scope()).unwrap_err().to_string();
    assert_eq!(
        seen,
        "character 4: the expression must yield a string, an int, a bool, or bytes that are UTF-8, seen list"
    );
    let raw = Text::parse("a${inputs.token.data.binary}z")
        .unwrap()
        .evaluate(&scope())
        .unwrap();
    assert_eq!(raw.expose(), [b'a', 0, 255, b'z']);
}

#[test]
fn holes_must_be_closed() {
    for (text, expected) in [
        ("a-${params.namespace", "character 3: '${' has no matching '}'"),
        ("a\nb ${", "line 2, column 3: '${' has no matching '}'"),
        ("${'a}", "character 3: the string that starts here has no closing quote"),
        ("${params.x", "character 1: '${' has no matching '}'"),
    ] {
        assert_eq!(Text::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn positions_count_characters_of_the_whole_text() {
    let seen = resolve("é😀${'é'}${\n  params.none}", &scope()).unwrap_err();
    let ExpressionError::Missing { at, .. } = seen else {
        panic!("{seen:?}");
    };
    assert_eq!((at.offset, at.line), (19, Some((2, 9))));
}

#[test]
fn references_are_variables_and_what_stands_right_under_them() {
    for (text, expected) in [
        ("plain", vec![]),
        (
            "${params.pool}-${source.cluster}",
            vec![("params", Some("pool")), ("source", Some("cluster"))],
        ),
        ("${inputs.token.data.token}", vec![("inputs", Some("token"))]),
        ("${inputs['token'].data}", vec![("inputs", Some("token"))]),
        (
            "${inputs[params.pool]}",
            vec![("inputs", None), ("params", Some("pool"))],
        ),
        ("${has(inputs.token)}", vec![("inputs", Some("token"))]),
        ("${size(inputs)}", vec![("inputs", None)]),
        (
            "${inputs.a.map(x, x.b + peering.name)}",
            vec![("inputs", Some("a")), ("peering", Some("name"))],
        ),
        (
            "${['a'].map(params, params.x + .params.y)}",
            vec![("params", Some("y"))],
        ),
        (
            "${{'a': params.a}[params.b]}",
            vec![("params", Some("a")), ("params", Some("b"))],
        ),
        ("${base64.encode(self.x)}", vec![("self", Some("x"))]),
        ("${a.x.matches('b')}", vec![("a", Some("x"))]),
    ] {
        let expected: BTreeSet<_> = expected
            .into_iter()
            .map(|(name, member)| Reference::new(name, member))
            .collect();
        assert_eq!(Text::parse(text).unwrap().references(), expected, "{text}");
    }
    let condition = Condition::parse("size(inputs.token.data.token) > 0").unwrap();
    assert_eq!(
        condition.references(),
        BTreeSet::from([Reference::new("inputs", Some("token"))])
    );
}

#[test]
fn conditions_hold_or_not() {
    for (text, expected) in [
        ("size(inputs.token.data.token) > 0", Ok(true)),
        (" ${ size(inputs.token.data) == 1 }\n", Ok(false)),
        ("inputs.pool.spec.mirrored", Ok(true)),
        ("{'}': true}['}']", Ok(true)),
        ("1 + 1", Err("character 1: the expression must yield a bool, seen int")),
        ("${1}", Err("character 3: the expression must yield a bool, seen int")),
        (
            "${true} x",
            Err(
                "character 1: expected one expression, seen text with holes: write the expression without '${' and '}'",
            ),
        ),
        (
            "${true}${true}",
            Err(
                "character 1: expected one expression, seen text with holes: write the expression without '${' and '}'",
            ),
        ),
        (
            "",
            Err("character 1: expected an expression, seen the end of the expression"),
        ),
        (
            "inputs.token.data.other == b''",
            Err("character 18: \"other\" is not there"),
        ),
    ] {
        let seen = Condition::parse(text).and_then(|condition| condition.holds(&scope()));
        assert_eq!(
            seen.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned),
            "{text}"
        );
    }
    let missing = Condition::parse("inputs.token.data.other == b''")
        .unwrap()
        .holds(&scope())
        .unwrap_err();
    assert!(missing.is_missing());
    assert!(!Condition::parse("1").unwrap().holds(&scope()).unwrap_err().is_missing());
}

#[test]
fn a_variable_in_extra_stands_in_for_one_of_the_scope() {
    let mut scope = scope();
    scope.extra.insert(
        "source".to_owned(),
        Value::from(json!({"cluster": "other", "role": "hub"})),
    );
    assert_eq!(
        resolve("${source.cluster} ${source.role}", &scope).as_deref(),
        Ok("other hub")
    );
    scope.destination = None;
    let seen = resolve("${destination.cluster}", &scope).unwrap_err().to_string();
    assert_eq!(
        seen,
        "character 3: there is no variable \"destination\" here, known: inputs, params, peering, source"
    );
}

#[test]
fn whatever_is_expensive_is_stopped() {
    let long = "x".repeat(600_000);
    let many: Vec<_> = (0..3000).map(Value::Int).collect();
    let mut scope = scope();
    scope.extra.insert("long".to_owned(), Value::Text(long));
    scope.extra.insert("many".to_owned(), Value::List(many));
    let doubled = |times: usize| format!("${{size(['x'].map(a, a){})}}", ".map(a, a + a)".repeat(times));
    assert_eq!(resolve(&doubled(10), &scope).as_deref(), Ok("1"));
    let work: Vec<String> = [
        doubled(40),
        format!("${{size([1].map(a, a){})}}", ".map(a, [a, a])".repeat(40)),
        "${size(many.map(a, many.map(b, a * b)))}".to_owned(),
        "${many.all(a, many.exists(b, b == -1) || true)}".to_owned(),
        "${many.all(a, long == long)}".to_owned(),
        "${many.exists(a, long.contains('y'))}".to_owned(),
        "${many.exists(a, long.matches('y'))}".to_owned(),
        "${size(long.replace('x', long))}".to_owned(),
        "${size(long.split(''))}".to_owned(),
        "${size(many.map(a, string(a)).join(long))}".to_owned(),
        "${size(many.map(a, long))}".to_owned(),
        "${size(json.decode('[' + many.map(a, long).join(',') + ']'))}".to_owned(),
        "${sha256(long) + many.map(a, sha256(long)).join('')}".to_owned(),
    ]
    .into();
    for text in work {
        let seen = resolve(&text, &scope);
        assert!(
            matches!(seen, Err(ExpressionError::TooMuchWork { .. })),
            "{text}: {seen:?}"
        );
    }
    for text in ["${long + long}", "${long}${long}", "x${long}${long}"] {
        let seen = resolve(text, &scope);
        assert!(
            matches!(seen, Err(ExpressionError::TooMuchOutput { .. })),
            "{text}: {seen:?}"
        );
        let seen = Text::parse(text).unwrap().evaluate(&scope);
        assert!(matches!(seen, Err(ExpressionError::TooMuchOutput { .. })), "{text}");
        let seen = Text::parse(text).unwrap().value(&scope);
        assert!(matches!(seen, Err(ExpressionError::TooMuchOutput { .. })), "{text}");
    }
}

#[test]
fn the_work_of_all_holes_counts_together() {
    let mut scope = scope();
    scope
        .extra
        .insert("long".to_owned(), Value::Text("x".repeat(1_000_000)));
    let hole = "${size(long)}";
    assert!(resolve(&hole.repeat(5), &scope).is_ok());
    assert!(matches!(
        resolve(&hole.repeat(20), &scope),
        Err(ExpressionError::TooMuchWork { .. })
    ));
}

#[test]
fn size_and_shape_are_bounded_before_evaluation() {
    let text = |length: usize| "x".repeat(length);
    assert!(Text::parse(&text(limits::CHARACTERS)).is_ok());
    assert_eq!(
        Text::parse(&text(limits::CHARACTERS + 1)).unwrap_err().to_string(),
        "the text has 4097 characters, expected at most 4096: shorten it"
    );
    assert!(
        Text::parse(&"é".repeat(limits::CHARACTERS)).is_ok(),
        "characters, not bytes"
    );
    let sum = |operands: usize| format!("${{1{}}}", "+1".repeat(operands - 1));
    assert!(Text::parse(&sum(limits::DEPTH)).is_ok());
    let loops = |depth: usize| format!("${{{}true{}}}", "[1].all(x, ".repeat(depth), ")".repeat(depth));
    assert!(Text::parse(&loops(limits::LOOPS)).is_ok());
    let parens = |depth: usize| format!("${{{}1{}}}", "(".repeat(depth), ")".repeat(depth));
    assert!(Text::parse(&parens(limits::NESTING)).is_ok());
    for (text, what) in [
        (sum(limits::DEPTH + 1), "levels, expected at most 100"),
        (
            format!("${{a{}}}", ".a".repeat(limits::DEPTH)),
            "levels, expected at most 100",
        ),
        (loops(limits::LOOPS + 1), "nested loops, expected at most 3"),
        (parens(limits::NESTING + 1), "nested brackets, expected at most 32"),
        (parens(1500), "nested brackets, expected at most 32"),
        (
            "${".to_owned() + &"(".repeat(4000),
            "nested brackets, expected at most 32",
        ),
        (
            format!("${{[1{}]}}", ",1".repeat(limits::TOKENS)),
            "parts, expected at most 500",
        ),
        (
            format!("${{{}c}}", "a?b:".repeat(limits::NESTING + 1)),
            "conditionals, expected at most 32",
        ),
    ] {
        let seen = Text::parse(&text).unwrap_err().to_string();
        assert!(seen.contains(what), "{seen}");
        let condition = text.trim_start_matches("${").trim_end_matches('}');
        let seen = Condition::parse(condition).unwrap_err().to_string();
        assert!(seen.contains(what), "{seen}");
    }
    assert!(Condition::parse(&"x".repeat(limits::CHARACTERS + 1)).is_err());
}

#[test]
fn loops_side_by_side_are_not_nested() {
    let text = "${[1].map(a, [2].map(b, b)).map(c, c.map(d, d + 1))}";
    assert_eq!(
        Text::parse(text).unwrap().value(&scope()).unwrap().to_json(),
        json!([[3]])
    );
}

#[test]
fn debug_shows_the_text_and_nothing_that_was_read() {
    let text = Text::parse("${inputs.token.data.token}").unwrap();
    assert_eq!(format!("{text:?}"), "Text(\"${inputs.token.data.token}\")");
    assert!(!format!("{:?}", scope()).contains("s3cr3t"));
    let condition = Condition::parse("1 == 1").unwrap();
    assert_eq!(format!("{condition:?}"), "Condition(\"1 == 1\")");
}

#[test]
fn no_error_holds_a_value() {
    let mut scope = scope();
    scope.extra.insert(
        "s".to_owned(),
        Value::from(json!({"text": "hunter2", "list": ["hunter2"], "map": {"hunter2": 1}})),
    );
    for expression in [
        "inputs[s.text]",
        "s.text + 1",
        "s.text < 1",
        "s.map + s.list",
        "-s.text",
        "!s.text",
        "s.text ? 1 : 2",
        "s.text && true",
        "s.text[0]",
        "s.list[s.text]",
        "s.list[7]",
        "int(s.text)",
        "double(s.text)",
        "bool(s.text)",
        "base64.decode(s.text + '!')",
        "json.decode(s.text)",
        "url.parse(s.text)",
        "pem.notAfter(s.text)",
        "join([s.map], '')",
        "kubeconfig({'server': s.text, 'ca': s.text, 'name': s.text, 'token': s.text})",
        "{s.text: 1, s.text: 2}",
        "s.list.map(x, x.y)",
        "s.map.map(x, x + 1)",
        "s.list.filter(x, x)",
        "s.map",
        "size(1)",
    ] {
        let error = resolve(&format!("${{{expression}}}"), &scope).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{expression}: {shown}");
    }
}

proptest! {
    #[test]
    fn a_text_without_holes_is_itself(text in "([^$]|\\$[^{$]){0,200}") {
        prop_assert_eq!(resolve(&text, &Scope::default()), Ok(text.clone()));
        let evaluated = Text::parse(&text).unwrap().evaluate(&Scope::default()).unwrap();
        prop_assert_eq!(evaluated.expose(), text.as_bytes());
    }

    #[test]
    fn any_text_can_be_written_as_a_literal(text in ".{0,60}") {
        let literal = text.chars().fold(String::new(), |all, character| all + &format!("\\U{:08x}", u32::from(character)));
        prop_assert_eq!(resolve(&format!("${{'{literal}'}}"), &Scope::default()), Ok(text));
    }

    #[test]
    fn parsing_and_evaluation_never_panic(text in "\\PC{0,80}") {
        let _ = resolve(&format!("${{{text}}}"), &scope());
        let _ = resolve(&text, &scope());
    }
}
