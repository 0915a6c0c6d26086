//! Who hands what to whom: a Peering, its profile and what is known of its members become exports and links.
//!
//! A Peering that cannot be understood as a whole yields no [`Wanted`] at all: what was handed over before stays, since
//! a typing error must not withdraw a secret that is in use.
//!
//! [`members`]: who takes part, with which parameters, and which pairs an artefact joins. [`artefact`]: the two halves of
//! one link. [`collisions`]: links that would write the same object.
mod artefact;
mod collisions;
mod members;
pub(crate) mod names_check;

use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{
        ApiServer, Artefact, ExchangeProfileSpec, FormerConsumer, KnownMember, ObjectRef, PeerExportSpec, PeerLinkSpec,
        PeeringSpec, Recipient,
        reasons::{ACCEPTED, Accepted},
    },
};

use self::members::Member;
pub use self::{artefact::DEFAULT_BUNDLE_KEY, collisions::claim};
use crate::{lint, state::Verdict};

/// What the hub knows about a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFacts {
    /// It is a `ManagedCluster` of this hub.
    pub managed: bool,
    /// It is the hub itself (`local-cluster`).
    pub is_hub: bool,
    /// The addon is installed there and not about to leave.
    pub installed: bool,
    /// Public key of its agent, once published.
    pub public_key: Option<String>,
    /// The key before it, while a rotation is under way.
    pub previous_public_key: Option<String>,
    /// The fingerprint that a person has confirmed.
    pub confirmed: Option<String>,
    /// How its API server is reached.
    pub api_server: Option<ApiServer>,
}

/// What is known of a link that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// What its destination wants to have signed.
    pub certificate_request: Option<String>,
    /// Its destination has used what was delivered.
    pub used: bool,
    /// The revision that its destination has reported, where it is higher than what its source has published.
    pub applied_revision: Option<i64>,
    /// What carries its envelope now.
    pub carrier: Option<String>,
    /// The key of its source before the current one, while its destination has not applied what that one published.
    pub awaited_sender: Option<String>,
    /// What it writes now, and what it wrote before that.
    pub targets: Vec<ObjectRef>,
    /// The consumers that it names, or did before and its destination may still hold something of it in.
    pub wired: BTreeSet<FormerConsumer>,
}

/// An object on a cluster.
pub type Claim = (String, ObjectRef);

/// Everything that planning looks at besides the Peering and its profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The clusters that the Peering concerns; an absent one counts as not managed.
    pub members: BTreeMap<String, MemberFacts>,
    /// What `spec.placementRef` has decided; `None` if it does not exist or has not decided.
    pub placement: Option<BTreeSet<String>>,
    /// Fingerprints by which members are known, from the Peering's status.
    pub known: BTreeMap<String, String>,
    /// Links that exist, by id.
    pub links: BTreeMap<String, LinkFacts>,
    /// Targets of other Peerings, and whose they are.
    pub claims: BTreeMap<Claim, String>,
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
    /// The clusters that take part by the Peering's own words, whether they can be served or not.
    pub members: BTreeSet<String>,
    /// The keys by which members are known from now on.
    pub known: Vec<KnownMember>,
    /// The clusters whose key is another one than that by which they are known.
    pub changed: BTreeSet<String>,
}

/// A problem that concerns part of a Peering; the rest is served.
#[derive(Clone, Debug)]
struct Problem {
    reason: Accepted,
    message: String,
}

