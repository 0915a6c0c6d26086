//! What the controller of `MirrorPeer`s is to look at, told by whoever sees a change: it stands below both.

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// A `MirrorPeer`.
    Peer(String),
    /// Whatever a Peering was made for.
    Peering(String),
    /// Whatever names a cluster.
    Cluster(String),
    /// All `MirrorPeer`s.
    All,
    /// What the Go orchestrator has left on the hub.
    Legacy,
    /// Ramen's configuration.
    Ramen,
    /// The replication classes of a cluster, and what it is told about storage clients.
    Classes(String),
    /// What storage operators tell about themselves.
    Info,
}
