//! Objects by name, fixed or computed, and by labels.
use super::*;

/// The pool of the design's example: its status names the Secret.
const POOL: &str =
    "{apiVersion: ceph.rook.io/v1, kind: CephBlockPool, metadata: {namespace: ns, name: pool}, status: {secret: s}}";
/// Reads the pool, and the Secret that it names.
const CHAIN: &str = "
inputs:
- {as: pool, apiVersion: ceph.rook.io/v1, kind: CephBlockPool, namespace: ns, name: pool}
- {as: s, apiVersion: v1, kind: Secret, namespace: ns, name: '${inputs.pool.status.secret}'}
payload: {token: '${inputs.s.data.token}'}
";

#[test]
fn a_single_secret_is_copied_with_its_type() {
    let spec = export(COPY);
    let good = Cluster::with(&[TOKEN]).content(&spec).unwrap();
    assert_eq!(texts(&good), [("token", "topsecret".to_owned())].into());
    assert_eq!(good.content.type_.as_deref(), Some("Opaque"));
    assert_eq!(
        (good.reason, good.message.as_str()),
        (SourceReady::Published, "Secret ns/s is published")
    );
}

#[test]
fn both_fields_of_a_config_map_are_copied() {
    let spec = export(&COPY.replace("Secret", "ConfigMap"));
    let map =
        "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ns, name: s}, data: {a: x}, binaryData: {b: eQ==}}";
    let good = Cluster::with(&[map]).content(&spec).unwrap();
    assert_eq!(texts(&good), [("a", "x".to_owned()), ("b", "y".to_owned())].into());
    assert_eq!(good.content.type_, None);
}

#[test]
fn keys_select_and_must_be_there() {
    let keys = |keys: &str| export(&COPY.replace("name: s}", &format!("name: s, keys: {keys}}}")));
    let secret = "{apiVersion: v1, kind: Secret, metadata: {namespace: ns, name: s}, data: {a: eA==, b: ''}}";
    let cluster = Cluster::with(&[secret]);
    assert_eq!(
        texts(&cluster.content(&keys("[a]")).unwrap()),
        [("a", "x".to_owned())].into()
    );
    let missing = cluster.content(&keys("[a, c]"));
    refused(
        missing,
        SourceReady::SourceInvalid,
        &["Secret ns/s has no key \"c\"", KEPT],
    );
}

#[test]
fn what_is_not_there_says_what_to_do() {
    let spec = export(COPY);
    let other = export(
        &COPY
            .replace("kind: Secret", "kind: Pool")
            .replace("apiVersion: v1", "apiVersion: x.io/v2"),
    );
    let seen = |seen| Cluster::default().is("Secret ns/s", seen);
    for (result, reason, says) in [
        (
            seen(Seen::Absent).content(&spec),
            SourceReady::SourceNotFound,
            &["Secret ns/s does not exist: create it"][..],
        ),
        (
            seen(Seen::Denied).content(&spec),
            SourceReady::SourceForbidden,
            &[
                "may not read Secret ns/s",
                "ManifestWork peering-p",
                "namespace ns must exist",
            ],
        ),
        (
            Cluster::default().is("Pool ns/s", Seen::Unknown).content(&other),
            SourceReady::KindNotFound,
            &["does not know kind Pool of x.io/v2", "install"],
        ),
    ] {
        refused(result, reason, says);
    }
}

#[test]
fn empty_sources_are_invalid_and_say_which_key() {
    let spec = export(COPY);
    for (data, says) in [
        ("{}", "has no data"),
        ("{a: ''}", "empty value under key \"a\""),
        ("{a: eA==, b: ''}", "key \"b\""),
    ] {
        let secret = format!("{{apiVersion: v1, kind: Secret, metadata: {{namespace: ns, name: s}}, data: {data}}}");
        refused(
            Cluster::with(&[&secret]).content(&spec),
            SourceReady::SourceInvalid,
            &[says, KEPT],
        );
    }
}

