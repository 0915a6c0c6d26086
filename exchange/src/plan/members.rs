//! Who takes part in a Peering, with which parameters and which key, and which pairs an artefact joins.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{
        Artefact, ExchangeProfileSpec, Flow, KnownMember, Member as Named, PeeringSpec, Role, Topology,
        reasons::Accepted,
    },
};

use super::{Facts, MemberFacts, Problem};
use crate::key::PublicKey;

/// A member that can be served.
pub(super) struct Member<'a> {
    /// Name of the cluster.
    pub(super) cluster: &'a str,
    /// The part that it plays.
    pub(super) role: Role,
    /// It takes part by the Peering's own words. Otherwise it is the hub, which only `ToHubCluster` reaches.
    pub(super) named: bool,
    /// The parameters that count there.
    pub(super) parameters: BTreeMap<String, String>,
    /// What is known about it.
    pub(super) facts: &'a MemberFacts,
    /// Its key may be used: it is the one by which it is known.
    pub(super) trusted: bool,
}

/// The clusters that take part by the Peering's own words.
pub(super) fn named(peering: &PeeringSpec, facts: &Facts) -> BTreeSet<String> {
    let placed = facts.placement.iter().flatten().cloned();
    let named = peering.members.iter().map(|member| member.cluster.clone());
    match &peering.placement_ref {
        Some(_) => named.chain(placed).collect(),
        None => named.collect(),
    }
}

/// The members, explicit ones first.
fn entries(peering: &PeeringSpec, facts: &Facts) -> Vec<Named> {
    let mut entries = peering.members.clone();
    for cluster in named(peering, facts) {
        if !entries.iter().any(|member| member.cluster == cluster) {
            entries.push(Named {
                cluster,
                ..Named::default()
            });
        }
    }
    entries
}

fn fingerprint(key: Option<&String>) -> Option<String> {
    Some(PublicKey::from_base64(key?).ok()?.fingerprint())
}

/// Whether a member's key is the one by which it is known, has followed it in a rotation, or was confirmed by a person.
fn trusted(known: Option<&String>, facts: &MemberFacts) -> bool {
    let Some(known) = known else {
        return true;
    };
    let current = fingerprint(facts.public_key.as_ref());
    let rotated = fingerprint(facts.previous_public_key.as_ref()).as_ref() == Some(known);
    let confirmed = current.is_some() && facts.confirmed == current;
    current.is_none_or(|current| current == *known) || rotated || confirmed
}

/// The clusters whose key is another one than that by which they are known.
pub(super) fn changed(facts: &Facts) -> BTreeSet<String> {
    let members = facts.members.iter();
    let changed = members.filter(|(cluster, seen)| !trusted(facts.known.get(*cluster), seen));
    changed.map(|(cluster, _)| cluster.clone()).collect()
}

/// The keys by which members are known from now on. A member that was seen once is remembered as long as the Peering names
/// it, also while it is away from the hub, and while nobody can tell whom its Placement names.
pub(super) fn known(peering: &PeeringSpec, facts: &Facts) -> Vec<KnownMember> {
    let absent = MemberFacts::default();
    let mut clusters = named(peering, facts);
    if peering.placement_ref.is_some() && facts.placement.is_none() {
        clusters.extend(facts.known.keys().cloned());
    }
    clusters.extend(
        facts
            .members
            .iter()
            .filter(|(_, known)| known.is_hub)
            .map(|(name, _)| name.clone()),
    );
    let entry = |cluster: String| {
        let (before, seen) = (
            facts.known.get(&cluster),
            facts.members.get(&cluster).unwrap_or(&absent),
        );
        let current = fingerprint(seen.public_key.as_ref()).filter(|_| trusted(before, seen));
        let fingerprint = current.or_else(|| before.cloned())?;
        Some(KnownMember { cluster, fingerprint })
    };
    clusters.into_iter().filter_map(entry).collect()
}

/// Everybody who can be served, and why the others cannot.
pub(super) fn of<'a>(
    peering: &PeeringSpec,
    profile: &ExchangeProfileSpec,
    facts: &'a Facts,
) -> Result<(Vec<Member<'a>>, Vec<Problem>), Problem> {
    check_parameters(peering, profile)?;
    let mut problems = Vec::new();
    if let Some(reference) = &peering.placement_ref
        && facts.placement.is_none()
    {
        let message = format!(
            "Placement {}/{} does not exist or has not decided yet: create it, correct spec.placementRef, or see its conditions",
            reference.namespace, reference.name
        );
        return Err(Problem::new(Accepted::PlacementNotFound, message));
    }
    let mut members = Vec::new();
    for entry in entries(peering, facts) {
        let parameters = parameters(peering, profile, &entry)?;
        let found = facts.members.get_key_value(&entry.cluster);
        match found.map(|(cluster, seen)| (cluster, seen, absence(cluster, seen))) {
            Some((cluster, seen, None)) => members.push(Member {
                cluster,
                role: entry.role,
                named: true,
                parameters,
                facts: seen,
                trusted: trusted(facts.known.get(cluster), seen),
            }),
            Some((.., Some(problem))) => problems.push(problem),
            None => problems.extend(absence(&entry.cluster, &MemberFacts::default())),
        }
    }
    if profile
        .artefacts
        .iter()
        .any(|artefact| artefact.flow == Flow::ToHubCluster)
    {
        add_hub(peering, profile, facts, &mut members, &mut problems)?;
    }
    members.sort_by_key(|member| member.cluster);
    problems.extend(members.iter().filter(|member| !member.trusted).map(unconfirmed));
    Ok((members, problems))
}

