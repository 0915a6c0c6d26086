//! The table of decisions about CA bundles.
use peering_api::{Sensitive, peering::PeerLink};

use super::*;
use crate::decide::fixtures::{
    HERE, after, ca, ca_link, leaving, link, now, outcome, public, reason, run, sealed, told,
};

type Links = Vec<(PeerLink, Option<Sensitive>)>;

fn own(pem: &str) -> OwnShare {
    OwnShare::Good(ca::parse(pem.as_bytes()).certificates)
}

fn subjects(target: &Observed) -> Vec<String> {
    standing(Some(target), DEFAULT_KEY)
        .into_iter()
        .map(|one| one.subject)
        .collect()
}

/// Two links and the own CA united in the target; the PEM texts of east, north and west.
fn united() -> (Links, Observed, [String; 3]) {
    let pems = [ca("east", 2030), ca("north", 2031), ca("west", 2032)];
    let links = vec![
        (ca_link("east"), Some(public(10, &pems[0]))),
        (ca_link("north"), Some(public(20, &pems[1]))),
    ];
    let decision = run(&links, None, &own(&pems[2]));
    let target = after(&decision.action, None).unwrap();
    (told(&links, &decision), target, pems)
}

#[test]
fn all_members_are_united_once() {
    let (links, target, pems) = united();
    assert_eq!(subjects(&target), ["CN=east", "CN=north", "CN=west"]);
    assert_eq!(target.owner(), Some(names::bundle_id("p", "ca", HERE).as_str()));
    assert_eq!(before(Some(&target)).len(), 3);
    assert_eq!(target.revisions()[&links[1].0.spec.id], 20);
    let status = links[0].0.status.clone().unwrap();
    assert_eq!((status.applied_revision, status.ca_fingerprints.len()), (Some(10), 1));
    assert_eq!(status.expires_at.unwrap().0.to_string(), "2030-01-01T00:00:00Z");
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    let statuses = |links: &Links| links.iter().map(|(link, _)| link.status.clone()).collect::<Vec<_>>();
    assert_eq!(
        statuses(&told(&links, &decision)),
        statuses(&links),
        "a second pass writes nothing"
    );
    assert_eq!(decision.again_at.unwrap().to_string(), "2030-01-01T00:00:00Z");
}

#[test]
fn foreign_certificates_and_keys_stay_and_ours_come_back() {
    let (links, mut target, pems) = united();
    let foreign = ca("foreign", 2040);
    target
        .data
        .insert(DEFAULT_KEY.into(), format!("{foreign}{}", pems[0]).into_bytes().into());
    target.data.insert("readme".into(), b"hands off".to_vec().into());
    let decision = run(&links, Some(&target), &own(&pems[2]));
    let repaired = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(subjects(&repaired), ["CN=east", "CN=foreign", "CN=north", "CN=west"]);
    assert!(repaired.data.contains_key("readme"));
    let decision = run(&links, Some(&repaired), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
}

#[test]
fn a_link_without_a_usable_envelope_keeps_what_it_brought() {
    let (links, target, pems) = united();
    let bad: [Option<Sensitive>; 3] = [None, Some(b"junk".to_vec().into()), Some(public(9, &ca("evil", 2030)))];
    for (envelope, expected) in bad.into_iter().zip(["Delivered", "EnvelopeRejected", "StaleRevision"]) {
        let mut links = links.clone();
        links[0].1 = envelope;
        let rotated = ca("north2", 2033);
        links[1].1 = Some(public(21, &rotated));
        let decision = run(&links, Some(&target), &own(&pems[2]));
        assert_eq!(reason(&decision, &links[0].0), expected);
        let next = after(&decision.action, Some(&target)).unwrap();
        assert_eq!(subjects(&next), ["CN=east", "CN=north2", "CN=west"], "{expected}");
        assert_eq!(next.revisions()[&links[0].0.spec.id], 10, "its revision is still known");
    }
}

#[test]
fn what_a_restored_hub_does_not_know_yet_stays() {
    let (links, target, pems) = united();
    // The link of east has come back without its status and its envelope, that of north has not come back.
    let mut restored = vec![(ca_link("east"), None)];
    let decision = run(&restored, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None, "{decision:?}");
    // North comes first, and has rotated meanwhile: its old certificate may as well be east's.
    restored.push((ca_link("north"), Some(public(21, &ca("north2", 2033)))));
    let decision = run(&restored, Some(&target), &own(&pems[2]));
    let target = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(subjects(&target), ["CN=east", "CN=north", "CN=north2", "CN=west"]);
    let mut restored = told(&restored, &decision);
    restored[0].1 = links[0].1.clone();
    let decision = run(&restored, Some(&target), &own(&pems[2]));
    let target = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(subjects(&target), ["CN=east", "CN=north2", "CN=west"]);
    let decision = run(&told(&restored, &decision), Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
}

#[test]
fn a_new_link_waits_without_hiding_the_others() {
    let (mut links, target, pems) = united();
    links.push((ca_link("south"), None));
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[2].0), "WaitingForEnvelope");
    let none = vec![(ca_link("south"), None)];
    assert_eq!(
        run(&none, None, &OwnShare::Bad).action,
        Action::None,
        "no empty bundle is made"
    );
}

