//! Tables over YAML fixtures: what each Peering becomes.
use peering_api::peering::{ExchangeProfile, Peering};

use super::*;
use crate::key::{KeyPair, PublicKey};

const PROFILE: &str = "
apiVersion: peering.open-cluster-management.io/v1alpha1
kind: ExchangeProfile
metadata: {name: storage}
spec:
  parameters: [{name: namespace, default: rook-ceph}, {name: secret}]
  artefacts:
  - name: token
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

/// A key of an agent, as text.
fn key(seed: u8) -> String {
    KeyPair::from_private(vec![seed; 32].into())
        .unwrap()
        .public()
        .to_base64()
}

fn fingerprint(seed: u8) -> String {
    PublicKey::from_base64(&key(seed)).unwrap().fingerprint()
}

fn facts(clusters: &[&str]) -> Facts {
    let fact = |(seed, name): (u8, &&str)| {
        (
            (*name).to_owned(),
            MemberFacts {
                managed: true,
                installed: true,
                public_key: Some(key(seed)),
                ..MemberFacts::default()
            },
        )
    };
    Facts {
        members: (1..).zip(clusters).map(fact).collect(),
        ..Facts::default()
    }
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
                l.target.object.kind,
                l.from.cluster,
                l.to.cluster,
                l.target.object.namespace.as_deref().unwrap_or_default(),
                l.target.object.name
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
        .find(|export| export.artefact == "token" && export.inputs[0].namespace.as_deref() == Some("ceph-b"))
        .unwrap();
    assert_eq!(token.inputs[0].name.as_deref(), Some("s"));
    assert_eq!(token.recipients.len(), 1);
    assert_eq!(token.recipients[0].public_key.as_deref(), Some(key(1).as_str()));
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
    facts.members.get_mut("b").unwrap().installed = false;
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
            "artefacts[0].deliver.name: character 14",
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
    // Written in another way than the source: the linter sees only what is written the same.
    let same = profile(&PROFILE.replace("peer-${source.cluster}", "${string(params.secret)}"));
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
    assert_eq!(planned(PAIR, &["a", "b"]).wanted, planned(turned, &["a", "b"]).wanted);
}

const MESH: &str = "{profile: storage, parameters: {secret: s}, members: [{cluster: a}, {cluster: b}, {cluster: c}]}";

