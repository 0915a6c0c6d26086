//! Reasons on `MirrorPeer`: those of the Go orchestrator, which scripts wait for, and what was added.
use super::{COMPATIBLE, CONFIGURED, DELETED, VALIDATED, reasons};

reasons! {
    /// Reasons of `Validated` on a `MirrorPeer`.
    Validated, &["MirrorPeer"], VALIDATED, by "the manager", "can the MirrorPeer be served as it is written?", "" {
        MirrorPeerValid = True,
            "the MirrorPeer can be served as it is written",
            "–",
            "nothing";
        ValidationFailed = False,
            "the MirrorPeer cannot be served as it is written; what was set up before stays",
            "a cluster that is not a ManagedCluster of this hub, both items alike, another MirrorPeer for the same pair, a storage client whose storage cluster is not known",
            "do what the message says";
    }
}

reasons! {
    /// Reasons of `Configured` on a `MirrorPeer`.
    Configured, &["MirrorPeer"], CONFIGURED, by "the manager", "is everything set up that the two clusters need of each other?", "" {
        Configured = True,
            "everything is set up; `status.phase` is `Ready` and `status.message` is `Setup is completed`",
            "–",
            "nothing";
        ConfigurationInProgress = False,
            "the set-up has begun; agents are being installed where they are missing",
            "normal for a while when the MirrorPeer is new",
            "wait; the message says for what";
        ConfigurationFailed = False,
            "the set-up cannot go on",
            "named in the message, such as an ExchangeProfile that is not installed",
            "do what the message says";
        ManagedClusterAddonFailed = False,
            "the agent of a cluster cannot be installed or has fallen silent",
            "the cluster opts out of addons, or cannot be reached",
            "see the ManagedClusterAddOn `tokenexchange` in the cluster's namespace";
        PeeringInProgress = False,
            "the storage clusters are being told of each other",
            "normal for a while; lasting where a storage cluster has not made its token yet",
            "wait; see `status.links.notReady`";
        PeeringFailed = False,
            "a link between the storage clusters has failed",
            "named in `status.links.notReady`",
            "look at that PeerLink";
        S3ConfigurationInProgress = False,
            "buckets are being made and their credentials handed over to the hub",
            "normal for a while",
            "wait; see `status.links.notReady`";
        S3ConfigurationFailed = False,
            "the buckets cannot be made known to Ramen",
            "Ramen's ConfigMap is missing or malformed, the hub does not manage itself, or a link has failed",
            "do what the message says";
        DRClusterConfigurationInProgress = False,
            "the DRClusters are being made",
            "normal for a moment; lasting where Ramen is not installed on the hub",
            "wait, or install Ramen's hub operator";
        DRClusterConfigurationFailed = False,
            "a DRCluster cannot be written",
            "it exists and uses another S3 profile",
            "do what the message says";
    }
}

reasons! {
    /// Reasons of `Compatible` on a `MirrorPeer`.
    Compatible, &["MirrorPeer"], COMPATIBLE, by "the manager", "do both clusters run the same version of the storage operator?", "" {
        SameVersion = True,
            "both clusters run the same minor version of the storage operator",
            "–",
            "nothing";
        VersionUnknown = Unknown,
            "a cluster does not tell its version",
            "no storage operator, or one that does not tell",
            "nothing";
        VersionSkew = False,
            "the clusters run different minor versions of the storage operator; they are served all the same",
            "one of them has been upgraded before the other",
            "upgrade the other one as well";
    }
}

reasons! {
    /// Reasons of `Deleted` on a `MirrorPeer`.
    Deleted, &["MirrorPeer"], DELETED, by "the manager", "may the MirrorPeer go?", "The condition is there while the MirrorPeer is being deleted." {
        DeletionDone = True,
            "nothing is left of it; the MirrorPeer goes at once",
            "–",
            "nothing";
        DeletionInProgress = False,
            "what was set up is being taken back",
            "normal for a while; lasting where a cluster cannot be reached",
            "wait; for a cluster that does not come back see `force-local` in the guide";
        DeletionFailed = False,
            "the MirrorPeer is still needed",
            "a DRPolicy protects applications between the two clusters",
            "delete the DRPolicy first";
    }
}
