//! What is done with the `ConfigMap` of a CA bundle. All links of an artefact share it; so do this cluster's own certificates
//! and those that people added by hand.
use std::collections::{BTreeMap, BTreeSet};

use exchange::ca::{self, Certificate, Union, unite};
use jiff::Timestamp;
use peering_api::{
    names,
    peering::{
        DeletionPolicy,
        reasons::{self, Delivered::EnvelopeRejected},
    },
};

use super::{
    group::{
        Action, Brought, Decision, Group, LinkView, OwnShare, Wanted, bring_about, conflict, labels, open, revisions,
        waiting,
    },
    link::{Delivery, Report},
};
use crate::spoke::Observed;

/// The key under which certificates stand if the link names none.
const DEFAULT_KEY: &str = "ca-bundle.crt";

/// The id that the links of one artefact share on this cluster.
fn bundle_of(cluster: &str, view: &LinkView<'_>) -> String {
    names::bundle_id(&view.link.spec.peering, &view.link.spec.artefact, cluster)
}

/// A link of the bundle that holds the place, or may take it; `None` if the place is someone else's.
#[must_use]
pub fn current<'a>(cluster: &str, links: &'a [LinkView<'a>], target: Option<&Observed>) -> Option<&'a LinkView<'a>> {
    match target {
        Some(target) => links
            .iter()
            .find(|view| target.owner() == Some(bundle_of(cluster, view).as_str())),
        None => links.iter().find(|view| !view.leaving()),
    }
}

fn key_of<'a>(view: &LinkView<'a>) -> &'a str {
    view.link.spec.target.key.as_deref().unwrap_or(DEFAULT_KEY)
}

