//! Broken profiles, and the finding that each must give. Each is a good one with a few fields changed.
use serde_json::{Map, Value};

use super::*;

const GOOD: &str = r#"
parameters:
- {name: namespace, default: storage}
- {name: pool}
artefacts:
- name: token
  provision:
  - template: {apiVersion: v1, kind: ConfigMap, metadata: {namespace: "${params.namespace}", name: made}, data: {of: "${source.cluster}"}}
  inputs:
  - {as: pool, apiVersion: ceph.rook.io/v1, kind: CephBlockPool, namespace: "${params.namespace}", name: "${params.pool}"}
  - {as: secret, apiVersion: v1, kind: Secret, namespace: "${params.namespace}", name: token}
  - {as: api, endpoint: {apiServer: {}}}
  readyWhen: "size(inputs.secret.data.token) > 0"
  payload: {token: "${inputs.secret.data.token}", server: "${inputs.api.url}"}
  deliver: {kind: Secret, namespace: "${params.namespace}", name: "peer-${source.cluster}", data: {token: "${payload.token}"}}
  wire:
  - addToList: {of: pool, path: spec.peers, value: "${target.name}"}
  - annotate: {object: {apiVersion: apps/v1, kind: Deployment, namespace: ns, name: consumer}, key: hash}
  probes:
  - object: {of: pool, healthy: "self.status.health == 'OK'"}
  - http: {url: "${string(payload.server)}"}
- name: login
  inputs:
  - {as: certificate, certificate: {signer: {kubernetes: {}}, commonName: "peer:${destination.cluster}"}}
  deliver: {kind: Secret, namespace: ns, name: "login-${source.cluster}", data: {key: "${certificate.key}", crt: "${payload['tls.crt']}"}}
  refresh: {renewAtPercent: 70}
- name: ca
  kind: CABundle
  confidential: false
  inputs:
  - {as: ca, apiVersion: v1, kind: ConfigMap, namespace: ns, name: ca}
  deliver: {kind: ConfigMap, namespace: ns, name: bundle}
  probes:
  - tls: {address: "example.org:443"}
- name: ticket
  inputs:
  - {as: trust, apiVersion: v1, kind: ConfigMap, namespace: ns, name: ca, keys: [ca.crt]}
  - {as: answer, httpRequest: {url: "https://issuer.${params.namespace}.svc/tickets", ca: "${inputs.trust.data['ca.crt']}", expiresAt: "${json.decode(response.body).until}", token: {namespace: ns, serviceAccount: sa}}}
  payload: {ticket: "${inputs.answer.body}"}
  deliver: {apiVersion: example.org/v1, kind: Peer, namespace: ns, name: "${source.cluster}", usedWhen: "self.status.done == true", template: {spec: {ticket: "${string(payload.ticket)}"}}}
  probes:
  - object: {object: {apiVersion: example.org/v1, kind: Peer, namespace: ns, name: p}, healthy: "self.status.done == true", failed: "self.status.failed == true", shows: "${self.status.why}"}
"#;

/// Sets a field; `~` removes it.
fn set(profile: &mut Value, path: &str, yaml: &str) {
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    let (at, name) = path.rsplit_once('/').unwrap();
    let parent = at
        .split('/')
        .filter(|part| !part.is_empty())
        .fold(profile, |parent, part| match parent {
            Value::Array(list) => &mut list[part.parse::<usize>().unwrap()],
            Value::Object(map) => map.entry(part).or_insert_with(|| Map::new().into()),
            _ => panic!("{path}"),
        });
    match parent {
        Value::Array(list) => {
            let position: usize = name.parse().unwrap();
            if position == list.len() {
                list.push(value);
            } else {
                list[position] = value;
            }
        }
        Value::Object(map) if value.is_null() => {
            map.remove(name).unwrap();
        }
        Value::Object(map) => {
            map.insert(name.to_owned(), value);
        }
        _ => panic!("{path}"),
    }
}

