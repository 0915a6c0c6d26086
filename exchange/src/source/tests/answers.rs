//! Answers of services: what they depend on, when they expire, and what comes of them.
use super::*;

const TICKET: &str = "
inputs:
- {as: ca, apiVersion: v1, kind: ConfigMap, namespace: ns, name: ca}
- as: t
  httpRequest:
    method: POST
    url: https://issuer.ns.svc:8888/tickets?secret=x
    ca: \"${inputs.ca.data['ca.crt']}\"
    expiresAt: \"${json.decode(base64.decode(response.body.split('.')[0])).expirationDate}\"
payload: {ticket: '${inputs.t.body}', until: '${inputs.t.expiresAt}', to: there}
";

const CA: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ns, name: ca}, data: {ca.crt: PEM}}";

fn ticket(json: &str) -> String {
    format!("{}.signature", BASE64_STANDARD.encode(json))
}

#[test]
fn an_answer_takes_its_place_in_the_payload_and_expires_when_it_says() {
    let spec = export(TICKET);
    let cluster = Cluster::with(&[CA]);
    let inputs = cluster.inputs(&spec).unwrap();
    assert!(inputs.are_issued());
    let (alias, request) = inputs.requests().next().unwrap();
    assert_eq!(inputs.trust(alias, request).unwrap().expose(), b"PEM");
    let body = ticket(r#"{"expirationDate": "1795222800", "id": "topsecret"}"#);
    let expires = answer_expires(request, &body).unwrap();
    assert_eq!(expires.to_string(), "2026-11-21T01:00:00Z");
    let issued = [("t".to_owned(), issued_answer(&body, expires))].into();
    let good = inputs.content(&issued).unwrap();
    let expected = [
        ("ticket", body),
        ("to", "there".to_owned()),
        ("until", "2026-11-21T01:00:00Z".to_owned()),
    ];
    assert_eq!(texts(&good), expected.into());
    assert!(
        good.message.contains("an answer of issuer.ns.svc:8888"),
        "{}",
        good.message
    );
    assert!(!good.message.contains("secret"), "{}", good.message);
}

#[test]
fn an_answer_that_does_not_say_when_it_expires_is_refused_without_being_shown() {
    let spec = export(TICKET);
    let request = spec.inputs[1].http_request.clone().unwrap();
    for body in [
        String::new(),
        "topsecret".to_owned(),
        ticket("topsecret"),
        ticket(r#"{"id": "topsecret"}"#),
        ticket(r#"{"expirationDate": "topsecret"}"#),
        ticket(r#"{"expirationDate": "99999999999999999999"}"#),
    ] {
        let why = answer_expires(&request, &body).unwrap_err();
        assert!(
            why.starts_with("httpRequest.expiresAt: ") && !why.contains("topsecret"),
            "{why}"
        );
    }
    let rfc3339 = ticket(r#"{"expirationDate": "2026-11-21T01:00:00Z"}"#);
    assert_eq!(answer_expires(&request, &rfc3339).unwrap().as_second(), 1_795_222_800);
}

#[test]
fn another_answer_is_asked_for_when_the_request_changes_and_not_when_its_trust_does() {
    let basis = |cluster: &Cluster, yaml: &str| {
        let spec = export(yaml);
        let inputs = cluster.inputs(&spec).unwrap();
        inputs.basis(None).unwrap().expose().to_vec()
    };
    let cluster = Cluster::with(&[CA]);
    let first = basis(&cluster, TICKET);
    assert_eq!(first, basis(&Cluster::with(&[&CA.replace("PEM", "NEW")]), TICKET));
    for (old, new) in [("POST", "GET"), ("tickets", "others"), ("to: there", "to: elsewhere")] {
        assert_ne!(first, basis(&cluster, &TICKET.replace(old, new)), "{new}");
    }
}

#[test]
fn without_trust_nothing_is_asked_for() {
    let spec = export(TICKET);
    let empty = Cluster::with(&[&CA.replace("PEM", "''")]);
    let inputs = empty.inputs(&spec).unwrap();
    let (alias, request) = inputs.requests().next().unwrap();
    assert_eq!(
        inputs.trust(alias, request).unwrap_err().reason,
        SourceReady::SourceInvalid
    );
    let other = Cluster::with(&[&CA.replace("ca.crt", "else")]);
    let inputs = other.inputs(&spec).unwrap();
    let (alias, request) = inputs.requests().next().unwrap();
    assert_eq!(
        inputs.trust(alias, request).unwrap_err().reason,
        SourceReady::NotReadyYet
    );
}
