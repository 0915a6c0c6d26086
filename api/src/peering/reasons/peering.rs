//! Reasons on `ExchangeProfile` and `Peering`.
use super::{ACCEPTED, DEGRADED, READY, reasons};

reasons! {
    /// Reasons of `Accepted` on an `ExchangeProfile`.
    ProfileAccepted, &["ExchangeProfile"], ACCEPTED, by "the manager",
    "is the profile free of errors that can be seen without a Peering?", "" {
        Valid = True,
            "the profile has no error that can be seen without a Peering",
            "–",
            "nothing";
        InvalidProfile = False,
            "an expression cannot be parsed or uses a name that does not exist there, or two parts of the profile contradict each other; Peerings that use the profile keep what they have",
            "typing error in an expression or in `${…}`",
            "correct the profile; the message names artefact, field and position";
    }
}

reasons! {
    /// Reasons of `Accepted` on a Peering.
    Accepted, &["Peering"], ACCEPTED, by "the manager", "can the Peering be served as it is written?", "" {
        Accepted = True,
            "all of it is served",
            "–",
            "nothing";
        Paused = True,
            "the Peering is paused: nothing of it is made, changed or removed; what was delivered stays and agents go on repairing it",
            "`spec.paused` is set",
            "set `spec.paused` to false to go on";
        ProfileNotFound = False,
            "the named ExchangeProfile does not exist; existing links stay as they are and go on carrying changes",
            "typing error, or the profile was deleted or not yet created",
            "create the profile or correct `spec.profile`";
        PlacementNotFound = False,
            "the Placement that names the members does not exist or has not decided yet; existing links stay as they are",
            "typing error in `spec.placementRef`, the Placement was deleted, or its namespace has no ManagedClusterSetBinding",
            "create the Placement or correct `spec.placementRef`; see the Placement's conditions";
        MemberNotFound = False,
            "a member is not a ManagedCluster of this hub, or is being detached; the others are served, links from and to it go",
            "typing error, or the cluster is not imported",
            "import the cluster or remove the member";
        AddOnNotInstalled = False,
            "the addon is missing on a member or being removed; the others are served, links from and to it go",
            "normal for a moment when a member is new; lasting where the ManagedCluster opts out of automatic installation",
            "wait, or create the ManagedClusterAddOn `tokenexchange` in the cluster's namespace";
        HubNotManaged = False,
            "an artefact with flow `ToHubCluster` needs the hub among its own managed clusters, and it is not; that artefact is left out, the others are served",
            "the hub was never imported into itself",
            "import the hub as ManagedCluster `local-cluster`, or take the artefact out of the profile";
        IdentityChanged = False,
            "a member has come back under its name with another public key; links from and to it are held, the others are served",
            "the cluster was reinstalled or its agent's key Secret was lost; or somebody else poses as that cluster",
            "compare the fingerprint on the PeerMember with that in the log of the agent on the cluster itself; if they are equal, confirm the new key as the message says";
        RoleConflict = False,
            "topology or flow needs roles that the members do not have, such as a Star without a hub member; existing links stay as they are",
            "`role` is missing in `spec.members`, or the member with the hub role cannot be served",
            "correct the roles in `spec.members`; the message names what is missing";
        InvalidProfile = False,
            "an expression of the profile cannot be parsed or evaluated, or does not yield a string; existing links stay as they are",
            "error in `${…}`; `destination` used in an input, where it does not exist",
            "correct the profile; the message names artefact and field";
        InvalidParameters = False,
            "a parameter has no value or is unknown, or a name that comes out is not a valid Kubernetes name; existing links stay as they are",
            "parameter without default not set, typing error, capitals or underscores in a name",
            "set or correct `spec.parameters` or the member's `parameters`";
        DuplicateTarget = False,
            "two links would write the same object, or an object that is itself a source; these links are left out (and withdrawn if they existed), all others are served",
            "`deliver.name` of the profile is the same for every source",
            "use `${source.cluster}` in `deliver.name`";
    }
}

reasons! {
    /// Reasons of `Ready` on a Peering.
    PeeringReady, &["Peering"], READY, by "the manager", "are all links ready?", "" {
        AllLinksReady = True,
            "every link is ready",
            "–",
            "nothing; look at `Accepted` too, a member may be left out";
        LinksNotReady = False,
            "at least one link is not",
            "named in the message",
            "look at that PeerLink";
        NoLinks = False,
            "there is no link to serve",
            "fewer than two members can be served",
            "see `Accepted`";
    }
}

reasons! {
    /// Reasons of `Degraded` on a Peering.
    Degraded, &["Peering"], DEGRADED, by "the manager", "is anything wrong, or will it soon be?",
    "Here `False` is good. A link that has only just been made and waits for its first delivery does not degrade its Peering." {
        AllHealthy = False,
            "no link has failed and nothing expires soon",
            "–",
            "nothing";
        LinksFailing = True,
            "at least one link that was ready is so no longer, or cannot become so by waiting",
            "named in the message",
            "look at that PeerLink";
        Expiring = True,
            "what a link delivered expires soon and has not been renewed; it still works",
            "the source does not renew it, or the renewal fails",
            "see `Fresh` of the PeerLink that the message names";
    }
}