fn profile(changes: &[(&str, &str)]) -> ExchangeProfileSpec {
    let mut profile: Value = serde_saphyr::from_str(GOOD).unwrap();
    for (path, yaml) in changes {
        set(&mut profile, path, yaml);
    }
    serde_json::from_value(profile).unwrap()
}

#[test]
fn a_good_profile_gives_no_finding() {
    assert_eq!(lint(&profile(&[])), []);
    assert_eq!(first_error(&profile(&[])), None);
}

/// Changes, and the finding that they give among others: its place and severity, and part of its message.
type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);

const TEXTS: &[Case] = &[
    (
        &[("/artefacts/3/inputs/1/httpRequest/url", "http://issuer")],
        "artefacts[3].inputs[1].httpRequest.url: error",
        "the URL begins with https://",
    ),
    (
        &[(
            "/artefacts/3/inputs/1/httpRequest/url",
            "https://${inputs.trust.metadata.name}",
        )],
        "artefacts[3].inputs[1].httpRequest.url: error",
        "inputs",
    ),
    (
        &[("/artefacts/3/inputs/1/httpRequest/ca", "${inputs.answer.body}")],
        "artefacts[3].inputs[1].httpRequest.ca: error",
        "it can be used in payload only",
    ),
    (
        &[("/artefacts/3/inputs/1/httpRequest/expiresAt", "${response.header}")],
        "artefacts[3].inputs[1].httpRequest.expiresAt: error",
        "\"response\" has no \"header\"",
    ),
    (
        &[("/artefacts/3/deliver/usedWhen", "payload.ticket == 'x'")],
        "artefacts[3].deliver.usedWhen: error",
        "payload",
    ),
    (
        &[("/artefacts/3/confidential", "false")],
        "artefacts[3].confidential: error",
        "answers of services are confidential",
    ),
    (
        &[(
            "/artefacts/3/provision",
            "[{template: {apiVersion: v1, kind: ConfigMap, metadata: {namespace: ns, name: m}}}]",
        )],
        "artefacts[3].deliver.usedWhen: error",
        "without anything provisioned",
    ),
    (
        &[("/artefacts/3/probes/0/object/shows", "${payload.ticket}")],
        "artefacts[3].probes[0].object.shows: error",
        "payload",
    ),
    (
        &[("/artefacts/0/deliver/name", "peer-${source.cluster}-${params.pol}")],
        "artefacts[0].deliver.name: error",
        "character 32: \"params\" has no \"pol\"",
    ),
    (
        &[("/artefacts/0/deliver/name", "peer-${source.cluster")],
        "artefacts[0].deliver.name: error",
        "has no matching",
    ),
    (
        &[("/artefacts/0/deliver/name", "peer-${inputs.secret.metadata.name}")],
        "artefacts[0].deliver.name: error",
        "inputs",
    ),
    (
        &[("/artefacts/0/deliver/name", "peer-${payload.token}")],
        "artefacts[0].deliver.name: error",
        "payload",
    ),
    (
        &[("/artefacts/0/inputs/1/name", "token-for-${destination.cluster}")],
        "artefacts[0].inputs[1].name: error",
        "destination",
    ),
    (
        &[("/artefacts/0/inputs/0/name", "${inputs.secret.data.pool}")],
        "artefacts[0].inputs[0].name: error",
        "input \"secret\" is defined later: move it in front of its use",
    ),
    (
        &[("/artefacts/0/inputs/1/name", "${inputs.pol.status.secret}")],
        "artefacts[0].inputs[1].name: error",
        "\"inputs\" has no \"pol\"",
    ),
    (
        &[("/artefacts/0/inputs/1/namespace", "${inputs.pool.metadata.namespace}")],
        "artefacts[0].inputs[1].namespace: error",
        "inputs",
    ),
    (
        &[("/artefacts/0/readyWhen", "size(inputs.secret.data.token)")],
        "artefacts[0].readyWhen: error",
        "bool",
    ),
    (
        &[("/artefacts/1/readyWhen", "inputs.certificate.certificate != ''")],
        "artefacts[1].readyWhen: error",
        "it can be used in payload only",
    ),
    (
        &[("/artefacts/0/payload/token", "${1 + 'a'}")],
        "artefacts[0].payload[token]: error",
        "int and string",
    ),
    (
        &[("/artefacts/0/payload/token", "${inputs.secret.data.token + }")],
        "artefacts[0].payload[token]: error",
        "character",
    ),
    (
        &[("/artefacts/0/payload/token", "${[1, 2]}")],
        "artefacts[0].payload[token]: error",
        "list",
    ),
    (
        &[("/artefacts/0/deliver/data/token", "${payload.tokn}")],
        "artefacts[0].deliver.data[token]: error",
        "\"payload\" has no \"tokn\"",
    ),
    (
        &[("/artefacts/0/deliver/data/key", "${certificate.key}")],
        "artefacts[0].deliver.data[key]: error",
        "certificate",
    ),
    (
        &[("/artefacts/1/deliver/data/crt", "${payload['ca.crt']}")],
        "artefacts[1].deliver.data[crt]: error",
        "\"payload\" has no \"ca.crt\"",
    ),
    (
        &[("/artefacts/0/wire/0/addToList/value", "{name: \"${target.nam}\"}")],
        "artefacts[0].wire[0].addToList.value.name: error",
        "\"target\" has no \"nam\"",
    ),
    (
        &[("/artefacts/0/wire/1/annotate/value", "${self.status}")],
        "artefacts[0].wire[1].annotate.value: error",
        "self",
    ),
    (
        &[("/artefacts/0/probes/0/object/healthy", "payload.token == 'x'")],
        "artefacts[0].probes[0].object.healthy: error",
        "payload",
    ),
    (
        &[("/artefacts/0/probes/1/http/url", "${destination.clster}")],
        "artefacts[0].probes[1].http.url: error",
        "\"destination\" has no \"clster\"",
    ),
    (
        &[("/artefacts/0/provision/0/template/data/of", "${destination.cluster}")],
        "artefacts[0].provision[0].template.data.of: error",
        "destination",
    ),
];

