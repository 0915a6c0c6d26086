//! What is done with the `ConfigMap` of a CA bundle. All links of an artefact share it; so do this cluster's own certificates
//! and those that people added by hand.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use exchange::ca::{self, Certificate, Union, unite};
use jiff::Timestamp;
use peering_api::{
    Sensitive, duration, names,
    peering::{
        DeletionPolicy, OnConflict,
        reasons::{self, Delivered::EnvelopeRejected},
    },
};

use super::{
    action::{Action, DataObject, Wanted, bring_about},
    data::too_large,
    expiry,
    group::{Decision, Group, Held, LinkView, OwnShare, conflict, labels, not_adoptable, revisions, waiting},
    link::{Delivery, Report},
    open::{Brought, open},
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
    let mut links = links.iter();
    match target.map(Observed::owner) {
        Some(Some(owner)) => links.find(|view| owner == bundle_of(cluster, view)),
        Some(None) => links.find(|view| !view.leaving() && view.link.spec.target.on_conflict == OnConflict::Adopt),
        None => links.find(|view| !view.leaving()),
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

/// The certificates in the target that their sources have dropped, and until when they stay.
fn retiring(target: Option<&Observed>) -> BTreeMap<String, Timestamp> {
    let text = target.and_then(|target| target.annotations.get(names::RETIRING_ANNOTATION));
    let entries = text.map(String::as_str).unwrap_or_default().split(',');
    let entry = |entry: &str| {
        let (fingerprint, until) = entry.split_once('=')?;
        Some((fingerprint.to_owned(), until.parse().ok()?))
    };
    entries.filter_map(entry).collect()
}

/// The text of the annotation that [`retiring`] reads: `fingerprint=time`, sorted, in whole seconds.
fn retiring_text(retiring: &BTreeMap<String, Timestamp>) -> Option<String> {
    let entries: Vec<_> = retiring
        .iter()
        .map(|(fingerprint, until)| format!("{fingerprint}={}", whole_seconds(*until)))
        .collect();
    (!entries.is_empty()).then(|| entries.join(","))
}

/// Cut to whole seconds, as Kubernetes keeps times.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
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
            view.held_back().unwrap_or(Report::Withdrawn)
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
    // While others live, nobody's reference to the bundle is broken by one that leaves.
    let held_back = leaving
        .iter()
        .find_map(|view| view.held_back())
        .filter(|_| live.is_empty());
    if let (Some(bundle), Some(first)) = (bundle, live.first()) {
        form(group, first, &bundle, (&live, &leaving), &mut decision);
    } else if let (Some(target), Some(last), None) = (group.target, leaving.first(), &held_back) {
        decision.action = clear(target, last, group);
    }
    for view in leaving {
        let report = held_back.clone().unwrap_or(Report::Withdrawn);
        decision.outcomes.push(view.outcome(report, held_back.is_none()));
    }
    decision
}

/// What the live links bring, or what they brought last.
#[derive(Default)]
struct Share<'a> {
    certificates: Vec<Certificate>,
    revisions: BTreeMap<String, i64>,
    /// Fingerprints that some link accounts for.
    accounted: BTreeSet<String>,
    /// What the links say once the bundle stands.
    delivered: Vec<(&'a LinkView<'a>, Delivery)>,
}

/// What stands in the target, and what is known of it.
struct Standing {
    certificates: Vec<Certificate>,
    /// Fingerprints that earlier passes put there.
    before: BTreeSet<String>,
    retiring: BTreeMap<String, Timestamp>,
}

impl Standing {
    /// Those of the certificates that some source handed over when it was last heard of.
    fn live(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates
            .iter()
            .filter(|one| !self.retiring.contains_key(&one.fingerprint))
    }

    /// Those of them that earlier passes put there and no link accounts for.
    fn unaccounted(&self, accounted: &BTreeSet<String>) -> Vec<Certificate> {
        let ours = self.live().filter(|one| self.before.contains(&one.fingerprint));
        ours.filter(|one| !accounted.contains(&one.fingerprint))
            .cloned()
            .collect()
    }
}

