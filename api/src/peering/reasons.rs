//! Condition types and the closed list of their reasons. A reason is an API: scripts match on it.

/// Declares an enum of reasons whose variant names are what stands in `reason`.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// The text in a condition's `reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

/// Condition of a Peering: it can be served as it is written.
pub const ACCEPTED: &str = "Accepted";
/// Condition of a Peering (all links are ready), of a link (its content is where it belongs) and of a member.
pub const READY: &str = "Ready";
/// Condition of an export and of its links: the source has valid content.
pub const SOURCE_READY: &str = "SourceReady";
/// Condition of a link: the target holds the newest content that arrived.
pub const DELIVERED: &str = "Delivered";
/// Condition of a link that goes away: the agent has removed what the link had written.
pub const WITHDRAWN: &str = "Withdrawn";

reasons! {
    /// Reasons of `Accepted` on a Peering.
    Accepted {
        /// The Peering is served.
        Accepted,
        /// The named `ExchangeProfile` does not exist.
        ProfileNotFound,
        /// A member is not a `ManagedCluster` of this hub; the other members are served.
        MemberNotFound,
        /// The addon is not installed on a member; the other members are served.
        AddOnNotInstalled,
        /// The profile holds an expression that cannot be evaluated.
        InvalidProfile,
        /// A parameter has no value, is unknown, or leads to a name that Kubernetes refuses.
        InvalidParameters,
        /// Two links would write the same object.
        DuplicateTarget,
    }
}

reasons! {
    /// Reasons of `SourceReady` on an export and its links.
    SourceReady {
        /// The source was read and published.
        Published,
        /// Some certificates of the source are not valid; the others were published.
        PartlyInvalid,
        /// The source object does not exist.
        SourceNotFound,
        /// The source object is empty or malformed; the last good content stays in force.
        SourceInvalid,
        /// The agent may not read the source object (yet).
        SourceForbidden,
        /// The source's agent has not reported yet.
        WaitingForSource,
    }
}

reasons! {
    /// Reasons of `Delivered` on a link.
    Delivered {
        /// The target holds the content.
        Delivered,
        /// No envelope has arrived yet.
        WaitingForEnvelope,
        /// The target exists and belongs to someone else; it was not touched.
        TargetConflict,
        /// The target's namespace does not exist.
        NamespaceNotFound,
        /// The envelope holds an older revision than the target; it was refused.
        StaleRevision,
        /// The envelope is damaged, forged or of an unknown version; it was refused.
        EnvelopeRejected,
        /// The envelope belongs to another link or another cluster; it was refused.
        WrongRecipient,
        /// The API server of the destination refused the write.
        ApplyFailed,
    }
}

reasons! {
    /// Reasons of `Withdrawn` on a link.
    Withdrawn {
        /// What the link had written is gone.
        Withdrawn,
        /// The API server of the destination refused the removal.
        WithdrawFailed,
    }
}

reasons! {
    /// Reasons of `Ready` on a link, besides those of the condition that holds it back.
    LinkReady {
        /// The content is where it belongs.
        Ready,
        /// The agent of one of the two clusters has not published its key yet.
        WaitingForAgent,
        /// The destination's agent has not reported yet.
        WaitingForDestination,
    }
}

reasons! {
    /// Reasons of `Ready` on a Peering.
    PeeringReady {
        /// Every link is ready.
        AllLinksReady,
        /// At least one link is not ready.
        LinksNotReady,
        /// There is not a single link to serve.
        NoLinks,
    }
}

reasons! {
    /// Reasons of `Ready` on a member.
    MemberReady {
        /// The agent runs and has published its key.
        AgentRunning,
        /// The Secret that should hold the agent's key pair holds something else; it is never overwritten.
        KeyInvalid,
    }
}
