//! What a candidate knows of the Lease, and what it may do next. Pure: both clocks are arguments.
use std::time::Duration;

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::{
        api::coordination::v1::{Lease, LeaseSpec},
        apimachinery::pkg::apis::meta::v1::MicroTime,
    },
    kube::api::ObjectMeta,
};
use tokio::time::Instant;

/// `leaseDurationSeconds` of a Lease that was given up, as client-go sets it.
const RELEASED: i32 = 1;

/// What a candidate may do with the Lease as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is there for us: write this over the version that was seen.
    Write(Box<Lease>),
    /// Another holds it.
    Wait { holder: String },
}

/// The Lease as it was last seen, and since when its record is as it is.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
}

/// One candidate's view of the Lease.
#[derive(Clone, Debug)]
pub(super) struct View {
    identity: String,
    duration: Duration,
    seen: Option<Seen>,
}

impl View {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
        }
    }

    /// Takes note of the Lease. Its time runs from when its record was first seen as it is now, by our own monotonic
    /// clock: the times within it are by the holder's clock, which may be wrong.
    pub(super) fn saw(&mut self, lease: Lease, now: Instant) {
        let since = match &self.seen {
            Some(seen) if seen.lease.spec == lease.spec => seen.since,
            _ => now,
        };
        self.seen = Some(Seen { lease, since });
    }

    /// Who holds the Lease by what was seen last, whether its time is over or not.
    pub(super) fn holder(&self) -> Option<&str> {
        holder(self.seen.as_ref()?.lease.spec.as_ref()?)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// The renewal of a Lease that is ours and whose time is not over, over the version that was seen last: in the usual
    /// case the only request.
    pub(super) fn renewal(&self, now: Instant, wall: Timestamp) -> Option<Lease> {
        let seen = self.seen.as_ref().filter(|seen| self.is_ours() && seen.valid(now))?;
        Some(self.written(&seen.lease, wall))
    }

    /// What to do with the Lease that was seen last.
    pub(super) fn step(&self, now: Instant, wall: Timestamp) -> Step {
        match (&self.seen, self.holder()) {
            (Some(seen), Some(holder)) if holder != self.identity && seen.valid(now) => Step::Wait {
                holder: holder.to_owned(),
            },
            (Some(seen), _) => Step::Write(Box::new(self.written(&seen.lease, wall))),
            (None, _) => Step::Write(Box::new(self.written(&Lease::default(), wall))),
        }
    }

    /// The first Lease of this name.
    pub(super) fn first(&self, name: &str, wall: Timestamp) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                lease_transitions: Some(0),
                ..self.term(wall)
            }),
        }
    }

    /// The Lease given up, if this one is ours: the next candidate takes it at once.
    pub(super) fn released(&self, lease: &Lease, wall: Timestamp) -> Option<Lease> {
        let old = lease.spec.as_ref()?;
        if holder(old) != Some(&self.identity) {
            return None;
        }
        let spec = LeaseSpec {
            holder_identity: None,
            lease_duration_seconds: Some(RELEASED),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..old.clone()
        };
        Some(Lease {
            spec: Some(spec),
            ..lease.clone()
        })
    }

    /// The Lease with us as its holder. A term that goes on keeps its beginning; a new one is counted.
    fn written(&self, lease: &Lease, wall: Timestamp) -> Lease {
        let old = lease.spec.clone().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or_default();
        let term = self.term(wall);
        let spec = if holder(&old) == Some(&self.identity) {
            LeaseSpec {
                acquire_time: old.acquire_time.or(term.acquire_time.clone()),
                lease_transitions: Some(transitions),
                ..term
            }
        } else {
            LeaseSpec {
                lease_transitions: Some(transitions.saturating_add(1)),
                ..term
            }
        };
        Lease {
            spec: Some(spec),
            ..lease.clone()
        }
    }

    fn term(&self, wall: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..LeaseSpec::default()
        }
    }
}

impl Seen {
    /// Whether the holder may still count on it. The duration is the holder's, as the Lease says it.
    fn valid(&self, now: Instant) -> bool {
        let seconds = self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration = Duration::from_secs(seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or(0));
        now.saturating_duration_since(self.since) < duration
    }
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn view(identity: &str) -> View {
        View::new(identity.into(), DURATION)
    }

    /// The Lease as `identity` made it, at version `version`.
    fn held_by(identity: &str, version: u32) -> Lease {
        let mut lease = view(identity).first("lock", wall(0));
        lease.metadata.resource_version = Some(version.to_string());
        lease
    }

    fn spec(step: &Step) -> &LeaseSpec {
        match step {
            Step::Write(lease) => lease.spec.as_ref().unwrap(),
            Step::Wait { holder } => panic!("waits for {holder}"),
        }
    }

