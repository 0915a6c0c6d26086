//! A byte buffer for secret material that cannot be printed, logged or serialised by accident.
use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// What stands in for the bytes wherever they would be shown.
const REDACTED: &str = "<redacted>";

/// Secret bytes: wiped on drop, shown by neither `Debug` nor `Serialize`.
///
/// ```
/// use peering_api::Sensitive;
/// let token = Sensitive::from(b"s3cr3t".to_vec());
/// assert_eq!(format!("{token:?}"), "<redacted>");
/// assert_eq!(serde_json::to_string(&token).unwrap(), "\"<redacted>\"");
/// assert_eq!(token.expose(), b"s3cr3t");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// The bytes themselves; each call site is a place to review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// True when there is not a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Sensitive {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn nested_in_a_map_it_still_reveals_nothing() {
        let map = BTreeMap::from([("token", Sensitive::from(b"hunter2".to_vec()))]);
        let shown = format!("{map:?} {}", serde_json::to_string(&map).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
        assert_eq!(shown, "{\"token\": <redacted>} {\"token\":\"<redacted>\"}");
    }
}
