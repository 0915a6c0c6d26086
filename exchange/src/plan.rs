//! Who hands what to whom: a Peering, its profile and what is known of its members become exports and links.
//!
//! A Peering that cannot be understood as a whole yields no [`Wanted`] at all: what was handed over before stays, since
//! a typing error must not withdraw a secret that is in use.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{
        Artefact, ArtefactKind, ExchangeProfileSpec, LinkEnd, ObjectSource, PeerExportSpec, PeerLinkSpec, PeeringSpec,
        Recipient, Target, TargetKind,
        reasons::{ACCEPTED, Accepted},
    },
};

use crate::{
    expression::{self, Scope},
    state::Verdict,
};

/// Key under which the certificates of a bundle stand where the profile names none.
pub const DEFAULT_BUNDLE_KEY: &str = "ca-bundle.crt";

/// What the hub knows about a cluster that a Peering names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFacts {
    /// It is a `ManagedCluster` of this hub.
    pub managed: bool,
    /// The addon is installed there and not about to leave.
    pub installed: bool,
    /// Public key of its agent, once published.
    pub public_key: Option<String>,
}

/// Where an object of ours belongs: cluster namespace and name.
pub type Place = (String, String);

/// The exports and links that should exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Exports, in the cluster namespaces of their sources.
    pub exports: BTreeMap<Place, PeerExportSpec>,
    /// Links, in the cluster namespaces of their destinations.
    pub links: BTreeMap<Place, PeerLinkSpec>,
}

/// The outcome of planning.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The condition `Accepted`.
    pub accepted: Verdict,
    /// What should exist. `None`: leave everything as it is.
    pub wanted: Option<Wanted>,
}

/// A problem that concerns part of a Peering; the rest is served.
struct Problem {
    reason: Accepted,
    message: String,
}

/// Plans one Peering. `facts` need to hold the clusters that the Peering names; an absent one counts as not managed.
#[must_use]
pub fn plan(
    name: &str,
    peering: &PeeringSpec,
    profile: Option<&ExchangeProfileSpec>,
    facts: &BTreeMap<String, MemberFacts>,
) -> Plan {
    let Some(profile) = profile else {
        let message = format!(
            "ExchangeProfile {:?} does not exist: create it or correct spec.profile; existing links stay as they are",
            peering.profile
        );
        return Plan {
            accepted: verdict(Accepted::ProfileNotFound, message),
            wanted: None,
        };
    };
    match served(name, peering, profile, facts) {
        Err(problem) => {
            let message = format!("{}; existing links stay as they are", problem.message);
            Plan {
                accepted: verdict(problem.reason, message),
                wanted: None,
            }
        }
        Ok((wanted, problems)) => Plan {
            accepted: judge(peering, &problems),
            wanted: Some(wanted),
        },
    }
}

fn verdict(reason: Accepted, message: String) -> Verdict {
    Verdict::new(ACCEPTED, Some(reason == Accepted::Accepted), reason.as_str(), message)
}

fn judge(peering: &PeeringSpec, problems: &[Problem]) -> Verdict {
    let Some(first) = problems.first() else {
        let message = format!(
            "{} members exchange profile {:?}",
            peering.members.len(),
            peering.profile
        );
        return verdict(Accepted::Accepted, message);
    };
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    verdict(
        first.reason,
        format!("{}; everything else is served", messages.join("; ")),
    )
}

