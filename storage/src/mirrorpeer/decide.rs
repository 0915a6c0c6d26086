//! What is to be written for one `MirrorPeer`, and what users are told. Ramen's configuration is edited elsewhere, for all.
use std::{fmt, sync::Arc};

use peering_api::{
    kube::ResourceExt,
    ocm::ManifestWork,
    odf::{BACKUP_LABEL, BACKUP_RESOURCE, CREATED_BY, CREATED_BY_LABEL, DRCluster, FINALIZER, SPOKE_FINALIZER_SUFFIX},
    peering::{Peering, PeeringSpec},
};

use super::{
    mode::Mode,
    plan::{Plan, StoreUse, plan},
    removal,
    seen::{Observed, Ramen, is_leaving},
    status::{self, Status},
};
use crate::{odf_info, ramen};

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

/// Decides.
#[must_use]
pub fn decide(seen: &Observed) -> Decision {
    // Deletion is handled before validation: what could never be served can always go.
    if is_leaving(seen.peer.as_ref()) {
        return removal::decide(seen);
    }
    let mut changes = Vec::new();
    changes.extend(needs_adoption(seen).then_some(Change::Adopt));
    let plan = plan(seen);
    if let Ok(plan) = &plan {
        changes.extend(record(seen, plan));
        let legacy = seen.legacy.iter().filter(|work| !is_leaving(work.as_ref()));
        changes.extend(legacy.map(|work| Change::OrphanWork(work.clone())));
        if seen.legacy.is_empty() {
            changes.extend(peerings(seen, plan));
        }
        changes.extend(plan.stores.iter().flat_map(|store| dr_cluster(seen, store)));
        if !seen.peer.spec.manage_s3 {
            changes.extend(removal::unused_stores(seen).changes);
        }
        if plan.mode == Mode::Client && plan.trouble.is_none() && plan.classes.is_none() {
            changes.extend(removal::classes(seen).changes);
        }
    }
    Decision {
        changes,
        status: Some(status::live(seen, &plan)),
    }
}

fn needs_adoption(seen: &Observed) -> bool {
    let peer = &seen.peer;
    let finalizers = peer.finalizers();
    !finalizers.iter().any(|known| known == FINALIZER)
        || finalizers.iter().any(|known| known.ends_with(SPOKE_FINALIZER_SUFFIX))
        || peer.labels().get(BACKUP_LABEL).map(String::as_str) != Some(BACKUP_RESOURCE)
}

/// Before anything is made for clients, it is noted down who they are.
fn record(seen: &Observed, plan: &Plan) -> Option<Change> {
    let wanted = (plan.tokens.is_some() && plan.mode == Mode::Client)
        .then(|| odf_info::record(&seen.peer.spec, &seen.clients))?;
    let known = seen.peer.annotations().get(odf_info::RECORD_ANNOTATION);
    (known != Some(&wanted)).then_some(Change::Record(wanted))
}

fn peerings(seen: &Observed, plan: &Plan) -> Vec<Change> {
    let tokens = plan.tokens.iter().map(|tokens| (&tokens.peering, &tokens.spec));
    let stores = plan.stores.iter();
    let stores = stores.filter_map(|store| Some((&store.peering, store.spec.as_ref()?)));
    let classes = plan.classes.iter().map(|classes| (&classes.peering, &classes.spec));
    let wanted = tokens.chain(stores).chain(classes).filter(|(name, spec)| {
        // One that is leaving is made anew once it is gone.
        seen.peerings
            .get(*name)
            .is_none_or(|known| !is_leaving(known.as_ref()) && !says(known, spec))
    });
    wanted
        .map(|(name, spec)| Change::ApplyPeering(name.clone(), Box::new(spec.clone())))
        .collect()
}

/// Whether a Peering says what we want of it. What else users set, such as `paused` or `trust`, is theirs.
fn says(known: &Peering, wanted: &PeeringSpec) -> bool {
    let spec = &known.spec;
    spec.profile == wanted.profile
        && spec.members == wanted.members
        && spec.parameters == wanted.parameters
        && is_ours(known)
}

/// Whether we have made an object.
pub(super) fn is_ours<K: ResourceExt>(object: &K) -> bool {
    object.labels().get(CREATED_BY_LABEL).map(String::as_str) == Some(CREATED_BY)
}

/// Whether a `DRCluster` was made for a `MirrorPeer`, by us or by the Go orchestrator.
pub(super) fn is_managed(cluster: &DRCluster) -> bool {
    is_ours(cluster) || owned_by_peer(cluster)
}

fn owned_by_peer(cluster: &DRCluster) -> bool {
    cluster
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "MirrorPeer")
}

fn dr_cluster(seen: &Observed, store: &StoreUse) -> Vec<Change> {
    let (Some(known), Ramen::Known { text: Some(text), .. }) = (seen.dr_clusters.known(), &seen.ramen) else {
        return Vec::new();
    };
    let name = &store.key.dr_cluster().to_owned();
    let apply = || Change::ApplyDRCluster(name.clone(), store.profile.clone());
    // Ramen would complain of one whose entry it does not know.
    let is_told = matches!(ramen::profile(text, &store.profile), Ok(Some(_)));
    match known.get(name) {
        None if is_told => vec![apply()],
        Some(cluster) if !is_leaving(cluster.as_ref()) && is_managed(cluster) => {
            let differs = cluster.spec.s3_profile_name != store.profile && is_told;
            let apply = (differs || !is_ours(cluster.as_ref())).then(apply);
            let disown = owned_by_peer(cluster).then(|| Change::DisownDRCluster(cluster.clone()));
            apply.into_iter().chain(disown).collect()
        }
        _ => Vec::new(),
    }
}
