//! Reasons of the receiving half: the conditions of `PeerLink`.
use super::{CONNECTED, DELIVERED, FRESH, READY, TRUSTED, WIRED, WITHDRAWN, reasons};

reasons! {
    /// Reasons of `Delivered` on a link.
    Delivered, &["PeerLink"], DELIVERED, by "the destination's agent",
    "does the target hold the newest content that arrived?",
    "What was delivered before stays in place in every case with status False. `StaleRevision`, `EnvelopeRejected` and `WrongRecipient` are counted in `orchestrator_refused_envelopes_total{reason=…}` of the agent, each distinct envelope once." {
        Delivered = True,
            "the target holds the content",
            "–",
            "nothing";
        WaitingForEnvelope = False,
            "no envelope has arrived, or the sender's key is not known yet",
            "new link, source not ready, ManifestWork not applied yet",
            "see `SourceReady`, then ManifestWork `peering-<name>` in the destination's cluster namespace";
        TargetConflict = False,
            "the target exists and belongs to someone else; it was not touched",
            "an object of that name was there before; another Peering writes to it",
            "delete the object, or choose another target in the profile";
        NamespaceNotFound = False,
            "the target's namespace vanished",
            "namespace deleted while the agent wrote. A namespace that was never there shows as `WaitingForEnvelope` or `ApplyFailed`, since without it the agent's Role is missing too",
            "create the namespace";
        StaleRevision = False,
            "the envelope holds a lower revision than was delivered already; it was refused",
            "a replayed envelope; a hub restored from a backup",
            "change the source, or touch nothing and wait if the hub is being restored: a new revision is always higher";
        EnvelopeRejected = False,
            "the envelope is damaged, forged, of an unknown version, or sealed where a plain one was expected (or the other way round); it was refused",
            "the carrier Secret or ConfigMap was edited; a key on the hub is not the one that sealed; the agents' versions differ",
            "restore the carrier (OCM's work agent does by itself); compare fingerprints on both clusters; upgrade the agent that the message names";
        WrongRecipient = False,
            "the envelope belongs to another link, or is sealed to another key; it was refused",
            "the carrier was edited; the agent has a new key and the source has not sealed anew yet",
            "wait a moment; if it lasts, compare the fingerprint on PeerMember with that in the agent's log";
        TemplateFailed = False,
            "the object to deliver cannot be built from what arrived",
            "`deliver` of the profile does not fit the payload: an expression fails, or what comes out is no valid object",
            "correct the profile; the message names the field";
        PayloadTooLarge = False,
            "the target would be larger than the API server accepts",
            "many links write into one target; foreign content fills it",
            "narrow `payload`, or choose a target for each source; the message gives size and limit";
        ApplyFailed = False,
            "the destination's API server refused to let the agent read or write the target",
            "rights not there yet, namespace missing, admission webhook or quota",
            "see the message for code and reason; see ManifestWork `peering-<name>`";
    }
}

reasons! {
    /// Reasons of `Wired` on a link.
    Wired, &["PeerLink"], WIRED, by "the destination's agent, where the artefact has `wire`",
    "do the consumers know of the target?", "" {
        Wired = True,
            "every consumer is set up as the profile says",
            "–",
            "nothing";
        ConsumerMissing = False,
            "an object that should be changed does not exist, or its kind is not installed; the target is delivered",
            "the consumer is not created yet, wrong name or namespace",
            "create it, or correct parameters or profile; it is picked up at once";
        PatchRejected = False,
            "the destination's API server refused the change of a consumer; the target is delivered",
            "rights not there yet, admission webhook, or the change does not fit the consumer's schema",
            "see the message for object, code and reason";
        WireConflict = False,
            "the place that should be changed holds a value of someone else; it was not touched",
            "set by hand or by another controller; another Peering wires the same place",
            "remove that value, or choose another place in the profile";
        TemplateFailed = False,
            "a change cannot be built from what arrived, or makes no sense for its consumer; nothing was written there",
            "`wire` of the profile does not fit the payload or the consumer: an expression fails, a path leads through a list",
            "correct the profile; the message names entry and place";
        WaitingForDelivery = Unknown,
            "nothing is wired before the target is delivered for the first time",
            "new link",
            "see `Delivered`";
    }
}

