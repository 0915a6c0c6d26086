//! Tokens and certificates: what they depend on, for whom they are, and what comes of them.
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::*;
use crate::certificate;

const TOKENS: &str = "
inputs:
- {as: s, apiVersion: v1, kind: Secret, namespace: ns, name: s}
- {as: t, tokenRequest: {namespace: ns, serviceAccount: sa, expirationSeconds: 600}}
payload: {both: '${inputs.s.data.token}:${inputs.t.token}', until: '${inputs.t.expiresAt}'}
";

const CERTIFICATE: &str = "
inputs:
- as: c
  certificate:
    signer: {ca: {namespace: ns, name: ca}}
    commonName: peer:${destination.cluster}
    organizations: ['${params.group}']
    expirationSeconds: 600
parameters: {group: peers}
";

fn token() -> Issued {
    let expires = "2026-11-21T01:00:00Z".parse().unwrap();
    [("t".to_owned(), issued_token("eyJ", expires))].into()
}

fn basis(cluster: &Cluster, spec: &PeerExportSpec) -> Vec<u8> {
    let inputs = cluster.inputs(spec).unwrap();
    inputs.basis(None).unwrap().expose().to_vec()
}

#[test]
fn a_token_takes_its_place_in_the_payload() {
    let spec = export(TOKENS);
    let cluster = Cluster::with(&[TOKEN]);
    let inputs = cluster.inputs(&spec).unwrap();
    assert!(inputs.are_issued());
    let good = inputs.content(&token()).unwrap();
    let expected = [
        ("both", "topsecret:eyJ".to_owned()),
        ("until", "2026-11-21T01:00:00Z".to_owned()),
    ];
    assert_eq!(texts(&good), expected.into());
    let alone = export("inputs: [{as: t, tokenRequest: {namespace: ns, serviceAccount: sa}}]");
    let good = cluster.inputs(&alone).unwrap().content(&token()).unwrap();
    assert_eq!(texts(&good), [("token", "eyJ".to_owned())].into());
    assert_eq!(good.message, "a token of ServiceAccount ns/sa is published");
}

#[test]
fn something_else_is_issued_when_what_the_payload_uses_changes_and_only_then() {
    let cluster = Cluster::with(&[TOKEN]);
    let first = basis(&cluster, &export(TOKENS));
    assert_eq!(first, basis(&cluster, &export(TOKENS)));
    let unused = Cluster::with(&[&TOKEN
        .replace("data: {", "data: {more: eA==, ")
        .replace("name: s}", "name: s, resourceVersion: '9'}")]);
    assert_eq!(
        first,
        basis(&unused, &export(TOKENS)),
        "what the payload does not use does not count"
    );
    for (spec, changed) in [
        (
            TOKENS.to_owned(),
            Cluster::with(&[&TOKEN.replace("dG9wc2VjcmV0", "eA==")]),
        ),
        (TOKENS.replace("600", "700"), cluster.clone()),
        (
            TOKENS.replace("serviceAccount: sa", "serviceAccount: sb"),
            cluster.clone(),
        ),
        (TOKENS.replace("{both: '", "{both: '-"), cluster.clone()),
        (TOKENS.replace("until", "expires"), cluster.clone()),
    ] {
        assert_ne!(first, basis(&changed, &export(&spec)), "{spec}");
    }
}

#[test]
fn an_expression_that_needs_the_real_token_depends_on_all_that_it_uses() {
    // The placeholder is no JSON web token: the expression fails on it, and on nothing else.
    let spec = export(&TOKENS.replace("${inputs.t.token}", "${base64.decode(inputs.t.token)}"));
    let first = basis(&Cluster::with(&[TOKEN]), &spec);
    let touched = Cluster::with(&[&TOKEN.replace("name: s}", "name: s, resourceVersion: '9'}")]);
    assert_eq!(first, basis(&touched, &spec), "a version is no content");
    let changed = Cluster::with(&[&TOKEN.replace("data: {", "data: {more: eA==, ")]);
    assert_ne!(first, basis(&changed, &spec));
}

#[test]
fn nothing_is_issued_for_a_payload_that_cannot_become_content() {
    let cluster = Cluster::with(&[TOKEN]);
    let spec = |payload: &str| export(&TOKENS.replace("${inputs.s.data.token}:", payload));
    let missing = spec("${inputs.s.data.none}");
    let missing = cluster.inputs(&missing).unwrap().basis(None);
    refused(
        missing,
        SourceReady::EvaluationFailed,
        &["payload[both]", "\"none\" is not there"],
    );
    let empty = export(&TOKENS.replace("until:", "'empty': '', until:"));
    let empty = cluster.inputs(&empty).unwrap().basis(None);
    refused(empty, SourceReady::SourceInvalid, &["empty value under key \"empty\""]);
}

#[test]
fn ready_when_does_not_see_what_is_yet_to_be_issued() {
    let spec = export(&format!("{TOKENS}readyWhen: size(inputs.t.token) > 0"));
    refused(
        Cluster::with(&[TOKEN]).inputs(&spec),
        SourceReady::NotReadyYet,
        &["\"t\" is not there"],
    );
}

