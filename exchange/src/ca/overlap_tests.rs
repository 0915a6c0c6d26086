//! The overlap window of CA bundles: a table of single passes, and many passes one after another.
use proptest::prelude::*;

use super::{
    tests::{ca, now, one},
    *,
};

const HOUR: Duration = Duration::from_hours(1);

fn fingerprints(certificates: &[&Certificate]) -> BTreeSet<String> {
    certificates.iter().map(|one| one.fingerprint.clone()).collect()
}

/// So many hours from now.
fn hours(count: i32) -> Timestamp {
    now() + jiff::SignedDuration::from_hours(count.into())
}

/// Certificates that differ in name and end only, cheap to make: number, hours until expiry.
fn numbered(template: &Certificate, number: usize, ends: i32) -> Certificate {
    let mut certificate = template.clone();
    certificate.fingerprint = format!("{number:064x}");
    certificate.subject = format!("CN={}", number % 3);
    certificate.not_after = hours(ends);
    certificate.pem = format!("<{number}>");
    certificate
}

fn template() -> Certificate {
    one(&ca("template", 2040))
}

#[test]
fn one_pass() {
    let template = template();
    let old = numbered(&template, 1, 1000);
    // Overlap in hours, end that the pass before stated, hours until the old one expires; hours until when it stays.
    for (name, overlap, stated, expires, expected) in [
        ("no window", None, None, 1000, None),
        ("an empty window", Some(0), None, 1000, None),
        ("first seen missing", Some(24), None, 1000, Some(24)),
        ("seen before", Some(24), Some(5), 1000, Some(5)),
        ("the window has ended", Some(24), Some(0), 1000, None),
        ("withdrawn", Some(24), Some(-1), 1000, None),
        ("the window was made shorter", Some(2), Some(5), 1000, Some(2)),
        ("the window was taken away", None, Some(5), 1000, None),
        (
            "a stated end in the far future",
            Some(24),
            Some(1_000_000),
            1000,
            Some(24),
        ),
        ("it expires before", Some(24), None, 3, Some(3)),
        ("it has expired", Some(24), None, 0, None),
    ] {
        let old = Certificate {
            not_after: hours(expires),
            ..old.clone()
        };
        let new = numbered(&template, 2, 500);
        let retiring = stated.map(|stated| (old.fingerprint.clone(), hours(stated)));
        let union = unite(
            std::slice::from_ref(&new),
            &[old.clone(), new.clone()],
            &fingerprints(&[&old, &new]),
            &retiring.into_iter().collect(),
            overlap.map(|hours: u32| HOUR * hours),
            now(),
        );
        let until = expected.map(|expected| (old.fingerprint.clone(), hours(expected)));
        assert_eq!(union.retiring, until.clone().into_iter().collect(), "{name}");
        assert_eq!(union.pem.contains(&old.pem), expected.is_some(), "{name}");
        assert_eq!(union.ours.contains(&old.fingerprint), expected.is_some(), "{name}");
        assert_eq!(
            union.next_change,
            Some(until.map_or(new.not_after, |(_, until)| until)),
            "{name}"
        );
    }
}

#[test]
fn a_window_without_end_is_bounded_by_expiry() {
    let old = numbered(&template(), 1, 1000);
    let union = unite(
        &[],
        std::slice::from_ref(&old),
        &fingerprints(&[&old]),
        &BTreeMap::new(),
        Some(Duration::MAX),
        now(),
    );
    assert_eq!(union.retiring[&old.fingerprint], old.not_after);
}

#[test]
fn what_is_handed_over_again_retires_no_longer() {
    let old = numbered(&template(), 1, 1000);
    let retiring = [(old.fingerprint.clone(), hours(1))].into();
    let old = std::slice::from_ref(&old);
    let union = unite(old, old, &fingerprints(&[&old[0]]), &retiring, Some(HOUR * 24), now());
    assert!(union.retiring.is_empty());
    assert_eq!(union.next_change, Some(old[0].not_after));
    let later = unite(&[], old, &union.ours, &union.retiring, Some(HOUR * 24), hours(100));
    assert_eq!(
        later.retiring[&old[0].fingerprint],
        hours(124),
        "the window begins anew"
    );
}

#[test]
fn a_foreign_certificate_never_retires() {
    let foreign = numbered(&template(), 1, -5);
    let retiring = [(foreign.fingerprint.clone(), hours(-1))].into();
    let union = unite(
        &[],
        std::slice::from_ref(&foreign),
        &BTreeSet::new(),
        &retiring,
        Some(HOUR),
        now(),
    );
    assert_eq!((union.pem, union.retiring), (foreign.pem, BTreeMap::new()));
}

#[test]
fn what_somebody_took_out_of_the_target_is_gone() {
    let old = numbered(&template(), 1, 1000);
    let retiring = [(old.fingerprint.clone(), hours(1))].into();
    let union = unite(&[], &[], &fingerprints(&[&old]), &retiring, Some(HOUR), now());
    assert_eq!(union, Union::default());
}