    #[test]
    fn anothers_lease_is_taken_only_when_it_was_not_renewed_for_its_duration() {
        let (start, mut b) = (Instant::now(), view("b"));
        b.saw(held_by("a", 1), start);
        let almost = start + DURATION - Duration::from_millis(1);
        assert_eq!(b.step(almost, wall(0)), Step::Wait { holder: "a".into() });
        b.saw(held_by("a", 1), almost);
        let taken = b.step(start + DURATION, wall(20));
        let taken = spec(&taken);
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
        assert_eq!(taken.lease_transitions, Some(1));
        assert_eq!(taken.acquire_time, Some(MicroTime(wall(20))));
    }

    #[test]
    fn a_renewal_starts_its_time_again_whatever_the_holders_clock_says() {
        let (start, mut b) = (Instant::now(), view("b"));
        b.saw(held_by("a", 1), start);
        let mut renewed = held_by("a", 2);
        renewed.spec.as_mut().unwrap().renew_time = Some(MicroTime(wall(-1_000_000)));
        b.saw(renewed, start + Duration::from_secs(14));
        assert!(matches!(
            b.step(start + Duration::from_secs(28), wall(0)),
            Step::Wait { .. }
        ));
        assert!(matches!(
            b.step(start + Duration::from_secs(29), wall(0)),
            Step::Write(_)
        ));
    }

    #[test]
    fn a_changed_label_is_no_renewal_but_its_version_is_what_is_written_over() {
        let (start, mut b) = (Instant::now(), view("b"));
        b.saw(held_by("a", 1), start);
        let mut labelled = held_by("a", 2);
        labelled.metadata.labels = Some([("x".to_owned(), "y".to_owned())].into());
        b.saw(labelled.clone(), start + Duration::from_secs(14));
        match b.step(start + DURATION, wall(0)) {
            Step::Write(lease) => assert_eq!(lease.metadata, labelled.metadata),
            step @ Step::Wait { .. } => panic!("{step:?}"),
        }
    }

    #[test]
    fn our_own_term_goes_on() {
        let (start, mut a) = (Instant::now(), view("a"));
        let mut lease = held_by("a", 3);
        lease.spec.as_mut().unwrap().lease_transitions = Some(7);
        a.saw(lease, start);
        let renewal = a.renewal(start, wall(5)).unwrap();
        let renewed = renewal.spec.as_ref().unwrap();
        assert_eq!(renewed.acquire_time, Some(MicroTime(wall(0))));
        assert_eq!(renewed.renew_time, Some(MicroTime(wall(5))));
        assert_eq!(renewed.lease_transitions, Some(7));
        assert_eq!(renewal.metadata.resource_version.as_deref(), Some("3"));
        // When its time is over it is looked at first: another may have it.
        assert_eq!(a.renewal(start + DURATION, wall(20)), None);
        assert_eq!(spec(&a.step(start + DURATION, wall(20))).lease_transitions, Some(7));
    }

    #[test]
    fn a_lease_without_holder_or_duration_is_free() {
        let start = Instant::now();
        let change = |change: fn(&mut LeaseSpec)| {
            let mut lease = held_by("a", 1);
            change(lease.spec.as_mut().unwrap());
            let mut b = view("b");
            b.saw(lease, start);
            b.step(start, wall(0))
        };
        for step in [
            change(|spec| spec.holder_identity = None),
            change(|spec| spec.holder_identity = Some(String::new())),
            change(|spec| spec.lease_duration_seconds = None),
            change(|spec| spec.lease_duration_seconds = Some(0)),
            change(|spec| spec.lease_duration_seconds = Some(-3)),
            change(|spec| *spec = LeaseSpec::default()),
        ] {
            assert_eq!(spec(&step).holder_identity.as_deref(), Some("b"));
        }
        let mut bare = view("b");
        bare.saw(Lease::default(), start);
        assert!(matches!(bare.step(start, wall(0)), Step::Write(_)));
        let endless = change(|spec| spec.lease_duration_seconds = Some(i32::MAX));
        assert!(matches!(endless, Step::Wait { .. }));
    }

    #[test]
    fn only_our_own_is_released() {
        let released = view("a").released(&held_by("a", 4), wall(9)).unwrap();
        assert_eq!(released.metadata.resource_version.as_deref(), Some("4"));
        let spec = released.spec.clone().unwrap();
        assert_eq!((spec.holder_identity, spec.lease_duration_seconds), (None, Some(1)));
        assert_eq!(view("b").released(&held_by("a", 4), wall(9)), None);
        assert_eq!(view("a").released(&released, wall(9)), None);
        assert_eq!(view("a").released(&Lease::default(), wall(9)), None);
    }
}
