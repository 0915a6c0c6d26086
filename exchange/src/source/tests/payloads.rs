//! `readyWhen`, payloads, bundles, and their limits.
use super::*;
use crate::{ca::tests::ca, carry::CONTENT_LIMIT};

fn payload(texts: &str) -> PeerExportSpec {
    export(&format!("{COPY}\nparameters: {{pool: rbd}}\npayload: {texts}"))
}

#[test]
fn texts_see_inputs_parameters_and_names() {
    let spec =
        payload("{'a': '${inputs.s.data.token}', b: '${params.pool}@${source.cluster}/${peering.name}', c: fixed}");
    let good = Cluster::with(&[TOKEN]).content(&spec).unwrap();
    let expected = [
        ("a", "topsecret".to_owned()),
        ("b", "rbd@east/p".to_owned()),
        ("c", "fixed".to_owned()),
    ];
    assert_eq!(texts(&good), expected.into());
    assert_eq!(good.content.type_, None);
    assert_eq!(
        good.message,
        "the payload of artefact \"a\" is published, made from Secret ns/s"
    );
}

#[test]
fn literals_need_no_input() {
    let good = Cluster::default()
        .content(&export("payload: {url: 'https://example.com'}"))
        .unwrap();
    assert_eq!(texts(&good), [("url", "https://example.com".to_owned())].into());
}

#[test]
fn what_is_wrong_with_a_text_is_told_with_its_place_and_without_values() {
    let cluster = Cluster::with(&[TOKEN]);
    for (texts, reason, says) in [
        (
            "{x: '${inputs.s.data.none}'}",
            SourceReady::EvaluationFailed,
            "payload[x]: character 16: \"none\" is not there",
        ),
        (
            "{x: '${inputs.s.data.token + 1}'}",
            SourceReady::EvaluationFailed,
            "payload[x]: character",
        ),
        (
            "{x: '${inputs.s.data'}",
            SourceReady::EvaluationFailed,
            "payload[x]: character 1: '${' has no matching '}'",
        ),
        ("{x: '${inputs.s.data}'}", SourceReady::EvaluationFailed, "seen map"),
        (
            "{x: ''}",
            SourceReady::SourceInvalid,
            "the payload of artefact \"a\" has an empty value under key \"x\"",
        ),
    ] {
        refused(cluster.content(&payload(texts)), reason, &[says, KEPT]);
    }
}

#[test]
fn ready_when_holds_everything_back() {
    let ready = |condition: &str| {
        let spec = export(&format!("{COPY}\nreadyWhen: \"{condition}\""));
        Cluster::with(&[TOKEN]).content(&spec)
    };
    assert!(ready("size(inputs.s.data.token) > 0").is_ok());
    let no = SourceReady::NotReadyYet;
    refused(
        ready("size(inputs.s.data.token) > 99"),
        no,
        &["artefact \"a\", readyWhen", "size(inputs.s.data.token) > 99", KEPT],
    );
    refused(
        ready("inputs.s.status.phase == 'Ready'"),
        no,
        &["readyWhen", "\"status\" is not there"],
    );
    refused(
        ready("inputs.s.data.token"),
        SourceReady::EvaluationFailed,
        &["readyWhen", "a bool"],
    );
    refused(ready("1 +"), SourceReady::EvaluationFailed, &["readyWhen: character"]);
    let long = format!("size('{}') > 999", "x".repeat(500));
    let bad = ready(&long).unwrap_err();
    assert!(bad.message.contains('…') && bad.message.len() < 500, "{}", bad.message);
}

