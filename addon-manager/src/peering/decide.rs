//! What has to be written, given what was seen. Pure: every case is a table entry in the tests.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use addon_framework::runtime::conditions::{self, Status, Wanted as WantedCondition};
use exchange::{
    carry::{self, Incoming},
    plan::{self, MemberFacts, Place},
    state::{self, EndState, LinkSummary, Verdict},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{LinkCounts, PeerExport, PeerExportSpec, PeerLink, PeerLinkSpec, Peering, is_true, reasons},
};
use serde_json::Value;

use super::hub::{Cluster, Observed};

/// One write to the hub.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Our finalizer goes on (`true`) or off the Peering.
    PeeringFinalizer(Arc<Peering>, bool),
    /// A member gets the addon.
    CreateAddon(String),
    /// An export is made or brought into shape.
    ApplyExport(Place, Box<PeerExportSpec>),
    /// An export that nobody wants goes.
    DeleteExport(Arc<PeerExport>),
    /// A link is made or brought into shape.
    ApplyLink(Place, Box<PeerLinkSpec>),
    /// A link that nobody wants is withdrawn: our finalizer keeps it until its agent has cleaned up.
    DeleteLink(Arc<PeerLink>),
    /// A withdrawn link may go.
    ReleaseLink(Arc<PeerLink>),
    /// The work of one cluster (the first name) and this Peering (the second) is made or brought into shape.
    ApplyWork(String, String, Vec<Value>),
    /// The work of one cluster goes.
    DeleteWork(Arc<ManifestWork>),
    /// `SourceReady` and `Ready` of a link.
    LinkStatus(Arc<PeerLink>, Vec<Condition>),
    /// The status of the Peering.
    PeeringStatus(Arc<Peering>, LinkCounts, Option<Timestamp>, Vec<Condition>),
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
            Self::ApplyWork(cluster, peering, _) => {
                write!(f, "apply ManifestWork {cluster}/{}", names::work_name(peering))
            }
            Self::DeleteWork(work) => write!(f, "delete ManifestWork {}", at(work.namespace(), work.name_any())),
            Self::LinkStatus(link, _) => write!(f, "status of PeerLink {}", at(link.namespace(), link.name_any())),
            Self::PeeringStatus(peering, ..) => write!(f, "status of Peering {}", peering.name_any()),
        }
    }
}

/// What should exist, in the end or for now.
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
    let mut changes = Vec::new();
    // Deletion is handled before validation: a Peering that could never be served can always go.
    let (target, accepted) = match live {
        None => (
            Target {
                exports: BTreeMap::new(),
                links: BTreeMap::new(),
            },
            None,
        ),
        Some(peering) => {
            if !peering
                .finalizers()
                .iter()
                .any(|known| known == names::WITHDRAW_FINALIZER)
            {
                changes.push(Change::PeeringFinalizer(peering.clone(), true));
            }
            changes.extend(missing_addons(seen, peering));
            let plan = plan::plan(
                &seen.name,
                &peering.spec,
                seen.profile.as_deref().map(|profile| &profile.spec),
                &facts(seen),
            );
            let target = plan.wanted.map_or_else(
                || existing(seen),
                |wanted| Target {
                    exports: wanted.exports,
                    links: wanted.links,
                },
            );
            (target, Some(plan.accepted))
        }
    };
    changes.extend(exports(seen, &target));
    changes.extend(links(seen, &target));
    changes.extend(works(seen, &target));
    let summaries = link_statuses(seen, &target, &mut changes);
    match (live, accepted) {
        (Some(peering), Some(accepted)) => changes.extend(peering_status(seen, peering, &accepted, &summaries)),
        _ => changes.extend(release_peering(seen)),
    }
    changes
}

fn missing_addons<'a>(seen: &'a Observed, peering: &'a Peering) -> impl Iterator<Item = Change> + 'a {
    peering.spec.members.iter().filter_map(|member| {
        let cluster = seen.clusters.get(&member.cluster)?;
        let wanted = cluster.managed && !cluster.opted_out && cluster.addon.is_none();
        wanted.then(|| Change::CreateAddon(member.cluster.clone()))
    })
}

fn facts(seen: &Observed) -> BTreeMap<String, MemberFacts> {
    let facts = |cluster: &Cluster| MemberFacts {
        managed: cluster.managed,
        installed: cluster.addon.as_ref().is_some_and(|addon| !addon.leaving),
        public_key: cluster.public_key.clone(),
    };
    seen.clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), facts(cluster)))
        .collect()
}