reasons! {
    /// Reasons of `Trusted` on a link.
    Trusted, &["PeerLink"], TRUSTED, by "the destination's agent, where the artefact has a `tls` probe",
    "do the delivered certificates trust what the endpoint serves?", "" {
        Trusted = True,
            "the endpoint serves a chain that the delivered certificates trust",
            "–",
            "nothing";
        OverlapPending = True,
            "after a rotation old and new certificates stand together until the overlap is over",
            "a CA was rotated",
            "nothing";
        CAMismatch = False,
            "the endpoint serves a chain that the delivered certificates do not trust",
            "the CA was rotated and the source does not hold the new one yet; a proxy in between; the wrong endpoint",
            "compare the fingerprints in the message; bring the source up to date, or set the member's CA override";
        CAExpired = False,
            "the certificate that the endpoint's chain leads to has expired, or is not valid yet",
            "the CA was not renewed; a clock is wrong",
            "renew the CA at the source; compare the clocks";
        Unreachable = False,
            "the endpoint cannot be reached, so what it serves is not known",
            "endpoint down, firewall, wrong address",
            "try the address in the message from the destination cluster";
        ProbeFailed = False,
            "the probe cannot be made as the profile asks for it, or the endpoint does not speak TLS",
            "wrong address, or an expression that fails; the delivered bundle holds no certificate",
            "see the message for what was expected and seen; correct the probe";
        ProbePending = Unknown,
            "the endpoint has not been probed yet",
            "new link, or the agent has just started",
            "wait for the first probe";
    }
}

reasons! {
    /// Reasons of `Fresh` on a link.
    Fresh, &["PeerLink"], FRESH, by "the destination's agent, where what was delivered expires",
    "has it not expired?", "" {
        Fresh = True,
            "it has not expired, and its renewal is not due",
            "–",
            "nothing";
        RenewalDue = True,
            "it still works, and the source should replace it by now",
            "the renewal is under way; the agent of the source was away",
            "nothing; if it lasts, see `SourceReady`";
        RenewalFailing = False,
            "it still works, but its renewal has failed; the message tells until when",
            "the source cluster cannot be reached or refuses to issue; its owner does not renew it",
            "see `SourceReady`; renew the source by hand before it expires";
        Expired = False,
            "it has expired and works no longer",
            "the renewal has failed, or nobody renews the source",
            "see `SourceReady`; renew the source";
    }
}

reasons! {
    /// Reasons of `Connected` on a link.
    Connected, &["PeerLink"], CONNECTED, by "the destination's agent, where the artefact has probes",
    "does what was delivered work?",
    "A probe must fail several times in a row before the status changes." {
        Connected = True,
            "every probe succeeds",
            "–",
            "nothing";
        Unreachable = False,
            "the other side cannot be reached",
            "endpoint down, firewall, wrong address or name",
            "try the address in the message from the destination cluster";
        Unauthorized = False,
            "the other side answers and refuses the delivered credential",
            "revoked or expired, its account was deleted, the credential belongs to another cluster",
            "see `Fresh` and `SourceReady`; renew the source";
        NotSynced = False,
            "the consumer has the credential and reports that it is not in step with the other side",
            "the consumer's own trouble; it may need time after a change",
            "see the status of the object that the message names";
        ProbeFailed = False,
            "a probe fails in another way: an unexpected answer, or its expression cannot be evaluated",
            "wrong path or expected status in the profile; the consumer's status has another shape",
            "see the message for what was expected and seen; correct the probe or the consumer";
        ProbePending = Unknown,
            "no probe has finished yet",
            "new link, or the agent has just started",
            "wait for the first probe";
    }
}

reasons! {
    /// Reasons of `Ready` on a link, besides those of the condition that holds it back.
    LinkReady, &["PeerLink"], READY, by "the manager",
    "what is the first thing that stands in the link's way? The reasons of the conditions above are repeated; these are its own:",
    "`Ready=True` says that what arrived was delivered and stood every probe that the profile asks for. It does not say that no newer revision is under way." {
        Ready = True,
            "the content is where it belongs, and works as far as it is probed",
            "–",
            "nothing";
        WaitingForAgent = False,
            "the agent of one of the two clusters has not published its key",
            "agent not installed or not running; not registered at the hub; malformed key Secret",
            "the message names the cluster: see its ManagedClusterAddOn, then its PeerMember";
        IdentityChanged = False,
            "one of the two clusters has come back under its name with another public key; nothing is handed over until that is confirmed",
            "the cluster was reinstalled or its agent's key Secret was lost; or somebody else poses as that cluster",
            "see `Accepted` of the Peering";
        WaitingForDestination = Unknown,
            "the destination's agent has not reported on this link",
            "new link; agent not running or without connection to the hub",
            "see the ManagedClusterAddOn of the destination";
        AgentUnreachable = Unknown,
            "the agent of one of the two clusters has not renewed its Lease; what it said last may be out of date, what was delivered stays in place",
            "agent not running, cluster down, or no connection to the hub",
            "the message names the cluster: see `Available` of its ManagedClusterAddOn";
    }
}

reasons! {
    /// Reasons of `Withdrawn` on a link.
    Withdrawn, &["PeerLink"], WITHDRAWN, by "the destination's agent while the PeerLink is being deleted",
    "is what the link had written gone?", "" {
        Withdrawn = True,
            "what the link had written is gone, or was released (`deletionPolicy: Orphan`)",
            "–",
            "nothing; the manager lets the PeerLink go";
        WithdrawFailed = False,
            "the destination's API server refused the removal, or the agent may no longer read the target",
            "rights or namespace removed by hand, admission webhook",
            "see the message; restore the right or remove the target by hand";
    }
}
