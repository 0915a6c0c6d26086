//! Condition types and the closed list of their reasons. A reason is an API: scripts match on it.
//!
//! Each reason is declared once, with the status that it goes with and what people are told about it. The enums, their
//! documentation and the catalogue `docs/messages.md` come from that one place.
mod export;
mod link;
mod member;
mod mirror_peer;
mod peering;

#[cfg(test)]
mod tests;

use std::{error::Error, fmt};

pub use self::{
    export::SourceReady,
    link::{Connected, Delivered, Fresh, LinkReady, Trusted, Wired, Withdrawn},
    member::{MemberReady, MemberReported},
    mirror_peer::{Compatible, Configured, Deleted, Validated},
    peering::{Accepted, Degraded, PeeringReady, ProfileAccepted},
};
use crate::Status;

/// Condition of an `ExchangeProfile` and of a Peering: it can be served as it is written.
pub const ACCEPTED: &str = "Accepted";
/// Condition of a Peering (all links are ready), of a link (its content is where it belongs) and of a member.
pub const READY: &str = "Ready";
/// Condition of a Peering: something is wrong or will soon be. The only condition whose `True` is bad.
pub const DEGRADED: &str = "Degraded";
/// Condition of an export and of its links: the source has valid content.
pub const SOURCE_READY: &str = "SourceReady";
/// Condition of a link: the target holds the newest content that arrived.
pub const DELIVERED: &str = "Delivered";
/// Condition of a link: the consumers know of the target.
pub const WIRED: &str = "Wired";
/// Condition of a link: the delivered certificates trust what the endpoint serves.
pub const TRUSTED: &str = "Trusted";
/// Condition of a link: what was delivered has not expired.
pub const FRESH: &str = "Fresh";
/// Condition of a link: what was delivered works, as its probes see it.
pub const CONNECTED: &str = "Connected";
/// Condition of a link that goes away: the agent has removed what the link had written.
pub const WITHDRAWN: &str = "Withdrawn";

/// Condition of a member: its status shows what it is asked for.
pub const REPORTED: &str = "Reported";

/// Condition of a `MirrorPeer`: it can be served as it is written.
pub const VALIDATED: &str = "Validated";
/// Condition of a `MirrorPeer`: everything is set up.
pub const CONFIGURED: &str = "Configured";
/// Condition of a `MirrorPeer`: both clusters run the same version of the storage operator.
pub const COMPATIBLE: &str = "Compatible";
/// Condition of a `MirrorPeer` that is being deleted: what was set up has been taken back.
pub const DELETED: &str = "Deleted";

/// One reason, as the catalogue tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The text in a condition's `reason`.
    pub name: &'static str,
    /// The status that the reason goes with.
    pub status: Status,
    /// What it says about the object.
    pub meaning: &'static str,
    /// What usually brings it about.
    pub cause: &'static str,
    /// What people should do.
    pub action: &'static str,
}

/// One condition and all its reasons.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    /// Kinds that have the condition.
    pub kinds: &'static [&'static str],
    /// Type of the condition.
    pub type_: &'static str,
    /// Who writes it.
    pub writer: &'static str,
    /// The question that the condition answers.
    pub question: &'static str,
    /// What holds for all its reasons; may be empty.
    pub note: &'static str,
    /// Its reasons.
    pub reasons: &'static [Reason],
}

/// Every condition that we write on our own kinds, in the order in which people should read them.
pub const CATALOGUE: &[Catalogue] = &[
    ProfileAccepted::CATALOGUE,
    Accepted::CATALOGUE,
    PeeringReady::CATALOGUE,
    Degraded::CATALOGUE,
    SourceReady::CATALOGUE,
    Delivered::CATALOGUE,
    Wired::CATALOGUE,
    Trusted::CATALOGUE,
    Fresh::CATALOGUE,
    Connected::CATALOGUE,
    LinkReady::CATALOGUE,
    Withdrawn::CATALOGUE,
    MemberReady::CATALOGUE,
    MemberReported::CATALOGUE,
    Validated::CATALOGUE,
    Configured::CATALOGUE,
    Compatible::CATALOGUE,
    Deleted::CATALOGUE,
];

/// A text that is none of a condition's reasons, such as one of a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownReason;

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a reason of this condition")
    }
}

impl Error for UnknownReason {}

/// Declares an enum of reasons whose variant names are what stands in `reason`.
///
/// `Name, [kinds], CONDITION, by "writer", "question", "note" { Variant = Status, "meaning", "cause", "action"; … }`
macro_rules! reasons {
    (
        $(#[$meta:meta])*
        $name:ident, $kinds:expr, $type_:expr, by $writer:literal, $question:literal, $note:literal {
            $($variant:ident = $status:ident, $meaning:literal, $cause:literal, $action:literal;)+
        }
    ) => {
        $(#[$meta])*
        // The meanings double as documentation, and read better in the catalogue without backticks.
        #[allow(clippy::doc_markdown)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant),+ }

        impl $name {
            /// Every reason, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The condition as the catalogue tells it.
            pub const CATALOGUE: $crate::peering::reasons::Catalogue = $crate::peering::reasons::Catalogue {
                kinds: $kinds,
                type_: $type_,
                writer: $writer,
                question: $question,
                note: $note,
                reasons: &[$(Self::$variant.reason()),+],
            };

            const fn reason(self) -> $crate::peering::reasons::Reason {
                match self {
                    $(Self::$variant => $crate::peering::reasons::Reason {
                        name: stringify!($variant),
                        status: $crate::Status::$status,
                        meaning: $meaning,
                        cause: $cause,
                        action: $action,
                    }),+
                }
            }

            /// The text in a condition's `reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.reason().name
            }

            /// The status that the reason goes with.
            #[must_use]
            pub const fn status(self) -> $crate::Status {
                self.reason().status
            }

            /// What it says about the object.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                self.reason().meaning
            }

            /// What usually brings it about.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                self.reason().cause
            }

            /// What people should do.
            #[must_use]
            pub const fn action(self) -> &'static str {
                self.reason().action
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::peering::reasons::UnknownReason;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|reason| reason.as_str() == text);
                found.copied().ok_or($crate::peering::reasons::UnknownReason)
            }
        }
    };
}
use reasons;