#[test]
fn a_computed_name_is_wanted_once_it_is_known() {
    let spec = export(CHAIN);
    let (pool, secret) = ("CephBlockPool ns/pool".to_owned(), "Secret ns/s".to_owned());
    let mut cluster = Cluster::default().is("CephBlockPool ns/pool", Seen::Pending);
    assert_eq!(cluster.wants(&spec), [pool.clone()].into());
    assert!(matches!(cluster.read(&spec).state, State::Waiting));
    cluster.put(POOL);
    let cluster = cluster.is("Secret ns/s", Seen::Pending);
    assert_eq!(cluster.wants(&spec), [pool.clone(), secret].into());
    assert!(matches!(cluster.read(&spec).state, State::Waiting));
    let good = Cluster::with(&[POOL, TOKEN]).content(&spec).unwrap();
    assert_eq!(texts(&good), [("token", "topsecret".to_owned())].into());
    let moved = Cluster::with(&[&POOL.replace("secret: s", "secret: t")]);
    assert_eq!(
        moved.wants(&spec),
        [pool, "Secret ns/t".to_owned()].into(),
        "it follows the pool"
    );
}

#[test]
fn a_fixed_name_is_wanted_while_an_earlier_input_is_missing() {
    let spec = export(&CHAIN.replace("'${inputs.pool.status.secret}'", "s"));
    let reading = Cluster::with(&[TOKEN]);
    assert_eq!(reading.wants(&spec).len(), 2);
    refused(
        reading.content(&spec),
        SourceReady::SourceNotFound,
        &["CephBlockPool ns/pool"],
    );
}

#[test]
fn a_name_that_is_not_known_yet_is_waited_for_and_a_wrong_one_is_refused() {
    let spec = export(CHAIN);
    let pool = |status: &str| Cluster::with(&[&POOL.replace("{secret: s}", status)]);
    let place = "artefact \"a\", inputs[1].name: character 3";
    let unknown = pool("{}").content(&spec);
    refused(
        unknown,
        SourceReady::NotReadyYet,
        &["artefact \"a\", inputs[1].name: character", "\"secret\" is not there"],
    );
    refused(
        pool("{secret: []}").content(&spec),
        SourceReady::EvaluationFailed,
        &[place, "seen list"],
    );
    let bad = pool("{secret: 'topsecret_'}").content(&spec);
    refused(
        bad,
        SourceReady::EvaluationFailed,
        &["inputs[1].name", "not a valid Kubernetes name"],
    );
}

#[test]
fn a_name_from_a_secret_is_not_told() {
    let yaml = "
inputs:
- {as: first, apiVersion: v1, kind: Secret, namespace: ns, name: s}
- {as: second, apiVersion: v1, kind: Secret, namespace: ns, name: '${inputs.first.data.token}'}
";
    let missing = Cluster::with(&[TOKEN]).content(&export(yaml));
    refused(
        missing,
        SourceReady::SourceNotFound,
        &["Secret ns/${inputs.first.data.token} does not exist"],
    );
}

#[test]
fn a_selector_yields_a_list() {
    let yaml = "
inputs:
- as: all
  apiVersion: v1
  kind: Secret
  namespace: ns
  selector: {matchLabels: {peer: 'yes'}}
readyWhen: size(inputs.all) > 1
payload: {names: \"${inputs.all.map(s, s.metadata.name).join(',')}\", last: '${inputs.all[1].data.token}'}
";
    let spec = export(yaml);
    let labelled = |name: &str| TOKEN.replace("name: s", &format!("name: {name}, labels: {{peer: 'yes'}}"));
    let mut cluster = Cluster::with(&[&labelled("b"), TOKEN]);
    assert_eq!(
        cluster.wants(&spec),
        ["every Secret in namespace ns with peer=yes".to_owned()].into()
    );
    refused(
        cluster.content(&spec),
        SourceReady::NotReadyYet,
        &["readyWhen", "size(inputs.all) > 1"],
    );
    cluster.put(&labelled("a"));
    let good = cluster.content(&spec).unwrap();
    assert_eq!(texts(&good)["names"], "a,b");
    let waits = cluster.is("Secret", Seen::Pending);
    assert!(matches!(waits.read(&spec).state, State::Waiting));
}