#[test]
fn a_bad_own_source_keeps_the_own_certificates_and_no_export_removes_them() {
    let (mut links, target, _) = united();
    links[1].1 = Some(public(21, &ca("north2", 2033)));
    let next = |own| {
        let decision = run(&links, Some(&target), own);
        subjects(&after(&decision.action, Some(&target)).unwrap())
    };
    assert_eq!(next(&OwnShare::Bad), ["CN=east", "CN=north2", "CN=west"]);
    assert_eq!(next(&OwnShare::None), ["CN=east", "CN=north2"]);
}

#[test]
fn after_a_crash_between_target_and_status_the_target_is_right_already() {
    let (mut links, target, pems) = united();
    links[1].1 = Some(public(21, &ca("north2", 2033)));
    let decision = run(&links, Some(&target), &own(&pems[2]));
    let written = after(&decision.action, Some(&target)).unwrap();
    for own in [own(&pems[2]), OwnShare::Bad] {
        let again = run(&links, Some(&written), &own);
        assert_eq!(
            again.action,
            Action::None,
            "the status of north still names its old certificate"
        );
    }
}

#[test]
fn expired_certificates_leave_but_never_the_last_one() {
    let old = ca("east", 2021);
    let links = vec![(ca_link("east"), Some(public(10, &old)))];
    let decision = run(&links, None, &own(&ca("west", 2030)));
    assert_eq!(subjects(&after(&decision.action, None).unwrap()), ["CN=west"]);
    let Report::Delivered(delivery) = &outcome(&decision, &links[0].0).report else {
        panic!("{decision:?}")
    };
    assert!(delivery.message.contains("1 of them left out"), "{}", delivery.message);
    assert!(delivery.expires_at < Some(now()));
    assert_eq!(run(&links, None, &OwnShare::None).action, Action::None);
}

#[test]
fn a_foreign_bundle_stays_untouched() {
    let (links, mut target, pems) = united();
    target.labels.clear();
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[0].0), "TargetConflict");
    let going: Links = links.into_iter().map(|(link, _)| (leaving(link), None)).collect();
    let decision = run(&going, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &going[0].0), "Withdrawn");
}

#[test]
fn another_artefacts_bundle_of_that_name_is_a_conflict() {
    let (mut links, target, pems) = united();
    let mut other = ca_link("east");
    other.spec.artefact = "ca2".into();
    other.spec.id = names::link_id("p", "ca2", "east", HERE);
    links.insert(0, (other, Some(public(1, &pems[0]))));
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[0].0), "TargetConflict");
    assert_eq!(reason(&decision, &links[1].0), "Delivered");
}

#[test]
fn one_of_two_links_leaves() {
    let (mut links, target, pems) = united();
    links[0].0 = leaving(links[0].0.clone());
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(
        subjects(&after(&decision.action, Some(&target)).unwrap()),
        ["CN=north", "CN=west"]
    );
    assert!(outcome(&decision, &links[0].0).acts);
    assert_eq!(reason(&decision, &links[0].0), "Withdrawn");
}

