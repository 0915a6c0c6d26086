//! The words in which it is said what a `MirrorPeer` asks for.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::peering::PeeringSpec;

use super::{buckets::StoreUse, mode::Mode};

/// The exchange of Ceph's tokens, of tickets, or of the names of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// Name of the Peering.
    pub peering: String,
    /// What it says.
    pub spec: PeeringSpec,
}

/// What a `MirrorPeer` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which kind of storage is paired.
    pub mode: Mode,
    /// The exchange of Ceph's tokens or of tickets, where there are any.
    pub tokens: Option<Tokens>,
    /// The buckets, with `manageS3`.
    pub stores: Vec<StoreUse>,
    /// The replication classes that storage operators hand on to clients, where a policy asks for any.
    pub classes: Option<Tokens>,
    /// The clusters whose agents are needed.
    pub agents: BTreeSet<String>,
    /// What has to be cleared up before anything can be set up.
    pub trouble: Option<String>,
    /// The clients that each provider's cluster has to be told of: which of its own belongs to which of the other's.
    pub mapped: BTreeMap<String, (String, String)>,
}
