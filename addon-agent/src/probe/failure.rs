//! Why a probe failed: a stable reason, and a message that says what was expected, what was seen and what to do next.
use thiserror::Error;

/// How many characters of a foreign text (a certificate's subject, a user name) are shown.
const SHOWN: usize = 120;

/// Reasons of a failed probe. They are an API: scripts match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing answers there, or not in time.
    Unreachable,
    /// The endpoint refuses the delivered credential.
    Unauthorized,
    /// The endpoint serves a certificate chain that the delivered bundle does not trust.
    CAMismatch,
    /// A certificate of the chain, or the CA that it leads to, is outside its validity.
    CAExpired,
    /// The chain is trusted, but its certificate is for other names.
    NameMismatch,
    /// The endpoint answers, but not as a healthy one does.
    Unhealthy,
    /// The probe cannot be made: its parameters or the delivered content do not allow it.
    Invalid,
}

impl Reason {
    /// The text in a condition's `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Unauthorized => "Unauthorized",
            Self::CAMismatch => "CAMismatch",
            Self::CAExpired => "CAExpired",
            Self::NameMismatch => "NameMismatch",
            Self::Unhealthy => "Unhealthy",
            Self::Invalid => "Invalid",
        }
    }
}

/// A failed probe. Its texts hold no byte of a credential, of a URL's path or query, or of an answer's body.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{seen}; {next}")]
pub struct Failure {
    /// Stable and machine readable.
    pub reason: Reason,
    /// For people: what was expected, and what was seen.
    pub seen: String,
    /// The likely next step.
    pub next: String,
}

impl Failure {
    /// `seen` tells what was expected and seen, `next` the likely next step.
    pub fn new(reason: Reason, seen: &str, next: &str) -> Self {
        Self {
            reason,
            seen: seen.to_owned(),
            next: next.to_owned(),
        }
    }

    /// A probe that cannot be made.
    pub fn invalid(seen: &str, next: &str) -> Self {
        Self::new(Reason::Invalid, seen, next)
    }
}

/// A text from the other side, fit for a message: on one line and not long, whatever the other side made of it.
pub fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push_str("..");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_stays_on_one_line_and_short() {
        assert_eq!(shown("CN=a\nlevel=error\u{1b}[0m"), "CN=a?level=error?[0m");
        assert_eq!(shown(&"ü".repeat(SHOWN)), "ü".repeat(SHOWN));
        assert_eq!(shown(&"x".repeat(SHOWN + 1)), "x".repeat(SHOWN) + "..");
    }
}
