//! What is done with a target of one link: a Secret, a `ConfigMap` or any other object. Exactly one link delivers to it; a
//! second one that names it reports a conflict.
use exchange::content::Content;
use peering_api::{
    Sensitive,
    peering::reasons::Delivered::{EnvelopeRejected, PayloadTooLarge, TemplateFailed},
};

use super::{
    action::{self, Action, Claim, MAX_DATA, Wanted, bring_about, claim},
    content::{belongs, wanted},
    expiry,
    group::{CertificateKey, Decision, Group, Held, LinkView, conflict, not_adoptable, waiting},
    link::{Delivery, Report},
    open::{Brought, open},
    used,
};

/// Decides about a target and the links that end there. Removal comes before everything that could stand in its way.
#[must_use]
pub fn decide(group: &Group<'_>) -> Decision {
    let owner = group.target.and_then(|target| target.owner());
    let owns = |view: &LinkView<'_>| owner == Some(view.link.spec.id.as_str());
    let mut decision = Decision::default();
    let mut clearing = false;
    for view in group.links.iter().filter(|view| view.leaving()) {
        let held_back = view.held_back();
        if let Some(target) = group.target.filter(|_| owns(view)) {
            clearing = !target.terminating;
            if held_back.is_none() {
                decision.action = action::withdraw(view.link.spec.target.deletion_policy, target);
            }
        }
        let acts = held_back.is_none() && owns(view);
        let report = held_back.unwrap_or(Report::Withdrawn);
        decision.outcomes.push(view.outcome(report, acts));
    }
    let mut free = group.target.is_none();
    for view in group.links.iter().filter(|view| !view.leaving()) {
        if clearing {
            // The watch of the target brings the next pass.
            decision.outcomes.push(view.outcome(Report::Unchanged, false));
        } else if deliver(group, view, free, &mut decision) {
            free = false;
        }
    }
    decision
}

/// Decides for one link; returns whether it takes the place.
fn deliver(group: &Group<'_>, view: &LinkView<'_>, free: bool, decision: &mut Decision) -> bool {
    let spec = &view.link.spec;
    let claim = group
        .target
        .map(|target| claim(target, &spec.id, spec.target.on_conflict));
    let held = group.target.filter(|_| claim == Some(Claim::Ours));
    if used::stands(view, held) {
        // It has served: what it was made from need not come again. One that stands takes the place all the same.
        decision.outcomes.push(view.outcome(Report::Unchanged, false));
        return false;
    }
    let held = held.and_then(|target| target.revisions().get(&spec.id).copied());
    let (revision, hash, content) = match open(group, view, held) {
        Brought::Waiting(message) => {
            let report = waiting(view, held.is_some(), message);
            decision.outcomes.push(view.outcome(report, false));
            return false;
        }
        Brought::Refused(reason, message) => {
            decision.refuse(view, reason, message);
            return false;
        }
        Brought::Content {
            revision,
            hash,
            content,
        } => (revision, hash, content),
    };
    let key = match certificate(view, &content, held.is_some()) {
        Ok(key) => key,
        Err(Report::NotDelivered(EnvelopeRejected, message)) => {
            decision.refuse(view, EnvelopeRejected, message);
            return false;
        }
        Err(report) => {
            decision.outcomes.push(view.outcome(report, false));
            return false;
        }
    };
    let (report, action) = place(group, view, &content, (key, revision), claim, free);
    let takes = report.is_none();
    let report = report.unwrap_or_else(|| {
        Report::Delivered(Delivery {
            revision,
            hash: hash.clone(),
            expires_at: expiry::of(&content, group.now),
            fingerprints: vec![],
            message: format!("revision {revision} stands in {}", group.place),
        })
    });
    if takes {
        decision.action = action;
        decision.held = Some(Held {
            owner: spec.id.clone(),
            payload: content.data,
            certificate_key: key.cloned(),
            hash,
            bundle: None,
        });
    }
    decision.outcomes.push(view.outcome(report, takes));
    takes
}

/// What has to be done at the target's place; a report where it is not for this link to do anything there.
fn place(
    group: &Group<'_>,
    view: &LinkView<'_>,
    content: &Content,
    (key, revision): (Option<&Sensitive>, i64),
    claim: Option<Claim>,
    free: bool,
) -> (Option<Report>, Action) {
    let stop = |report| (Some(report), Action::None);
    if group.target.is_some_and(|target| target.terminating) {
        // What is about to vanish is neither changed nor a conflict: its end brings the next pass.
        return stop(Report::Unchanged);
    }
    if claim == Some(Claim::Foreign) || (claim.is_none() && !free) {
        return stop(conflict(group));
    }
    let wanted = match wanted(view, content, key, revision) {
        Ok(wanted) => wanted,
        Err(message) => return stop(Report::NotDelivered(TemplateFailed, message)),
    };
    if let Some(report) = too_large(group, &wanted) {
        return stop(report);
    }
    match (claim, group.target) {
        (Some(Claim::Adoptable), Some(target)) if wanted.must_recreate(target) => stop(not_adoptable(group)),
        (_, target) => (None, bring_about(wanted, target)),
    }
}

/// The key of the link's certificate, if it has one and what came belongs to it.
fn certificate<'a>(view: &LinkView<'a>, content: &Content, holds: bool) -> Result<Option<&'a Sensitive>, Report> {
    match view.key {
        CertificateKey::None => Ok(None),
        CertificateKey::Missing(why) => Err(waiting(view, holds, why.to_owned())),
        CertificateKey::Ready(key) => match belongs(content, key) {
            Ok(()) => Ok(Some(key)),
            Err(message) => Err(Report::NotDelivered(EnvelopeRejected, message)),
        },
    }
}

/// The API server would refuse so much data.
#[must_use]
pub fn too_large(group: &Group<'_>, wanted: &Wanted) -> Option<Report> {
    let size = wanted.size(group.target);
    (size > MAX_DATA).then(|| {
        let message = format!(
            "{} would hold {size} bytes: expected at most {MAX_DATA}, which is what the API server takes; hand over less, or choose another target",
            group.place
        );
        Report::NotDelivered(PayloadTooLarge, message)
    })
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
