//! The table of what runs of probes come to.
use proptest::prelude::*;

use super::*;

const WHAT: &str = "east -> west: tls of api.east:6443";
const EXPECTED: &str = "a chain that the delivered CA certificates trust";

fn settings() -> Settings {
    Settings {
        interval: SignedDuration::from_mins(10),
        timeout: SignedDuration::from_secs(10),
        failure_threshold: 3,
        success_threshold: 1,
    }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_269_000_123 + minute * 60_000).unwrap()
}

fn fail(reason: Reason, seen: &str) -> Result<(), Failure> {
    Err(Failure {
        reason,
        seen: seen.to_owned(),
        next: None,
    })
}

/// The history after these runs, one a minute.
fn after(runs: impl IntoIterator<Item = Result<(), Failure>>, settings: &Settings) -> History {
    let first = History::new(at(0));
    (1..).zip(runs).fold(first, |history, (minute, run)| {
        note(&history, settings, run, at(minute))
    })
}

fn probe(history: &History) -> Probe<'_> {
    Probe {
        what: WHAT,
        expected: EXPECTED,
        history,
    }
}

fn verdict(history: &History) -> Verdict {
    judge(Condition::Trusted, &[probe(history)], None)
}

#[test]
fn thresholds_decide_when_the_condition_turns() {
    let (up, down) = (Ok(()), fail(Reason::Unreachable, "timeout"));
    let twice = Settings {
        success_threshold: 2,
        ..settings()
    };
    for (runs, settings, status) in [
        (vec![], settings(), None),
        (vec![&down, &down], settings(), None),
        (vec![&down, &down, &down], settings(), Some(false)),
        (vec![&up], settings(), Some(true)),
        (vec![&up, &down, &down], settings(), Some(true)),
        (vec![&up, &down, &down, &up, &down, &down], settings(), Some(true)),
        (vec![&up, &down, &down, &down], settings(), Some(false)),
        (vec![&up, &down, &down, &down, &up], settings(), Some(true)),
        (vec![&up], twice, None),
        (vec![&up, &up], twice, Some(true)),
        (vec![&down, &down, &down, &up], twice, Some(false)),
        (vec![&down, &down, &down, &up, &up], twice, Some(true)),
    ] {
        let history = after(runs.into_iter().cloned(), &settings);
        assert_eq!(verdict(&history).status, status, "{history:?}");
    }
}

#[test]
fn the_message_says_what_expected_seen_since_and_next() {
    let served = fail(Reason::CaMismatch, "sha256:9a..");
    let other = fail(Reason::CaMismatch, "sha256:77..");
    let history = after([Ok(()), served.clone(), served.clone(), served, other], &settings());
    let bad = verdict(&history);
    assert_eq!(
        (bad.type_, bad.status, bad.reason.as_str()),
        ("Trusted", Some(false), "CAMismatch")
    );
    assert_eq!(
        bad.message,
        "east -> west: tls of api.east:6443: expected a chain that the delivered CA certificates trust, seen sha256:9a.. \
         since 2026-01-01T12:05:20Z; bring the CA at the source up to date, or set the member's CA override",
        "since the first failure, in the words of the first"
    );
    // Another cause, which asks for another step, though the reason is the same.
    let other = Err(Failure {
        reason: Reason::CaMismatch,
        seen: "no chain".to_owned(),
        next: Some("look".to_owned()),
    });
    let told = verdict(&note(&history, &settings(), other, at(9))).message;
    assert!(
        told.ends_with("seen no chain since 2026-01-01T12:05:20Z; look"),
        "{told}"
    );
    let down = fail(Reason::Unreachable, "timeout");
    let worse = note(&history, &settings(), down, at(9));
    let worse = verdict(&worse);
    assert_eq!(worse.reason, "Unreachable");
    assert!(
        worse.message.contains("seen timeout since 2026-01-01T12:05:20Z"),
        "{}",
        worse.message
    );
    let good = verdict(&after([Ok(())], &settings()));
    assert_eq!(
        (good.reason.as_str(), good.message),
        ("Trusted", format!("{WHAT}: {EXPECTED}"))
    );
    let pending = verdict(&History::new(at(0)));
    assert_eq!(
        (pending.status, pending.reason.as_str(), pending.message.as_str()),
        (
            None,
            "ProbePending",
            "east -> west: tls of api.east:6443: expected a chain that the delivered CA certificates trust, not probed \
             since the agent started; wait for the first run"
        )
    );
}

#[test]
fn one_bad_probe_is_enough_and_a_pending_one_keeps_what_was_said() {
    let down = || fail(Reason::Unreachable, "timeout");
    let (new, good) = (History::new(at(0)), after([Ok(())], &settings()));
    let bad = after([down(), down(), down()], &settings());
    let all = |histories: &[&History], last: Option<&Verdict>| {
        let probes: Vec<_> = histories.iter().map(|history| probe(history)).collect();
        judge(Condition::Connected, &probes, last)
    };
    assert_eq!(all(&[&good, &bad, &new, &bad], None).status, Some(false));
    let message = all(&[&good, &bad, &new, &bad], None).message;
    assert!(message.ends_with("(and one more probe fails)"), "{message}");
    assert_eq!(all(&[&good, &new], None).status, None);
    let said = all(&[&good, &good], None);
    assert_eq!((said.status, said.reason.as_str()), (Some(true), "Connected"));
    assert_eq!(all(&[&new, &new], Some(&said)), said, "a restart changes nothing");
    assert_eq!(all(&[&bad, &new], Some(&said)).status, Some(false));
    let trusted = verdict(&good);
    assert_eq!(
        all(&[&new], Some(&trusted)).status,
        None,
        "another condition says nothing about this one"
    );
}