fn place<K: kube::Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Everything as it is, where the Peering cannot be understood.
fn existing(seen: &Observed) -> Target {
    let live_links = seen
        .links
        .iter()
        .filter(|link| link.metadata.deletion_timestamp.is_none());
    Target {
        exports: seen
            .exports
            .iter()
            .map(|export| (place(export.as_ref()), export.spec.clone()))
            .collect(),
        links: live_links
            .map(|link| (place(link.as_ref()), link.spec.clone()))
            .collect(),
    }
}

fn exports(seen: &Observed, target: &Target) -> Vec<Change> {
    let known: BTreeMap<_, _> = seen
        .exports
        .iter()
        .map(|export| (place(export.as_ref()), export))
        .collect();
    let apply = target
        .exports
        .iter()
        .filter(|(place, spec)| known.get(*place).is_none_or(|known| known.spec != **spec));
    let gone = known
        .iter()
        .filter(|(place, export)| !target.exports.contains_key(*place) && export.metadata.deletion_timestamp.is_none());
    let gone = gone.map(|(_, export)| Change::DeleteExport((*export).clone()));
    apply
        .map(|(place, spec)| Change::ApplyExport(place.clone(), Box::new(spec.clone())))
        .chain(gone)
        .collect()
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
        if link.metadata.deletion_timestamp.is_none() {
            changes.push(Change::DeleteLink(link.clone()));
        } else if may_go(seen, link) {
            changes.push(Change::ReleaseLink(link.clone()));
        }
    }
    changes
}

/// Whether a link is to be withdrawn: nobody wants it any more, or it has to write another object than before. The agent
/// knows only what the link says now, so the old object would stay behind if the link were changed in place.
fn goes(link: &PeerLink, target: &Target) -> bool {
    let object = |spec: &PeerLinkSpec| {
        (
            spec.target.kind,
            spec.target.namespace.clone(),
            spec.target.name.clone(),
        )
    };
    let wanted = target.links.get(&place(link));
    let moved = wanted.is_none_or(|wanted| object(wanted) != object(&link.spec));
    link.metadata.deletion_timestamp.is_some() || moved
}

/// A withdrawn link may go, and one whose cluster has no agent that could withdraw it.
fn may_go(seen: &Observed, link: &PeerLink) -> bool {
    let withdrawn = link
        .status
        .as_ref()
        .is_some_and(|status| is_true(&status.conditions, reasons::WITHDRAWN));
    let cluster = seen.clusters.get(&link.namespace().unwrap_or_default());
    let abandoned = cluster.is_none_or(|cluster| !cluster.managed || cluster.addon.is_none());
    let ours = link.finalizers().iter().any(|known| known == names::WITHDRAW_FINALIZER);
    ours && (withdrawn || abandoned)
}

fn works(seen: &Observed, target: &Target) -> Vec<Change> {
    let known: BTreeMap<_, _> = seen
        .works
        .iter()
        .map(|work| (work.namespace().unwrap_or_default(), work))
        .collect();
    let withdrawing: Vec<_> = seen.links.iter().filter(|link| goes(link, target)).collect();
    let mut clusters: BTreeSet<&String> = known.keys().collect();
    clusters.extend(target.exports.keys().map(|(cluster, _)| cluster));
    clusters.extend(target.links.keys().map(|(cluster, _)| cluster));
    let mut changes = Vec::new();
    for cluster in clusters {
        let exports: Vec<_> = target
            .exports
            .iter()
            .filter(|((at, _), _)| at == cluster)
            .map(|(_, spec)| spec)
            .collect();
        let held = |place: &Place| withdrawing.iter().any(|link| self::place(link.as_ref()) == *place);
        let wanted = target
            .links
            .iter()
            .filter(|(place, _)| place.0 == *cluster && !held(place));
        let mut incoming: Vec<_> = wanted
            .map(|(_, link)| Incoming {
                link,
                envelope: envelope(seen, link),
            })
            .collect();
        // Rights outlive envelopes: the agent needs them to withdraw.
        let leaving = withdrawing
            .iter()
            .filter(|link| link.namespace().as_deref() == Some(cluster));
        incoming.extend(leaving.map(|link| Incoming {
            link: &link.spec,
            envelope: None,
        }));
        let work = known
            .get(cluster)
            .filter(|work| work.metadata.deletion_timestamp.is_none());
        if exports.is_empty() && incoming.is_empty() {
            changes.extend(work.map(|work| Change::DeleteWork((*work).clone())));
            continue;
        }
        let addon = seen.clusters.get(cluster).and_then(|cluster| cluster.addon.as_ref());
        let Some(namespace) = addon.and_then(|addon| addon.namespace.as_deref()) else {
            continue;
        };
        let manifests = carry::manifests(&seen.name, namespace, &exports, &incoming);
        if work.is_none_or(|work| work.spec.workload.manifests != manifests) {
            changes.push(Change::ApplyWork(cluster.clone(), seen.name.clone(), manifests));
        }
    }
    changes
}

