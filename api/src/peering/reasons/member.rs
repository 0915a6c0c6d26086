//! Reasons on `PeerMember`.
use super::{READY, REPORTED, reasons};

reasons! {
    /// Reasons of `Ready` on a member.
    MemberReady, &["PeerMember"], READY, by "the cluster's agent",
    "does the agent run, with a key that may be used?", "" {
        AgentRunning = True,
            "the agent runs and has published its key",
            "–",
            "nothing";
        KeyRotating = True,
            "the agent has a new key pair and keeps the old one until everything is sealed to the new one",
            "the key pair is being rotated",
            "nothing; if it lasts, see which PeerLinks to and from this cluster are not ready";
        KeyInvalid = False,
            "Secret `token-exchange-agent-key` in the agent's namespace is malformed; it is not overwritten, and the key published before stays",
            "edited by hand, restored wrongly",
            "restore it, or delete it to get a new key pair";
        IdentityChanged = False,
            "the agent's key is not the one by which Peerings know this cluster; nothing is sealed to it until that is confirmed",
            "the cluster was reinstalled or its agent's key Secret was lost; or somebody else poses as that cluster",
            "compare the fingerprint on the PeerMember with that in the log of the agent on the cluster itself; if they are equal, confirm the new key as the message says";
    }
}

reasons! {
    /// Reasons of `Reported` on a member.
    MemberReported, &["PeerMember"], REPORTED, by "the cluster's agent",
    "does `status.reports` show what `spec.reports` asks for?",
    "The condition is there while something is asked for. What was reported before stays in every case with status False." {
        Reported = True,
            "everything that is asked for is shown",
            "–",
            "nothing";
        ReportNotFound = False,
            "a ConfigMap that is asked for does not exist",
            "its owner has not made it yet, or has removed it",
            "see the operator that keeps it; it is picked up at once";
        ReportForbidden = False,
            "the agent may not read a ConfigMap that is asked for",
            "the right has not arrived yet, or its namespace does not exist",
            "see ManifestWork `addon-tokenexchange-deploy-0` in the cluster's namespace";
        ReportTooLarge = False,
            "a ConfigMap that is asked for is larger than what a PeerMember has room for",
            "it holds more than its owner usually writes",
            "see the message for size and limit";
    }
}
