//! The snapshot in the words in which `exchange::plan` asks for it.
use std::collections::{BTreeMap, BTreeSet};

use exchange::{
    plan::{Facts, LinkFacts, MemberFacts},
    rights::consumers,
};
use peering_api::peering::{FormerConsumer, PeerExportStatus, PeerLink, condition, reasons};

use super::works::export_of;
use crate::peering::hub::{Cluster, Observed};

/// What planning looks at.
pub(super) fn of(seen: &Observed) -> Facts {
    let clusters = seen.clusters.iter();
    Facts {
        members: clusters
            .map(|(name, cluster)| (name.clone(), member(cluster)))
            .collect(),
        placement: seen.placement.clone(),
        known: known(seen),
        links: links(seen),
        claims: seen.claims.clone(),
    }
}

fn member(cluster: &Cluster) -> MemberFacts {
    MemberFacts {
        managed: cluster.managed,
        is_hub: cluster.is_hub,
        installed: cluster.installed(),
        public_key: cluster.public_key.clone(),
        previous_public_key: cluster.previous_public_key.clone(),
        confirmed: cluster.confirmed.clone(),
        api_server: cluster.api_server.clone(),
    }
}

fn known(seen: &Observed) -> BTreeMap<String, String> {
    let status = seen.peering.as_ref().and_then(|peering| peering.status.as_ref());
    let members = status.into_iter().flat_map(|status| &status.members);
    members
        .map(|known| (known.cluster.clone(), known.fingerprint.clone()))
        .collect()
}

fn links(seen: &Observed) -> BTreeMap<String, LinkFacts> {
    let link = |link: &PeerLink| {
        let status = link.status.clone().unwrap_or_default();
        let export = export_of(seen, &link.spec).and_then(|export| export.status.as_ref());
        let published = export.and_then(|status| status.revision);
        let targets = [&link.spec.target.object].into_iter().chain(&link.spec.previous);
        let facts = LinkFacts {
            certificate_request: status.certificate_request,
            used: status.used.is_some(),
            // Only an export that has fallen behind its destinations is told, as after a restored backup of the hub.
            applied_revision: status.applied_revision.filter(|applied| Some(*applied) > published),
            carrier: Some(link.spec.carrier.clone()),
            targets: targets.cloned().collect(),
            wired: wired(link),
            awaited_sender: awaited_sender(link, export),
        };
        (link.spec.id.clone(), facts)
    };
    seen.links.iter().map(|found| link(found)).collect()
}

/// The key of the source before the current one, while the destination has not applied what is published now: what lies on
/// its cluster may still be sealed by that key, after its owner has dropped it.
fn awaited_sender(link: &PeerLink, export: Option<&PeerExportStatus>) -> Option<String> {
    let export = export?;
    let own = export.envelopes.iter().find(|envelope| envelope.link == link.spec.id);
    let published = own.and_then(|envelope| envelope.revision).or(export.revision);
    let applied = link.status.as_ref().and_then(|status| status.applied_revision);
    let previous = link.spec.from.previous_public_key.clone();
    previous.filter(|_| applied < published)
}

/// The consumers that a link names, and of the former ones those that its agent has not yet found clean. Only what the
/// manager itself has named counts: an agent must not gain rights by what it reports.
fn wired(link: &PeerLink) -> BTreeSet<FormerConsumer> {
    let status = link.status.clone().unwrap_or_default();
    let delivered = condition(&status.conditions, reasons::DELIVERED);
    let current = delivered.is_some_and(|said| said.observed_generation == link.metadata.generation);
    let holds = |former: &&FormerConsumer| status.wired.iter().any(|held| held.bare() == former.object.bare());
    let left = link.spec.unwire.iter().filter(|former| !current || holds(former));
    consumers(&link.spec.wire).into_iter().chain(left.cloned()).collect()
}
