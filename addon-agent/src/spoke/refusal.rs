//! Why a request to this cluster came to nothing, for people. What the API server answered is never quoted: it may quote
//! what it was sent.
use std::fmt;

use addon_framework::runtime::error_chain;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The API server said no.
    Status {
        /// HTTP status.
        code: u16,
        /// Machine-readable reason.
        reason: String,
    },
    /// There was no usable answer.
    NoAnswer(String),
}

impl Refusal {
    /// The object, or one that it needs, is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// The right is missing.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Status { code: 403, .. })
    }

    /// What was decided on is no longer so.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Status { code: 409, .. })
    }
}

impl From<&kube::Error> for Refusal {
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status {
                code: status.code,
                reason: status.reason.clone(),
            },
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::RustlsTls(_) => {
                Self::NoAnswer(error_chain(error))
            }
            _ => Self::NoAnswer("the answer cannot be read".to_owned()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, reason } => write!(f, "the API server refused ({code} {reason})"),
            Self::NoAnswer(why) => write!(f, "the API server gave no usable answer: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_does_not_quote_the_answer() {
        let status = Status::failure("the token hunter2 is bad", "Invalid").with_code(422);
        let refusal = Refusal::from(&kube::Error::Api(status.boxed()));
        assert_eq!(refusal.to_string(), "the API server refused (422 Invalid)");
        let unreadable = serde_json::from_str::<u8>("hunter2").unwrap_err();
        let refusal = Refusal::from(&kube::Error::SerdeError(unreadable));
        assert_eq!(
            refusal.to_string(),
            "the API server gave no usable answer: the answer cannot be read"
        );
    }
}
