//! The table of decisions about targets of one link.
use std::collections::BTreeMap;

use peering_api::{
    names,
    peering::{DeletionPolicy, OnConflict, PeerLink, reasons},
};
use serde_json::json;

use super::*;
use crate::{
    decide::{
        Obstacle, OwnShare,
        fixtures::{
            after, content, group, leaving, link, outcome, pair, reason, run, run_after, run_views, sealed, told,
        },
    },
    spoke::{Observed, observed::target_of},
};

type Links = Vec<(PeerLink, Option<Sensitive>)>;

fn decide_on(links: &Links, target: Option<&Observed>) -> Decision {
    run(links, target, &OwnShare::None)
}

/// One link whose secret has been delivered at revision 10, and the target.
fn delivered() -> (Links, Observed) {
    let one = link("a");
    let envelope = sealed(&one, 10, &content("token", "v"));
    let links = vec![(one, Some(envelope))];
    let decision = decide_on(&links, None);
    let target = after(&decision.action, None).unwrap();
    (told(&links, &decision), target)
}

fn foreign() -> Observed {
    Observed {
        type_: Some("Opaque".into()),
        ..Observed::default()
    }
}

#[test]
fn a_new_target_holds_exactly_the_content_and_says_whose_it_is() {
    let (links, target) = delivered();
    let id = &links[0].0.spec.id;
    assert_eq!(target.data["token"].expose(), b"v");
    assert_eq!(target.type_.as_deref(), Some("Opaque"));
    assert_eq!(
        (target.owner(), target.labels["app"].as_str()),
        (Some(id.as_str()), "x")
    );
    assert_eq!(target.labels[names::PEERING_LABEL], "p");
    assert_eq!(target.revisions(), BTreeMap::from([(id.clone(), 10)]));
    let status = links[0].0.status.clone().unwrap();
    assert_eq!(
        (status.applied_revision, status.applied_hash.as_deref()),
        (Some(10), Some("hash"))
    );
}

#[test]
fn an_equal_target_is_not_written() {
    let (links, target) = delivered();
    let decision = decide_on(&links, Some(&target));
    assert_eq!(decision.action, Action::None);
    assert_eq!(
        told(&links, &decision)[0].0.status,
        links[0].0.status,
        "nor is the status"
    );
}

#[test]
fn drift_is_repaired() {
    let (links, target) = delivered();
    let edits: [fn(&mut Observed); 5] = [
        |seen| drop(seen.data.insert("token".into(), b"edited".to_vec().into())),
        |seen| drop(seen.data.insert("more".into(), b"1".to_vec().into())),
        |seen| drop(seen.data.remove("token")),
        |seen| drop(seen.labels.remove("app")),
        |seen| seen.annotations.clear(),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut seen = target.clone();
        edit(&mut seen);
        let decision = decide_on(&links, Some(&seen));
        assert!(matches!(decision.action, Action::Apply(_)), "edit {number}");
        assert_eq!(after(&decision.action, Some(&seen)).unwrap(), target, "edit {number}");
    }
    assert!(matches!(decide_on(&links, None).action, Action::Create(_)), "deleted");
    let mut labelled = target.clone();
    labelled.labels.insert("theirs".into(), "1".into());
    assert_eq!(
        decide_on(&links, Some(&labelled)).action,
        Action::None,
        "labels of others stay"
    );
}

#[test]
fn what_the_api_server_never_changes_is_made_anew() {
    let (links, mut target) = delivered();
    target.type_ = Some("kubernetes.io/tls".into());
    assert!(matches!(decide_on(&links, Some(&target)).action, Action::Recreate(_)));
    let (links, mut target) = delivered();
    target.immutable = true;
    assert_eq!(decide_on(&links, Some(&target)).action, Action::None);
    target.data.insert("more".into(), b"1".to_vec().into());
    assert!(matches!(decide_on(&links, Some(&target)).action, Action::Recreate(_)));
}

#[test]
fn the_target_type_of_the_profile_wins() {
    let (mut links, target) = delivered();
    links[0].0.spec.target.type_ = Some("example.com/token".into());
    let decision = decide_on(&links, Some(&target));
    assert_eq!(
        after(&decision.action, None).unwrap().type_.as_deref(),
        Some("example.com/token")
    );
}

