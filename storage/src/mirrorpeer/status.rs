//! What users are told: phases, messages and reasons of the Go orchestrator, which scripts wait for, and why in the messages of
//! conditions. Everything is derived from what was seen, nothing from what was done.
use exchange::state::Verdict;
use peering_api::{
    kube::ResourceExt,
    odf::{LinkState, MirrorLinks, Phase},
    peering::{
        PeerLink, Peering, condition, is_true,
        reasons::{
            self, Accepted, COMPATIBLE, CONFIGURED, Compatible, Configured, Connected, DELETED, Deleted, Delivered,
            VALIDATED, Validated,
        },
    },
};

use super::{
    buckets::StoreUse,
    mode::{self, Mode},
    ownership::is_managed,
    plan::PlanError,
    seen::{Agent, Foreign, Observed, Ramen},
    wanted::Plan,
};
use crate::{mapping, odf_info, ramen};

/// How many links are told.
const TOLD: usize = 16;

/// What users are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// The message.
    pub message: &'static str,
    /// The links.
    pub links: MirrorLinks,
    /// The conditions that this says something about; others stay as they are.
    pub conditions: Vec<Verdict>,
}

/// How far the set-up is: the reason of `Configured`, and its message.
type Progress = (Configured, String);

/// The fixed text for `status.message` (2.2).
const fn fixed(reason: Configured) -> &'static str {
    match reason {
        Configured::Configured => "Setup is completed",
        Configured::ConfigurationInProgress => "Configuration is in progress",
        Configured::ConfigurationFailed => "Configuration failed",
        Configured::ManagedClusterAddonFailed => "ManagedClusterAddon configuration failed",
        Configured::PeeringInProgress => "Peering is in progress",
        Configured::PeeringFailed => "Peering of managedclusters failed",
        Configured::S3ConfigurationInProgress => "S3 configuration is in progress",
        Configured::S3ConfigurationFailed => "S3 configuration failed",
        Configured::DRClusterConfigurationInProgress => "DRCluster configuration is in progress",
        Configured::DRClusterConfigurationFailed => "DRCluster configuration failed",
    }
}

/// For one that is there to stay.
pub(super) fn live(seen: &Observed, plan: &Result<Plan, PlanError>) -> Status {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            let verdict = validated(Validated::ValidationFailed, error.to_string());
            return Status {
                phase: Phase::Failed,
                message: "Validation failed",
                links: links(seen),
                conditions: vec![verdict],
            };
        }
    };
    let (reason, message) =
        progress(seen, plan).unwrap_or_else(|| (Configured::Configured, "MirrorPeer configuration done".to_owned()));
    Status {
        phase: if reason == Configured::Configured {
            Phase::Ready
        } else {
            Phase::Configuring
        },
        message: fixed(reason),
        links: links(seen),
        conditions: vec![
            validated(Validated::MirrorPeerValid, "MirrorPeer is valid".to_owned()),
            Verdict::new(CONFIGURED, reason.status().as_bool(), reason.as_str(), message),
            compatible(seen),
        ],
    }
}

/// For one that is being deleted.
pub(super) fn deleting(seen: &Observed, reason: Deleted, message: String) -> Status {
    Status {
        phase: Phase::Deleting,
        message: if reason == Deleted::DeletionFailed {
            "Deletion failed"
        } else {
            "Deletion is in progress"
        },
        links: links(seen),
        conditions: vec![Verdict::new(
            DELETED,
            reason.status().as_bool(),
            reason.as_str(),
            message,
        )],
    }
}

fn validated(reason: Validated, message: String) -> Verdict {
    Verdict::new(VALIDATED, reason.status().as_bool(), reason.as_str(), message)
}