#[test]
fn successes_and_failures_are_dated() {
    let down = || fail(Reason::Expired, "x");
    let history = after([Ok(()), Ok(()), down(), down()], &settings());
    assert_eq!(
        (history.last_success(), history.first_failure()),
        (Some(at(2)), Some(at(3)))
    );
    let history = note(&history, &settings(), Ok(()), at(9));
    assert_eq!((history.last_success(), history.first_failure()), (Some(at(9)), None));
}

#[test]
fn an_interval_of_nothing_is_no_busy_loop() {
    let hasty = Settings {
        interval: SignedDuration::ZERO,
        ..settings()
    };
    assert!(next_at(&after([Ok(())], &hasty), &hasty, "s") > at(1));
}

#[test]
fn a_doubt_is_soon_settled() {
    let down = || fail(Reason::Unreachable, "timeout");
    let wait = |runs: Vec<Result<(), Failure>>| {
        let history = after(runs, &settings());
        let last = history.last_run.unwrap();
        next_at(&history, &settings(), "s").duration_since(last).as_secs()
    };
    for (runs, range) in [
        (vec![Ok(())], 540..=660),
        (vec![Ok(()), down()], 54..=66),
        (vec![down(), down()], 54..=66),
        (vec![down(), down(), down()], 540..=660),
        (vec![down(), down(), down(), Ok(())], 540..=660),
    ] {
        assert!(range.contains(&wait(runs.clone())), "{runs:?}");
    }
}

#[test]
fn a_restart_does_not_change_since_when_and_a_better_next_step_is_told() {
    let failure = |seen: &str| {
        Err(Failure {
            reason: Reason::Unreachable,
            seen: seen.to_owned(),
            next: Some("try it by hand".to_owned()),
        })
    };
    let said = |seen: &str, minute| {
        let history = note(
            &History::new(at(0)),
            &Settings {
                failure_threshold: 1,
                ..settings()
            },
            failure(seen),
            at(minute),
        );
        verdict(&history)
    };
    let (first, later, other) = (said("expected a, saw b", 1), said("expected a, saw b", 9), said("c", 1));
    assert_eq!(
        first.message,
        "east -> west: tls of api.east:6443: expected a, saw b since 2026-01-01T12:04:20Z; try it by hand"
    );
    assert!(first.message != later.message && same_but_since(&first, &later));
    assert!(!same_but_since(&first, &other));
    let good = verdict(&after([Ok(())], &settings()));
    assert!(same_but_since(&good, &good) && !same_but_since(&good, &first));
}

#[test]
fn jitter_vectors() {
    let (new, once) = (History::new(at(0)), after([Ok(())], &settings()));
    let twice = note(&once, &settings(), Ok(()), at(1));
    let wait =
        |history: &History, seed, from: Timestamp| next_at(history, &settings(), seed).duration_since(from).as_millis();
    assert_eq!(wait(&new, "link/tls", at(0)), 42_600);
    assert_eq!(wait(&once, "link/tls", at(1)), 620_400);
    assert_eq!(wait(&twice, "link/tls", at(1)), 612_600);
    assert_eq!(wait(&once, "link/http", at(1)), 619_200);
}

proptest! {
    #[test]
    fn runs_are_spread_around_the_interval(seed in ".{0,20}", runs in 0usize..20, secs in 1i64..1_000_000) {
        let settings = Settings { interval: SignedDuration::from_secs(secs), ..settings() };
        let history = after(std::iter::repeat_n(Ok(()), runs), &settings);
        let last = history.last_run.unwrap_or(history.started);
        let wait = next_at(&history, &settings, &seed).duration_since(last);
        prop_assert_eq!(next_at(&history, &settings, &seed).duration_since(last), wait);
        let tenth = settings.interval / 10;
        if runs == 0 {
            prop_assert!(wait >= SignedDuration::ZERO && wait <= tenth);
        } else {
            prop_assert!(wait >= settings.interval - tenth && wait <= settings.interval + tenth);
        }
    }

    #[test]
    fn no_message_is_too_long(seen in "\\PC{0,2000}", what in "\\PC{0,2000}") {
        let history = after(std::iter::repeat_n(fail(Reason::ProbeFailed, &seen), 3), &settings());
        let good = after([Ok(())], &settings());
        for history in [&history, &good] {
            let one = Probe { what: &what, expected: &what, history };
            let verdict = judge(Condition::Connected, &[one, one], None);
            prop_assert!(verdict.message.len() <= 1024, "{}", verdict.message.len());
        }
    }
}