#[test]
fn a_foreign_target_stays_untouched() {
    let (links, _) = delivered();
    let decision = decide_on(&links, Some(&foreign()));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[0].0), "TargetConflict");
}

#[test]
fn the_first_of_two_links_keeps_the_target() {
    let (mut links, target) = delivered();
    let mut other = link("b");
    other.spec.peering = "q".into();
    let envelope = sealed(&other, 99, &content("token", "other"));
    links.insert(0, (other, Some(envelope)));
    let decision = decide_on(&links, Some(&target));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[0].0), "TargetConflict");
    assert_eq!(reason(&decision, &links[1].0), "Delivered");
    let decision = decide_on(&links, None);
    let made = after(&decision.action, None).unwrap();
    assert_eq!(
        made.owner(),
        Some(links[0].0.spec.id.as_str()),
        "an empty place is the older link's"
    );
    assert_eq!(reason(&decision, &links[1].0), "TargetConflict");
}

#[test]
fn an_older_revision_is_refused_whoever_remembers_the_newer_one() {
    let (mut links, target) = delivered();
    let id = links[0].0.spec.id.clone();
    links[0].1 = Some(sealed(&links[0].0, 9, &content("token", "old")));
    let memory = BTreeMap::from([(id, 10)]);
    let mut fresh = links.clone();
    fresh[0].0.status = None;
    for (links, seen, memory) in [
        (&fresh, Some(&target), &BTreeMap::new()),
        (&links, None, &BTreeMap::new()),
        (&fresh, None, &memory),
    ] {
        let decision = run_after(links, seen, &OwnShare::None, memory);
        assert_eq!(decision.action, Action::None);
        assert_eq!(reason(&decision, &links[0].0), "StaleRevision");
        assert_eq!(decision.refused[0].reason, "StaleRevision");
    }
    assert!(
        matches!(decide_on(&fresh, None).action, Action::Create(_)),
        "nobody remembers: as new"
    );
}

#[test]
fn bad_envelopes_are_refused_and_touch_nothing() {
    let (links, target) = delivered();
    let (one, other) = (&links[0].0, link("b"));
    let good = sealed(one, 11, &content("token", "w"));
    let mut forged = good.expose().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut newer = good.expose().to_vec();
    newer[4] = 9;
    let elsewhere = exchange::envelope::seal(
        &one.spec.id,
        11,
        "hash",
        &content("token", "w").encode(),
        &pair(1),
        pair(7).public(),
        &mut rand::rng(),
    );
    let plain = exchange::envelope::plain(11, "hash", &content("token", "w").encode());
    for (name, bytes, expected) in [
        ("forged", forged.into(), "EnvelopeRejected"),
        ("newer", newer.into(), "EnvelopeRejected"),
        ("cut", good.expose()[..20].to_vec().into(), "EnvelopeRejected"),
        ("plain", plain.unwrap().into(), "EnvelopeRejected"),
        (
            "other link",
            sealed(&other, 11, &content("token", "w")),
            "WrongRecipient",
        ),
        ("other cluster", elsewhere.unwrap().into(), "WrongRecipient"),
    ] {
        let bad = vec![(one.clone(), Some(bytes))];
        let decision = decide_on(&bad, Some(&target));
        assert_eq!(decision.action, Action::None, "{name}");
        assert_eq!(reason(&decision, one), expected, "{name}");
        assert_eq!((decision.refused.len(), decision.refused[0].reason), (1, expected));
        let again = decide_on(&bad, None);
        assert_eq!(
            (again.action, again.refused),
            (Action::None, decision.refused),
            "the same envelope is known again"
        );
    }
}

#[test]
fn without_an_envelope_a_new_link_waits_and_a_delivered_one_stays() {
    let (mut links, target) = delivered();
    links[0].1 = None;
    let decision = decide_on(&links, Some(&target));
    assert_eq!(outcome(&decision, &links[0].0).report, Report::Unchanged);
    assert_eq!(reason(&decide_on(&links, None), &links[0].0), "WaitingForEnvelope");
    let new = vec![(link("a"), None)];
    assert_eq!(reason(&decide_on(&new, None), &new[0].0), "WaitingForEnvelope");
    let mut keyless = delivered().0;
    keyless[0].0.spec.from.public_key = None;
    assert_eq!(reason(&decide_on(&keyless, None), &keyless[0].0), "WaitingForEnvelope");
}