const SHAPES: &[Case] = &[
    (
        &[("/parameters/1/name", "namespace")],
        "parameters[1].name: error",
        "stands in the list already",
    ),
    (
        &[("/parameters/0/required", "true")],
        "parameters[0]: error",
        "never required",
    ),
    (
        &[("/artefacts/1/name", "token")],
        "artefacts[1].name: error",
        "\"token\" stands",
    ),
    (
        &[("/artefacts/0/inputs/1/as", "pool")],
        "artefacts[0].inputs[1].as: error",
        "\"pool\" stands",
    ),
    (
        &[
            ("/artefacts/0/inputs/1/kind", "ConfigMap"),
            ("/artefacts/0/confidential", "false"),
        ],
        "artefacts[0].deliver.kind: error",
        "what is delivered as a Secret is confidential",
    ),
    (
        &[("/artefacts/0/confidential", "false")],
        "artefacts[0].confidential: error",
        "made of a Secret",
    ),
    (
        &[("/artefacts/1/confidential", "false")],
        "artefacts[1].confidential: error",
        "tokens, certificates and answers of services are confidential",
    ),
    (
        &[
            ("/artefacts/0/payload", "~"),
            ("/artefacts/0/inputs/1/name", "~"),
            ("/artefacts/0/inputs/1/selector", "{matchLabels: {a: b}}"),
        ],
        "artefacts[0]: error",
        "there are 0: set payload",
    ),
    (
        &[("/artefacts/2/inputs", "[]")],
        "artefacts[2]: error",
        "needs something to hand over",
    ),
    (
        &[("/artefacts/2/deliver/kind", "Secret")],
        "artefacts[2].deliver.kind: error",
        "set deliver.kind to ConfigMap",
    ),
    (
        &[("/artefacts/2/confidential", "true")],
        "artefacts[2].confidential: error",
        "a CABundle artefact is public",
    ),
    (
        &[("/artefacts/2/deliver/data", "{a: b}")],
        "artefacts[2].deliver: error",
        "a CABundle is delivered as it is",
    ),
    (
        &[("/artefacts/0/deliver/key", "ca.crt")],
        "artefacts[0].deliver.key: error",
        "use deliver.data",
    ),
    (
        &[
            ("/artefacts/0/deliver/name", "login-${source.cluster}"),
            ("/artefacts/0/deliver/namespace", "ns"),
        ],
        "artefacts[1].deliver.name: error",
        "artefact \"token\" has the same target",
    ),
    (
        &[("/artefacts/2/deliver/name", "ca")],
        "artefacts[2].deliver.name: error",
        "the target is the source itself",
    ),
    (
        &[("/artefacts/0/deliver/namespace", "Not_A_Namespace")],
        "artefacts[0].deliver.namespace: error",
        "not a valid Kubernetes name",
    ),
    (
        &[("/artefacts/0/payload/a b", "c")],
        "artefacts[0].payload[a b]: error",
        "not a valid key",
    ),
    (
        &[("/artefacts/0/deliver/template", "{spec: {}}")],
        "artefacts[0].deliver.template: error",
        "set deliver.data instead",
    ),
    (
        &[
            ("/artefacts/0/deliver/kind", "Peer"),
            ("/artefacts/0/deliver/apiVersion", "example.org/v1"),
        ],
        "artefacts[0].deliver: error",
        "set deliver.template",
    ),
    (
        &[("/artefacts/0/provision/0/template/metadata/name", "~")],
        "artefacts[0].provision[0].template: error",
        "no metadata.name",
    ),
    (
        &[("/artefacts/0/wire/0/addToList/of", "api")],
        "artefacts[0].wire[0].addToList.of: error",
        "\"api\" is not an input that names an object",
    ),
    (
        &[("/artefacts/0/wire/0/addToList/of", "nobody")],
        "artefacts[0].wire[0].addToList.of: error",
        "\"nobody\" is not an input",
    ),
    (
        &[
            ("/artefacts/0/inputs/1/name", "${inputs.pool.status.secret}"),
            ("/artefacts/0/wire/0/addToList/of", "secret"),
        ],
        "artefacts[0].wire[0].addToList.of: error",
        "depends on other inputs",
    ),
    (
        &[("/artefacts/0/wire/0/addToList/path", "spec.peers[0].name")],
        "artefacts[0].wire[0].addToList.path: error",
        "positions in lists change",
    ),
    (
        &[("/artefacts/0/probes/0/tls", "{address: \"a:443\"}")],
        "artefacts[0].probes[0]: error",
        "a probe is one of",
    ),
    (
        &[("/artefacts/0/probes/1", "{tls: {address: \"a:443\"}}")],
        "artefacts[0].probes[1].tls.ca: error",
        "set tls.ca",
    ),
    (
        &[("/artefacts/0/probes/1/interval", "soon")],
        "artefacts[0].probes[1].interval: error",
        "not a duration",
    ),
    (
        &[("/artefacts/0/probes/1", "{expiry: {warnBefore: 1 day}}")],
        "artefacts[0].probes[1].expiry.warnBefore: error",
        "not a duration",
    ),
    (
        &[("/artefacts/0/probes/1", "{apiAuth: {server: \"https://a\"}}")],
        "artefacts[0].probes[1].apiAuth: error",
        "by server with ca and token",
    ),
    (
        &[(
            "/artefacts/0/probes/1",
            "{s3: {endpoint: \"https://a\", bucket: b, accessKeyId: \"${payload.nothing}\", secretAccessKey: s}}",
        )],
        "artefacts[0].probes[1].s3.accessKeyId: error",
        "nothing",
    ),
    (
        &[("/artefacts/1/refresh/jitterPercent", "70")],
        "artefacts[1].refresh.jitterPercent: error",
        "lower than renewAtPercent",
    ),
    (
        &[("/artefacts/1/inputs/0/certificate/dnsNames", "[a.example.org]")],
        "artefacts[1].inputs[0].certificate.dnsNames: error",
        "set signer.ca",
    ),
];