/// Fingerprints of the certificates that earlier passes put into the target.
fn before(target: Option<&Observed>) -> BTreeSet<String> {
    let text = target.and_then(|target| target.annotations.get(names::CERTIFICATES_ANNOTATION));
    let list = text.map(String::as_str).unwrap_or_default().split(',');
    list.filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The certificates that stand in the target.
fn standing(target: Option<&Observed>, key: &str) -> Vec<Certificate> {
    let value = target.and_then(|target| target.data.get(key));
    value
        .map(|value| ca::parse(value.expose()).certificates)
        .unwrap_or_default()
}

/// Decides about a bundle and the links that end there.
#[must_use]
pub fn decide(group: &Group<'_>) -> Decision {
    let mut decision = Decision::default();
    let bundle = current(group.cluster, group.links, group.target).map(|view| bundle_of(group.cluster, view));
    let (members, strangers): (Vec<&LinkView<'_>>, Vec<_>) = group
        .links
        .iter()
        .partition(|view| bundle.as_ref() == Some(&bundle_of(group.cluster, view)));
    for view in strangers {
        let report = if view.leaving() {
            Report::Withdrawn
        } else {
            conflict(group)
        };
        decision.outcomes.push(view.outcome(report, false));
    }
    let (leaving, live): (Vec<&LinkView<'_>>, Vec<_>) = members.into_iter().partition(|view| view.leaving());
    if group.target.is_some_and(|target| target.terminating) {
        let gone = leaving.iter().map(|view| view.outcome(Report::Withdrawn, false));
        let waiting = live.iter().map(|view| view.outcome(Report::Unchanged, false));
        decision.outcomes.extend(gone.chain(waiting));
        return decision;
    }
    if let (Some(bundle), Some(first)) = (bundle, live.first()) {
        form(group, first, &bundle, &live, &mut decision);
    } else if let (Some(target), Some(last)) = (group.target, leaving.first()) {
        decision.action = clear(target, last, group);
    }
    for view in leaving {
        decision.outcomes.push(view.outcome(Report::Withdrawn, true));
    }
    decision
}

/// What the live links bring, or what they brought last.
#[derive(Default)]
struct Share {
    certificates: Vec<Certificate>,
    revisions: BTreeMap<String, i64>,
    /// Fingerprints that some link accounts for.
    accounted: BTreeSet<String>,
}

fn form(group: &Group<'_>, first: &LinkView<'_>, bundle: &str, live: &[&LinkView<'_>], decision: &mut Decision) {
    let key = key_of(first);
    let (standing, before) = (standing(group.target, key), before(group.target));
    let held = group.target.map(Observed::revisions).unwrap_or_default();
    let mut share = Share::default();
    for view in group.links {
        let status = view.link.status.as_ref();
        share
            .accounted
            .extend(status.into_iter().flat_map(|status| status.ca_fingerprints.clone()));
    }
    for view in live {
        let held = held.get(&view.link.spec.id).copied();
        take(group, view, held, &standing, &mut share, decision);
    }
    share
        .certificates
        .extend(own_share(group.own, &standing, &before, &share.accounted));
    let union = at_once(&share.certificates, &standing, &before, group.now);
    decision.again_at = union.next_change;
    // Never an empty bundle: who trusts nothing is cut off. What stands there stays.
    if !union.pem.is_empty() {
        let wanted = wanted(first, bundle, key, &union, &share.revisions);
        decision.action = bring_about(wanted, group.target);
    }
}

/// The union without an overlap window: what a member no longer hands over leaves at once.
fn at_once(members: &[Certificate], target: &[Certificate], before: &BTreeSet<String>, now: Timestamp) -> Union {
    unite(members, target, before, &BTreeMap::new(), None, now)
}

/// Adds what one link brings; without a usable envelope, what it brought before and still stands in the target.
fn take(
    group: &Group<'_>,
    view: &LinkView<'_>,
    held: Option<i64>,
    standing: &[Certificate],
    share: &mut Share,
    decision: &mut Decision,
) {
    let id = &view.link.spec.id;
    match brought(group, view, held) {
        Part::Waiting(message) => {
            keep(view, standing, share);
            let report = waiting(view, held.is_some(), message);
            decision.outcomes.push(view.outcome(report, false));
        }
        Part::Refused(reason, message) => {
            keep(view, standing, share);
            decision.refuse(view, reason, message);
        }
        Part::Certificates(delivery, certificates) => {
            share.accounted.extend(delivery.fingerprints.iter().cloned());
            share.revisions.insert(id.clone(), delivery.revision);
            share.certificates.extend(certificates);
            decision.outcomes.push(view.outcome(Report::Delivered(delivery), true));
            return;
        }
    }
    share.revisions.extend(held.map(|revision| (id.clone(), revision)));
}

/// What the envelope of one link holds.
enum Part {
    Waiting(String),
    Refused(reasons::Delivered, String),
    Certificates(Delivery, Vec<Certificate>),
}

fn brought(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>) -> Part {
    let (revision, hash, content) = match open(group, view, held) {
        Brought::Waiting(message) => return Part::Waiting(message),
        Brought::Refused(reason, message) => return Part::Refused(reason, message),
        Brought::Content {
            revision,
            hash,
            content,
        } => (revision, hash, content),
    };
    let certificates = ca::parse(&content.joined()).certificates;
    if certificates.is_empty() {
        return Part::Refused(
            EnvelopeRejected,
            "the envelope holds no valid CA certificate".to_owned(),
        );
    }
    let expired = certificates.iter().filter(|one| one.not_after <= group.now).count();
    let left_out = if expired == 0 {
        String::new()
    } else {
        format!(", {expired} of them left out because they have expired")
    };
    let fingerprints: BTreeSet<_> = certificates.iter().map(|one| one.fingerprint.clone()).collect();
    let delivery = Delivery {
        revision,
        hash,
        expires_at: certificates.iter().map(|one| one.not_after).min(),
        message: format!(
            "{} CA certificate(s) of cluster {} stand in {}{left_out}",
            certificates.len(),
            view.link.spec.from.cluster,
            group.place
        ),
        fingerprints: fingerprints.into_iter().collect(),
    };
    Part::Certificates(delivery, certificates)
}

/// Last known good: a link whose envelope is missing or refused keeps what it brought.
fn keep(view: &LinkView<'_>, standing: &[Certificate], share: &mut Share) {
    let Some(status) = &view.link.status else { return };
    let kept = standing
        .iter()
        .filter(|one| status.ca_fingerprints.contains(&one.fingerprint));
    share.certificates.extend(kept.cloned());
}

/// This cluster's own certificates; if its source is bad, those of ours in the target that no link accounts for.
fn own_share(
    own: &OwnShare,
    standing: &[Certificate],
    before: &BTreeSet<String>,
    accounted: &BTreeSet<String>,
) -> Vec<Certificate> {
    match own {
        OwnShare::None => vec![],
        OwnShare::Good(certificates) => certificates.clone(),
        OwnShare::Bad => standing
            .iter()
            .filter(|one| before.contains(&one.fingerprint) && !accounted.contains(&one.fingerprint))
            .cloned()
            .collect(),
    }
}

fn wanted(first: &LinkView<'_>, bundle: &str, key: &str, union: &Union, held: &BTreeMap<String, i64>) -> Wanted {
    let ours: Vec<_> = union.ours.iter().map(String::as_str).collect();
    let certificates = (names::CERTIFICATES_ANNOTATION.to_owned(), ours.join(","));
    Wanted {
        type_: None,
        labels: labels(first, bundle),
        annotations: [certificates, revisions(held)].into(),
        data: [(key.to_owned(), union.pem.clone().into_bytes().into())].into(),
        exact: false,
    }
}

/// The last link goes: our certificates leave, what others put there stays.
fn clear(target: &Observed, last: &LinkView<'_>, group: &Group<'_>) -> Action {
    if last.link.spec.target.deletion_policy == DeletionPolicy::Orphan {
        return Action::Release { data: None };
    }
    let key = key_of(last);
    let left = at_once(&[], &standing(Some(target), key), &before(Some(target)), group.now).pem;
    let other_keys = target.data.keys().any(|known| known != key);
    match (left.is_empty(), other_keys) {
        (true, false) => Action::Delete,
        (true, true) => Action::Release {
            data: target.data.contains_key(key).then(|| (key.to_owned(), None)),
        },
        (false, _) => Action::Release {
            data: Some((key.to_owned(), Some(left))),
        },
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
