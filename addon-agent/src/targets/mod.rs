//! Follows the `PeerLink`s that end on this cluster, one target at a time: everything that concerns a target runs under its
//! key, so no two writers race for it. What is done is decided in [`crate::decide`]; here it is looked up, done and reported.
//!
//! A pass: [`scene`] (what is there), [`certificates`] (keys that links need), [`wiring`] (leaving links: who refers to the
//! target is told first), the target itself, [`wiring`] again (delivered links), the place where a link wrote before,
//! [`proofs`], [`report`].
//!
//! The target comes first, the hub afterwards: drift is repaired from what the watches last knew while the hub is away.
mod certificates;
mod links;
mod proofs;
mod report;
mod scene;
mod wiring;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use addon_framework::runtime::Outcome;
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::peering::PeerLink;
use thiserror::Error;
use tracing::{info, warn};

use self::{report::Stage, scene::Scene};
use crate::{
    context::Context,
    decide::{
        Action, Decision, certificate,
        link::{self, Report},
        previous, used,
    },
    hub::Hub,
    spoke::{
        Place, Seen, User,
        write::{WriteError, act},
    },
};

/// The longest time until a target is looked at again because something in it expires.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Why a target could not be brought up to date.
#[derive(Debug, Error)]
pub enum TargetError {
    /// This cluster did not take the target, or a change of a consumer.
    #[error(transparent)]
    Target(#[from] WriteError),
    /// No key could be made.
    #[error("the key for a certificate could not be made")]
    Key(#[source] rcgen::Error),
    /// The hub did not take a status.
    #[error("the status of PeerLink {name} could not be written")]
    Status {
        /// Name of the link.
        name: String,
        /// Why.
        source: kube::Error,
    },
}

/// Brings one target and the status of its links up to date.
pub async fn reconcile(context: Arc<Context>, place: Place) -> Result<Outcome, TargetError> {
    let (Some(hub), Some(ring)) = (context.hub(), context.key_ring()) else {
        return Ok(Outcome::Done);
    };
    let links = links_at(&context, &hub, &place);
    if links.is_empty() {
        forget(&context, &hub, &place);
        return Ok(Outcome::Done);
    }
    let Some(scene) = Scene::look(&context, &hub, &place, links) else {
        return Ok(Outcome::Done);
    };
    // What has arrived may be sealed to the new key.
    context.rotation_touched();
    certificates::make(&context, &scene).await?;
    let undone = wiring::undo(&context, &scene.links).await;
    let decision = scene.decide(&context, &ring, &undone, Timestamp::now());
    count_refusals(&context, &decision);
    let acted = act(&context.spoke.request, &place, &decision.action, scene.target()).await;
    if let Err(error) = &acted
        && error.is_conflict()
    {
        return Err(error.clone().into());
    }
    let mut decision = settle(&context, &place, decision, acted.as_ref().err());
    let wired = wiring::wire(&context, &scene.links, &decision).await;
    let cleared = clear(&context, &scene, &mut decision, &wired).await;
    let stages = stages(&context, &scene, &decision, &wired);
    let reported = report::report(&context, &hub, &scene, &decision, stages).await;
    acted?;
    undone.result?;
    wired.result?;
    cleared?;
    Ok(reported?
        .into_iter()
        .chain(decision.again_at)
        .min()
        .map_or(Outcome::Done, again))
}

/// The links of a target, oldest first, each as it was last seen or written.
fn links_at(context: &Context, hub: &Hub, place: &Place) -> Vec<Arc<PeerLink>> {
    let links = hub.links_at(place).into_iter();
    let mut links: Vec<_> = links.map(|link| context.links.newest(link)).collect();
    links.sort_by_cached_key(|link| (link.creation_timestamp().map(|time| time.0), link.name_any()));
    links
}

/// No link ends there any more: nobody has to watch the place.
fn forget(context: &Context, hub: &Hub, place: &Place) {
    context.pool.want(&User::Target(place.clone()), &BTreeSet::new());
    lock(&context.places).retain(|_, known| known != place);
    lock(&context.applied).retain(|id, _| hub.has_link(id));
    context.probes.retain(|id| hub.has_link(id));
}

fn count_refusals(context: &Context, decision: &Decision) {
    for refusal in &decision.refused {
        if context.metrics.refused(refusal) {
            warn!(link = refusal.id, reason = refusal.reason, "envelope refused");
        }
    }
}

/// Takes note of what became of the action.
fn settle(context: &Context, place: &Place, mut decision: Decision, error: Option<&WriteError>) -> Decision {
    if let Some(error) = error {
        let (reason, message) = (error.reason(), error.to_string());
        let failed = |outcome: link::Outcome| outcome.failed(reason, &message);
        decision.outcomes = decision.outcomes.into_iter().map(failed).collect();
        decision.held = None;
        return decision;
    }
    match decision.action {
        Action::None => {}
        Action::Create(_) | Action::Apply(_) | Action::Recreate(_) => {
            context.metrics.delivered(&place.kind);
            info!(target_object = %place, "target written");
        }
        Action::Delete | Action::Release { .. } => info!(target_object = %place, "target withdrawn"),
    }
    let mut applied = lock(&context.applied);
    for outcome in &decision.outcomes {
        if let Report::Delivered(delivery) = &outcome.report {
            let known = applied.entry(outcome.id.clone()).or_insert(delivery.revision);
            *known = delivery.revision.max(*known);
        }
    }
    decision
}

/// Clears what is left elsewhere: the place where a link wrote before, once nobody has to refer to it any more, and of a
/// link that goes away also its key.
async fn clear(
    context: &Context,
    scene: &Scene,
    decision: &mut Decision,
    wired: &wiring::Wired,
) -> Result<(), WriteError> {
    let mut result = Ok(());
    for outcome in &mut decision.outcomes {
        let Some(link) = scene.link(&outcome.name) else {
            continue;
        };
        let mut steps = Vec::new();
        match &outcome.report {
            Report::Delivered(_) if !wired.may_refer_to_the_old() => {
                steps.extend(previous_step(context, link));
            }
            Report::Withdrawn => {
                steps.extend(previous_step(context, link));
                steps.extend(certificate::place(&link.spec, &context.namespace).map(|place| {
                    let seen = context.pool.read(&place);
                    (place, certificate::withdraw(&link.spec, &seen), seen)
                }));
            }
            _ => {}
        }
        for (place, action, seen) in steps {
            let cleared = act(&context.spoke.request, &place, &action, seen.present()).await;
            match cleared {
                Ok(()) if action != Action::None => info!(object = %place, "object of before withdrawn"),
                Ok(()) => {}
                Err(error) => {
                    if outcome.report == Report::Withdrawn {
                        outcome.report = Report::NotWithdrawn(error.to_string());
                    }
                    result = Err(error);
                }
            }
        }
    }
    result
}

fn previous_step(context: &Context, link: &PeerLink) -> Option<(Place, Action, Seen)> {
    let place = previous::place(&link.spec)?;
    let seen = context.pool.read(&place);
    Some((place, previous::action(&link.spec, &seen), seen))
}

/// What is to be said of each link besides its delivery.
fn stages(context: &Arc<Context>, scene: &Scene, decision: &Decision, wired: &wiring::Wired) -> Vec<Stage> {
    let stage = |outcome: &link::Outcome| {
        let link = scene.link(&outcome.name)?;
        let mut stages = link::Stages::default();
        if link.metadata.deletion_timestamp.is_some() {
            context.probes.retain(|id| id != link.spec.id);
        } else {
            certificates::stage(context, link, &mut stages);
            wired.stage(link, outcome, &mut stages);
            // As it was seen: what was written just now brings the next pass.
            stages.used = used::said(link, &scene.place, &scene.target);
            proofs::stage(context, scene, decision, (link, outcome), &mut stages);
        }
        Some(Stage {
            name: outcome.name.clone(),
            stages,
        })
    };
    decision.outcomes.iter().filter_map(stage).collect()
}

fn again(at: Timestamp) -> Outcome {
    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    Outcome::RequeueAfter(wait.clamp(Duration::from_secs(1), LONGEST_WAIT))
}

/// A poisoned lock is taken as it is: maps of plain values are never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
