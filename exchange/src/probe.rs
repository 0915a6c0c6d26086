//! Judgement of probes: when one runs next, when a run of failures counts, and what the conditions `Trusted`, `Fresh` and
//! `Connected` say. The runs themselves (network, CEL) are the agent's.
use jiff::{SignedDuration, Timestamp};
use peering_api::names;

use crate::state::Verdict;

/// A condition of a link that is decided by probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The delivered CA certificates trust what the endpoint serves.
    Trusted,
    /// What was delivered has not expired.
    Fresh,
    /// What was delivered works.
    Connected,
}

impl Condition {
    /// The type of the condition; also its reason while it is true.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "Trusted",
            Self::Fresh => "Fresh",
            Self::Connected => "Connected",
        }
    }
}

/// Why a condition is not true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The endpoint does not answer.
    Unreachable,
    /// The endpoint refuses the delivered credential.
    Unauthorized,
    /// The endpoint's chain leads to none of the delivered CA certificates.
    CaMismatch,
    /// The CA certificate that the endpoint's chain leads to is out of its validity.
    CaExpired,
    /// The consumer says that it is not in step with the other side.
    NotSynced,
    /// It still works, but expires soon and its renewal has not come.
    RenewalFailing,
    /// What was delivered has expired.
    Expired,
    /// No run has counted yet.
    ProbePending,
    /// The probe failed in another way.
    ProbeFailed,
}

impl Reason {
    /// The text in a condition's `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Unauthorized => "Unauthorized",
            Self::CaMismatch => "CAMismatch",
            Self::CaExpired => "CAExpired",
            Self::NotSynced => "NotSynced",
            Self::RenewalFailing => "RenewalFailing",
            Self::Expired => "Expired",
            Self::ProbePending => "ProbePending",
            Self::ProbeFailed => "ProbeFailed",
        }
    }

    /// What a person should do about it.
    const fn next_step(self) -> &'static str {
        match self {
            Self::Unreachable => "check that the endpoint runs and that the destination cluster can reach it",
            Self::Unauthorized => "renew the credential at the source, see Fresh and SourceReady",
            Self::CaMismatch => "bring the CA at the source up to date, or set the member's CA override",
            Self::CaExpired => "renew the CA at the source and compare the clocks",
            Self::NotSynced => "see the status of the consumer",
            Self::RenewalFailing => "renew the source before it expires, see SourceReady",
            Self::Expired => "renew the source, see SourceReady",
            Self::ProbePending => "wait for the first run",
            Self::ProbeFailed => "correct the probe in the profile, or what it looks at",
        }
    }
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// What was seen, for people; no secret. Where it begins with "expected", it says what was expected too.
    pub seen: String,
    /// What to do about it, where that is known better than from the reason.
    pub next: Option<String>,
}

/// When and how often a probe runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time from the end of one run to the next, on average.
    pub interval: SignedDuration,
    /// How long a run may take. It may be longer than the interval, which begins at its end.
    pub timeout: SignedDuration,
    /// How many runs in a row must fail before that counts; 0 is taken as 1. Set 1 for what cannot fail by chance, such
    /// as an expiry.
    pub failure_threshold: u32,
    /// How many runs in a row must succeed before that counts; 0 is taken as 1.
    pub success_threshold: u32,
}

/// The shortest interval: a probe must never keep the agent or an endpoint busy.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

impl Settings {
    fn pace(&self) -> SignedDuration {
        self.interval.max(MIN_INTERVAL)
    }
}

/// What counts, after the thresholds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Bad { failure: Failure, since: Timestamp },
}

/// What is known from the runs of one probe since the process started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    started: Timestamp,
    runs: u64,
    last_run: Option<Timestamp>,
    successes: u32,
    failures: u32,
    last_success: Option<Timestamp>,
    first_failure: Option<Timestamp>,
    standing: Option<Standing>,
}

impl History {
    /// A probe that has never run.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            runs: 0,
            last_run: None,
            successes: 0,
            failures: 0,
            last_success: None,
            first_failure: None,
            standing: None,
        }
    }

    /// The end of the last run that succeeded.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }

    /// Since when every run has failed; `None` if the last one has succeeded.
    #[must_use]
    pub fn first_failure(&self) -> Option<Timestamp> {
        self.first_failure
    }

    /// Whether what counts is the same: a run that changes nothing is no news.
    #[must_use]
    pub fn stands_as(&self, other: &Self) -> bool {
        self.standing == other.standing
    }

    /// The last run has failed, and that does not count yet.
    fn is_in_doubt(&self) -> bool {
        self.failures > 0 && !matches!(self.standing, Some(Standing::Bad { .. }))
    }
}

/// The history after one more run, which ended at `now`.
///
/// A reason and a next step that stay the same keep the text of their first failure: a condition is not written anew because a
/// timeout reads a little different each time.
#[must_use]
pub fn note(history: &History, settings: &Settings, result: Result<(), Failure>, now: Timestamp) -> History {
    let mut next = History {
        runs: history.runs.saturating_add(1),
        last_run: Some(now),
        ..history.clone()
    };
    match result {
        Ok(()) => {
            next.successes = history.successes.saturating_add(1);
            (next.failures, next.first_failure, next.last_success) = (0, None, Some(now));
            if next.successes >= settings.success_threshold.max(1) {
                next.standing = Some(Standing::Good);
            }
        }
        Err(failure) => {
            next.failures = history.failures.saturating_add(1);
            next.successes = 0;
            let first = *next.first_failure.get_or_insert(now);
            if next.failures >= settings.failure_threshold.max(1) {
                next.standing = Some(match &history.standing {
                    Some(bad @ Standing::Bad { failure: known, .. })
                        if (known.reason, &known.next) == (failure.reason, &failure.next) =>
                    {
                        bad.clone()
                    }
                    Some(Standing::Bad { since, .. }) => Standing::Bad { failure, since: *since },
                    _ => Standing::Bad { failure, since: first },
                });
            }
        }
    }
    next
}

