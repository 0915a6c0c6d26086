//! Figures as they stand in tables.
use std::time::Duration;

/// Seconds of p50, p90, p99 and the longest; zeros of nothing.
#[must_use]
pub fn percentiles(times: &[Duration]) -> [f64; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    [50, 90, 99, 100].map(|percent| {
        // The nearest rank: the smallest time that so many percent do not exceed.
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    })
}

/// Bytes as MiB with one digit after the point.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest_ones() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_secs).collect();
        assert_eq!(percentiles(&times), [100.0, 180.0, 198.0, 200.0]);
        assert_eq!(percentiles(&times[..1]), [200.0; 4]);
        assert_eq!(percentiles(&[]), [0.0; 4]);
    }

    #[test]
    fn bytes_are_cut_to_tenths() {
        assert_eq!(mebibytes(0), "0.0");
        assert_eq!(mebibytes(1024 * 1024 * 3 / 2), "1.5");
    }
}
