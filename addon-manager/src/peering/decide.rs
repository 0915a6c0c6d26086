//! What has to be written, given what was seen. Pure: every case is a table entry in the tests.
//!
//! [`facts`]: the snapshot in the words of `exchange::plan`. [`works`]: the `ManifestWork`s. [`status`]: conditions.
mod facts;
mod status;
mod works;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use exchange::plan::{self, Place};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{
        ExchangeProfileSpec, PeerExport, PeerExportSpec, PeerLink, PeerLinkSpec, Peering, PeeringStatus, is_true,
        reasons,
    },
};
use serde_json::Value;

use super::hub::Observed;

/// One write to the hub.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Our finalizer goes on (`true`) or off the Peering.
    PeeringFinalizer(Arc<Peering>, bool),
    /// A member gets the addon.
    CreateAddon(String),
    /// An export is made or brought into shape.
    ApplyExport(Place, Box<PeerExportSpec>),
    /// An export that nobody wants goes: our finalizer keeps it until its agent has removed what it provisioned.
    DeleteExport(Arc<PeerExport>),
    /// An export whose agent has cleaned up may go.
    ReleaseExport(Arc<PeerExport>),
    /// A link is made or brought into shape.
    ApplyLink(Place, Box<PeerLinkSpec>),
    /// A link that nobody wants is withdrawn: our finalizer keeps it until its agent has cleaned up.
    DeleteLink(Arc<PeerLink>),
    /// A withdrawn link may go.
    ReleaseLink(Arc<PeerLink>),
    /// A work (cluster and name) is made or brought into shape.
    ApplyWork(Place, Vec<Value>),
    /// A work goes.
    DeleteWork(Arc<ManifestWork>),
    /// `SourceReady` and `Ready` of a link.
    LinkStatus(Arc<PeerLink>, Vec<Condition>),
    /// The status of the Peering.
    PeeringStatus(Arc<Peering>, Box<PeeringStatus>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |namespace: Option<String>, name: String| format!("{}/{name}", namespace.unwrap_or_default());
        match self {
            Self::PeeringFinalizer(peering, on) => write!(
                f,
                "finalizer {} Peering {}",
                if *on { "on" } else { "off" },
                peering.name_any()
            ),
            Self::CreateAddon(cluster) => write!(f, "create ManagedClusterAddOn {cluster}/{}", names::ADDON),
            Self::ApplyExport((namespace, name), _) => write!(f, "apply PeerExport {namespace}/{name}"),
            Self::DeleteExport(export) => write!(f, "delete PeerExport {}", at(export.namespace(), export.name_any())),
            Self::ApplyLink((namespace, name), _) => write!(f, "apply PeerLink {namespace}/{name}"),
            Self::DeleteLink(link) => write!(f, "delete PeerLink {}", at(link.namespace(), link.name_any())),
            Self::ReleaseLink(link) => write!(f, "release PeerLink {}", at(link.namespace(), link.name_any())),
            Self::ReleaseExport(export) => {
                write!(f, "release PeerExport {}", at(export.namespace(), export.name_any()))
            }
            Self::ApplyWork((cluster, name), _) => write!(f, "apply ManifestWork {cluster}/{name}"),
            Self::DeleteWork(work) => write!(f, "delete ManifestWork {}", at(work.namespace(), work.name_any())),
            Self::LinkStatus(link, _) => write!(f, "status of PeerLink {}", at(link.namespace(), link.name_any())),
            Self::PeeringStatus(peering, ..) => write!(f, "status of Peering {}", peering.name_any()),
        }
    }
}

/// What should exist, in the end or for now.
#[derive(Default)]
struct Target {
    exports: BTreeMap<Place, PeerExportSpec>,
    links: BTreeMap<Place, PeerLinkSpec>,
}

