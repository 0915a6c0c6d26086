//! Reasons of the source's half: `SourceReady` on `PeerExport`, copied to `PeerLink`.
use super::{SOURCE_READY, reasons};

reasons! {
    /// Reasons of `SourceReady` on an export and its links.
    SourceReady, &["PeerExport", "PeerLink"], SOURCE_READY,
    by "the source's agent on the PeerExport and copied to the PeerLinks by the manager",
    "does the source have valid content?",
    "With status False, what was published before stays in force." {
        Published = True,
            "the source was read and published",
            "–",
            "nothing";
        PartlyInvalid = True,
            "some certificates of a CA source are malformed and left out, the others are published",
            "edited by hand, cut short, not base64",
            "correct the block that the message names";
        SourceNotFound = False,
            "the source object does not exist",
            "not created yet, wrong name or namespace",
            "create it, or correct parameters or profile; it is picked up at once";
        KindNotFound = False,
            "the source cluster does not know the kind of an input or of an object to provision",
            "the operator that brings the CRD is not installed yet, or another version of it is",
            "install it, or correct `apiVersion` and `kind` in the profile; it is picked up at once";
        SourceForbidden = False,
            "the agent may not read the source",
            "the ManifestWork of the Peering has not been applied yet; the source's namespace does not exist, so that no Role can be made in it",
            "see ManifestWork `peering-<name>` in the source's cluster namespace; create the namespace";
        SourceInvalid = False,
            "the source is empty, has an empty value, lacks a key that the profile asks for, or holds no valid certificate",
            "emptied or half-written source",
            "fill or correct it";
        NotReadyYet = False,
            "`readyWhen` of the artefact is false: the source exists, but its owner has not finished it",
            "normal for a moment while an operator fills the object; lasting if that operator is stuck",
            "see the status of the input that the message names";
        EvaluationFailed = False,
            "an expression of the artefact failed on what the inputs hold, or cost too much",
            "a field that the expression reads is absent or of another type",
            "guard the expression (`has(…)`) or use `readyWhen`; the message names artefact, field and position";
        ProvisionFailed = False,
            "an object that the artefact provisions on the source cluster could not be applied",
            "the API server refused it (rights, admission webhook, quota), or an object of that name belongs to someone else",
            "see the message for object, code and reason; see ManifestWork `peering-<name>`";
        IssueDenied = False,
            "the source cluster refused to issue the token or the certificate",
            "the ServiceAccount does not exist, the right is missing, or the signer or an admission webhook says no",
            "see the message for code and reason; create the ServiceAccount or correct the profile";
        IssuePending = False,
            "the source cluster has been asked for a certificate and has not signed it yet",
            "no controller signs for the API server's client signer; it is slow",
            "see the CertificateSigningRequest that the message names, and the controller manager of the source cluster";
        WaitingForRequest = False,
            "the receiver's certificate request has not arrived, so there is nothing to sign",
            "new link; the receiver's agent is not running or cannot reach the hub",
            "see the ManagedClusterAddOn of the destination";
        EndpointPending = False,
            "the endpoint has no address yet",
            "the load balancer, Route or Ingress has not been given one",
            "see the status of the object that the message names";
        PayloadTooLarge = False,
            "the content is larger than what a ManifestWork or Secret can carry",
            "the payload takes in more than it needs; a bundle with very many certificates",
            "narrow `payload`, or split the artefact in two; the message gives size and limit";
        WaitingForSource = Unknown,
            "(PeerLink only) the source's agent has not reported yet",
            "new link; the agent is not running or cannot reach the hub",
            "see the ManagedClusterAddOn of the source cluster";
    }
}