fn export_of<'a>(seen: &'a Observed, link: &PeerLinkSpec) -> Option<&'a PeerExport> {
    let place = (
        link.from.cluster.clone(),
        names::export_name(&link.peering, &link.artefact, &link.from.cluster),
    );
    seen.exports
        .iter()
        .map(AsRef::as_ref)
        .find(|export| self::place(*export) == place)
}

/// The newest envelope for a link; of a confidential one only if it is sealed to the key that the link names.
fn envelope<'a>(seen: &'a Observed, link: &PeerLinkSpec) -> Option<&'a str> {
    let status = export_of(seen, link)?.status.as_ref()?;
    if !link.confidential {
        return status.public_envelope.as_deref();
    }
    let recipient = exchange::key::PublicKey::from_base64(link.to.public_key.as_deref()?)
        .ok()?
        .fingerprint();
    let fits = |envelope: &&peering_api::peering::SealedEnvelope| {
        envelope.link == link.id && envelope.recipient_fingerprint == recipient
    };
    status
        .envelopes
        .iter()
        .find(fits)
        .map(|envelope| envelope.data.as_str())
}

fn condition(verdict: &Verdict, generation: Option<i64>) -> WantedCondition {
    let status = verdict.status.map_or(Status::Unknown, Status::from);
    WantedCondition::new(verdict.type_, status, &verdict.reason, &verdict.message).at(generation)
}

fn end(seen: &Observed, cluster: &str) -> EndState {
    let has_key = seen
        .clusters
        .get(cluster)
        .is_some_and(|cluster| cluster.public_key.is_some());
    EndState {
        cluster: cluster.to_owned(),
        has_key,
    }
}

/// Judges every wanted link; adds a change where its conditions say something else.
fn link_statuses(seen: &Observed, target: &Target, changes: &mut Vec<Change>) -> Vec<LinkSummary> {
    let known: BTreeMap<_, _> = seen.links.iter().map(|link| (place(link.as_ref()), link)).collect();
    let mut summaries = Vec::new();
    for (place, spec) in &target.links {
        let link = known
            .get(place)
            .filter(|link| link.metadata.deletion_timestamp.is_none());
        let status = link.and_then(|link| link.status.clone()).unwrap_or_default();
        let export = export_of(seen, spec)
            .and_then(|export| export.status.as_ref())
            .map(|status| status.conditions.as_slice());
        let (from, to) = (end(seen, &spec.from.cluster), end(seen, &spec.to.cluster));
        let source = state::source_ready(export.unwrap_or_default(), &from);
        let ready = state::link_ready(&source, &status.conditions, &from, &to);
        if let Some(link) = link {
            let generation = link.metadata.generation;
            let wanted = [condition(&source, generation), condition(&ready, generation)];
            if let Some(new) = conditions::changed(&status.conditions, &wanted, seen.now) {
                changes.push(Change::LinkStatus((*link).clone(), new));
            }
        }
        let name = format!("{} from {} to {}", spec.artefact, spec.from.cluster, spec.to.cluster);
        summaries.push(LinkSummary {
            name,
            ready,
            expires_at: status.expires_at.map(|at| at.0),
        });
    }
    summaries
}

fn peering_status(
    seen: &Observed,
    peering: &Arc<Peering>,
    accepted: &Verdict,
    links: &[LinkSummary],
) -> Option<Change> {
    let (counts, ready, next) = state::peering_ready(links);
    let generation = peering.metadata.generation;
    let old = peering.status.clone().unwrap_or_default();
    let wanted = [condition(accepted, generation), condition(&ready, generation)];
    let news = conditions::changed(&old.conditions, &wanted, seen.now);
    let same = news.is_none() && old.links == Some(counts) && old.next_expiration.as_ref().map(|at| at.0) == next;
    let all = || {
        wanted
            .iter()
            .map(|wanted| conditions::merge(&old.conditions, wanted, seen.now))
            .collect()
    };
    (!same).then(|| Change::PeeringStatus(peering.clone(), counts, next, all()))
}

/// A deleted Peering may go when nothing of it is left.
fn release_peering(seen: &Observed) -> Option<Change> {
    let peering = seen.peering.as_ref()?;
    let held = peering
        .finalizers()
        .iter()
        .any(|known| known == names::WITHDRAW_FINALIZER);
    let empty = seen.exports.is_empty() && seen.links.is_empty() && seen.works.is_empty();
    (held && empty).then(|| Change::PeeringFinalizer(peering.clone(), false))
}

#[cfg(test)]
mod tests;