#[test]
fn a_leaving_link_removes_its_own_target_only() {
    let (links, target) = delivered();
    let going = vec![(leaving(links[0].0.clone()), Some(b"damaged".to_vec().into()))];
    let orphan = {
        let mut going = going.clone();
        going[0].0.spec.target.deletion_policy = DeletionPolicy::Orphan;
        going
    };
    let terminating = Observed {
        terminating: true,
        ..target.clone()
    };
    for (links, seen, expected) in [
        (&going, Some(&target), Action::Delete),
        (&orphan, Some(&target), Action::Release { data: None }),
        (&going, Some(&foreign()), Action::None),
        (&going, Some(&terminating), Action::None),
        (&going, None, Action::None),
    ] {
        let decision = decide_on(links, seen);
        assert_eq!(decision.action, expected);
        assert_eq!(reason(&decision, &links[0].0), "Withdrawn");
    }
    let left = after(&Action::Release { data: None }, Some(&target)).unwrap();
    assert_eq!((left.owner(), &left.data), (None, &target.data));
}

#[test]
fn a_place_is_cleared_before_the_next_link_takes_it() {
    let (links, target) = delivered();
    let next = link("b");
    let envelope = sealed(&next, 1, &content("token", "next"));
    let both = vec![(leaving(links[0].0.clone()), None), (next, Some(envelope))];
    let decision = decide_on(&both, Some(&target));
    assert_eq!(decision.action, Action::Delete);
    assert_eq!(outcome(&decision, &both[1].0).report, Report::Unchanged);
    let decision = decide_on(&both, None);
    assert!(matches!(decision.action, Action::Create(_)));
    assert_eq!(reason(&decision, &both[0].0), "Withdrawn");
}

/// A link to an object of another kind.
fn pool_link() -> PeerLink {
    let mut link = link("a");
    let object = &mut link.spec.target.object;
    (object.api_version, object.kind) = ("example.io/v1".into(), "Pool".into());
    link.spec.target.template = Some(json!({"spec": {"token": "${payload.token}", "from": "${source.cluster}"}}));
    link
}

#[test]
fn texts_of_the_profile_make_the_data() {
    let (mut links, target) = delivered();
    let spec = &mut links[0].0.spec;
    spec.parameters = [("pool".to_owned(), "rbd".to_owned())].into();
    let texts = [
        (
            "all",
            "${peering.name} ${source.cluster} ${destination.cluster} ${params.pool}",
        ),
        ("where", "${target.kind} ${target.namespace}/${target.name}"),
        ("token", "${payload.token}"),
    ];
    spec.target.data = texts.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
    let decision = decide_on(&links, Some(&target));
    let made = after(&decision.action, Some(&target)).unwrap();
    let data: BTreeMap<_, _> = made
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), value.expose()))
        .collect();
    assert_eq!(
        data,
        BTreeMap::from([
            ("all", &b"p east west rbd"[..]),
            ("token", b"v"),
            ("where", b"Secret ns/t"),
        ])
    );
    assert_eq!(decide_on(&links, Some(&made)).action, Action::None);
    links[0].0.spec.target.data = [("x".to_owned(), "${payload.nothing}".to_owned())].into();
    let decision = decide_on(&links, Some(&made));
    assert_eq!(decision.action, Action::None, "what was delivered stays");
    let Report::NotDelivered(TemplateFailed, message) = &outcome(&decision, &links[0].0).report else {
        panic!("{decision:?}")
    };
    assert!(
        message.starts_with("deliver.data[x]: character 10: \"nothing\" is not there"),
        "{message}"
    );
}

