//! What is taken back, and in which order: nothing may use what is gone. First Ramen's cluster, then the entry in its
//! configuration (that is done for all `MirrorPeer`s at once), then the bucket and its credentials.
use peering_api::{
    kube::ResourceExt,
    names::FORCE_LOCAL_ANNOTATION,
    odf::{DRCluster, DRPolicy, FINALIZER, MirrorPeer},
    peering::reasons::Deleted,
};

use super::{
    buckets::{StoreKey, stores, users},
    change::{Change, Decision},
    client,
    ownership::{is_managed, is_ours},
    plan::protects_same,
    provider,
    seen::{Foreign, Observed, Ramen, is_leaving},
    status,
};
use crate::{mapping, names};

/// What is to be written, and what is waited for.
#[derive(Debug, Default)]
pub(super) struct Taking {
    pub(super) changes: Vec<Change>,
    pub(super) waiting: Vec<String>,
}

/// Decides for a `MirrorPeer` that is being deleted.
pub(super) fn decide(seen: &Observed) -> Decision {
    if !seen.peer.finalizers().iter().any(|known| known == FINALIZER) {
        return Decision::default();
    }
    let told = |reason: Deleted, message: String| Some(status::deleting(seen, reason, message));
    if let Some(problem) = blocked(seen) {
        return Decision {
            changes: Vec::new(),
            status: told(Deleted::DeletionFailed, problem),
        };
    }
    if matches!(seen.dr_policies, Foreign::Pending) {
        return Decision {
            changes: Vec::new(),
            status: told(
                Deleted::DeletionInProgress,
                "it is not known yet which DRPolicies there are".to_owned(),
            ),
        };
    }
    let mut taking = unused_stores(seen);
    peering(seen, &names::token_peering(&seen.peer.name_any()), &mut taking);
    let classes = classes(seen);
    if classes.waiting.is_empty() {
        tickets(seen, &mut taking);
    }
    taking.changes.extend(classes.changes);
    taking.waiting.extend(classes.waiting);
    if taking.waiting.is_empty() {
        return Decision {
            changes: vec![Change::Release],
            status: None,
        };
    }
    let message = format!(
        "MirrorPeer is being deleted: waiting for {} to go",
        taking.waiting.join(", ")
    );
    Decision {
        changes: taking.changes,
        status: told(Deleted::DeletionInProgress, message),
    }
}

/// Takes the names of replication classes back from storage operators.
pub(super) fn classes(seen: &Observed) -> Taking {
    let mut taking = Taking::default();
    peering(seen, &names::class_peering(&seen.peer.name_any()), &mut taking);
    taking
}

/// Takes back what two providers have of each other, once no other pair of their clients needs it. First they forget which
/// client belongs to which.
fn tickets(seen: &Observed, taking: &mut Taking) {
    let mapped = mapping::remaining(&seen.peer, &seen.others, &seen.clients, &seen.mappings);
    if !mapped.is_empty() {
        let clusters = mapped.join(", ");
        taking
            .waiting
            .push(format!("the entry in storage-client-mapping on cluster {clusters}"));
        return;
    }
    if let Some(name) = provider::peering(&seen.peer.spec, &seen.clients).filter(|name| !client::shares(seen, name)) {
        peering(seen, &name, taking);
    }
}

/// Why it must not go yet: a policy protects applications between its clusters. One that another `MirrorPeer` stands in for
/// may go.
fn blocked(seen: &Observed) -> Option<String> {
    let same = |other: &&std::sync::Arc<MirrorPeer>| !is_leaving(other.as_ref()) && protects_same(other, &seen.peer);
    if seen.others.iter().any(|other| same(&other)) {
        return None;
    }
    let items = &seen.peer.spec.items;
    let needs = |policy: &DRPolicy| {
        let named = |cluster: &String| policy.spec.dr_clusters.contains(cluster);
        !items.is_empty() && items.iter().all(|item| named(&item.cluster_name))
    };
    let policy = seen.dr_policies.known()?.iter().find(|policy| needs(policy))?;
    let (policy, peer) = (policy.name_any(), seen.peer.name_any());
    Some(format!(
        "DRPolicy '{policy}' exists and requires MirrorPeer '{peer}': delete the DRPolicy first"
    ))
}

/// Takes back the stores of this `MirrorPeer` that no live one uses.
pub(super) fn unused_stores(seen: &Observed) -> Taking {
    let mut taking = Taking::default();
    for key in stores(seen) {
        if users(seen, &key).is_empty() && !needed(seen, &key) {
            store(seen, &key, &mut taking);
        }
    }
    taking
}

/// Whether a policy needs the cluster of a store, although its `MirrorPeer` has `manageS3` switched off.
fn needed(seen: &Observed, key: &StoreKey) -> bool {
    if is_leaving(seen.peer.as_ref()) {
        return false;
    }
    match &seen.dr_policies {
        Foreign::Pending => true,
        Foreign::Missing => false,
        Foreign::Known(policies) => policies
            .iter()
            .any(|policy| policy.spec.dr_clusters.iter().any(|name| name == key.dr_cluster())),
    }
}

fn store(seen: &Observed, key: &StoreKey, taking: &mut Taking) {
    // Nothing but a Peering of ours tells that the store was ever made.
    let made = seen
        .peerings
        .get(&key.peering())
        .is_some_and(|peering| is_ours(peering.as_ref()));
    if !made {
        return;
    }
    match &seen.dr_clusters {
        Foreign::Pending => taking.waiting.push(format!("DRCluster {}", key.dr_cluster())),
        Foreign::Missing => {}
        Foreign::Known(clusters) => {
            let known = clusters.get(key.dr_cluster()).filter(|cluster| is_managed(cluster));
            // One that uses another store is somebody else's; it is made anew if this one has to go from under it.
            let uses = |cluster: &&std::sync::Arc<DRCluster>| cluster.spec.s3_profile_name == key.profile();
            if let Some(cluster) = known.filter(uses) {
                let delete = (!is_leaving(cluster.as_ref())).then(|| Change::DeleteDRCluster(cluster.clone()));
                taking.changes.extend(delete);
                taking.waiting.push(format!("DRCluster {}", key.dr_cluster()));
                return;
            }
        }
    }
    match &seen.ramen {
        Ramen::Pending => taking.waiting.push("Ramen's configuration".to_owned()),
        Ramen::Known { record, .. } if record.profiles.contains_key(&key.profile()) => {
            taking.waiting.push(entry(seen, &key.profile()));
        }
        _ => peering(seen, &key.peering(), taking),
    }
}

/// The entry that is waited for, and who keeps it.
fn entry(seen: &Observed, profile: &str) -> String {
    let mut clusters = seen.dr_clusters.known().into_iter().flatten();
    let user = clusters.find(|(_, cluster)| cluster.spec.s3_profile_name == profile);
    let user = user.map(|(name, _)| format!(", which DRCluster {name} uses"));
    format!("entry {profile} in Ramen's configuration{}", user.unwrap_or_default())
}

fn peering(seen: &Observed, name: &str, taking: &mut Taking) {
    let Some(known) = seen.peerings.get(name).filter(|known| is_ours(known.as_ref())) else {
        return;
    };
    let forced = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations
            .get(FORCE_LOCAL_ANNOTATION)
            .is_some_and(|value| value == "true")
    };
    if !is_leaving(known.as_ref()) {
        taking.changes.push(Change::DeletePeering(known.clone()));
    } else if forced(seen.peer.annotations()) && !forced(known.annotations()) {
        taking.changes.push(Change::ForcePeering(known.clone()));
    }
    taking.waiting.push(format!("Peering {name}"));
}
