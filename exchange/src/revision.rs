//! Revisions: numbers that only grow, also when a hub or an agent comes back from a backup.
use jiff::Timestamp;

/// The revision of new content: the greater of the previous one + 1 and the time in milliseconds.
///
/// The clock makes revisions grow past a lost status; the previous revision makes them grow past a clock set back.
#[must_use]
pub fn next(previous: Option<i64>, now: Timestamp) -> i64 {
    previous
        .map_or(i64::MIN, |previous| previous.saturating_add(1))
        .max(now.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_the_clock_and_without_it() {
        let now = Timestamp::from_millisecond(1_000).unwrap();
        assert_eq!(next(None, now), 1_000);
        assert_eq!(next(Some(10), now), 1_000);
        assert_eq!(next(Some(1_000), now), 1_001);
        assert_eq!(next(Some(9_000), now), 9_001, "a clock set back must not lower it");
    }
}
