//! Durations as Kubernetes users write them: `24h`, `15m`, `1h30m`, `90s`.
//!
//! The format is the one of the Gateway API (GEP-2257), a subset of Go's, without milliseconds: no sign and no fraction.
//! Units may come in any order; they add up.
use std::time::Duration;

use thiserror::Error;

/// What [`parse`] takes, for CRD schemas.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

/// How many digits a number may have, and how many numbers there may be (GEP-2257).
const MAX_DIGITS: usize = 5;
const MAX_PARTS: usize = 3;

/// Why a text is not a duration. It does not quote the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "not a duration: expected one to three whole numbers of at most {MAX_DIGITS} digits, each followed by h, m or s, such as 24h or 1h30m"
)]
pub struct DurationError;

/// Reads a duration. Zero, such as `0s`, is one too.
///
/// ```
/// use peering_api::duration;
/// assert_eq!(duration::parse("1h30m").unwrap().as_secs(), 5400);
/// assert!(duration::parse("-1h").is_err());
/// ```
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let parts = text.split_inclusive(['h', 'm', 's']);
    if text.is_empty() || parts.clone().count() > MAX_PARTS {
        return Err(DurationError);
    }
    parts.map(part).sum()
}

/// One number with its unit.
fn part(text: &str) -> Result<Duration, DurationError> {
    let (number, unit) = [("h", 3600), ("m", 60), ("s", 1)]
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
        .ok_or(DurationError)?;
    // `u64::from_str` would take a sign.
    if number.len() > MAX_DIGITS || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError);
    }
    let number: u64 = number.parse().map_err(|_| DurationError)?;
    Ok(Duration::from_secs(number * unit))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("24h", 86_400),
            ("1h30m", 5400),
            ("1h30m15s", 5415),
            ("30m1h", 5400),
            ("1h1h", 7200),
            ("0s", 0),
            ("007m", 420),
            ("99999h99999h99999h", 3 * 99_999 * 3600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            " ",
            "h",
            "1",
            "1d",
            "1ms",
            "-1h",
            "+1h",
            "1.5h",
            "1h ",
            " 1h",
            "1 h",
            "1h30",
            "1H",
            "h1",
            "1hm",
            "100000s",
            "1h1h1h1h",
            "\u{0661}h",
            "1h\n",
            "∞h",
        ] {
            assert_eq!(parse(text), Err(DurationError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_schema_admits_is_read(text in string_regex(PATTERN.trim_matches(['^', '$'])).unwrap()) {
            prop_assert!(parse(&text).is_ok(), "{text}");
        }

        #[test]
        fn a_change_of_one_byte_never_panics(text in "[0-9hms.+ -]{0,12}") {
            let _ = parse(&text);
        }
    }
}
