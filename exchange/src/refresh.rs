//! When to renew what expires: tokens and certificates.
//!
//! All times are whole seconds, as Kubernetes stores them: what is computed from a status after a restart is what was
//! computed before.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// When, within its lifetime, something is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Latest point of renewal, in per cent of the lifetime that was *granted* (an issuer may grant less than was asked
    /// for). Values above 100 count as 100.
    pub percent: u8,
    /// Up to how many per cent of the lifetime earlier than `percent`, so that what was issued together is not renewed
    /// together. Values above `percent` count as `percent`.
    pub jitter_percent: u8,
    /// Shortest time between issue and renewal: bounds the load that very short lifetimes cause.
    pub floor: Duration,
}

impl Default for Policy {
    /// Renewal between 60 and 70 % of the lifetime, not within the first minute.
    fn default() -> Self {
        Self {
            percent: 70,
            jitter_percent: 10,
            floor: Duration::from_mins(1),
        }
    }
}

/// Where something stands in its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is to be done yet.
    Fresh,
    /// It still works and is to be renewed.
    RenewalDue,
    /// It works no longer.
    Expired,
}

/// When something that was issued is to be renewed: never after it expires, and apart from that not before `floor` has
/// passed. The same arguments give the same time; `seed` (the link's id) decides on the jitter.
#[must_use]
pub fn renew_after(issued: Timestamp, expires: Timestamp, policy: &Policy, seed: &str) -> Timestamp {
    let (issued, expires) = (whole_seconds(issued), whole_seconds(expires));
    let lifetime = u128::from(expires.duration_since(issued).as_secs().max(0).unsigned_abs());
    let percent = policy.percent.min(100);
    let jitter = policy.jitter_percent.min(percent);
    // Exact in integers: a lifetime has less than 2^40 seconds, the random part less than 2^32.
    let scale = 1_u128 << 32;
    let share = u128::from(percent) * scale - u128::from(jitter) * u128::from(random(seed));
    let wait = lifetime * share / (100 * scale);
    let wait = u64::try_from(wait).unwrap_or(u64::MAX).max(rounded_up(policy.floor));
    let wait = SignedDuration::from_secs(i64::try_from(wait).unwrap_or(i64::MAX));
    // A floor beyond the end of time is beyond expiry too.
    issued.checked_add(wait).map_or(expires, |due| due.min(expires))
}

/// Where something stands at the given time.
#[must_use]
pub fn state(now: Timestamp, renew_after: Timestamp, expires: Timestamp) -> State {
    if now >= expires {
        State::Expired
    } else if now >= renew_after {
        State::RenewalDue
    } else {
        State::Fresh
    }
}

/// Cut to whole seconds, towards the past.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
    let seconds = i64::try_from(seconds).ok();
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(time)
}

/// Rounded up to whole seconds.
fn rounded_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// A number that looks random and is always the same for a seed.
fn random(seed: &str) -> u32 {
    let hash = Sha256::digest(seed.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn exact(percent: u8, floor: u64) -> Policy {
        Policy {
            percent,
            jitter_percent: 0,
            floor: Duration::from_secs(floor),
        }
    }

    #[test]
    fn without_jitter() {
        for (lifetime, policy, expected) in [
            (1000, exact(70, 0), 700),
            (3600, exact(80, 60), 2880),
            (1000, exact(0, 0), 0),
            (1000, exact(100, 0), 1000),
            (1000, exact(200, 0), 1000),
            (60, exact(70, 60), 60),
            (80, exact(70, 60), 60),
            (10, exact(70, 60), 10),
            (0, exact(70, 60), 0),
            (-5, exact(70, 60), -5),
            (1000, exact(70, u64::MAX), 1000),
        ] {
            let due = renew_after(at(5000), at(5000 + lifetime), &policy, "link");
            assert_eq!(due.as_second() - 5000, expected, "{lifetime} s, {policy:?}");
        }
    }

    #[test]
    fn the_time_of_a_link_is_fixed() {
        // 70 % less 10 % * sha256("link")[..4] / 2^32, computed with another program.
        let due = renew_after(at(0), at(1_000_000), &Policy::default(), "link");
        assert_eq!(due, at(630_588));
    }

    #[test]
    fn states() {
        for (now, expected) in [
            (0, State::Fresh),
            (69, State::Fresh),
            (70, State::RenewalDue),
            (99, State::RenewalDue),
            (100, State::Expired),
            (200, State::Expired),
        ] {
            assert_eq!(state(at(now), at(70), at(100)), expected, "{now}");
        }
        assert_eq!(state(at(100), at(100), at(100)), State::Expired, "expiry wins");
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (any::<u8>(), any::<u8>(), 0_u64..10_000_000_000).prop_map(|(percent, jitter_percent, millis)| Policy {
            percent,
            jitter_percent,
            floor: Duration::from_millis(millis),
        })
    }

    /// Any time that Kubernetes can store.
    fn times() -> impl Strategy<Value = Timestamp> {
        (-62_135_596_800_i64..253_402_207_200, 0..1_000_000_000_i32)
            .prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
    }

    proptest! {
        #[test]
        fn never_after_expiry_never_below_the_floor(
            issued in times(), expires in times(), policy in policies(), seed in ".{0,8}",
        ) {
            let due = renew_after(issued, expires, &policy, &seed);
            prop_assert!(due <= expires);
            prop_assert!(due == whole_seconds(expires) || due >= whole_seconds(issued) + policy.floor);
        }

        #[test]
        fn a_round_trip_through_a_status_changes_nothing(
            issued in times(), expires in times(), policy in policies(), seed in ".{0,8}",
        ) {
            let stored = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().parse::<Timestamp>().unwrap();
            prop_assert_eq!(
                renew_after(issued, expires, &policy, &seed),
                renew_after(stored(issued), stored(expires), &policy, &seed)
            );
        }

        #[test]
        fn jitter_stays_in_its_window(
            issued in 0_i64..10_000_000_000, lifetime in 0_i64..100_000_000, percent in 0_u8..=100, jitter in any::<u8>(), seed in any::<u64>(),
        ) {
            let policy = Policy { percent, jitter_percent: jitter, floor: Duration::ZERO };
            let wait = renew_after(at(issued), at(issued + lifetime), &policy, &seed.to_string()).as_second() - issued;
            let (latest, jitter) = (lifetime * i64::from(percent) / 100, jitter.min(percent));
            let earliest = lifetime * i64::from(percent - jitter) / 100;
            prop_assert!((earliest..=latest).contains(&wait), "{wait} not in {earliest}..={latest}");
        }

        #[test]
        fn states_follow_each_other(now in 0_i64..1000, later in 0_i64..1000, due in 0_i64..1000, left in 0_i64..1000) {
            let order = |now| match state(at(now), at(due), at(due + left)) {
                State::Fresh => 0,
                State::RenewalDue => 1,
                State::Expired => 2,
            };
            prop_assert!(order(now) <= order(now + later));
        }
    }

    #[test]
    fn links_are_spread_over_the_window() {
        let due = |link: u32| renew_after(at(0), at(1000), &Policy::default(), &link.to_string()).as_second();
        let mut tenths = [0; 10];
        for link in 0..1000 {
            let tenth = usize::try_from((due(link) - 600) / 10).unwrap();
            tenths[tenth.min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (60..150).contains(count)), "{tenths:?}");
    }
}