#[test]
fn the_last_link_leaves_only_what_others_put_there() {
    let (links, target, pems) = united();
    let going: Links = links.into_iter().map(|(link, _)| (leaving(link), None)).collect();
    let act = |going: &Links, target: &Observed| run(going, Some(target), &own(&pems[2])).action;
    assert_eq!(act(&going, &target), Action::Delete);
    let mut other_key = target.clone();
    other_key.data.insert("readme".into(), b"1".to_vec().into());
    let only_key_removed = Action::Release {
        data: Some((DEFAULT_KEY.to_owned(), None)),
    };
    assert_eq!(act(&going, &other_key), only_key_removed);
    let foreign = ca("foreign", 2040);
    let mut foreign_too = target.clone();
    let text = format!("{foreign}{}", pems.concat());
    foreign_too.data.insert(DEFAULT_KEY.into(), text.into_bytes().into());
    let left = after(&act(&going, &foreign_too), Some(&foreign_too)).unwrap();
    assert_eq!((subjects(&left), left.owner()), (vec!["CN=foreign".to_owned()], None));
    let mut orphaned = going.clone();
    for (link, _) in &mut orphaned {
        link.spec.target.deletion_policy = DeletionPolicy::Orphan;
    }
    assert_eq!(act(&orphaned, &target), Action::Release { data: None });
}

#[test]
fn a_sealed_envelope_or_one_without_certificates_is_refused() {
    let one = ca_link("east");
    let wrong = link("ca");
    for envelope in [
        sealed(&wrong, 1, &crate::decide::fixtures::content("a", "b")),
        public(1, "no certificate"),
    ] {
        let links = vec![(one.clone(), Some(envelope))];
        let decision = run(&links, None, &OwnShare::None);
        assert_eq!((decision.action.clone(), decision.refused.len()), (Action::None, 1));
        assert_eq!(reason(&decision, &one), "EnvelopeRejected");
    }
}

/// Bundle of one CA of east with an overlap of an hour, and the link.
fn overlapping() -> (Links, Observed, String) {
    let old = ca("old", 2030);
    let mut links = vec![(ca_link("east"), Some(public(10, &old)))];
    links[0].0.spec.overlap = Some("1h".into());
    let decision = run(&links, None, &OwnShare::None);
    let target = after(&decision.action, None).unwrap();
    (told(&links, &decision), target, old)
}

fn rotate(links: &mut Links, revision: i64, pem: &str) {
    links[0].1 = Some(public(revision, pem));
}

#[test]
fn a_dropped_certificate_stays_for_the_overlap_and_is_told() {
    let (mut links, target, old) = overlapping();
    rotate(&mut links, 11, &ca("new", 2031));
    let decision = run(&links, Some(&target), &OwnShare::None);
    let both = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(subjects(&both), ["CN=new", "CN=old"]);
    let fingerprint = &ca::parse(old.as_bytes()).certificates[0].fingerprint;
    let expected = format!("{fingerprint}=2026-11-21T01:00:00Z");
    assert_eq!(both.annotations[names::RETIRING_ANNOTATION], expected);
    let until: Timestamp = "2026-11-21T01:00:00Z".parse().unwrap();
    assert_eq!((decision.overlap_until, decision.again_at), (Some(until), Some(until)));
    let links = told(&links, &decision);
    let brought = links[0].0.status.clone().unwrap().ca_fingerprints;
    assert!(brought.len() == 2 && brought.contains(fingerprint), "{brought:?}");
    let again = run(&links, Some(&both), &OwnShare::None);
    assert_eq!(again.action, Action::None, "the end does not move");
    let mut over = both.clone();
    over.annotations.insert(
        names::RETIRING_ANNOTATION.into(),
        format!("{fingerprint}=2026-11-21T00:00:00Z"),
    );
    let decision = run(&links, Some(&over), &OwnShare::None);
    let target = after(&decision.action, Some(&over)).unwrap();
    assert_eq!(
        (subjects(&target), decision.overlap_until),
        (vec!["CN=new".to_owned()], None)
    );
    assert!(!target.annotations.contains_key(names::RETIRING_ANNOTATION));
}

#[test]
fn a_retiring_certificate_ends_its_time_whatever_becomes_of_the_envelope_and_the_own_source() {
    let (mut links, target, old) = overlapping();
    rotate(&mut links, 11, &ca("new", 2031));
    let decision = run(&links, Some(&target), &OwnShare::None);
    let both = after(&decision.action, Some(&target)).unwrap();
    let mut links = told(&links, &decision);
    links[0].1 = None;
    assert_eq!(run(&links, Some(&both), &OwnShare::Bad).action, Action::None);
    let mut over = both.clone();
    let fingerprint = &ca::parse(old.as_bytes()).certificates[0].fingerprint;
    over.annotations.insert(
        names::RETIRING_ANNOTATION.into(),
        format!("{fingerprint}=2026-11-20T00:00:00Z"),
    );
    let decision = run(&links, Some(&over), &OwnShare::Bad);
    assert_eq!(subjects(&after(&decision.action, Some(&over)).unwrap()), ["CN=new"]);
}