#[test]
fn another_kind_is_made_from_its_template_and_repaired() {
    let one = pool_link();
    let envelope = sealed(&one, 10, &content("token", "v"));
    let mut links = vec![(one, Some(envelope))];
    let target = after(&decide_on(&links, None).action, None).unwrap();
    let body = &target.body.as_ref().unwrap().0;
    assert_eq!(
        (&body["kind"], &body["metadata"]["name"], &body["spec"]),
        (&json!("Pool"), &json!("t"), &json!({"token": "dg==", "from": "east"}))
    );
    assert_eq!(
        (target.owner(), target.labels["app"].as_str(), target.revisions().len()),
        (Some(links[0].0.spec.id.as_str()), "x", 1)
    );
    assert_eq!(decide_on(&links, Some(&target)).action, Action::None);
    let mut edited = target.clone();
    edited.body.as_mut().unwrap().0["spec"]["token"] = json!("edited");
    assert!(matches!(decide_on(&links, Some(&edited)).action, Action::Apply(_)));
    // A field that has left the template cannot be seen in the object: its text can.
    links[0].0.spec.target.template = Some(json!({"spec": {"token": "${payload.token}"}}));
    assert!(matches!(decide_on(&links, Some(&target)).action, Action::Apply(_)));
    links[0].0.spec.target.template = Some(json!({"spec": {"list": ["${payload.gone}"]}}));
    let decision = decide_on(&links, Some(&target));
    assert_eq!(reason(&decision, &links[0].0), "TemplateFailed");
    links[0].0.spec.target.template = Some(json!({"metadata": {"name": "other"}}));
    assert_eq!(reason(&decide_on(&links, None), &links[0].0), "TemplateFailed");
    let going = vec![(leaving(links[0].0.clone()), None)];
    assert_eq!(decide_on(&going, Some(&target)).action, Action::Delete);
}

#[test]
fn only_what_is_nobodys_is_adopted() {
    let (mut links, mine) = delivered();
    links[0].0.spec.target.on_conflict = OnConflict::Adopt;
    let theirs = |edit: fn(&mut Observed)| {
        let mut seen = foreign();
        seen.data.insert("old".into(), b"1".to_vec().into());
        edit(&mut seen);
        seen
    };
    let adopted = theirs(|_| {});
    let decision = decide_on(&links, Some(&adopted));
    assert!(matches!(decision.action, Action::Apply(_)));
    let made = after(&decision.action, Some(&adopted)).unwrap();
    assert_eq!((made.owner(), &made.data), (mine.owner(), &mine.data));
    let refused: [fn(&mut Observed); 3] = [
        |seen| seen.type_ = Some("kubernetes.io/tls".into()),
        |seen| seen.immutable = true,
        |seen| drop(seen.labels.insert(names::LINK_LABEL.into(), "another".into())),
    ];
    for (case, edit) in refused.into_iter().enumerate() {
        let decision = decide_on(&links, Some(&theirs(edit)));
        assert_eq!(decision.action, Action::None, "{case}");
        assert_eq!(reason(&decision, &links[0].0), "TargetConflict", "{case}");
    }
    let Report::NotDelivered(_, message) = decide_on(&links, Some(&theirs(refused[0]))).outcomes.remove(0).report
    else {
        panic!()
    };
    assert!(message.contains("would have to be deleted first"), "{message}");
}

#[test]
fn too_much_for_the_api_server_is_not_even_tried() {
    let (mut links, target) = delivered();
    let large = "x".repeat(MAX_DATA);
    links[0].1 = Some(sealed(&links[0].0, 11, &content("token", &large)));
    let decision = decide_on(&links, Some(&target));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[0].0), "PayloadTooLarge");
}

#[test]
fn during_a_rotation_both_keys_of_both_ends_are_good() {
    let (mut links, _) = delivered();
    links[0].0.spec.from.public_key = Some(pair(3).public().to_base64());
    let opens = |previous: Option<u8>, keys: &[u8]| {
        let mut one = links[0].0.clone();
        one.spec.from.previous_public_key = previous.map(|seed| pair(seed).public().to_base64());
        let views = [LinkView {
            envelope: links[0].1.as_ref(),
            ..LinkView::new(&one)
        }];
        let pairs: Vec<_> = keys.iter().map(|seed| pair(*seed)).collect();
        let keys: Vec<_> = pairs.iter().collect();
        let place = target_of(&one.spec);
        let decision = decide(&group(&place, &views, None, &OwnShare::None, &BTreeMap::new(), &keys));
        reason(&decision, &one)
    };
    for (previous, keys, expected) in [
        (Some(1), &[2][..], "Delivered"),
        (Some(1), &[4, 2], "Delivered"),
        (None, &[2], "EnvelopeRejected"),
        (None, &[4, 2], "EnvelopeRejected"),
        (Some(5), &[4, 2], "EnvelopeRejected"),
        (Some(1), &[4], "WrongRecipient"),
        (Some(1), &[4, 5], "WrongRecipient"),
    ] {
        assert_eq!(opens(previous, keys), expected, "{previous:?} {keys:?}");
    }
}