/// Decides what to write for one Peering.
pub(crate) fn decide(seen: &Observed) -> Vec<Change> {
    let live = seen
        .peering
        .as_ref()
        .filter(|peering| peering.metadata.deletion_timestamp.is_none());
    // Deletion is handled before validation: a Peering that could never be served can always go.
    let Some(peering) = live else {
        let target = Target::default();
        let mut changes = objects(seen, &target);
        changes.extend(release_peering(seen));
        return changes;
    };
    let mut changes = Vec::new();
    let ours = |known: &String| known == names::WITHDRAW_FINALIZER;
    if !peering.finalizers().iter().any(ours) {
        changes.push(Change::PeeringFinalizer(peering.clone(), true));
    }
    let profile = seen.profile.as_deref().map(|profile| &profile.spec);
    let plan = plan::plan(&seen.name, &peering.spec, profile, &facts::of(seen));
    let mut target = plan.wanted.map_or_else(
        || existing(seen),
        |wanted| Target {
            exports: wanted.exports,
            links: wanted.links,
        },
    );
    keep_provisioned(seen, profile, &plan.members, &mut target);
    works::choose_carriers(seen, &mut target);
    if !peering.spec.paused {
        changes.extend(missing_addons(seen, &plan.members));
        changes.extend(objects(seen, &target));
    }
    let summaries = status::links(seen, &target, &plan.changed, &mut changes);
    changes.extend(status::peering(seen, peering, &plan.accepted, plan.known, &summaries));
    changes
}

/// Whether something is to be made that was not seen.
pub(crate) fn makes_new(seen: &Observed, changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::ApplyExport(at, _) => !seen.exports.iter().any(|known| place(known.as_ref()) == *at),
        Change::ApplyLink(at, _) => !seen.links.iter().any(|known| place(known.as_ref()) == *at),
        Change::ApplyWork(at, _) => !seen.works.iter().any(|known| place(known.as_ref()) == *at),
        _ => false,
    })
}

/// Everything that makes exports, links and works as they should be.
fn objects(seen: &Observed, target: &Target) -> Vec<Change> {
    let mut changes = exports(seen, target);
    changes.extend(links(seen, target));
    changes.extend(works::changes(seen, target));
    changes
}

fn missing_addons(seen: &Observed, members: &BTreeSet<String>) -> Vec<Change> {
    let missing = members.iter().filter(|name| {
        let cluster = seen.clusters.get(*name);
        cluster.is_some_and(|cluster| cluster.managed && !cluster.opted_out && cluster.addon.is_none())
    });
    missing.map(|name| Change::CreateAddon(name.clone())).collect()
}

fn place<K: kube::Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn is_leaving<K: kube::Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

fn is_held<K: kube::Resource>(object: &K) -> bool {
    object
        .finalizers()
        .iter()
        .any(|known| known == names::WITHDRAW_FINALIZER)
}

/// Everything as it is, where the Peering cannot be understood.
fn existing(seen: &Observed) -> Target {
    let exports = seen.exports.iter().filter(|export| !is_leaving(export.as_ref()));
    let links = seen.links.iter().filter(|link| !is_leaving(link.as_ref()));
    Target {
        exports: exports
            .map(|export| (place(export.as_ref()), export.spec.clone()))
            .collect(),
        links: links.map(|link| (place(link.as_ref()), link.spec.clone())).collect(),
    }
}

/// What an agent has made for an export, such as a claim of a bucket, goes with the Peering, its profile's artefact or the
/// member. It holds data: that the cluster is away for which it was made, if only the hub's own agent, is no reason.
fn keep_provisioned(
    seen: &Observed,
    profile: Option<&ExchangeProfileSpec>,
    members: &BTreeSet<String>,
    target: &mut Target,
) {
    let artefacts: BTreeSet<_> = profile
        .iter()
        .flat_map(|profile| profile.artefacts.iter().map(|artefact| &artefact.name))
        .collect();
    let has_agent = |cluster: &String| {
        let cluster = seen.clusters.get(cluster);
        cluster.is_some_and(|cluster| cluster.managed && cluster.installed())
    };
    for export in seen.exports.iter().filter(|export| !is_leaving(export.as_ref())) {
        let (at, spec) = (place(export.as_ref()), &export.spec);
        let stays = artefacts.contains(&spec.artefact) && members.contains(&at.0) && has_agent(&at.0);
        if stays && !spec.provision.is_empty() {
            target.exports.entry(at).or_insert_with(|| PeerExportSpec {
                recipients: Vec::new(),
                ..spec.clone()
            });
        }
    }
}

