//! What links and the Peering say about themselves.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use addon_framework::runtime::conditions::{self, Status, Wanted};
use exchange::state::{self, EndState, LinkSummary, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::peering::{KnownMember, LinkEnd, Peering, PeeringStatus};

use super::{Change, Target, is_leaving, place, works::export_of};
use crate::peering::hub::Observed;

fn condition(verdict: &Verdict, generation: Option<i64>) -> Wanted {
    let status = verdict.status.map_or(Status::Unknown, Status::from);
    Wanted::new(verdict.type_, status, &verdict.reason, &verdict.message).at(generation)
}

/// An end of a link; its key counts only if the link names it.
fn end(seen: &Observed, end: &LinkEnd, unconfirmed: &BTreeSet<String>) -> EndState {
    let cluster = end.cluster.as_str();
    let addon = seen.clusters.get(cluster).and_then(|cluster| cluster.addon.as_ref());
    EndState {
        cluster: cluster.to_owned(),
        has_key: end.public_key.is_some(),
        changed: unconfirmed.contains(cluster),
        silent: addon.is_some_and(|addon| addon.silent),
    }
}

/// Judges every wanted link; adds a change where its conditions say something else.
pub(super) fn links(
    seen: &Observed,
    target: &Target,
    unconfirmed: &BTreeSet<String>,
    changes: &mut Vec<Change>,
) -> Vec<LinkSummary> {
    let known: BTreeMap<_, _> = seen.links.iter().map(|link| (place(link.as_ref()), link)).collect();
    let mut summaries = Vec::new();
    for (place, spec) in &target.links {
        let link = known.get(place).filter(|link| !is_leaving(link.as_ref()));
        let status = link.and_then(|link| link.status.clone()).unwrap_or_default();
        let export = export_of(seen, spec).and_then(|export| export.status.as_ref());
        let export = export.map(|status| status.conditions.as_slice());
        let from = end(seen, &spec.from, unconfirmed);
        let to = end(seen, &spec.to, unconfirmed);
        let source = state::source_ready(export.unwrap_or_default(), &from);
        let ready = state::link_ready(&source, &status.conditions, &state::required(spec), &from, &to);
        if let Some(link) = link {
            let generation = link.metadata.generation;
            let wanted = [condition(&source, generation), condition(&ready, generation)];
            if let Some(new) = conditions::changed(&status.conditions, &wanted, seen.now) {
                changes.push(Change::LinkStatus((*link).clone(), new));
            }
        }
        summaries.push(LinkSummary {
            name: format!("{} from {} to {}", spec.artefact, spec.from.cluster, spec.to.cluster),
            ready,
            expires_at: status.expires_at.map(|at| at.0),
            worked: status.applied_revision.is_some(),
        });
    }
    summaries
}

/// The status of the Peering, where it says something else.
pub(super) fn peering(
    seen: &Observed,
    peering: &Arc<Peering>,
    accepted: &Verdict,
    members: Vec<KnownMember>,
    links: &[LinkSummary],
) -> Option<Change> {
    let (counts, ready, next) = state::peering_ready(links);
    let generation = peering.metadata.generation;
    let old = peering.status.clone().unwrap_or_default();
    let wanted = [accepted, &ready, &state::peering_degraded(links)].map(|verdict| condition(verdict, generation));
    let new = PeeringStatus {
        links: Some(counts),
        members,
        next_expiration: next.map(Time),
        conditions: wanted
            .iter()
            .map(|wanted| conditions::merge(&old.conditions, wanted, seen.now))
            .collect(),
    };
    let same = conditions::changed(&old.conditions, &wanted, seen.now).is_none()
        && (&old.links, &old.members, &old.next_expiration) == (&new.links, &new.members, &new.next_expiration);
    (!same).then(|| Change::PeeringStatus(peering.clone(), Box::new(new)))
}