/// The hub as the place where artefacts of flow `ToHubCluster` end, unless it is a member anyway.
fn add_hub<'a>(
    peering: &PeeringSpec,
    profile: &ExchangeProfileSpec,
    facts: &'a Facts,
    members: &mut Vec<Member<'a>>,
    problems: &mut Vec<Problem>,
) -> Result<(), Problem> {
    let Some((cluster, seen)) = facts.members.iter().find(|(_, seen)| seen.is_hub && seen.managed) else {
        let message = "an artefact of flow ToHubCluster goes to the hub, which is not a managed cluster of its own: import it as local-cluster (label local-cluster=true)";
        problems.push(Problem::new(Accepted::HubNotManaged, message));
        return Ok(());
    };
    if members.iter().any(|member| member.cluster == cluster) {
        return Ok(());
    }
    if let Some(problem) = absence(cluster, seen) {
        problems.push(problem);
        return Ok(());
    }
    let entry = Named {
        cluster: cluster.clone(),
        ..Named::default()
    };
    members.push(Member {
        cluster,
        role: Role::Spoke,
        named: false,
        parameters: parameters(peering, profile, &entry)?,
        facts: seen,
        trusted: trusted(facts.known.get(cluster), seen),
    });
    Ok(())
}

fn absence(cluster: &str, known: &MemberFacts) -> Option<Problem> {
    if !known.managed {
        let message =
            format!("member {cluster:?} is not a ManagedCluster of this hub: import the cluster or remove the member");
        return Some(Problem::new(Accepted::MemberNotFound, message));
    }
    (!known.installed).then(|| {
        let message = format!(
            "the addon {} is not installed on cluster {cluster:?}: create its ManagedClusterAddOn",
            names::ADDON
        );
        Problem::new(Accepted::AddOnNotInstalled, message)
    })
}

fn unconfirmed(member: &Member<'_>) -> Problem {
    let now = fingerprint(member.facts.public_key.as_ref()).unwrap_or_default();
    let message = format!(
        "member {:?} has come back with another key ({now}): nothing is sealed to it or taken from it; if its cluster was set up anew, confirm it: kubectl annotate -n {} peermember {} {}={now} --overwrite",
        member.cluster,
        member.cluster,
        member.cluster,
        names::CONFIRM_KEY_ANNOTATION
    );
    Problem::new(Accepted::IdentityChanged, message)
}

/// Every value that is given belongs to a parameter of the profile.
fn check_parameters(peering: &PeeringSpec, profile: &ExchangeProfileSpec) -> Result<(), Problem> {
    let known: BTreeSet<_> = profile
        .parameters
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let given = peering
        .parameters
        .keys()
        .chain(peering.members.iter().flat_map(|member| member.parameters.keys()));
    let Some(unknown) = given.into_iter().find(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!(
        "profile {:?} has no parameter {unknown:?}, it knows: {known}",
        peering.profile
    );
    Err(Problem::new(Accepted::InvalidParameters, message))
}

/// The parameters of one member: its own, then the Peering's, then the defaults.
fn parameters(
    peering: &PeeringSpec,
    profile: &ExchangeProfileSpec,
    member: &Named,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut values = BTreeMap::new();
    for parameter in &profile.parameters {
        let value = member
            .parameters
            .get(&parameter.name)
            .or_else(|| peering.parameters.get(&parameter.name))
            .or(parameter.default.as_ref());
        let value = match value {
            Some(value) => value.clone(),
            None if parameter.required == Some(false) => String::new(),
            None => {
                let message = format!(
                    "parameter {:?} has no value for member {:?}: set it",
                    parameter.name, member.cluster
                );
                return Err(Problem::new(Accepted::InvalidParameters, message));
            }
        };
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

type Pair<'m, 'a> = (&'m Member<'a>, &'m Member<'a>);

/// The pairs that an artefact joins, source first.
pub(super) fn pairs<'m, 'a>(
    topology: Topology,
    artefact: &Artefact,
    members: &'m [Member<'a>],
) -> Result<Vec<Pair<'m, 'a>>, Problem> {
    let all = members
        .iter()
        .flat_map(|from| members.iter().map(move |to| (from, to)))
        .filter(|(from, to)| from.cluster != to.cluster && from.named);
    let is_hub = |member: &Member<'_>| member.role == Role::Hub;
    let joined = |(from, to): &Pair<'_, '_>| match (artefact.flow, topology) {
        (Flow::ToHubCluster, _) => to.facts.is_hub,
        _ if !to.named => false,
        (Flow::Both, Topology::Mesh) => true,
        (Flow::Both, Topology::Star) => is_hub(from) != is_hub(to),
        (Flow::ToHubRole, _) => !is_hub(from) && is_hub(to),
        (Flow::FromHubRole, _) => is_hub(from) && !is_hub(to),
    };
    let needs_roles = matches!(artefact.flow, Flow::ToHubRole | Flow::FromHubRole) || topology == Topology::Star;
    let has_roles = members.iter().any(|member| member.named && is_hub(member));
    if needs_roles && !has_roles && artefact.flow != Flow::ToHubCluster {
        let message = format!(
            "artefact {:?} flows between members with and without the hub role, but no member that can be served has it: give one 'role: Hub'",
            artefact.name
        );
        return Err(Problem::new(Accepted::RoleConflict, message));
    }
    Ok(all.filter(joined).collect())
}
