//! What is done with a Secret target. Exactly one link delivers to it; a second one that names it reports a conflict.
use std::collections::BTreeMap;

use exchange::content::Content;
use peering_api::peering::DeletionPolicy;

use super::{
    group::{
        Action, Brought, Decision, Group, LinkView, Wanted, bring_about, conflict, labels, open, revisions, waiting,
    },
    link::{Delivery, Report},
};

/// The type of a Secret that names none.
const OPAQUE: &str = "Opaque";

/// Decides about a Secret and the links that end there. Removal comes before everything that could stand in its way.
#[must_use]
pub fn decide(group: &Group<'_>) -> Decision {
    let owner = group.target.and_then(|target| target.owner());
    let owns = |view: &LinkView<'_>| owner == Some(view.link.spec.id.as_str());
    let mut decision = Decision::default();
    for view in group.links.iter().filter(|view| view.leaving()) {
        if owns(view) {
            decision.action = withdraw(group, view);
        }
        decision.outcomes.push(view.outcome(Report::Withdrawn, owns(view)));
    }
    let clearing = decision.action != Action::None;
    let mut free = group.target.is_none();
    for view in group.links.iter().filter(|view| !view.leaving()) {
        if clearing {
            // The watch of the target brings the next pass.
            decision.outcomes.push(view.outcome(Report::Unchanged, false));
        } else if deliver(group, view, owns(view), free, &mut decision) {
            free = false;
        }
    }
    decision
}

fn withdraw(group: &Group<'_>, view: &LinkView<'_>) -> Action {
    if group.target.is_some_and(|target| target.terminating) {
        return Action::None;
    }
    match view.link.spec.target.deletion_policy {
        DeletionPolicy::Delete => Action::Delete,
        DeletionPolicy::Orphan => Action::Release { data: None },
    }
}

/// Decides for one link; returns whether it takes the place.
fn deliver(group: &Group<'_>, view: &LinkView<'_>, owns: bool, free: bool, decision: &mut Decision) -> bool {
    let ours = group.target.filter(|_| owns);
    let held = ours.and_then(|target| target.revisions().get(&view.link.spec.id).copied());
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
    if group.target.is_some_and(|target| target.terminating) {
        // What is about to vanish is neither changed nor a conflict: its end brings the next pass.
        decision.outcomes.push(view.outcome(Report::Unchanged, false));
        return false;
    }
    if !owns && !free {
        decision.outcomes.push(view.outcome(conflict(group), false));
        return false;
    }
    let report = Report::Delivered(Delivery {
        revision,
        hash,
        expires_at: content.expires_at(),
        fingerprints: vec![],
        message: format!("revision {revision} stands in {}", group.place),
    });
    decision.action = bring_about(wanted(view, content, revision), ours);
    decision.outcomes.push(view.outcome(report, true));
    true
}

fn wanted(view: &LinkView<'_>, content: Content, revision: i64) -> Wanted {
    let spec = &view.link.spec;
    let type_ = spec.target.type_.clone().or(content.type_);
    Wanted {
        type_: Some(type_.unwrap_or_else(|| OPAQUE.to_owned())),
        labels: labels(view, &spec.id),
        annotations: [revisions(&BTreeMap::from([(spec.id.clone(), revision)]))].into(),
        data: content.data,
        exact: true,
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
