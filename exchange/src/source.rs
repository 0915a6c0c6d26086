//! What a source hands over, and whether it is any good. An empty or malformed source never overwrites the last good
//! content.
//!
//! Follow it in this order: [`read()`] (the inputs one after the other, given what was seen of each), [`Inputs`] (what is to
//! be issued, then the content), `bundle` (CA certificates). [`provisions`]: the objects that are made first.
mod bundle;
mod content;
mod endpoint;
mod issue;
mod lookup;
mod provision;
mod read;
#[cfg(test)]
mod tests;

use peering_api::peering::{PeerExportSpec, reasons::SourceReady};

pub use self::{
    issue::{Signer, answer_expires, issued_answer, issued_certificate, issued_token},
    lookup::{Lookup, Seen, Selection, View},
    provision::{Provision, Remains, Standing, provisioned, provisions, remains},
    read::{Inputs, Issued, Reading, State, read},
};
use crate::{content::Content, expression::ExpressionError};

/// What every message about a bad source says of what was published before.
const KEPT: &str = "the last good content stays in force";

/// A source that can be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// What is handed over.
    pub content: Content,
    /// `Published`, or `PartlyInvalid` with the message that names what was left out.
    pub reason: SourceReady,
    /// For the condition.
    pub message: String,
}

/// A source that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Why, as the condition's reason.
    pub reason: SourceReady,
    /// What was expected, what was seen and what to do.
    pub message: String,
}

impl Bad {
    /// A source that cannot be published for a reason.
    #[must_use]
    pub fn new(reason: SourceReady, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    fn invalid(what: &str) -> Self {
        Self::new(SourceReady::SourceInvalid, format!("{what}; {KEPT}"))
    }

    /// An expression failed. The message holds the place and never a value.
    fn evaluation(spec: &PeerExportSpec, field: &str, error: &ExpressionError) -> Self {
        let message = format!("artefact {:?}, {field}: {error}; {KEPT}", spec.artefact);
        Self::new(SourceReady::EvaluationFailed, message)
    }

    /// The same where objects are asked for what their owner may fill in later: what is missing is waited for.
    fn unless_missing(spec: &PeerExportSpec, field: &str, error: &ExpressionError) -> Self {
        if !error.is_missing() {
            return Self::evaluation(spec, field, error);
        }
        let message = format!(
            "artefact {:?}, {field}: {error}; it is picked up as soon as it is; {KEPT}",
            spec.artefact
        );
        Self::new(SourceReady::NotReadyYet, message)
    }
}