impl Problem {
    fn new(reason: Accepted, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// Plans one Peering.
#[must_use]
pub fn plan(name: &str, peering: &PeeringSpec, profile: Option<&ExchangeProfileSpec>, facts: &Facts) -> Plan {
    let stays = |problem: Problem| Plan {
        accepted: verdict(
            problem.reason,
            format!("{}; existing links stay as they are", problem.message),
        ),
        wanted: None,
        members: members::named(peering, facts),
        known: members::known(peering, facts),
        changed: members::changed(facts),
    };
    if peering.paused {
        let message = "the Peering is paused: nothing is made, changed or withdrawn";
        return stays(Problem::new(Accepted::Paused, message));
    }
    let Some(profile) = profile else {
        let message = format!(
            "ExchangeProfile {:?} does not exist: create it or correct spec.profile",
            peering.profile
        );
        return stays(Problem::new(Accepted::ProfileNotFound, message));
    };
    if let Some(error) = lint::first_error(profile) {
        let message = format!(
            "ExchangeProfile {:?}, {}: {}",
            peering.profile, error.place, error.message
        );
        return stays(Problem::new(Accepted::InvalidProfile, message));
    }
    match served(name, peering, profile, facts) {
        Err(problem) => stays(problem),
        Ok((wanted, problems, count)) => Plan {
            accepted: judge(peering, count, &problems),
            wanted: Some(wanted),
            members: members::named(peering, facts),
            known: members::known(peering, facts),
            changed: members::changed(facts),
        },
    }
}

fn verdict(reason: Accepted, message: String) -> Verdict {
    let accepted = matches!(reason, Accepted::Accepted | Accepted::Paused);
    Verdict::new(ACCEPTED, Some(accepted), reason.as_str(), message)
}

fn judge(peering: &PeeringSpec, members: usize, problems: &[Problem]) -> Verdict {
    let Some(first) = problems.first() else {
        let message = format!("{members} members exchange profile {:?}", peering.profile);
        return verdict(Accepted::Accepted, message);
    };
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let message = format!("{}; everything else is served", messages.join("; "));
    verdict(first.reason, message)
}

type Served = (Wanted, Vec<Problem>, usize);

fn served(name: &str, peering: &PeeringSpec, profile: &ExchangeProfileSpec, facts: &Facts) -> Result<Served, Problem> {
    let (members, mut problems) = members::of(peering, profile, facts)?;
    let mut wanted = Wanted::default();
    for artefact in &profile.artefacts {
        let pairs = match members::pairs(peering.topology, artefact, &members) {
            Ok(pairs) => pairs,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let context = Context {
            name,
            peering,
            artefact,
            facts,
        };
        for (from, to) in pairs {
            context.add(&mut wanted, from, to)?;
        }
    }
    problems.extend(collisions::drop(&mut wanted, &facts.claims));
    let count = members.iter().filter(|member| member.named).count();
    Ok((wanted, problems, count))
}

/// What the halves of one artefact's links are made from.
struct Context<'a> {
    name: &'a str,
    peering: &'a PeeringSpec,
    artefact: &'a Artefact,
    facts: &'a Facts,
}

impl Context<'_> {
    /// Adds the link from one member to another, and the export that feeds it.
    fn add(&self, wanted: &mut Wanted, from: &Member<'_>, to: &Member<'_>) -> Result<(), Problem> {
        let place = (
            from.cluster.to_owned(),
            names::export_name(self.name, &self.artefact.name, from.cluster),
        );
        if !wanted.exports.contains_key(&place) {
            wanted.exports.insert(place.clone(), self.export(from)?);
        }
        let link = self.link(from, to)?;
        let known = self.facts.links.get(&link.id);
        if let Some(export) = wanted.exports.get_mut(&place) {
            export.recipients.push(Recipient {
                link: link.id.clone(),
                cluster: to.cluster.to_owned(),
                public_key: link.to.public_key.clone().filter(|_| self.artefact.confidential),
                certificate_request: known
                    .and_then(|known| known.certificate_request.clone())
                    .filter(|_| link.certificate.is_some()),
                used: known.is_some_and(|known| known.used) && link.target.used_when.is_some(),
            });
            let applied = known.and_then(|known| known.applied_revision);
            export.revision_floor = export.revision_floor.max(applied);
        }
        let at = names::link_name(self.name, &self.artefact.name, from.cluster, &link.id);
        wanted.links.insert((to.cluster.to_owned(), at), link);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