/// The union as it was before there was an overlap window.
fn without_overlap(
    members: &[Certificate],
    target: &[Certificate],
    before: &BTreeSet<String>,
    now: Timestamp,
) -> (String, BTreeSet<String>, Option<Timestamp>) {
    let foreign: Vec<_> = target.iter().filter(|one| !before.contains(&one.fingerprint)).collect();
    let live: Vec<_> = members.iter().filter(|one| one.not_after > now).collect();
    let ours = live
        .iter()
        .filter(|one| !foreign.iter().any(|other| other.fingerprint == one.fingerprint));
    let ours = ours.map(|one| one.fingerprint.clone()).collect();
    let next = live.iter().map(|one| one.not_after).min();
    let mut all: Vec<_> = foreign.into_iter().chain(live).collect();
    all.sort_by_key(|one| (&one.subject, &one.fingerprint));
    all.dedup_by_key(|one| &one.fingerprint);
    (all.iter().map(|one| one.pem.as_str()).collect(), ours, next)
}

const CERTIFICATES: usize = 6;

/// Some of the numbered certificates.
fn some() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..CERTIFICATES, 0..CERTIFICATES)
}

fn numbers() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..CERTIFICATES, 0..CERTIFICATES)
}

fn ends() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(-5..60_i32, CERTIFICATES)
}

fn pick(all: &[Certificate], numbers: impl IntoIterator<Item = usize>) -> Vec<Certificate> {
    numbers.into_iter().map(|number| all[number].clone()).collect()
}

proptest! {
    #[test]
    fn without_a_window_nothing_is_other_than_before(
        ends in ends(), members in some(), target in numbers(), before in numbers(), retiring in numbers(), none in any::<bool>(),
    ) {
        let template = template();
        let all: Vec<_> = ends.iter().enumerate().map(|(number, ends)| numbered(&template, number, *ends)).collect();
        let before: BTreeSet<_> = before.iter().map(|number| all[*number].fingerprint.clone()).collect();
        let retiring = retiring.iter().map(|number| (all[*number].fingerprint.clone(), hours(30))).collect();
        let (members, target) = (pick(&all, members), pick(&all, target));
        let overlap = (!none).then_some(Duration::ZERO);
        let union = unite(&members, &target, &before, &retiring, overlap, now());
        prop_assert!(union.retiring.is_empty());
        prop_assert_eq!((union.pem, union.ours, union.next_change), without_overlap(&members, &target, &before, now()));
    }

    /// A day in hours: at each the members hand over something else, and what a pass returns is what the next one finds.
    #[test]
    fn passes_one_after_another(
        ends in ends(), foreign in numbers(), overlap in 0..12_i32, steps in prop::collection::vec((numbers(), 1..8_i32), 1..12),
    ) {
        let template = template();
        let all: Vec<_> = ends.iter().enumerate().map(|(number, ends)| numbered(&template, number, *ends)).collect();
        let mut target = pick(&all, foreign.iter().copied());
        let (mut ours, mut retiring) = (BTreeSet::new(), BTreeMap::new());
        // Hour at which each of ours was first seen missing.
        let mut missing: BTreeMap<usize, i32> = BTreeMap::new();
        let mut hour = 0;
        for (members, pause) in steps {
            let window = HOUR * overlap.unsigned_abs();
            let union = unite(&pick(&all, members.iter().copied()), &target, &ours, &retiring, Some(window), hours(hour));
            for number in 0..CERTIFICATES {
                let was_ours = ours.contains(&all[number].fingerprint);
                if members.contains(&number) || !was_ours {
                    missing.remove(&number);
                } else {
                    missing.entry(number).or_insert(hour);
                }
                let alive = ends[number] > hour;
                let in_window = missing.get(&number).is_some_and(|since| hour < since + overlap);
                let expected = foreign.contains(&number) || (alive && (members.contains(&number) || in_window));
                prop_assert_eq!(union.pem.contains(&all[number].pem), expected, "certificate {} at {} h", number, hour);
            }
            prop_assert!(union.retiring.values().all(|until| *until > hours(hour) && *until <= hours(hour + overlap)));
            prop_assert!(union.next_change.is_none_or(|next| next > hours(hour)), "no pass is due at once");
            prop_assert!(union.retiring.values().all(|until| union.next_change <= Some(*until)));
            target = all.iter().filter(|one| union.pem.contains(&one.pem)).cloned().collect();
            let again = unite(&pick(&all, members), &target, &union.ours, &union.retiring, Some(window), hours(hour));
            prop_assert_eq!(&again, &union, "a second pass changes nothing");
            (ours, retiring) = (union.ours, union.retiring);
            hour += pause;
        }
    }
}