const WARNINGS: &[Case] = &[
    (
        &[("/parameters/1/name", "unused"), ("/artefacts/0/inputs/0/name", "pool")],
        "parameters[1]: warning",
        "no text uses parameter \"unused\"",
    ),
    (
        &[("/artefacts/0/deliver/name", "peer")],
        "artefacts[0].deliver.name: warning",
        "use ${source.cluster}",
    ),
    (
        &[("/artefacts/0/refresh", "{renewAtPercent: 50}")],
        "artefacts[0].refresh: warning",
        "nothing is renewed",
    ),
    (
        &[("/artefacts/0/inputs/1/name", "${inputs.pool.status.secret}")],
        "artefacts[0].inputs[1].name: warning",
        "the right to read every Secret in namespace \"${params.namespace}\"",
    ),
    (
        &[
            (
                "/artefacts/0/inputs/2",
                "{as: api, apiVersion: v1, kind: Node, selector: {matchLabels: {pool: \"${params.pool}\"}}}",
            ),
            ("/artefacts/0/payload/server", "${inputs.api[0].metadata.name}"),
        ],
        "artefacts[0].inputs[2].selector: warning",
        "every Node on the whole source cluster",
    ),
    (
        &[("/artefacts/0/inputs/0/kind", "Gateway")],
        "artefacts[0].inputs[0].resource: warning",
        "\"gatewaies\"",
    ),
    (
        &[("/artefacts/0/probes/1/timeout", "1h")],
        "artefacts[0].probes[1].timeout: warning",
        "lower than interval",
    ),
];