/// The first thing that stands in the way; `None` if nothing does.
fn progress(seen: &Observed, plan: &Plan) -> Option<Progress> {
    if let Some(trouble) = &plan.trouble {
        return Some((Configured::ConfigurationFailed, trouble.clone()));
    }
    vanished(seen)
        .or_else(|| legacy(seen))
        .or_else(|| agents(seen, plan))
        .or_else(|| tokens(seen, plan))
        .or_else(|| mapping(seen, plan))
        .or_else(|| plan.stores.iter().find_map(|store| bucket(seen, store)))
        .or_else(|| plan.stores.iter().find_map(|store| dr_cluster(seen, store)))
}

/// What the Go orchestrator had delivered must not be written by two at once.
fn legacy(seen: &Observed) -> Option<Progress> {
    let work = seen.legacy.first()?;
    let message = format!(
        "what the Go orchestrator has delivered is being taken over: waiting for ManifestWork {} in namespace {} to go",
        work.name_any(),
        work.namespace().unwrap_or_default()
    );
    Some((Configured::PeeringInProgress, message))
}

/// A client that was there and is not any more. What was set up for it stays.
fn vanished(seen: &Observed) -> Option<Progress> {
    let item = seen
        .peer
        .spec
        .items
        .iter()
        .find(|item| seen.vanished.contains(&mode::key(item)))?;
    let message = format!(
        "storage client {} of cluster {} is no longer known to any storage cluster: what was set up stays; onboard it again, or delete the MirrorPeer",
        item.storage_cluster_ref.name, item.cluster_name
    );
    Some((Configured::ConfigurationFailed, message))
}

/// Whether the providers have been told which client belongs to which.
fn mapping(seen: &Observed, plan: &Plan) -> Option<Progress> {
    let waiting = plan.mapped.iter().find(|(cluster, (own, other))| {
        let work = seen.mappings.get(*cluster);
        !work.is_some_and(|work| mapping::says(work, own, other) && mapping::is_applied(work))
    });
    let (cluster, _) = waiting?;
    let message = format!(
        "cluster {cluster} is being told which client belongs to which: see ManifestWork {} in namespace {cluster}",
        mapping::WORK
    );
    Some((Configured::PeeringInProgress, message))
}

fn agents(seen: &Observed, plan: &Plan) -> Option<Progress> {
    // A pair with an external Ceph and buckets of its own has nothing to hand over.
    let needed = plan.tokens.is_some() || !plan.stores.is_empty();
    let clusters = seen
        .clusters
        .iter()
        .filter(|(name, _)| needed && plan.agents.contains(*name));
    clusters.into_iter().find_map(|(name, cluster)| match cluster.agent {
        Agent::OptedOut => {
            let message = format!(
                "cluster {name} opts out of addons: create ManagedClusterAddOn tokenexchange in namespace {name}, or remove the annotation from the ManagedCluster"
            );
            Some((Configured::ManagedClusterAddonFailed, message))
        }
        Agent::Silent => {
            let message = format!(
                "the agent of cluster {name} has fallen silent: see ManagedClusterAddOn tokenexchange in namespace {name}; what was delivered stays"
            );
            Some((Configured::ManagedClusterAddonFailed, message))
        }
        Agent::Missing if seen.peerings.is_empty() => {
            Some((Configured::ConfigurationInProgress, "Configuration is in progress".to_owned()))
        }
        Agent::Missing | Agent::Installed => None,
    })
}

/// How a Peering stands: nothing if it is ready, or whether it has failed, and why.
fn standing(peering: Option<&Peering>, name: &str) -> Option<(bool, String)> {
    let Some(peering) = peering else {
        return Some((false, format!("Peering {name} is being made")));
    };
    let conditions = peering.status.as_ref().map(|status| status.conditions.as_slice());
    let said = |type_: &str| {
        let found = condition(conditions.unwrap_or_default(), type_);
        found.filter(|found| found.observed_generation == peering.metadata.generation)
    };
    let (Some(accepted), Some(ready)) = (said(reasons::ACCEPTED), said(reasons::READY)) else {
        return Some((false, format!("Peering {name} has not been looked at yet")));
    };
    if accepted.status != "True" {
        let reason: Option<Accepted> = accepted.reason.parse().ok();
        let passing = matches!(reason, Some(Accepted::AddOnNotInstalled | Accepted::MemberNotFound));
        return Some((!passing, format!("Peering {name}: {}", accepted.message)));
    }
    if ready.status == "True" {
        return None;
    }
    let degraded = said(reasons::DEGRADED).filter(|degraded| degraded.status == "True");
    let message = degraded.map_or(&ready.message, |degraded| &degraded.message);
    Some((degraded.is_some(), format!("Peering {name}: {message}")))
}