fn form<'a>(
    group: &Group<'_>,
    first: &LinkView<'_>,
    bundle: &str,
    (live, leaving): (&[&'a LinkView<'a>], &[&LinkView<'_>]),
    decision: &mut Decision,
) {
    let key = key_of(first);
    let mut standing = Standing {
        certificates: standing(group.target, key),
        before: before(group.target),
        retiring: retiring(group.target),
    };
    let held = group.target.map(Observed::revisions).unwrap_or_default();
    let mut share = Share::default();
    for view in group.links {
        share.accounted.extend(brought_before(view).cloned());
    }
    for view in live {
        let held = held.get(&view.link.spec.id).copied();
        take(group, view, held, &standing, &mut share, decision);
    }
    keep_unknown(group, live, &held, &standing, &mut share);
    share
        .certificates
        .extend(own_share(group.own, &standing, &share.accounted));
    // What a withdrawn member brought leaves at once: the overlap is for those that rotate.
    for fingerprint in leaving.iter().flat_map(|view| brought_before(view)) {
        standing.retiring.insert(fingerprint.clone(), Timestamp::MIN);
    }
    let union = unite(
        &share.certificates,
        &standing.certificates,
        &standing.before,
        &standing.retiring,
        overlap(live),
        group.now,
    );
    decision.again_at = union.next_change;
    decision.overlap_until = union.retiring.values().max().copied().map(whole_seconds);
    let too_large = bring(group, first, bundle, (key, &union, &share.revisions), decision);
    for (view, mut delivery) in share.delivered {
        // What has been dropped is accounted for by who brought it, as long as it stays.
        let retiring = brought_before(view).filter(|fingerprint| union.retiring.contains_key(*fingerprint));
        let all: BTreeSet<_> = retiring.chain(&delivery.fingerprints).cloned().collect();
        delivery.fingerprints = all.into_iter().collect();
        let report = too_large.clone().unwrap_or(Report::Delivered(delivery));
        decision.outcomes.push(view.outcome(report, true));
    }
}

/// Decides on the target; a report for all if that cannot be.
fn bring(
    group: &Group<'_>,
    first: &LinkView<'_>,
    bundle: &str,
    (key, union, revisions): (&str, &Union, &BTreeMap<String, i64>),
    decision: &mut Decision,
) -> Option<Report> {
    // Never an empty bundle: who trusts nothing is cut off. What stands there stays.
    if union.pem.is_empty() {
        return None;
    }
    let wanted = wanted(first, bundle, key, union, revisions);
    if let Some(report) = too_large(group, &wanted) {
        return Some(report);
    }
    if let Some(target) = group.target.filter(|target| target.immutable && !wanted.stands(target)) {
        let owned = target.owner().is_some();
        return Some(if owned { immutable(group) } else { not_adoptable(group) });
    }
    let pem: Sensitive = union.pem.clone().into_bytes().into();
    decision.action = bring_about(wanted, group.target);
    decision.held = Some(Held {
        owner: bundle.to_owned(),
        payload: BTreeMap::from([(key.to_owned(), pem.clone())]),
        certificate_key: None,
        // Public content: nobody gains by testing guesses against it.
        hash: names::digest(&["bundle-content/v1", &union.pem], 32),
        bundle: Some(pem),
    });
    None
}

/// The longest overlap that a link asks for; what cannot be read asks for none.
fn overlap(live: &[&LinkView<'_>]) -> Option<Duration> {
    let texts = live.iter().filter_map(|view| view.link.spec.overlap.as_deref());
    texts.filter_map(|text| duration::parse(text).ok()).max()
}

/// Fingerprints of what a link brought, as its status says.
fn brought_before<'a>(view: &LinkView<'a>) -> impl Iterator<Item = &'a String> + use<'a> {
    let status = view.link.status.as_ref();
    status.into_iter().flat_map(|status| &status.ca_fingerprints)
}

/// Adds what one link brings; without a usable envelope, what it brought before and still stands in the target.
fn take<'a>(
    group: &Group<'_>,
    view: &'a LinkView<'a>,
    held: Option<i64>,
    standing: &Standing,
    share: &mut Share<'a>,
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
            share.delivered.push((view, delivery));
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
        expires_at: expiry::of_certificates(&certificates, group.now),
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
fn keep(view: &LinkView<'_>, standing: &Standing, share: &mut Share<'_>) {
    let brought: BTreeSet<_> = brought_before(view).collect();
    let kept = standing.live().filter(|one| brought.contains(&one.fingerprint));
    share.certificates.extend(kept.cloned());
}

/// Keeps what nobody accounts for while a link that has brought something is unknown to the hub, or has come back without its
/// status, as on a hub restored from a backup: it may be that link's, and nothing goes because a link is absent.
fn keep_unknown(
    group: &Group<'_>,
    live: &[&LinkView<'_>],
    held: &BTreeMap<String, i64>,
    standing: &Standing,
    share: &mut Share<'_>,
) {
    let links: BTreeSet<_> = group.links.iter().map(|view| &view.link.spec.id).collect();
    let lost: Vec<_> = held.iter().filter(|(id, _)| !links.contains(id)).collect();
    let delivered: BTreeSet<_> = share.delivered.iter().map(|(view, _)| &view.link.spec.id).collect();
    let forgotten = live.iter().any(|view| {
        let (id, status) = (&view.link.spec.id, view.link.status.as_ref());
        let applied = status.is_some_and(|status| status.applied_revision.is_some());
        !applied && held.contains_key(id) && !delivered.contains(id)
    });
    if lost.is_empty() && !forgotten {
        return;
    }
    share.certificates.extend(standing.unaccounted(&share.accounted));
    share
        .revisions
        .extend(lost.into_iter().map(|(id, revision)| (id.clone(), *revision)));
}

/// This cluster's own certificates; if its source is bad, those of ours in the target that no link accounts for.
fn own_share(own: &OwnShare, standing: &Standing, accounted: &BTreeSet<String>) -> Vec<Certificate> {
    match own {
        OwnShare::None => vec![],
        OwnShare::Good(certificates) => certificates.clone(),
        OwnShare::Bad => standing.unaccounted(accounted),
    }
}

fn wanted(first: &LinkView<'_>, bundle: &str, key: &str, union: &Union, held: &BTreeMap<String, i64>) -> Wanted {
    let ours: Vec<_> = union.ours.iter().map(String::as_str).collect();
    let certificates = (names::CERTIFICATES_ANNOTATION.to_owned(), ours.join(","));
    let retiring = retiring_text(&union.retiring).map(|text| (names::RETIRING_ANNOTATION.to_owned(), text));
    Wanted::Data(DataObject {
        type_: None,
        labels: labels(first, bundle),
        annotations: [certificates, revisions(held)].into_iter().chain(retiring).collect(),
        data: [(key.to_owned(), union.pem.clone().into_bytes().into())].into(),
        exact: false,
    })
}

/// A `ConfigMap` that somebody has made immutable cannot be changed, and a shared one is not made anew.
fn immutable(group: &Group<'_>) -> Report {
    let message = format!(
        "{} is immutable: expected one that can be changed; delete it, and it is made anew",
        group.place
    );
    Report::NotDelivered(reasons::Delivered::ApplyFailed, message)
}

/// The last link goes: our certificates leave, what others put there stays.
fn clear(target: &Observed, last: &LinkView<'_>, group: &Group<'_>) -> Action {
    if last.link.spec.target.deletion_policy == DeletionPolicy::Orphan {
        return Action::Release { data: None };
    }
    let key = key_of(last);
    let (standing, before) = (standing(Some(target), key), before(Some(target)));
    let left = unite(&[], &standing, &before, &BTreeMap::new(), None, group.now).pem;
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
