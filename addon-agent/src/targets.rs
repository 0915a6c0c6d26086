//! Follows the `PeerLink`s that end on this cluster, one target at a time: everything that concerns a target runs under its
//! key, so no two writers race for it. What is done is decided in [`decide`]; here it is looked up, done and reported.
//!
//! The target comes first, the hub afterwards: drift is repaired from what the watches last knew while the hub is away.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use addon_framework::runtime::{Outcome, conditions::apply_status};
use exchange::key::KeyPair;
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::{
    Sensitive,
    peering::{ArtefactKind, PeerExport, PeerLink},
};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    context::Context,
    decide::{
        self, Action, Decision, Group, LinkView, OwnShare,
        link::{self, Report},
    },
    exports,
    hub::Hub,
    spoke::{
        Observed, Place, Seen, User, carrier_of, input_of,
        write::{MANAGER, WriteError, act},
    },
    status,
};

/// The longest time until a target is looked at again because a certificate expires.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Why a target could not be brought up to date.
#[derive(Debug, Error)]
pub enum TargetError {
    /// This cluster did not take the target.
    #[error(transparent)]
    Target(#[from] WriteError),
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
    let (Some(hub), Some(keys)) = (context.hub(), context.keys()) else {
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
    let decision = scene.decide(&context, &keys, Timestamp::now());
    count_refusals(&context, &decision);
    let acted = act(&context.spoke.request, &place, &decision.action, scene.target()).await;
    if let Err(error) = &acted
        && error.is_conflict()
    {
        return Err(error.clone().into());
    }
    let decision = settle(&context, &place, decision, acted.as_ref().err());
    let reported = report(&context, &hub, &scene.links, &decision).await;
    acted?;
    reported?;
    Ok(decision.again_at.map_or(Outcome::Done, again))
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
}

/// Everything that a decision looks at, as it was seen at one moment.
struct Scene {
    place: Place,
    links: Vec<Arc<PeerLink>>,
    envelopes: BTreeMap<String, Sensitive>,
    target: Seen,
    own: OwnShare,
}

impl Scene {
    /// Looks at all that the links need; `None` while a watch has not said anything, which wakes the target when it does.
    fn look(context: &Context, hub: &Hub, place: &Place, links: Vec<Arc<PeerLink>>) -> Option<Self> {
        let live: Vec<_> = links
            .iter()
            .filter(|link| link.metadata.deletion_timestamp.is_none())
            .collect();
        let carrier = |link: &PeerLink| carrier_of(&link.spec, &context.namespace);
        let mut places = BTreeSet::from([place.clone()]);
        places.extend(live.iter().map(|link| carrier(link)));
        let own = live.iter().filter_map(|link| own_export(hub, link));
        places.extend(own.flat_map(|export| export.spec.inputs.iter().filter_map(input_of).collect::<Vec<_>>()));
        context.pool.want(&User::Target(place.clone()), &places);

        let target = context.pool.read(place);
        let mut envelopes = BTreeMap::new();
        for link in live {
            let mut object = match context.pool.read(&carrier(link)) {
                Seen::Pending => return None,
                Seen::Denied | Seen::Unknown | Seen::Absent => continue,
                Seen::Present(object) => object,
            };
            envelopes.extend(object.data.remove_entry(&link.spec.id));
        }
        let mut scene = Self {
            place: place.clone(),
            links,
            envelopes,
            target,
            own: OwnShare::None,
        };
        if scene.target == Seen::Pending {
            return None;
        }
        scene.own = scene.own_share(context, hub)?;
        Some(scene)
    }

    fn own_share(&self, context: &Context, hub: &Hub) -> Option<OwnShare> {
        let views = self.views();
        let current = decide::bundle::current(&context.cluster, &views, self.target());
        match current.and_then(|view| own_export(hub, view.link)) {
            Some(export) => exports::own_share(&context.pool, &export.spec),
            None => Some(OwnShare::None),
        }
    }

    fn target(&self) -> Option<&Observed> {
        match &self.target {
            Seen::Present(target) => Some(target),
            _ => None,
        }
    }

    fn views(&self) -> Vec<LinkView<'_>> {
        let views = self.links.iter().map(|link| LinkView {
            link,
            envelope: self.envelopes.get(&link.spec.id),
        });
        views.collect()
    }

    fn decide(&self, context: &Context, keys: &KeyPair, now: Timestamp) -> Decision {
        let (views, applied) = (self.views(), lock(&context.applied).clone());
        let group = Group {
            place: &self.place,
            cluster: &context.cluster,
            links: &views,
            target: self.target(),
            own: &self.own,
            keys,
            applied: &applied,
            now,
        };
        if self.target == Seen::Denied {
            decide::group::denied(&group)
        } else {
            decide::decide(&group)
        }
    }
}

/// This cluster's own share in the bundle of a link.
fn own_export(hub: &Hub, link: &PeerLink) -> Option<Arc<PeerExport>> {
    if link.spec.kind != ArtefactKind::CaBundle {
        return None;
    }
    hub.own_export(&link.spec.peering, &link.spec.artefact)
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

/// Writes the status of each link that says something new; one that fails does not keep the others back.
async fn report(context: &Context, hub: &Hub, links: &[Arc<PeerLink>], decision: &Decision) -> Result<(), TargetError> {
    let mut result = Ok(());
    for outcome in &decision.outcomes {
        let Some(link) = links.iter().find(|link| link.name_any() == outcome.name) else {
            continue;
        };
        if let Err(source) = write(context, hub, link, &outcome.report).await {
            let name = outcome.name.clone();
            result = Err(TargetError::Status { name, source });
        }
    }
    result
}

async fn write(context: &Context, hub: &Hub, link: &PeerLink, report: &Report) -> Result<(), kube::Error> {
    let wanted = link::wanted(link, report, Timestamp::now());
    if wanted == link::present(link) {
        return Ok(());
    }
    let written = apply_status(&hub.api::<PeerLink>(), link, MANAGER, &status::body(&wanted)).await;
    if let Some(written) = status::gone_is_fine(written)? {
        let said = wanted.conditions.last().map(|said| said.reason.as_str());
        info!(
            link = link.name_any(),
            revision = wanted.applied_revision,
            reason = said,
            "link status written"
        );
        context.links.wrote(written);
    }
    Ok(())
}

fn again(at: Timestamp) -> Outcome {
    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    Outcome::RequeueAfter(wait.clamp(Duration::from_secs(1), LONGEST_WAIT))
}

/// A poisoned lock is taken as it is: maps of plain values are never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
