//! The table of decisions about Secret targets.
use std::collections::BTreeMap;

use peering_api::{Sensitive, names, peering::PeerLink};

use super::*;
use crate::{
    decide::{
        OwnShare,
        fixtures::{after, content, leaving, link, outcome, pair, reason, run, run_after, sealed, told},
    },
    spoke::Observed,
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