fn exports(seen: &Observed, target: &Target) -> Vec<Change> {
    let known: BTreeMap<_, _> = seen
        .exports
        .iter()
        .map(|export| (place(export.as_ref()), export))
        .collect();
    let mut changes = Vec::new();
    for (place, spec) in &target.exports {
        // One that is leaving is made anew once it is gone.
        let apply = known
            .get(place)
            .is_none_or(|known| !is_leaving(known.as_ref()) && known.spec != *spec);
        changes.extend(apply.then(|| Change::ApplyExport(place.clone(), Box::new(spec.clone()))));
    }
    for export in &seen.exports {
        let export = export.clone();
        if !is_leaving(export.as_ref()) && !target.exports.contains_key(&place(export.as_ref())) {
            changes.push(Change::DeleteExport(export));
        } else if is_leaving(export.as_ref()) && is_held(export.as_ref()) {
            let conditions = export.status.as_ref().map(|status| status.conditions.as_slice());
            let withdrawn = is_true(conditions.unwrap_or_default(), reasons::WITHDRAWN);
            if withdrawn || export.spec.provision.is_empty() || is_abandoned(seen, export.as_ref()) {
                changes.push(Change::ReleaseExport(export));
            }
        }
    }
    changes
}

fn links(seen: &Observed, target: &Target) -> Vec<Change> {
    let known: BTreeMap<_, _> = seen.links.iter().map(|link| (place(link.as_ref()), link)).collect();
    let mut changes = Vec::new();
    for (place, spec) in &target.links {
        // A link that is withdrawn is made anew once it is gone.
        let apply = known
            .get(place)
            .is_none_or(|link| !goes(link, target) && link.spec != *spec);
        changes.extend(apply.then(|| Change::ApplyLink(place.clone(), Box::new(spec.clone()))));
    }
    for link in seen.links.iter().filter(|link| goes(link, target)) {
        if !is_leaving(link.as_ref()) {
            changes.push(Change::DeleteLink(link.clone()));
        } else if may_go(seen, link) {
            changes.push(Change::ReleaseLink(link.clone()));
        }
    }
    changes
}

/// Whether a link is to be withdrawn: nobody wants it any more, or it shares a bundle and has to write another one than
/// before. Any other link is told what it wrote before (`spec.previous`), so that its agent makes the new one first.
fn goes(link: &PeerLink, target: &Target) -> bool {
    let Some(wanted) = target.links.get(&place(link)) else {
        return true;
    };
    let moved = wanted.target.object != link.spec.target.object && wanted.previous.is_none();
    is_leaving(link) || moved
}

/// A withdrawn link may go, and one whose cluster has no agent that could withdraw it.
fn may_go(seen: &Observed, link: &PeerLink) -> bool {
    let conditions = link.status.as_ref().map(|status| status.conditions.as_slice());
    let withdrawn = is_true(conditions.unwrap_or_default(), reasons::WITHDRAWN);
    is_held(link) && (withdrawn || is_abandoned(seen, link))
}

/// Nobody is left on the cluster who could clean up.
fn is_abandoned<K: kube::Resource>(seen: &Observed, object: &K) -> bool {
    let cluster = seen.clusters.get(&object.namespace().unwrap_or_default());
    cluster.is_none_or(|cluster| !cluster.managed || cluster.addon.is_none())
}

/// A deleted Peering may go when nothing of it is left; with the annotation `force-local` already when all of it is going.
fn release_peering(seen: &Observed) -> Option<Change> {
    let peering = seen.peering.as_ref()?;
    let empty = seen.exports.is_empty() && seen.links.is_empty() && seen.works.is_empty();
    let forced = peering
        .annotations()
        .get(names::FORCE_LOCAL_ANNOTATION)
        .is_some_and(|value| value == "true");
    let going = seen.exports.iter().all(|export| is_leaving(export.as_ref()))
        && seen.links.iter().all(|link| is_leaving(link.as_ref()));
    (is_held(peering.as_ref()) && (empty || forced && going)).then(|| Change::PeeringFinalizer(peering.clone(), false))
}

#[cfg(test)]
mod tests;
