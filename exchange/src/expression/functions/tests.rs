//! What each function yields, and what it refuses.
use peering_api::kube::config::Kubeconfig;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    ca::tests::ca,
    expression::{Scope, Text},
};

fn evaluate(expression: &str, scope: &Scope) -> Result<Json, String> {
    let text = Text::parse(&format!("${{{expression}}}")).map_err(|error| error.to_string())?;
    text.value(scope)
        .map(|value| value.to_json())
        .map_err(|error| error.to_string())
}

#[test]
fn functions_yield() {
    for (expression, expected) in [
        (
            "size('é😀') + size(b'ab') + size([1]) + size({'a': 1}) + 'x'.size()",
            json!(7),
        ),
        (
            "[string(1), string(1.5), string(true), string('a'), string(b'b')]",
            json!(["1", "1.5", "true", "a", "b"]),
        ),
        ("bytes('a') + bytes(b'b')", json!("YWI=")),
        ("[int('-7'), int(7.9), int(-7.9), int(7)]", json!([-7, 7, -7, 7])),
        ("[double('1.5'), double(1), double(0.5)]", json!([1.5, 1.0, 0.5])),
        ("[bool('true'), bool('0'), bool(true)]", json!([true, false, true])),
        (
            "'abc'.contains('b') && contains('abc', 'c') && !'abc'.contains('d')",
            json!(true),
        ),
        (
            "'abc'.startsWith('ab') && 'abc'.endsWith('bc') && !startsWith('abc', 'b')",
            json!(true),
        ),
        (
            "'pool-7'.matches('^[a-z]+-[0-9]$') && matches('xay', 'a') && !'b'.matches('a')",
            json!(true),
        ),
        ("lower('AbÄ') + upper('abß') + trim(' a\\n')", json!("abäABSSa")),
        ("replace('a.b.c', '.', '-') + 'aa'.replace('a', '')", json!("a-b-c")),
        (
            "split('a,b,,c', ',') + 'ab'.split('')",
            json!(["a", "b", "", "c", "a", "b"]),
        ),
        (
            "join(['a', 'b'], ', ') + [].join('x') + ['c'].join('x')",
            json!("a, bc"),
        ),
        // vectors: FIPS 180-2, RFC 4648
        (
            "sha256('abc')",
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        ("sha256(b'abc') == sha256('abc')", json!(true)),
        (
            "base64.encode('foobar') + base64.encode(b'\\xff\\xfe')",
            json!("Zm9vYmFy//4="),
        ),
        (
            "[string(base64.decode('Zm9v\\nYg==')), string(base64.decode('Zm9vYg'))]",
            json!(["foob", "foob"]),
        ),
        ("base64.decode('//4=') == b'\\xff\\xfe'", json!(true)),
        (
            "json.encode({'b': [1, 1.5, null, true], 'a': b'x'})",
            json!(r#"{"a":"eA==","b":[1,1.5,null,true]}"#),
        ),
        ("json.decode('{\"a\": [1, {\"b\": null}]}').a[1]", json!({"b": null})),
        ("json.decode(b'7') + 1", json!(8)),
        ("pem.certificates('no certificate here')", json!([])),
        (
            "url.parse('https://user:pw@api.east.example/v1/x?y=z#f')",
            json!({"scheme": "https", "host": "api.east.example", "port": 443, "path": "/v1/x"}),
        ),
        (
            "url.parse('http://[::1]:8080')",
            json!({"scheme": "http", "host": "[::1]", "port": 8080, "path": "/"}),
        ),
        (
            "url.parse('tcp://10.0.0.1')",
            json!({"scheme": "tcp", "host": "10.0.0.1", "port": null, "path": "/"}),
        ),
        ("url.parse('HTTPS://A.example:443/').scheme", json!("https")),
    ] {
        assert_eq!(evaluate(expression, &Scope::default()), Ok(expected), "{expression}");
    }
}

const REFUSED: &[(&str, &str)] = &[
    (
        "base64.decode('!')",
        "character 16: base64.decode: the text is not base64",
    ),
    (
        "base64.decode(b'a')",
        "character 17: argument 1 of base64.decode: expected string, seen bytes",
    ),
    (
        "base64.encode(1)",
        "character 17: argument 1 of base64.encode: expected bytes or string, seen int",
    ),
    (
        "base64.other('a')",
        "character 15: there is no function \"base64.other\"",
    ),
    ("nothing('a')", "character 10: there is no function \"nothing\""),
    ("'a'.nothing()", "character 14: there is no function \"nothing\""),
    ("params.nothing()", "character 17: there is no function \"nothing\""),
    ("string(b'\\xff')", "character 9: string: the bytes are not UTF-8"),
    (
        "string(null)",
        "character 10: argument 1 of string: expected string or bytes or int or double or bool, seen null",
    ),
    (
        "int('7a')",
        "character 6: int: the text is not a whole number of 64 bits",
    ),
    ("int(1e300)", "character 6: int: the number does not fit into 64 bits"),
    (
        "int(double('NaN'))",
        "character 6: int: the number does not fit into 64 bits",
    ),
    ("double('x')", "character 9: double: the text is not a number"),
    ("bool('yes')", "character 7: bool: the text is neither true nor false"),
    ("json.decode('{')", "character 14: json.decode: the text is not JSON"),
    (
        "join(['a', 1], '')",
        "character 7: join: the list holds something else than strings: use string(x) on its items",
    ),
    (
        "replace('a', 'b')",
        "character 10: expected replace(string, string, string), seen 2 argument(s)",
    ),
    (
        "'a'.replace('b')",
        "character 14: expected replace(string, string, string), seen 2 argument(s)",
    ),
    (
        "size()",
        "character 7: expected size(string or bytes or list or map), seen 0 argument(s)",
    ),
    (
        "json.encode()",
        "character 14: expected json.encode(any value), seen 0 argument(s)",
    ),
    (
        "pem.notAfter('x')",
        "character 15: pem.notAfter: there is no certificate in it",
    ),
    (
        "pem.fingerprint(b'x')",
        "character 18: pem.fingerprint: there is no certificate in it",
    ),
    ("url.parse('a b')", "character 12: url.parse: the text is not a URL"),
    (
        "url.parse('/only/a/path')",
        "character 12: url.parse: the text is not a URL with scheme and host",
    ),
    (
        "url.parse('host:443')",
        "character 12: url.parse: the text is not a URL with scheme and host",
    ),
    (
        "url.parse('https://a:99999/')",
        "character 12: url.parse: the port of the URL is not valid",
    ),
    (
        "url.parse('https://a:/')",
        "character 12: url.parse: the port of the URL is not valid",
    ),
    (
        "matches('a')",
        "character 10: expected matches(string, pattern), seen 1 argument(s)",
    ),
    (
        "'a'.matches('(')",
        "character 15: the pattern of matches() is not a regular expression",
    ),
    (
        "'a'.matches(params.x)",
        "character 21: the pattern of matches() must be a string literal",
    ),
    (
        "'a'.matches('(a{1000}){1000}')",
        "character 15: the pattern of matches() takes too much memory: use smaller repetitions",
    ),
    ("has(a)", "character 6: expected has(map.field), seen 1 argument(s)"),
    (
        "has(a['b'])",
        "character 6: expected has(map.field), seen 1 argument(s)",
    ),
    (
        "has(a.b, c)",
        "character 6: expected has(map.field), seen 2 argument(s)",
    ),
    (
        "[1].map(1, 2)",
        "character 10: expected list.map(name, value) or list.map(name, condition, value), seen 2 argument(s)",
    ),
    (
        "[1].all(.x, true)",
        "character 10: expected list.all(name, condition), and likewise exists, exists_one and filter, seen 2 argument(s)",
    ),
    (
        "[1].filter(x)",
        "character 13: expected list.all(name, condition), and likewise exists, exists_one and filter, seen 1 argument(s)",
    ),
];

#[test]
fn functions_refuse() {
    for (expression, expected) in REFUSED {
        assert_eq!(
            evaluate(expression, &Scope::default()),
            Err((*expected).to_owned()),
            "{expression}"
        );
    }
    let long = format!("'a'.matches('{}')", "a".repeat(257));
    assert_eq!(
        evaluate(&long, &Scope::default()),
        Err("character 15: the pattern of matches() is longer than 256 characters".to_owned())
    );
}

fn with(name: &str, value: Value) -> Scope {
    Scope {
        extra: [(name.to_owned(), value)].into(),
        ..Scope::default()
    }
}

#[test]
fn certificates_are_told() {
    let bundle = format!("# ours\n{}garbage\n{}", ca("late", 2031), ca("early", 2030));
    let broken = format!("{bundle}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let expected = crate::ca::parse(bundle.as_bytes()).certificates;
    for value in [Value::from(bundle.as_str()), Value::Bytes(broken.into_bytes().into())] {
        let scope = with("ca", value);
        assert_eq!(evaluate("pem.notAfter(ca)", &scope), Ok(json!("2030-01-01T00:00:00Z")));
        assert_eq!(
            evaluate("pem.fingerprint(ca)", &scope),
            Ok(json!(expected[0].fingerprint))
        );
        assert_eq!(
            evaluate("pem.certificates(ca)", &scope),
            Ok(json!([
                {
                    "subject": "CN=late", "fingerprint": expected[0].fingerprint, "isCA": true,
                    "notBefore": "2020-01-01T00:00:00Z", "notAfter": "2031-01-01T00:00:00Z",
                },
                {
                    "subject": "CN=early", "fingerprint": expected[1].fingerprint, "isCA": true,
                    "notBefore": "2020-01-01T00:00:00Z", "notAfter": "2030-01-01T00:00:00Z",
                },
            ]))
        );
    }
}

#[test]
fn a_certificate_that_signs_nothing_is_no_ca() {
    let leaf = rcgen::generate_simple_self_signed(["a.example".to_owned()])
        .unwrap()
        .cert
        .pem();
    assert_eq!(
        evaluate("pem.certificates(leaf)[0].isCA", &with("leaf", leaf.into())),
        Ok(json!(false))
    );
}

const TOKEN: &str =
    "kubeconfig({'server': 'https://api.east.example:6443', 'ca': ca, 'name': 'east', 'token': b't0ken\\n'})";
const CERTIFICATE: &str = "kubeconfig({'server': 'https://10.0.0.1', 'ca': ca, 'context': 'east', \
    'clientCertificate': 'CERT', 'clientKey': b'KEY', 'tlsServerName': 'api.east.example'})";

#[test]
fn a_kubeconfig_is_read_by_a_kubernetes_client() {
    let scope = with("ca", "CA".into());
    let read = |expression: &str| {
        let text = Text::parse(&format!("${{{expression}}}"))
            .unwrap()
            .resolve(&scope)
            .unwrap();
        Kubeconfig::from_yaml(&text).unwrap()
    };
    let config = read(TOKEN);
    let cluster = config.clusters[0].cluster.clone().unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://api.east.example:6443"));
    assert_eq!(cluster.certificate_authority_data.as_deref(), Some("Q0E="));
    assert_eq!(cluster.tls_server_name, None);
    assert_eq!(config.current_context.as_deref(), Some("east"));
    let context = config.contexts[0].context.clone().unwrap();
    assert_eq!(
        (context.cluster.as_str(), context.user.as_deref()),
        ("east", Some("east"))
    );
    assert_eq!(
        (config.contexts[0].name.as_str(), config.clusters[0].name.as_str()),
        ("east", "east")
    );

    let config = read(CERTIFICATE);
    let user = serde_json::to_value(config.auth_infos[0].auth_info.clone().unwrap()).unwrap();
    assert_eq!(user["client-certificate-data"], json!("Q0VSVA=="));
    let cluster = config.clusters[0].cluster.clone().unwrap();
    assert_eq!(cluster.tls_server_name.as_deref(), Some("api.east.example"));
}

#[test]
fn kubeconfig_vector() {
    let scope = with("ca", "CA".into());
    assert_eq!(
        evaluate(TOKEN, &scope),
        Ok(json!(concat!(
            r#"{"apiVersion":"v1","clusters":[{"cluster":{"certificate-authority-data":"Q0E=","server":"https://api.east.example:6443"},"#,
            r#""name":"east"}],"contexts":[{"context":{"cluster":"east","user":"east"},"name":"east"}],"current-context":"east","#,
            r#""kind":"Config","users":[{"name":"east","user":{"token":"t0ken"}}]}"#,
        )))
    );
    let user = evaluate(&format!("json.decode({CERTIFICATE}).users[0].user"), &scope);
    assert_eq!(
        user,
        Ok(json!({"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"}))
    );
}

#[test]
fn a_kubeconfig_needs_a_server_a_ca_a_name_and_one_credential() {
    let entries = |text: &str| evaluate(&format!("kubeconfig({{{text}}})"), &Scope::default());
    let good = "'server': 'https://a', 'ca': 'CA', 'name': 'n'";
    assert!(entries(&format!("{good}, 'token': 't'")).is_ok());
    let cases = [
        ("", "it needs either context or name"),
        ("'context': 'a', 'name': 'b'", "it needs either context or name"),
        ("'name': 'n'", "it needs server"),
        ("'name': ''", "one of its texts is empty"),
        ("'name': 1", "server, context, name and tlsServerName must be strings"),
        (
            "'name': 'n', 'server': 'http://a'",
            "server is not a URL with https: credentials would travel readable",
        ),
        (
            "'name': 'n', 'server': 'a:443'",
            "server is not a URL with https: credentials would travel readable",
        ),
        (
            "'name': 'n', 'server': 'https://a'",
            "it needs ca, the certificates that the server is checked by",
        ),
        (
            "'name': 'n', 'server': 'https://a', 'ca': ''",
            "its ca, token, clientCertificate or clientKey is empty",
        ),
        (
            "'name': 'n', 'server': 'https://a', 'ca': 1",
            "ca, token, clientCertificate and clientKey must be bytes or strings",
        ),
        (
            "'nmae': 'n'",
            "it takes server, ca, context, name, token, clientCertificate, clientKey and tlsServerName only",
        ),
    ];
    let credential = "it needs either token, or clientCertificate and clientKey";
    let users = [
        "",
        ", 'clientKey': 'k'",
        ", 'token': 't', 'clientKey': 'k', 'clientCertificate': 'c'",
    ];
    let users = users.map(|user| (format!("{good}{user}"), credential));
    let utf8 = (format!("{good}, 'token': b'\\xff'"), "its token is not UTF-8");
    for (text, expected) in cases
        .map(|(text, expected)| (text.to_owned(), expected))
        .into_iter()
        .chain(users)
        .chain([utf8])
    {
        assert_eq!(
            entries(&text),
            Err(format!("character 13: kubeconfig: {expected}")),
            "{text}"
        );
    }
}

#[test]
fn every_function_checks_its_arguments_and_yields_what_the_table_says() {
    let samples = [
        Value::Null,
        Value::Bool(true),
        Value::Int(7),
        Value::Float(7.5),
        Value::from("1"),
        Value::Bytes(b"1".to_vec().into()),
        Value::List(Vec::new()),
        Value::Map(std::collections::BTreeMap::new()),
    ];
    for function in &FUNCTIONS {
        assert_eq!(
            find(function.name).map(|found| found.name),
            Some(function.name),
            "names are unique"
        );
        for value in &samples {
            let arguments = vec![value; function.parameters.len()];
            let allowed = function
                .parameters
                .iter()
                .all(|kinds| kinds.is_empty() || kinds.contains(&value.kind()));
            let seen = function.call(&arguments, &mut Work::default());
            if allowed {
                assert_ne!(seen, Err(MISMATCH), "{} {value:?}", function.name);
            }
            if let (Ok(seen), Some(result)) = (&seen, function.result) {
                assert_eq!(seen.kind(), result, "{} {value:?}", function.name);
            }
        }
        let too_many = vec![&samples[4]; function.parameters.len() + 1];
        assert!(
            function.call(&too_many, &mut Work::default()).is_err(),
            "{}",
            function.name
        );
    }
}