#[test]
fn each_broken_profile_gives_its_finding() {
    let mut missing = Vec::new();
    for (changes, place, message) in [TEXTS, SHAPES, WARNINGS].concat() {
        let findings = lint(&profile(changes));
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let found = texts
            .iter()
            .any(|text| text.starts_with(&format!("{place}: ")) && text.contains(message));
        if !found {
            missing.push((changes, place, message, texts));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_warning_keeps_no_peering_back() {
    for (changes, ..) in WARNINGS {
        assert_eq!(first_error(&profile(changes)), None, "{changes:?}");
    }
}

#[test]
fn unusual_plurals_are_told_from_ordinary_ones() {
    let odd = |kind: &str| {
        let mut report = Report::default();
        naming::plural("p", kind, None, &mut report);
        !report.finish().is_empty()
    };
    for kind in [
        "Secret",
        "NetworkPolicy",
        "Ingress",
        "StorageClass",
        "Endpoints",
        "CephBlockPool",
        "Proxy",
    ] {
        assert!(!odd(kind), "{kind}");
    }
    for kind in [
        "Gateway",
        "Mesh",
        "Index",
        "CephNFS",
        "ServiceMetadata",
        "Topaz",
        "Switch",
    ] {
        assert!(odd(kind), "{kind}");
    }
}

#[test]
fn what_the_repository_ships_is_clean() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/profiles");
    let mut seen = 0;
    for file in std::fs::read_dir(root).unwrap() {
        let path = file.unwrap().path();
        let object: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if object["kind"] != "ExchangeProfile" {
            continue;
        }
        seen += 1;
        let spec = serde_json::from_value(object["spec"].clone()).unwrap();
        assert_eq!(lint(&spec), [], "{}", path.display());
    }
    assert!(seen >= 4, "only {seen} profiles");
}
