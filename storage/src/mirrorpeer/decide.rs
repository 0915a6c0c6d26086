//! What is to be written for one `MirrorPeer`, and what users are told. Ramen's configuration is edited elsewhere, for all.
use peering_api::{
    kube::ResourceExt,
    odf::{BACKUP_LABEL, BACKUP_RESOURCE, FINALIZER, SPOKE_FINALIZER_SUFFIX},
    peering::{Peering, PeeringSpec},
};

use super::{
    buckets::StoreUse,
    change::{Change, Decision},
    mode::Mode,
    ownership::{is_managed, is_ours, owned_by_peer},
    plan::plan,
    removal,
    seen::{Observed, Ramen, is_leaving},
    status,
    wanted::Plan,
};
use crate::{odf_info, ramen};

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
