//! Exponential delays with jitter: one pure rule for queues and watches.
use std::time::Duration;

/// How long to wait after a number of failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait after any number of failures.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row (0 counts as 1): doubles from `first` up to `cap`, then takes
    /// between half of it and all of it, so that many clients which failed together do not come back together.
    ///
    /// `jitter` is a number in `0.0..1.0`, drawn by the caller: this function stays pure.
    #[must_use]
    pub fn delay(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// [`Backoff::delay`] with a random jitter.
    #[must_use]
    pub fn random_delay(self, failures: u32) -> Duration {
        self.delay(failures, rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let backoff = Backoff {
            first: Duration::from_millis(200),
            cap: Duration::from_mins(1),
        };
        let millis = |failures| backoff.delay(failures, 1.0).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 9, 10, 40, u32::MAX].map(millis),
            [200, 200, 400, 800, 51_200, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            cap: Duration::from_secs(10),
        };
        assert_eq!(backoff.delay(2, 0.0), Duration::from_secs(1));
        assert_eq!(backoff.delay(2, 0.5), Duration::from_millis(1500));
        assert_eq!(backoff.delay(2, 1.0), Duration::from_secs(2));
    }
}