fn pairs(plan: &Plan, artefact: &str) -> Vec<String> {
    let links = plan.wanted.as_ref().unwrap().links.values();
    let mut pairs: Vec<_> = links
        .filter(|link| link.artefact == artefact)
        .map(|link| format!("{}>{}", link.from.cluster, link.to.cluster))
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn topology_and_flow_choose_the_pairs() {
    let mesh = MESH.replace("{cluster: a}", "{cluster: a, role: Hub}");
    let star = mesh.replace("parameters", "topology: Star, parameters");
    for (spec, flow, expected) in [
        (&mesh, "Both", &["a>b", "a>c", "b>a", "b>c", "c>a", "c>b"][..]),
        (&star, "Both", &["a>b", "a>c", "b>a", "c>a"]),
        (&star, "ToHubRole", &["b>a", "c>a"]),
        (&mesh, "FromHubRole", &["a>b", "a>c"]),
        (&star, "ToHubCluster", &["a>h", "b>h", "c>h"]),
    ] {
        let mut facts = facts(&["a", "b", "c", "h"]);
        facts.members.get_mut("h").unwrap().is_hub = true;
        let profile = profile(&PROFILE.replacen("inputs", &format!("flow: {flow}\n    inputs"), 1));
        let plan = plan("p", &peering(spec), Some(&profile), &facts);
        assert_eq!(plan.accepted.reason, "Accepted", "{flow}: {}", plan.accepted.message);
        assert_eq!(pairs(&plan, "token"), expected, "{flow}");
    }
}

#[test]
fn what_needs_a_role_or_the_hub_says_so_and_the_rest_is_served() {
    for (flow, reason) in [("ToHubRole", "RoleConflict"), ("ToHubCluster", "HubNotManaged")] {
        let profile = profile(&PROFILE.replacen("inputs", &format!("flow: {flow}\n    inputs"), 1));
        let plan = plan("p", &peering(PAIR), Some(&profile), &facts(&["a", "b"]));
        assert_eq!(plan.accepted.reason, reason);
        assert_eq!(pairs(&plan, "ca"), ["a>b", "b>a"]);
    }
}

#[test]
fn members_follow_the_placement() {
    let spec =
        "{profile: storage, parameters: {secret: s}, members: [{cluster: a}], placementRef: {namespace: n, name: p}}";
    let mut facts = facts(&["a", "b", "c"]);
    let missing = plan("p", &peering(spec), Some(&profile(PROFILE)), &facts);
    assert_eq!(
        (missing.accepted.reason.as_str(), missing.wanted),
        ("PlacementNotFound", None)
    );
    facts.placement = Some(["b".to_owned()].into());
    let placed = plan("p", &peering(spec), Some(&profile(PROFILE)), &facts);
    assert_eq!(pairs(&placed, "token"), ["a>b", "b>a"]);
    // While nobody knows whom it names, no key is forgotten: another one would be trusted unasked.
    let remembered = |known: &[KnownMember]| known.iter().map(|known| known.cluster.clone()).collect::<Vec<_>>();
    assert_eq!(remembered(&placed.known), ["a", "b"]);
    facts.known = placed
        .known
        .into_iter()
        .map(|known| (known.cluster, known.fingerprint))
        .collect();
    facts.placement = None;
    let undecided = plan("p", &peering(spec), Some(&profile(PROFILE)), &facts);
    assert_eq!(remembered(&undecided.known), ["a", "b"]);
    facts.placement = Some(BTreeSet::new());
    let nobody = plan("p", &peering(spec), Some(&profile(PROFILE)), &facts);
    assert_eq!(remembered(&nobody.known), ["a"], "b was let go");
}

#[test]
fn a_paused_peering_changes_nothing() {
    let plan = planned(
        &PAIR.replace("profile: storage", "profile: storage, paused: true"),
        &["a", "b"],
    );
    assert_eq!((plan.accepted.reason.as_str(), plan.wanted), ("Paused", None));
}

#[test]
fn a_member_that_comes_back_with_another_key_must_be_confirmed() {
    let (first, other) = (fingerprint(1), fingerprint(9));
    let mut facts = facts(&["a", "b"]);
    let known = |plan: &Plan| {
        plan.known
            .iter()
            .map(|known| known.fingerprint.clone())
            .collect::<Vec<_>>()
    };
    let run = |facts: &Facts| plan("p", &peering(PAIR), Some(&profile(PROFILE)), facts);
    assert_eq!(known(&run(&facts)), [fingerprint(1), fingerprint(2)]);
    facts.known = [("a".to_owned(), first.clone()), ("b".to_owned(), fingerprint(2))].into();
    facts.members.get_mut("a").unwrap().public_key = Some(key(9));
    let changed = run(&facts);
    assert_eq!(changed.accepted.reason, "IdentityChanged");
    assert!(
        changed.accepted.message.contains(&other),
        "{}",
        changed.accepted.message
    );
    assert_eq!(known(&changed)[0], first, "the old one stays the known one");
    assert_eq!(changed.changed, ["a".to_owned()].into());
    let wanted = changed.wanted.unwrap();
    let to_a = |key: Option<&String>| {
        wanted
            .links
            .values()
            .any(|link| link.to.cluster == "a" && link.to.public_key.as_ref() == key)
    };
    assert!(to_a(None) && !to_a(Some(&key(9))), "nothing is sealed to it");
    facts.members.get_mut("a").unwrap().confirmed = Some(other.clone());
    let confirmed = run(&facts);
    assert_eq!(
        (confirmed.accepted.reason.as_str(), known(&confirmed)[0].clone()),
        ("Accepted", other.clone())
    );
    facts.members.get_mut("a").unwrap().confirmed = None;
    facts.members.get_mut("a").unwrap().previous_public_key = Some(key(1));
    assert_eq!(known(&run(&facts))[0], other, "a rotation names the key before it");
    assert!(run(&facts).changed.is_empty());
    facts.members.remove("a");
    assert_eq!(known(&run(&facts))[0], first, "who is away is not forgotten");
}

#[test]
fn the_target_of_another_peering_is_left_to_it() {
    let mut facts = facts(&["a", "b"]);
    let claim = ("a".to_owned(), ObjectRef::core("Secret", "rook-ceph", "peer-b"));
    facts.claims.insert(claim, "other".to_owned());
    let plan = plan("p", &peering(PAIR), Some(&profile(PROFILE)), &facts);
    assert_eq!(plan.accepted.reason, "DuplicateTarget");
    assert!(
        plan.accepted.message.contains("of Peering \"other\""),
        "{}",
        plan.accepted.message
    );
    assert_eq!(pairs(&plan, "token"), ["a>b"]);
}

const IDENTITY: &str = "
apiVersion: peering.open-cluster-management.io/v1alpha1
kind: ExchangeProfile
metadata: {name: identity}
spec:
  parameters: [{name: namespace, default: apps}]
  artefacts:
  - name: kubeconfig
    inputs:
    - {as: api, endpoint: {apiServer: {}}}
    - {as: cert, certificate: {signer: {kubernetes: {}}, commonName: 'peer-${destination.cluster}', organizations: [readers]}}
    - {as: extra, apiVersion: example.io/v1, kind: Thing, namespace: '${params.namespace}', name: '${inputs.api.host}'}
    - {as: pool, apiVersion: example.io/v1, kind: Pool, namespace: '${params.namespace}', name: main}
    payload: {config: '${inputs.cert.certificate}'}
    deliver: {kind: Secret, namespace: '${params.namespace}', name: 'access-${source.cluster}'}
    wire:
    - addToList: {of: pool, path: spec.peers, value: '${target.name}'}
    - apply: {template: {apiVersion: example.io/v1, kind: Client, metadata: {name: 'c-${source.cluster}', namespace: '${params.namespace}'}}}
    probes:
    - object: {of: pool, healthy: 'self.status.ok'}
";

fn former(name: &str) -> FormerConsumer {
    FormerConsumer {
        object: ObjectRef {
            api_version: "example.io/v1".to_owned(),
            ..ObjectRef::core("Pool", "apps-b", name)
        },
        applied: false,
    }
}

fn identity(text: &str) -> Plan {
    let mut facts = facts(&["a", "b"]);
    facts.members.get_mut("a").unwrap().api_server = Some(ApiServer {
        url: "https://a:6443".to_owned(),
        ca_bundle: None,
    });
    let id = names::link_id("p", "kubeconfig", "a", "b");
    let link = LinkFacts {
        certificate_request: Some("request".to_owned()),
        applied_revision: Some(7),
        carrier: Some("peering1-p".to_owned()),
        wired: ["main", "gone"].map(former).into(),
        ..LinkFacts::default()
    };
    facts.links.insert(id, link);
    let spec = "{profile: identity, members: [{cluster: a}, {cluster: b, parameters: {namespace: apps-b}}]}";
    plan("p", &peering(spec), Some(&profile(text)), &facts)
}

#[test]
fn both_halves_hold_what_their_side_needs() {
    let wanted = identity(IDENTITY).wanted.unwrap();
    let export = wanted
        .exports
        .values()
        .find(|export| export.api_server.is_some())
        .unwrap();
    assert_eq!(
        export.inputs[2].name.as_deref(),
        Some("${inputs.api.host}"),
        "only the source can tell"
    );
    assert_eq!(export.recipients[0].certificate_request.as_deref(), Some("request"));
    assert_eq!(export.revision_floor, Some(7));
    let link = wanted.links.values().find(|link| link.from.cluster == "a").unwrap();
    assert_eq!(link.carrier, "peering1-p");
    let subject = link.certificate.clone().unwrap();
    assert_eq!(
        (subject.common_name.as_str(), subject.organizations),
        ("peer-b", vec!["readers".to_owned()])
    );
    let list = link.wire[0].add_to_list.as_ref().unwrap();
    let pool = list.object.as_ref().unwrap();
    assert_eq!(
        (pool.to_string(), list.of.as_deref()),
        ("Pool apps-b/main".to_owned(), None)
    );
    assert_eq!(list.value, "${target.name}", "the destination fills it in");
    let client = crate::rights::place_of(link.wire[1].apply.as_ref().unwrap()).unwrap();
    assert_eq!(client.to_string(), "Client apps-b/c-a");
    assert_eq!(link.probes[0].object.as_ref().unwrap().object.as_ref(), Some(pool));
    assert_eq!(link.unwire, [former("gone")], "what is still wired is not taken back");
}

#[test]
fn what_only_the_source_sees_cannot_be_wired() {
    let plan = identity(&IDENTITY.replacen("of: pool", "of: extra", 1));
    assert_eq!(plan.accepted.reason, "InvalidProfile");
    assert!(
        plan.accepted.message.contains("wire[0].addToList.of"),
        "{}",
        plan.accepted.message
    );
}

#[test]
fn a_key_that_was_dropped_still_opens_what_has_not_been_replaced_yet() {
    let mut facts = facts(&["a", "b"]);
    facts.known = [("a".to_owned(), fingerprint(1))].into();
    let awaiting = LinkFacts {
        awaited_sender: Some(key(9)),
        ..LinkFacts::default()
    };
    facts.links.insert(names::link_id("p", "token", "a", "b"), awaiting);
    let from_a = |facts: &Facts| {
        let plan = plan("p", &peering(PAIR), Some(&profile(PROFILE)), facts);
        let mut links = plan.wanted.unwrap().links.into_values();
        let link = links.find(|link| link.artefact == "token" && link.from.cluster == "a");
        link.unwrap().from.previous_public_key
    };
    assert_eq!(
        from_a(&facts),
        Some(key(9)),
        "the destination has not opened the newest yet"
    );
    facts.members.get_mut("a").unwrap().previous_public_key = Some(key(8));
    assert_eq!(from_a(&facts), Some(key(8)), "what the member says comes first");
    facts.members.get_mut("a").unwrap().previous_public_key = None;
    facts
        .links
        .values_mut()
        .for_each(|link| link.awaited_sender = Some(key(1)));
    assert_eq!(from_a(&facts), None, "it is the current one");
    facts
        .links
        .values_mut()
        .for_each(|link| link.awaited_sender = Some(key(9)));
    facts.members.get_mut("a").unwrap().public_key = Some(key(5));
    assert_eq!(
        from_a(&facts),
        None,
        "a cluster that nobody trusts is not trusted by what it sent before"
    );
}

#[test]
fn a_destination_that_has_used_its_content_is_told_to_the_source_where_the_profile_says_so() {
    let mut facts = facts(&["a", "b"]);
    let used = LinkFacts {
        used: true,
        ..LinkFacts::default()
    };
    facts.links.insert(names::link_id("p", "token", "a", "b"), used);
    let once = PROFILE.replace(
        "name: 'peer-${source.cluster}'}",
        "name: 'peer-${source.cluster}', usedWhen: 'self.done == true'}",
    );
    for (text, expected) in [(PROFILE, false), (once.as_str(), true)] {
        let plan = plan("p", &peering(PAIR), Some(&profile(text)), &facts);
        let exports = plan.wanted.unwrap().exports;
        let used = |cluster: &str| {
            let mut tokens = exports
                .iter()
                .filter(|((at, _), export)| at == cluster && export.artefact == "token");
            tokens.next().unwrap().1.recipients[0].used
        };
        assert_eq!((used("a"), used("b")), (expected, false));
    }
}