fn served(
    name: &str,
    peering: &PeeringSpec,
    profile: &ExchangeProfileSpec,
    facts: &BTreeMap<String, MemberFacts>,
) -> Result<(Wanted, Vec<Problem>), Problem> {
    let params = parameters(peering, profile)?;
    let absent = MemberFacts::default();
    let mut problems = Vec::new();
    let mut members = BTreeMap::new();
    for member in &peering.members {
        let cluster = member.cluster.as_str();
        let known = facts.get(cluster).unwrap_or(&absent);
        if !known.managed {
            let message = format!(
                "member {cluster:?} is not a ManagedCluster of this hub: import the cluster or remove the member"
            );
            problems.push(Problem {
                reason: Accepted::MemberNotFound,
                message,
            });
        } else if !known.installed {
            let message = format!(
                "the addon {} is not installed on cluster {cluster:?}: create its ManagedClusterAddOn",
                names::ADDON
            );
            problems.push(Problem {
                reason: Accepted::AddOnNotInstalled,
                message,
            });
        } else {
            members.insert(cluster, known);
        }
    }
    let mut wanted = Wanted::default();
    for artefact in &profile.artefacts {
        for from in members.keys() {
            let scope = Scope {
                params: params[*from].clone(),
                peering: name.to_owned(),
                source: (*from).to_owned(),
                ..Scope::default()
            };
            let (place, export) = export(name, peering, artefact, &scope)?;
            wanted.exports.insert(place.clone(), export);
            for (to, known) in members.iter().filter(|(to, _)| *to != from) {
                let scope = Scope {
                    params: params[*to].clone(),
                    destination: Some((*to).to_owned()),
                    ..scope.clone()
                };
                let (at, link) = link(name, peering, artefact, &scope, members[from], known)?;
                if let Some(export) = wanted.exports.get_mut(&place) {
                    let public_key = known.public_key.clone().filter(|_| artefact.confidential);
                    export.recipients.push(Recipient {
                        link: link.id.clone(),
                        cluster: (*to).to_owned(),
                        public_key,
                    });
                }
                wanted.links.insert(at, link);
            }
        }
    }
    problems.extend(drop_collisions(&mut wanted));
    Ok((wanted, problems))
}

/// The parameters of each member: its own, then the Peering's, then the defaults.
fn parameters<'a>(
    peering: &'a PeeringSpec,
    profile: &ExchangeProfileSpec,
) -> Result<BTreeMap<&'a str, BTreeMap<String, String>>, Problem> {
    let invalid = |message| Problem {
        reason: Accepted::InvalidParameters,
        message,
    };
    let known: BTreeSet<_> = profile
        .parameters
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let given = peering
        .parameters
        .keys()
        .chain(peering.members.iter().flat_map(|member| member.parameters.keys()));
    if let Some(unknown) = given.into_iter().find(|name| !known.contains(name.as_str())) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(invalid(format!(
            "profile {:?} has no parameter {unknown:?}, it knows: {known}",
            peering.profile
        )));
    }
    let mut all = BTreeMap::new();
    for member in &peering.members {
        let mut values = BTreeMap::new();
        for parameter in &profile.parameters {
            let value = member
                .parameters
                .get(&parameter.name)
                .or_else(|| peering.parameters.get(&parameter.name));
            let Some(value) = value.or(parameter.default.as_ref()) else {
                return Err(invalid(format!(
                    "parameter {:?} has no value for member {:?}: set it",
                    parameter.name, member.cluster
                )));
            };
            values.insert(parameter.name.clone(), value.clone());
        }
        all.insert(member.cluster.as_str(), values);
    }
    Ok(all)
}

fn resolve(artefact: &Artefact, field: &str, text: &str, scope: &Scope) -> Result<String, Problem> {
    expression::resolve(text, scope).map_err(|error| Problem {
        reason: Accepted::InvalidProfile,
        message: format!("artefact {:?}, {field}: {error}", artefact.name),
    })
}

/// Resolves a name and checks it as the API server would (RFC 1123: a label for namespaces, a subdomain for names).
fn resolve_name(artefact: &Artefact, field: &str, text: &str, scope: &Scope) -> Result<String, Problem> {
    let resolved = resolve(artefact, field, text, scope)?;
    let valid = if field.ends_with("namespace") {
        is_label(&resolved)
    } else {
        is_subdomain(&resolved)
    };
    if valid {
        return Ok(resolved);
    }
    let message = format!(
        "artefact {:?}, {field}: {resolved:?} is not a valid Kubernetes name: correct the parameters",
        artefact.name
    );
    Err(Problem {
        reason: Accepted::InvalidParameters,
        message,
    })
}

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    text.len() <= 253
        && text
            .split('.')
            .all(|part| label(part) && !part.starts_with('-') && !part.ends_with('-'))
}

fn export(
    name: &str,
    peering: &PeeringSpec,
    artefact: &Artefact,
    scope: &Scope,
) -> Result<(Place, PeerExportSpec), Problem> {
    let Some(input) = artefact.inputs.first() else {
        let message = format!("artefact {:?} has no input", artefact.name);
        return Err(Problem {
            reason: Accepted::InvalidProfile,
            message,
        });
    };
    let spec = PeerExportSpec {
        peering: name.to_owned(),
        profile: peering.profile.clone(),
        artefact: artefact.name.clone(),
        kind: artefact.kind,
        confidential: artefact.confidential,
        source: ObjectSource {
            api_version: input.api_version.clone(),
            kind: input.kind.clone(),
            namespace: resolve_name(artefact, "inputs[0].namespace", &input.namespace, scope)?,
            name: resolve_name(artefact, "inputs[0].name", &input.name, scope)?,
            keys: input.keys.clone(),
        },
        recipients: Vec::new(),
    };
    Ok((
        (
            scope.source.clone(),
            names::export_name(name, &artefact.name, &scope.source),
        ),
        spec,
    ))
}

