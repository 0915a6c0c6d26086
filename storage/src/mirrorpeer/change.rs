//! The words in which it is said what to write for a `MirrorPeer`.
use std::{fmt, sync::Arc};

use peering_api::{
    kube::ResourceExt,
    ocm::ManifestWork,
    odf::DRCluster,
    peering::{Peering, PeeringSpec},
};

use super::status::Status;

/// One write to the hub.
#[derive(Clone, Debug)]
pub enum Change {
    /// Our finalizer and the label for backups go on, finalizers of the Go orchestrator's agents go off.
    Adopt,
    /// Our finalizer goes off.
    Release,
    /// The `MirrorPeer` notes down who its clients are: so that it can be taken back when nobody tells any more.
    Record(String),
    /// A work of the Go orchestrator goes, and what it has delivered stays.
    OrphanWork(Arc<ManifestWork>),
    /// A Peering is made or brought into shape.
    ApplyPeering(String, Box<PeeringSpec>),
    /// A Peering goes.
    DeletePeering(Arc<Peering>),
    /// A Peering that is being deleted goes without waiting for members that cannot be reached.
    ForcePeering(Arc<Peering>),
    /// A `DRCluster` uses an entry of Ramen's configuration.
    ApplyDRCluster(String, String),
    /// A `DRCluster` of the Go orchestrator would go with its `MirrorPeer`, although others may need it.
    DisownDRCluster(Arc<DRCluster>),
    /// A `DRCluster` goes.
    DeleteDRCluster(Arc<DRCluster>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopt => write!(f, "take over"),
            Self::Release => write!(f, "release"),
            Self::OrphanWork(work) => write!(f, "take over what ManifestWork {} has delivered", work.name_any()),
            Self::Record(_) => write!(f, "note down the clients"),
            Self::ApplyPeering(name, _) => write!(f, "apply Peering {name}"),
            Self::DeletePeering(peering) => write!(f, "delete Peering {}", peering.name_any()),
            Self::ForcePeering(peering) => write!(f, "force Peering {}", peering.name_any()),
            Self::ApplyDRCluster(name, _) => write!(f, "apply DRCluster {name}"),
            Self::DisownDRCluster(cluster) => write!(f, "disown DRCluster {}", cluster.name_any()),
            Self::DeleteDRCluster(cluster) => write!(f, "delete DRCluster {}", cluster.name_any()),
        }
    }
}

/// What was decided.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// What is to be written, in this order.
    pub changes: Vec<Change>,
    /// What users are told; `None` for one that is gone at once.
    pub status: Option<Status>,
}