fn tokens(seen: &Observed, plan: &Plan) -> Option<Progress> {
    let tokens = plan.tokens.as_ref()?;
    let peering = seen.peerings.get(&tokens.peering).map(AsRef::as_ref);
    let (mut failed, mut message) = standing(peering, &tokens.peering)?;
    let accepted = peering.and_then(|peering| peering.status.as_ref());
    let accepted = accepted.is_some_and(|status| is_true(&status.conditions, reasons::ACCEPTED));
    if failed && accepted && plan.mode == Mode::Client && !seen.links.is_empty() {
        // What was delivered and is not taken yet is no failure.
        let found = impatient(seen, &tokens.peering);
        failed = found.is_some();
        message = found.unwrap_or(message);
    }
    let reason = if failed {
        Configured::PeeringFailed
    } else {
        Configured::PeeringInProgress
    };
    Some((reason, message))
}

/// The link of tickets for which waiting does not help, as the agent of its destination sees it.
fn impatient(seen: &Observed, peering: &str) -> Option<String> {
    let mut links = seen.links.iter().filter(|link| link.spec.peering == peering);
    links.find_map(|link| {
        let conditions = &link.status.as_ref()?.conditions;
        let said = [reasons::DELIVERED, reasons::CONNECTED].map(|type_| condition(conditions, type_));
        let mut bad = said.into_iter().flatten().filter(|said| said.status == "False");
        let waits = [Delivered::WaitingForEnvelope.as_str(), Connected::NotSynced.as_str()];
        let said = bad.find(|said| !waits.contains(&said.reason.as_str()))?;
        let (from, to) = (&link.spec.from.cluster, &link.spec.to.cluster);
        Some(format!(
            "Peering {peering}: {} from {from} to {to}: {}",
            link.spec.artefact, said.message
        ))
    })
}

fn bucket(seen: &Observed, store: &StoreUse) -> Option<Progress> {
    let failed = |message: String| Some((Configured::S3ConfigurationFailed, message));
    let waiting = |message: String| Some((Configured::S3ConfigurationInProgress, message));
    let (text, record) = match &seen.ramen {
        Ramen::Pending => return waiting("Ramen's configuration has not been read yet".to_owned()),
        Ramen::Missing => {
            return failed("there is no ConfigMap ramen-hub-operator-config: install Ramen's hub operator, or set manageS3 to false".to_owned());
        }
        Ramen::Ambiguous(namespaces) => {
            return failed(format!(
                "expected one ConfigMap ramen-hub-operator-config, seen in namespaces {}: remove all but the one that Ramen uses",
                namespaces.join(", ")
            ));
        }
        Ramen::Known { text: None, .. } => {
            return failed(
                "ConfigMap ramen-hub-operator-config has no key ramen_manager_config.yaml: restore it".to_owned(),
            );
        }
        Ramen::Known {
            text: Some(text),
            record,
            ..
        } => (text, record),
    };
    let cluster = &store.key.cluster;
    match &seen.hub {
        None => return failed("credentials go to the hub, which is not a managed cluster of its own: import it as local-cluster (label local-cluster=true)".to_owned()),
        Some(hub) if hub == cluster => return failed(format!("the bucket of cluster {cluster} is on the hub itself, which is not supported: name another cluster, or set manageS3 to false")),
        Some(_) => {}
    }
    let peering = seen.peerings.get(&store.peering).map(AsRef::as_ref);
    if let Some((has_failed, message)) = standing(peering, &store.peering) {
        return if has_failed { failed(message) } else { waiting(message) };
    }
    let known = match seen.stores.get(&store.peering) {
        None => return waiting(format!("cluster {cluster} has not published its bucket yet")),
        Some(Err(error)) => return failed(format!("cluster {cluster}: {error}")),
        Some(Ok(known)) => known,
    };
    let wanted = [(store.key.profile(), store.key.ramen(known, &store.secret))].into();
    match ramen::edit(text, record, &wanted, &record.profiles.keys().cloned().collect()) {
        Ok(None) => None,
        Ok(Some(_)) => waiting(format!(
            "entry {} of Ramen's configuration is being written",
            store.key.profile()
        )),
        Err(error) => failed(error.to_string()),
    }
}

