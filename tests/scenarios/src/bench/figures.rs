//! Figures as they stand in tables.
use std::time::Duration;

/// p50, p90, p99 and the longest; zeros of nothing.
#[must_use]
pub fn percentiles(times: &[Duration]) -> [Duration; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    [50, 90, 99, 100].map(|percent| {
        // The nearest rank: the smallest time that so many percent do not exceed.
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    })
}

/// A row of figures of two series in milliseconds, and of the ratio of the first to the second.
#[must_use]
pub fn compared(product: [Duration; 4], floor: [Duration; 4]) -> [String; 3] {
    let cells = |figures: [Duration; 4]| figures.map(|time| format!("{:.1}", time.as_secs_f64() * 1000.0));
    let ratios = product
        .iter()
        .zip(floor)
        .map(|(product, floor)| format!("{:.2}", product.div_duration_f64(floor)));
    [
        cells(product).join(" | "),
        cells(floor).join(" | "),
        ratios.collect::<Vec<_>>().join(" | "),
    ]
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
        assert_eq!(percentiles(&times), [100, 180, 198, 200].map(Duration::from_secs));
        assert_eq!(percentiles(&times[..1]), [Duration::from_secs(200); 4]);
        assert_eq!(percentiles(&[]), [Duration::ZERO; 4]);
    }

    #[test]
    fn rows_are_milliseconds_and_their_ratio() {
        let [product, floor, ratio] = compared([30; 4].map(Duration::from_millis), [20; 4].map(Duration::from_millis));
        assert_eq!(product, "30.0 | 30.0 | 30.0 | 30.0");
        assert_eq!(floor, "20.0 | 20.0 | 20.0 | 20.0");
        assert_eq!(ratio, "1.50 | 1.50 | 1.50 | 1.50");
    }

    #[test]
    fn bytes_are_cut_to_tenths() {
        assert_eq!(mebibytes(0), "0.0");
        assert_eq!(mebibytes(1024 * 1024 * 3 / 2), "1.5");
    }
}
