//! Links that would write the same object, an object that is itself a source, or one of another Peering.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{ArtefactKind, ObjectRef, PeerExportSpec, PeerLinkSpec, reasons::Accepted},
};

use super::{Claim, Problem, Wanted};

/// Where a link writes: what other links must not write.
#[must_use]
pub fn claim(link: &PeerLinkSpec) -> Claim {
    let object = ObjectRef {
        resource: None,
        ..link.target.object.clone()
    };
    (link.to.cluster.clone(), object)
}

/// The objects that an export reads or makes, as far as their names are known beforehand.
fn sources(cluster: &str, export: &PeerExportSpec) -> Vec<Claim> {
    let of_input = export.inputs.iter().filter_map(|input| {
        Some(ObjectRef {
            api_version: input.api_version.clone()?,
            kind: input.kind.clone()?,
            resource: None,
            namespace: input.namespace.clone(),
            name: input.name.clone()?,
        })
    });
    of_input.map(|object| (cluster.to_owned(), object)).collect()
}

/// Takes out links that would write the same object, and says which.
pub(super) fn drop(wanted: &mut Wanted, claims: &BTreeMap<Claim, String>) -> Vec<Problem> {
    let sources: BTreeSet<_> = wanted
        .exports
        .iter()
        .flat_map(|((cluster, _), export)| sources(cluster, export))
        .collect();
    // Links of one CA bundle share their target on purpose: they count as one writer.
    let writer = |link: &PeerLinkSpec| match link.kind {
        ArtefactKind::Data => link.id.clone(),
        ArtefactKind::CaBundle => names::bundle_id(&link.peering, &link.artefact, &link.to.cluster),
    };
    let mut writers: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for link in wanted.links.values() {
        writers.entry(claim(link)).or_default().insert(writer(link));
    }
    let mut problems = Vec::new();
    let mut dropped = BTreeSet::new();
    for (claim, writers) in writers {
        let Some(why) = collision(&claim, writers.len(), &sources, claims) else {
            continue;
        };
        let message = format!("{} on cluster {:?} {why}", claim.1, claim.0);
        problems.push(Problem::new(Accepted::DuplicateTarget, message));
        dropped.insert(claim);
    }
    wanted.links.retain(|_, link| !dropped.contains(&claim(link)));
    let kept: BTreeSet<_> = wanted.links.values().map(|link| link.id.clone()).collect();
    for export in wanted.exports.values_mut() {
        export.recipients.retain(|recipient| kept.contains(&recipient.link));
    }
    problems
}

fn collision(
    claim: &Claim,
    writers: usize,
    sources: &BTreeSet<Claim>,
    claims: &BTreeMap<Claim, String>,
) -> Option<String> {
    let hint = "use ${source.cluster} in deliver.name of the profile";
    if sources.contains(claim) {
        Some(format!("is also a source of this Peering: {hint}"))
    } else if writers > 1 {
        Some(format!("would be written by several links: {hint}"))
    } else {
        let other = claims.get(claim)?;
        Some(format!(
            "is the target of Peering {other:?}: give one of the two other parameters, or use ${{peering.name}} in deliver.name of the profile"
        ))
    }
}