fn dr_cluster(seen: &Observed, store: &StoreUse) -> Option<Progress> {
    let waiting = |message: String| Some((Configured::DRClusterConfigurationInProgress, message));
    let (name, profile) = (store.key.dr_cluster(), &store.profile);
    let clusters = match &seen.dr_clusters {
        Foreign::Pending => return waiting("it is not known yet which DRClusters there are".to_owned()),
        Foreign::Missing => {
            return waiting(
                "kind DRCluster of ramendr.openshift.io is not installed: install Ramen's hub operator".to_owned(),
            );
        }
        Foreign::Known(clusters) => clusters,
    };
    let Some(cluster) = clusters.get(name) else {
        return waiting(format!("DRCluster {name} is being made"));
    };
    let used = &cluster.spec.s3_profile_name;
    if used == profile {
        None
    } else if is_managed(cluster) {
        waiting(format!("DRCluster {name} is being changed"))
    } else {
        let message = format!(
            "DRCluster {name} is not ours and uses S3 profile {used:?}, expected {profile:?}: delete it, or set manageS3 to false"
        );
        Some((Configured::DRClusterConfigurationFailed, message))
    }
}

fn compatible(seen: &Observed) -> Verdict {
    let versions = seen.peer.spec.items.iter().map(|item| {
        let client = seen.clients.get(&mode::key(item));
        let version = client.map(|client| client.provider_info.version.as_str())?;
        odf_info::minor(version).map(|minor| (minor, version))
    });
    let versions: Vec<_> = versions.collect();
    let (reason, message) = match versions.as_slice() {
        [Some((one, first)), Some((other, second))] if one != other => (
            Compatible::VersionSkew,
            format!(
                "versions {first} and {second} of the storage operator: upgrade the older one; both are served meanwhile"
            ),
        ),
        [Some(_), Some((_, version))] => (Compatible::SameVersion, format!("both clusters run {version}")),
        _ => (
            Compatible::VersionUnknown,
            "the version of the storage operator is not known of both clusters".to_owned(),
        ),
    };
    Verdict::new(COMPATIBLE, reason.status().as_bool(), reason.as_str(), message)
}

fn links(seen: &Observed) -> MirrorLinks {
    let mut links: Vec<_> = seen.links.iter().collect();
    links.sort_by_key(|link| (link.namespace(), link.name_any()));
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut not_ready: Vec<_> = links.iter().filter_map(|link| unready(link)).collect();
    let (total, waiting) = (count(links.len()), count(not_ready.len()));
    not_ready.truncate(TOLD);
    MirrorLinks {
        total,
        ready: total - waiting,
        not_ready,
    }
}

/// Why a link is not ready; nothing if it is.
fn unready(link: &PeerLink) -> Option<LinkState> {
    let conditions = link.status.as_ref().map(|status| status.conditions.as_slice());
    let said = condition(conditions.unwrap_or_default(), reasons::READY);
    let (reason, message) = match said {
        Some(said) if said.status == "True" => return None,
        Some(said) => (said.reason.clone(), said.message.clone()),
        None => (
            "WaitingForAgent".to_owned(),
            "the link has not been looked at yet".to_owned(),
        ),
    };
    Some(LinkState {
        artefact: link.spec.artefact.clone(),
        from: link.spec.from.cluster.clone(),
        to: link.spec.to.cluster.clone(),
        reason,
        message,
    })
}
