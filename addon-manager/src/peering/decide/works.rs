//! The `ManifestWork`s of a Peering: which envelope travels in which, and which rights go with them.
use std::collections::{BTreeMap, BTreeSet};

use exchange::{
    carry::{self, Incoming},
    key::PublicKey,
};
use kube::ResourceExt;
use peering_api::{
    names,
    peering::{LinkEnd, PeerExport, PeerLinkSpec, SealedEnvelope},
};

use super::{Change, Place, Target, goes, is_leaving, place};
use crate::peering::hub::Observed;

/// Spreads the links of each cluster over carriers; nearly always there is one.
pub(super) fn choose_carriers(seen: &Observed, target: &mut Target) {
    let mut sizes: BTreeMap<String, BTreeMap<String, (usize, Option<String>)>> = BTreeMap::new();
    for ((cluster, _), link) in &target.links {
        let size = envelope(seen, link).map_or(0, str::len);
        let of_cluster = sizes.entry(cluster.clone()).or_default();
        of_cluster.insert(link.id.clone(), (size, Some(link.carrier.clone())));
    }
    let chosen: BTreeMap<_, _> = sizes
        .values()
        .flat_map(|sizes| carry::carriers(&seen.name, sizes))
        .collect();
    for link in target.links.values_mut() {
        if let Some(carrier) = chosen.get(&link.id) {
            link.carrier.clone_from(carrier);
        }
    }
}

/// What has to change in the works.
pub(super) fn changes(seen: &Observed, target: &Target) -> Vec<Change> {
    let known: BTreeMap<Place, _> = seen.works.iter().map(|work| (place(work.as_ref()), work)).collect();
    let mut clusters: BTreeSet<&String> = known.keys().map(|(cluster, _)| cluster).collect();
    clusters.extend(target.exports.keys().map(|(cluster, _)| cluster));
    clusters.extend(target.links.keys().map(|(cluster, _)| cluster));
    // Also those whose work was never written, or is gone: without rights their agents could not withdraw.
    clusters.extend(seen.links.iter().filter_map(|link| link.metadata.namespace.as_ref()));
    clusters.extend(
        seen.exports
            .iter()
            .filter_map(|export| export.metadata.namespace.as_ref()),
    );
    let mut changes = Vec::new();
    for cluster in clusters {
        let Some(wanted) = of_cluster(seen, target, cluster) else {
            continue;
        };
        let gone = known
            .iter()
            .filter(|((at, name), work)| at == cluster && !wanted.contains_key(name) && !is_leaving(work.as_ref()));
        changes.extend(gone.map(|(_, work)| Change::DeleteWork((*work).clone())));
        for (name, manifests) in wanted {
            let at = (cluster.clone(), name);
            let stands = known
                .get(&at)
                .is_some_and(|work| !is_leaving(work.as_ref()) && work.spec.workload.manifests == manifests);
            changes.extend((!stands).then_some(Change::ApplyWork(at, manifests)));
        }
    }
    changes
}

/// The works of one cluster; `None` while it is not known where its agent runs, and there is something to send.
fn of_cluster(seen: &Observed, target: &Target, cluster: &str) -> Option<BTreeMap<String, Vec<serde_json::Value>>> {
    // What an export has provisioned is removed by its agent, which needs its rights until then.
    let leaving = seen
        .exports
        .iter()
        .filter(|export| export.namespace().as_deref() == Some(cluster) && is_leaving(export.as_ref()));
    let leaving = leaving
        .filter(|export| !export.spec.provision.is_empty())
        .map(|export| &export.spec);
    let wanted = target.exports.iter().filter(|((at, _), _)| at == cluster);
    let exports: Vec<_> = wanted.map(|(_, spec)| spec).chain(leaving).collect();
    let incoming = incoming(seen, target, cluster);
    if exports.is_empty() && incoming.is_empty() {
        return Some(BTreeMap::new());
    }
    let addon = seen.clusters.get(cluster).and_then(|cluster| cluster.addon.as_ref());
    let namespace = addon.and_then(|addon| addon.namespace.as_deref())?;
    Some(carry::works(&seen.name, namespace, &exports, &incoming))
}

fn incoming<'a>(seen: &'a Observed, target: &'a Target, cluster: &str) -> Vec<Incoming<'a>> {
    let withdrawing: Vec<_> = seen
        .links
        .iter()
        .filter(|link| link.namespace().as_deref() == Some(cluster) && goes(link, target))
        .collect();
    let held = |place: &Place| withdrawing.iter().any(|link| super::place(link.as_ref()) == *place);
    let wanted = target
        .links
        .iter()
        .filter(|(place, _)| place.0 == *cluster && !held(place));
    let wanted = wanted.map(|(_, link)| Incoming {
        link,
        envelope: envelope(seen, link),
    });
    // Rights outlive envelopes: the agent needs them to withdraw.
    let leaving = withdrawing.iter().map(|link| Incoming {
        link: &link.spec,
        envelope: None,
    });
    wanted.chain(leaving).collect()
}

/// The export that feeds a link.
pub(super) fn export_of<'a>(seen: &'a Observed, link: &PeerLinkSpec) -> Option<&'a PeerExport> {
    let name = names::export_name(&link.peering, &link.artefact, &link.from.cluster);
    let at = (link.from.cluster.clone(), name);
    let mut exports = seen.exports.iter().map(AsRef::as_ref);
    exports.find(|export| place(*export) == at)
}

/// The newest envelope for a link; of a confidential one only if it is sealed to a key and by a key that the link names: its
/// destination would refuse any other.
fn envelope<'a>(seen: &'a Observed, link: &PeerLinkSpec) -> Option<&'a str> {
    let status = export_of(seen, link)?.status.as_ref()?;
    if !link.confidential {
        return status.public_envelope.as_deref();
    }
    let (to, from) = (fingerprints(&link.to), fingerprints(&link.from));
    let fits = |envelope: &&SealedEnvelope| {
        let sender = &envelope.sender_fingerprint;
        envelope.link == link.id
            && to.contains(&envelope.recipient_fingerprint)
            && (sender.is_empty() || from.contains(sender))
    };
    let found = status.envelopes.iter().find(fits)?;
    Some(&found.data)
}

/// The fingerprints of an end's keys. The key before is good too: its owner keeps it until everything is sealed anew.
fn fingerprints(end: &LinkEnd) -> Vec<String> {
    let keys = [&end.public_key, &end.previous_public_key].into_iter().flatten();
    keys.filter_map(|key| Some(PublicKey::from_base64(key).ok()?.fingerprint()))
        .collect()
}
