//! Tables over YAML fixtures: what each Peering becomes.
use peering_api::peering::{ExchangeProfile, Peering};

use super::*;

const PROFILE: &str = "
apiVersion: peering.open-cluster-management.io/v1alpha1
kind: ExchangeProfile
metadata: {name: storage}
spec:
  parameters: [{name: namespace, default: rook-ceph}, {name: secret}]
  artefacts:
  - name: token
    kind: Secret
    inputs: [{as: token, apiVersion: v1, kind: Secret, namespace: '${params.namespace}', name: '${params.secret}'}]
    deliver: {kind: Secret, namespace: '${params.namespace}', name: 'peer-${source.cluster}'}
  - name: ca
    kind: CABundle
    confidential: false
    inputs: [{as: ca, apiVersion: v1, kind: ConfigMap, namespace: '${params.namespace}', name: ca}]
    deliver: {kind: ConfigMap, namespace: '${params.namespace}', name: peers-ca}
";

fn profile(text: &str) -> ExchangeProfileSpec {
    serde_saphyr::from_str::<ExchangeProfile>(text).unwrap().spec
}

fn peering(spec: &str) -> PeeringSpec {
    let head = "apiVersion: peering.open-cluster-management.io/v1alpha1\nkind: Peering\nmetadata: {name: p}\nspec: ";
    serde_saphyr::from_str::<Peering>(&format!("{head}{spec}"))
        .unwrap()
        .spec
}

fn facts(clusters: &[&str]) -> BTreeMap<String, MemberFacts> {
    let fact = |name: &&str| {
        (
            (*name).to_owned(),
            MemberFacts {
                managed: true,
                installed: true,
                public_key: Some(format!("key-{name}")),
            },
        )
    };
    clusters.iter().map(fact).collect()
}

fn planned(spec: &str, clusters: &[&str]) -> Plan {
    plan("p", &peering(spec), Some(&profile(PROFILE)), &facts(clusters))
}

const PAIR: &str = "{profile: storage, parameters: {secret: s}, members: [{cluster: a}, {cluster: b, parameters: {namespace: ceph-b}}]}";