fn link(
    name: &str,
    peering: &PeeringSpec,
    artefact: &Artefact,
    scope: &Scope,
    from: &MemberFacts,
    to: &MemberFacts,
) -> Result<(Place, PeerLinkSpec), Problem> {
    let destination = scope.destination.clone().unwrap_or_default();
    let id = names::link_id(name, &artefact.name, &scope.source, &destination);
    let end = |cluster: &str, facts: &MemberFacts| LinkEnd {
        cluster: cluster.to_owned(),
        public_key: facts.public_key.clone(),
    };
    let deliver = &artefact.deliver;
    let key = (artefact.kind == ArtefactKind::CaBundle)
        .then(|| deliver.key.clone().unwrap_or_else(|| DEFAULT_BUNDLE_KEY.to_owned()));
    let spec = PeerLinkSpec {
        peering: name.to_owned(),
        profile: peering.profile.clone(),
        artefact: artefact.name.clone(),
        kind: artefact.kind,
        confidential: artefact.confidential,
        from: end(&scope.source, from),
        to: end(&destination, to),
        target: Target {
            kind: deliver.kind,
            namespace: resolve_name(artefact, "deliver.namespace", &deliver.namespace, scope)?,
            name: resolve_name(artefact, "deliver.name", &deliver.name, scope)?,
            type_: deliver.type_.clone(),
            key,
            labels: deliver.labels.clone(),
            on_conflict: deliver.on_conflict,
            deletion_policy: deliver.deletion_policy,
        },
        id: id.clone(),
    };
    Ok((
        (destination, names::link_name(name, &artefact.name, &scope.source, &id)),
        spec,
    ))
}

/// Takes out links that would write the same object, or an object that is itself a source, and says which.
fn drop_collisions(wanted: &mut Wanted) -> Vec<Problem> {
    let object = |cluster: &str, kind: TargetKind, namespace: &str, name: &str| {
        (
            cluster.to_owned(),
            kind.as_str().to_owned(),
            namespace.to_owned(),
            name.to_owned(),
        )
    };
    let sources: BTreeSet<_> = wanted
        .exports
        .iter()
        .map(|((cluster, _), export)| {
            let source = &export.source;
            (
                cluster.clone(),
                source.kind.clone(),
                source.namespace.clone(),
                source.name.clone(),
            )
        })
        .collect();
    // Links of one CA bundle share their target on purpose: they count as one writer.
    let mut writers: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    let target = |link: &PeerLinkSpec| {
        object(
            &link.to.cluster,
            link.target.kind,
            &link.target.namespace,
            &link.target.name,
        )
    };
    let writer = |link: &PeerLinkSpec| match link.kind {
        ArtefactKind::Secret => link.id.clone(),
        ArtefactKind::CaBundle => names::bundle_id(&link.peering, &link.artefact, &link.to.cluster),
    };
    for link in wanted.links.values() {
        writers.entry(target(link)).or_default().insert(writer(link));
    }
    let mut problems = Vec::new();
    let mut dropped = BTreeSet::new();
    for (object, writers) in &writers {
        let is_source = sources.contains(object);
        if writers.len() > 1 || is_source {
            let (cluster, kind, namespace, name) = object;
            let why = if is_source {
                "is also a source of this Peering"
            } else {
                "would be written by several links"
            };
            let message = format!(
                "{kind} {namespace}/{name} on cluster {cluster:?} {why}: use ${{source.cluster}} in deliver.name of the profile"
            );
            problems.push(Problem {
                reason: Accepted::DuplicateTarget,
                message,
            });
            dropped.insert(object.clone());
        }
    }
    wanted.links.retain(|_, link| !dropped.contains(&target(link)));
    let kept: BTreeSet<_> = wanted.links.values().map(|link| link.id.clone()).collect();
    for export in wanted.exports.values_mut() {
        export.recipients.retain(|recipient| kept.contains(&recipient.link));
    }
    problems
}

#[cfg(test)]
mod tests;