/// A Secret with a CA, and its certificate.
fn ca(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "ns", "name": "ca"},
        "data": {"tls.crt": encode(&pem), "tls.key": encode(&key.serialize_pem())},
    });
    (secret.to_string(), pem)
}

#[test]
fn a_ca_of_the_source_signs_for_one_receiver() {
    let (secret, pem) = ca("root");
    let (spec, cluster) = (export(CERTIFICATE), Cluster::with(&[&secret]));
    let inputs = cluster.inputs(&spec).unwrap();
    let subject = inputs.subject("west").unwrap();
    assert_eq!(subject.to_string(), "CN=\"peer:west\", O=\"peers\"");
    let key = KeyPair::generate().unwrap().serialize_pem().into_bytes().into();
    let request = certificate::request(&key, &subject).unwrap();
    let checked = certificate::check(&request, &subject).unwrap();
    let signer = inputs.signer().unwrap().unwrap();
    assert_eq!(signer.ca, pem);
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    let chain = signer.sign(&checked, now, [7; 16]).unwrap();
    let issued = certificate::issued(&chain, checked.key()).unwrap();
    assert_eq!(issued.not_after.duration_since(now).as_secs(), 600);
    let value = issued_certificate(&chain, issued.not_after, Some(&signer.ca));
    let good = inputs.content(&[("c".to_owned(), value)].into()).unwrap();
    assert_eq!(texts(&good), [("ca.crt", pem), ("tls.crt", chain)].into());
    assert_eq!(good.content.type_.as_deref(), Some("kubernetes.io/tls"));
}

#[test]
fn a_certificate_depends_on_ca_subject_and_request() {
    let (one, two) = (ca("one").0, ca("two").0);
    let spec = export(CERTIFICATE);
    let basis = |secret: &str, to: &str, request: &str| {
        let cluster = Cluster::with(&[secret]);
        let inputs = cluster.inputs(&spec).unwrap();
        let subject = inputs.subject(to).unwrap();
        inputs.basis(Some((&subject, request))).unwrap()
    };
    let first = basis(&one, "west", "r");
    assert!(first == basis(&one, "west", "r"));
    for other in [
        basis(&two, "west", "r"),
        basis(&one, "north", "r"),
        basis(&one, "west", "q"),
    ] {
        assert!(first != other);
    }
}

#[test]
fn expressions_never_see_the_cas_key() {
    let spec = export(&format!("{CERTIFICATE}payload: {{x: '${{inputs.c.data}}'}}"));
    let cluster = Cluster::with(&[&ca("root").0]);
    let inputs = cluster.inputs(&spec).unwrap();
    let value = issued_certificate("chain", jiff::Timestamp::UNIX_EPOCH, None);
    let content = inputs.content(&[("c".to_owned(), value)].into());
    refused(content, SourceReady::EvaluationFailed, &["\"data\" is not there"]);
}

#[test]
fn a_ca_that_cannot_sign_is_named() {
    let spec = export(CERTIFICATE);
    let signer = |secret: &str| Cluster::with(&[secret]).inputs(&spec).unwrap().signer();
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let secret = |data: &str| {
        format!("{{apiVersion: v1, kind: Secret, metadata: {{namespace: ns, name: ca}}, data: {{{data}}}}}")
    };
    let none = secret(&format!("tls.crt: {}", encode("x")));
    refused(
        signer(&none),
        SourceReady::SourceInvalid,
        &["the CA in Secret ns/ca has nothing under key \"tls.key\""],
    );
    let bad = secret(&format!(
        "tls.crt: {}, tls.key: {}",
        encode("topsecret"),
        encode("topsecret")
    ));
    refused(
        signer(&bad),
        SourceReady::SourceInvalid,
        &["the CA in Secret ns/ca cannot be used"],
    );
    refused(
        Cluster::default().inputs(&spec),
        SourceReady::SourceNotFound,
        &["the CA in Secret ns/ca does not exist"],
    );
}

#[test]
fn no_certificate_stands_for_a_user_or_group_of_kubernetes() {
    let (secret, _) = ca("root");
    for (name, group, denied) in [
        ("peer:west", "peers", false),
        ("peer:west", "system:masters", true),
        ("peer:west", "system:nodes", true),
        ("system:kube-controller-manager", "peers", true),
        ("xsystem:x", "peers:system:", false),
    ] {
        let yaml = CERTIFICATE
            .replace("peer:${destination.cluster}", name)
            .replace("{group: peers}", &format!("{{group: '{group}'}}"));
        let spec = export(&yaml);
        let cluster = Cluster::with(&[&secret]);
        let subject = cluster.inputs(&spec).unwrap().subject("west");
        if denied {
            refused(subject, SourceReady::IssueDenied, &["system:", "choose another"]);
        } else {
            assert!(subject.is_ok(), "{name} {group}");
        }
    }
}