#[test]
fn a_target_stays_until_nobody_refers_to_it() {
    let (links, target) = delivered();
    let going = leaving(links[0].0.clone());
    let refused = Obstacle::Refused("the consumer refuses".to_owned());
    for (obstacle, action, said) in [
        (Some(&Obstacle::Pending), Action::None, "Delivered"),
        (Some(&refused), Action::None, "WithdrawFailed"),
        (None, Action::Delete, "Withdrawn"),
    ] {
        let views = [LinkView {
            obstacle,
            ..LinkView::new(&going)
        }];
        let decision = run_views(&views, Some(&target), &OwnShare::None, &BTreeMap::new());
        assert_eq!(
            (decision.action.clone(), reason(&decision, &going).as_str()),
            (action, said)
        );
    }
}

#[test]
fn a_certificate_waits_for_its_key_and_has_to_belong_to_it() {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    let certificate = leaf.self_signed(&key).unwrap().pem();
    let (ours, other) = (key.serialize_pem(), rcgen::KeyPair::generate().unwrap().serialize_pem());
    let (ours, other): (Sensitive, Sensitive) = (ours.into_bytes().into(), other.into_bytes().into());
    let mut one = link("a");
    let mut issued = content("tls.crt", &certificate);
    issued.type_ = Some("kubernetes.io/tls".into());
    let envelope = sealed(&one, 10, &issued);
    let run = |one: &PeerLink, key| {
        let views = [LinkView {
            envelope: Some(&envelope),
            key,
            ..LinkView::new(one)
        }];
        run_views(&views, None, &OwnShare::None, &BTreeMap::new())
    };
    let waiting = run(&one, CertificateKey::Missing("no key yet"));
    assert_eq!(
        (&waiting.action, reason(&waiting, &one).as_str()),
        (&Action::None, "WaitingForEnvelope")
    );
    let wrong = run(&one, CertificateKey::Ready(&other));
    assert_eq!(
        (&wrong.action, reason(&wrong, &one).as_str()),
        (&Action::None, "EnvelopeRejected")
    );
    assert_eq!(wrong.refused.len(), 1);
    let made = after(&run(&one, CertificateKey::Ready(&ours)).action, None).unwrap();
    assert_eq!(made.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(made.data.keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    assert_eq!(made.data["tls.key"], ours);
    one.spec.target.data = [(
        "bundle".to_owned(),
        "${payload['tls.crt']}${certificate.key}".to_owned(),
    )]
    .into();
    let made = after(&run(&one, CertificateKey::Ready(&ours)).action, None).unwrap();
    assert_eq!(
        made.data["bundle"].expose(),
        [certificate.as_bytes(), ours.expose()].concat()
    );
    let hidden = content("config", &format!("data: {certificate:?}"));
    assert!(
        super::belongs(&hidden, &other).is_ok(),
        "what cannot be looked at is not refused"
    );
}

#[test]
fn what_has_been_used_needs_no_envelope_until_its_target_is_gone() {
    let (mut links, target) = delivered();
    links[0].0.spec.target.used_when = Some("self.done == true".into());
    links[0].1 = None;
    let digest = used::digest(&links[0].0.spec);
    links[0].0.status.as_mut().unwrap().used = Some(digest);
    let stands = decide_on(&links, Some(&target));
    assert_eq!(
        (stands.action, &stands.outcomes[0].report),
        (Action::None, &Report::Unchanged)
    );
    let gone = decide_on(&links, None);
    assert!(
        matches!(
            gone.outcomes[0].report,
            Report::NotDelivered(reasons::Delivered::WaitingForEnvelope, _)
        ),
        "{:?}",
        gone.outcomes
    );
}