#[test]
fn a_pair_hands_over_both_ways_with_each_members_parameters() {
    let plan = planned(PAIR, &["a", "b"]);
    assert_eq!(plan.accepted.reason, "Accepted");
    let wanted = plan.wanted.unwrap();
    assert_eq!((wanted.exports.len(), wanted.links.len()), (4, 4));
    let links: BTreeSet<_> = wanted
        .links
        .iter()
        .map(|((place, _), l)| {
            format!(
                "{place}: {} {} {}->{} {}/{}",
                l.artefact,
                l.target.kind.as_str(),
                l.from.cluster,
                l.to.cluster,
                l.target.namespace,
                l.target.name
            )
        })
        .collect();
    let expected = [
        "a: ca ConfigMap b->a rook-ceph/peers-ca",
        "a: token Secret b->a rook-ceph/peer-b",
        "b: ca ConfigMap a->b ceph-b/peers-ca",
        "b: token Secret a->b ceph-b/peer-a",
    ];
    assert_eq!(links.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let token = wanted
        .exports
        .values()
        .find(|export| export.artefact == "token" && export.source.namespace == "ceph-b")
        .unwrap();
    assert_eq!(token.source.name, "s");
    assert_eq!(token.recipients.len(), 1);
    assert_eq!(token.recipients[0].public_key.as_deref(), Some("key-a"));
    assert_eq!(token.recipients[0].link, names::link_id("p", "token", "b", "a"));
    let bundle = wanted.links.values().find(|link| link.artefact == "ca").unwrap();
    assert_eq!(bundle.target.key.as_deref(), Some(DEFAULT_BUNDLE_KEY));
}

#[test]
fn an_unmanaged_member_is_named_and_the_others_are_served() {
    let spec = "{profile: storage, parameters: {secret: s}, members: [{cluster: a}, {cluster: ghost}, {cluster: b}]}";
    let plan = planned(spec, &["a", "b"]);
    assert_eq!(
        (plan.accepted.status, plan.accepted.reason.as_str()),
        (Some(false), "MemberNotFound")
    );
    assert!(plan.accepted.message.contains("\"ghost\""), "{}", plan.accepted.message);
    assert_eq!(plan.wanted.unwrap().links.len(), 4);
}

#[test]
fn a_member_without_the_addon_is_left_out() {
    let mut facts = facts(&["a", "b"]);
    facts.get_mut("b").unwrap().installed = false;
    let plan = plan("p", &peering(PAIR), Some(&profile(PROFILE)), &facts);
    assert_eq!(plan.accepted.reason, "AddOnNotInstalled");
    assert!(plan.wanted.unwrap().links.is_empty());
}

#[test]
fn what_cannot_be_understood_leaves_everything_as_it_is() {
    let bad_profile = PROFILE.replace("peer-${source.cluster}", "peer-${source.clusters}");
    for (plan, reason, says) in [
        (
            plan("p", &peering(PAIR), None, &facts(&["a", "b"])),
            "ProfileNotFound",
            "\"storage\" does not exist",
        ),
        (
            plan("p", &peering(PAIR), Some(&profile(&bad_profile)), &facts(&["a", "b"])),
            "InvalidProfile",
            "\"token\", deliver.name",
        ),
        (
            planned("{profile: storage, members: [{cluster: a}, {cluster: b}]}", &["a", "b"]),
            "InvalidParameters",
            "\"secret\" has no value",
        ),
        (
            planned(
                "{profile: storage, parameters: {secret: s, pool: x}, members: [{cluster: a}, {cluster: b}]}",
                &["a", "b"],
            ),
            "InvalidParameters",
            "no parameter \"pool\"",
        ),
        (
            planned(
                "{profile: storage, parameters: {secret: Not_A_Name}, members: [{cluster: a}, {cluster: b}]}",
                &["a", "b"],
            ),
            "InvalidParameters",
            "\"Not_A_Name\" is not a valid",
        ),
    ] {
        assert_eq!(
            (plan.accepted.status, plan.accepted.reason.as_str()),
            (Some(false), reason)
        );
        assert!(plan.accepted.message.contains(says), "{}", plan.accepted.message);
        assert_eq!(plan.wanted, None);
    }
}

#[test]
fn links_that_would_write_the_same_object_are_refused() {
    let fixed = profile(&PROFILE.replace("peer-${source.cluster}", "peer-fixed"));
    let mesh = "{profile: storage, parameters: {secret: s}, members: [{cluster: a}, {cluster: b}, {cluster: c}]}";
    let plan = plan("p", &peering(mesh), Some(&fixed), &facts(&["a", "b", "c"]));
    assert_eq!(plan.accepted.reason, "DuplicateTarget");
    let wanted = plan.wanted.unwrap();
    assert!(
        wanted.links.values().all(|link| link.artefact == "ca"),
        "the bundle is shared on purpose and stays"
    );
    assert_eq!(wanted.links.len(), 6);
    assert!(
        wanted
            .exports
            .values()
            .filter(|export| export.artefact == "token")
            .all(|export| export.recipients.is_empty())
    );
}

#[test]
fn a_target_must_not_be_a_source() {
    let same = profile(&PROFILE.replace("peer-${source.cluster}", "${params.secret}"));
    let plan = plan("p", &peering(PAIR), Some(&same), &facts(&["a", "b"]));
    assert_eq!(plan.accepted.reason, "DuplicateTarget");
    assert!(
        plan.accepted.message.contains("is also a source"),
        "{}",
        plan.accepted.message
    );
}

#[test]
fn planning_does_not_depend_on_the_order_of_members() {
    let turned = "{profile: storage, parameters: {secret: s}, members: [{cluster: b, parameters: {namespace: ceph-b}}, {cluster: a}]}";
    assert_eq!(planned(PAIR, &["a", "b"]).wanted, planned(turned, &["b", "a"]).wanted);
}