/// When the probe runs next: an interval after the last run, ± 10 %. The first run comes within a tenth of the interval, and
/// after a failure that does not count yet a tenth of the interval has to pass: it should soon be known whether it does.
///
/// The jitter spreads the probes of many links that started together. It depends on `seed` (such as link id and name of the
/// probe) and the number of runs only.
#[must_use]
pub fn next_at(history: &History, settings: &Settings, seed: &str) -> Timestamp {
    let digest = names::digest(&["probe/v1", seed, &history.runs.to_string()], 8);
    let random = u32::from_str_radix(&digest, 16).map_or(0, i128::from);
    let (from, permille) = match history.last_run {
        None => (history.started, random % 101),
        Some(last) => (last, 900 + random % 201),
    };
    let pace = if history.is_in_doubt() {
        (settings.pace() / 10).max(MIN_INTERVAL)
    } else {
        settings.pace()
    };
    let wait = pace.as_millis() * permille / 1000;
    let at = i128::from(from.as_millisecond()) + wait;
    i64::try_from(at)
        .ok()
        .and_then(|at| Timestamp::from_millisecond(at).ok())
        .unwrap_or(Timestamp::MAX)
}

/// One of the probes that a condition depends on.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// What is probed and from where, such as `east -> west: tls of api.east:6443`.
    pub what: &'a str,
    /// What should be so, such as `a chain that the delivered CA certificates trust`.
    pub expected: &'a str,
    /// Its runs.
    pub history: &'a History,
}

/// The longest message of a condition (peers keep to 1 KiB), and the longest parts of one that says what is wrong.
const MAX_MESSAGE: usize = 1024;
const MAX_WHAT: usize = 192;
const MAX_EXPECTED: usize = 192;
const MAX_SEEN: usize = 384;
const MAX_NEXT: usize = 128;

/// What a condition says about its probes: false if one fails, unknown if one has not run often enough, else true.
///
/// `last` is what the condition says now. It stays as long as one of the probes is pending: after a restart of the agent a
/// link that works does not become unknown.
#[must_use]
pub fn judge(condition: Condition, probes: &[Probe<'_>], last: Option<&Verdict>) -> Verdict {
    let type_ = condition.as_str();
    let bad: Vec<_> = probes
        .iter()
        .filter_map(|probe| match &probe.history.standing {
            Some(Standing::Bad { failure, since }) => Some((probe, failure, *since)),
            _ => None,
        })
        .collect();
    if let Some((probe, failure, since)) = bad.first() {
        let message = message(probe, failure, *since, bad.len() - 1);
        return Verdict::new(type_, Some(false), failure.reason.as_str(), message);
    }
    let pending = probes.iter().find(|probe| probe.history.standing.is_none());
    match (pending, last) {
        (Some(_), Some(last)) if last.type_ == type_ => last.clone(),
        (Some(probe), _) => {
            let (what, expected) = (cut(probe.what, MAX_WHAT), cut(probe.expected, MAX_EXPECTED));
            let reason = Reason::ProbePending;
            let message = format!(
                "{what}: expected {expected}, not probed since the agent started; {}",
                reason.next_step()
            );
            Verdict::new(type_, None, reason.as_str(), message)
        }
        (None, _) => {
            let all: Vec<_> = probes
                .iter()
                .map(|probe| format!("{}: {}", probe.what, probe.expected))
                .collect();
            Verdict::new(type_, Some(true), type_, cut(&all.join("; "), MAX_MESSAGE))
        }
    }
}

/// What, expected, seen, since, next step.
fn message(probe: &Probe<'_>, failure: &Failure, since: Timestamp, more: usize) -> String {
    let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
    let more = match more {
        0 => String::new(),
        1 => " (and one more probe fails)".to_owned(),
        more => format!(" (and {more} more probes fail)"),
    };
    let seen = if failure.seen.starts_with("expected ") {
        cut(&failure.seen, MAX_SEEN)
    } else {
        format!(
            "expected {}, seen {}",
            cut(probe.expected, MAX_EXPECTED),
            cut(&failure.seen, MAX_SEEN)
        )
    };
    let next = failure.next.as_deref().unwrap_or(failure.reason.next_step());
    format!(
        "{}: {seen}{SINCE}{since}; {}{more}",
        cut(probe.what, MAX_WHAT),
        cut(next, MAX_NEXT)
    )
}

/// Stands between what was seen and since when.
const SINCE: &str = " since ";

/// Whether two verdicts tell the same, apart from since when: after a restart nobody knows that any more.
#[must_use]
pub fn same_but_since(a: &Verdict, b: &Verdict) -> bool {
    let timeless = |message: &'_ str| -> Option<(String, String)> {
        let (seen, rest) = message.rsplit_once(SINCE)?;
        let (_, next) = rest.split_once("; ")?;
        Some((seen.to_owned(), next.to_owned()))
    };
    let told = |verdict: &Verdict| timeless(&verdict.message).ok_or_else(|| verdict.message.clone());
    (a.type_, a.status, &a.reason) == (b.type_, b.status, &b.reason) && told(a) == told(b)
}

/// The text, or its beginning and an ellipsis in at most `max` bytes.
fn cut(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests;