#[test]
fn a_certificate_that_comes_back_retires_no_more() {
    let (mut links, target, old) = overlapping();
    let new = ca("new", 2031);
    rotate(&mut links, 11, &new);
    let decision = run(&links, Some(&target), &OwnShare::None);
    let both = after(&decision.action, Some(&target)).unwrap();
    rotate(&mut links, 12, &format!("{old}{new}"));
    let decision = run(&links, Some(&both), &OwnShare::None);
    let back = after(&decision.action, Some(&both)).unwrap();
    assert_eq!(subjects(&back), ["CN=new", "CN=old"]);
    assert!(
        !back.annotations.contains_key(names::RETIRING_ANNOTATION),
        "or its old end would count next time"
    );
}

#[test]
fn what_a_withdrawn_member_brought_leaves_at_once_retiring_or_not() {
    let (mut links, target, _) = overlapping();
    let mut north = ca_link("north");
    north.spec.overlap = Some("1h".into());
    links.push((north, Some(public(20, &ca("north", 2033)))));
    rotate(&mut links, 11, &ca("new", 2031));
    let decision = run(&links, Some(&target), &OwnShare::None);
    let three = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(subjects(&three), ["CN=new", "CN=north", "CN=old"]);
    let mut links = told(&links, &decision);
    links[0] = (leaving(links[0].0.clone()), None);
    let decision = run(&links, Some(&three), &OwnShare::None);
    assert_eq!(subjects(&after(&decision.action, Some(&three)).unwrap()), ["CN=north"]);
}

#[test]
fn a_bundle_of_nobody_is_taken_over_with_what_is_in_it() {
    let (mut links, mut target, pems) = united();
    target.labels.clear();
    target.annotations.clear();
    links[1].0.spec.target.on_conflict = OnConflict::Adopt;
    let decision = run(&links, Some(&target), &own(&pems[2]));
    let adopted = after(&decision.action, Some(&target)).unwrap();
    assert_eq!(adopted.owner(), Some(names::bundle_id("p", "ca", HERE).as_str()));
    assert!(
        before(Some(&adopted)).is_empty(),
        "what stood there before us stays foreign"
    );
    target.immutable = true;
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(decision.action, Action::None);
    assert_eq!(reason(&decision, &links[1].0), "TargetConflict");
}

#[test]
fn a_bundle_that_cannot_be_written_is_told_to_all() {
    let (mut links, mut target, pems) = united();
    links[0].1 = Some(public(11, &ca("more", 2035)));
    target.immutable = true;
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(
        (decision.action.clone(), reason(&decision, &links[1].0)),
        (Action::None, "ApplyFailed".into())
    );
    target.immutable = false;
    target
        .data
        .insert("readme".into(), vec![b'x'; crate::decide::action::MAX_DATA].into());
    let decision = run(&links, Some(&target), &own(&pems[2]));
    assert_eq!(
        (decision.action.clone(), reason(&decision, &links[0].0)),
        (Action::None, "PayloadTooLarge".into())
    );
}

#[test]
fn the_last_link_waits_for_who_refers_to_the_bundle() {
    let (links, target, pems) = united();
    let going: Vec<_> = links.into_iter().map(|(link, _)| leaving(link)).collect();
    let refused = crate::decide::Obstacle::Refused("it refuses".to_owned());
    let views: Vec<_> = going
        .iter()
        .map(|link| LinkView {
            obstacle: Some(&refused),
            ..LinkView::new(link)
        })
        .collect();
    let run = |views: &[LinkView<'_>]| {
        crate::decide::fixtures::run_views(views, Some(&target), &own(&pems[2]), &BTreeMap::new())
    };
    let decision = run(&views);
    assert_eq!(
        (decision.action.clone(), reason(&decision, &going[0])),
        (Action::None, "WithdrawFailed".into())
    );
    let north = ca_link("north");
    let one_lives = [views[0], LinkView::new(&north)];
    let decision = run(&one_lives);
    assert_eq!(
        reason(&decision, &going[0]),
        "Withdrawn",
        "the bundle stays, and with it the references"
    );
}