#[test]
fn without_a_payload_it_must_be_clear_what_is_copied() {
    let two = "
inputs:
- {as: one, apiVersion: v1, kind: Secret, namespace: ns, name: s}
- {as: two, apiVersion: v1, kind: Secret, namespace: ns, name: s}
";
    let none = "inputs: [{as: e, endpoint: {static: 'example.com:80'}}]";
    for (yaml, seen) in [(two, "seen 2"), (none, "seen 0")] {
        let result = Cluster::with(&[TOKEN]).content(&export(yaml));
        refused(
            result,
            SourceReady::SourceInvalid,
            &["has no payload", seen, "set payload in the profile"],
        );
    }
    let pool = "{apiVersion: x.io/v1, kind: Pool, metadata: {namespace: ns, name: p}, spec: {}}";
    let besides = format!("{COPY}\n").replace(
        "[{as: s",
        "[{as: p, apiVersion: x.io/v1, kind: Pool, namespace: ns, name: p}, {as: s",
    );
    assert!(
        Cluster::with(&[TOKEN, pool]).content(&export(&besides)).is_ok(),
        "a custom resource has no data to copy"
    );
}

#[test]
fn what_is_too_large_is_refused_with_size_and_limit() {
    let secret = |bytes: usize| {
        let data = BASE64_STANDARD.encode(vec![7; bytes]);
        format!("{{apiVersion: v1, kind: Secret, metadata: {{namespace: ns, name: s}}, data: {{a: {data}}}}}")
    };
    let spec = export(COPY);
    assert!(Cluster::with(&[&secret(CONTENT_LIMIT - 100)]).content(&spec).is_ok());
    let (limit, much) = (
        CONTENT_LIMIT.to_string(),
        Cluster::with(&[&secret(CONTENT_LIMIT + 1)]).content(&spec),
    );
    refused(much, SourceReady::PayloadTooLarge, &[&limit, "narrow payload", KEPT]);
}

fn bundle(pem: &str) -> Result<Good, Bad> {
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": "s"}, "data": {"ca.crt": pem},
    });
    let mut spec = export(&COPY.replace("Secret", "ConfigMap"));
    spec.kind = peering_api::peering::ArtefactKind::CaBundle;
    Cluster::with(&[&map.to_string()]).content(&spec)
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn a_malformed_certificate_is_named_and_the_rest_published() {
    let good = bundle(&format!("{}{BROKEN}", ca("a", 2030))).unwrap();
    assert_eq!(good.reason, SourceReady::PartlyInvalid);
    assert!(
        good.message
            .contains("block 2 of key \"ca.crt\": it is not an X.509 certificate"),
        "{}",
        good.message
    );
    assert!(good.content.data["ca.crt"].expose().starts_with(b"-----BEGIN"));
    refused(
        bundle("topsecret"),
        SourceReady::SourceInvalid,
        &["no PEM block at all", KEPT],
    );
}

#[test]
fn equal_sets_of_certificates_are_equal_content() {
    let (a, b) = (ca("a", 2030), ca("b", 2030));
    let one = bundle(&format!("{b}comment\n{a}{b}")).unwrap().content;
    assert_eq!(one, bundle(&format!("{a}{b}")).unwrap().content);
}

#[test]
fn an_override_stands_in_for_the_source_and_must_be_whole() {
    let overridden = |pem: String| {
        let mut spec = export(&COPY.replace("Secret", "ConfigMap"));
        spec.kind = peering_api::peering::ArtefactKind::CaBundle;
        spec.ca_override = Some(pem);
        assert_eq!(
            Cluster::default().wants(&spec),
            BTreeSet::new(),
            "the source is not looked at"
        );
        Cluster::default().content(&spec)
    };
    let good = overridden(ca("a", 2030)).unwrap();
    assert!(
        good.message
            .contains("spec.trust.caOverrides of Peering p is published with 1 certificate(s)"),
        "{}",
        good.message
    );
    let bad = overridden(format!("{}{BROKEN}", ca("a", 2030)));
    refused(
        bad,
        SourceReady::SourceInvalid,
        &["spec.trust.caOverrides of Peering p is malformed", "block 2"],
    );
    refused(
        overridden("x".into()),
        SourceReady::SourceInvalid,
        &["spec.trust.caOverrides", "no PEM block"],
    );
}
