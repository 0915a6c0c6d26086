//! Carries out what consumers are told, and takes back what they were told.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use peering_api::peering::{PeerLink, condition, reasons};
use tracing::info;

use super::links::{is_live, owner};
use crate::{
    context::Context,
    decide::{
        Decision, Obstacle,
        link::{Outcome, Report, Said, Stages},
        wire::{self, Step, Write},
    },
    spoke::{
        Seen,
        observed::normal,
        write::{WriteError, act, patch},
    },
};

/// What became of the wiring of links that go away, by owner of the target.
pub struct Unwired {
    steps: BTreeMap<String, Vec<Step>>,
    /// The first write that failed: it is tried again.
    pub result: Result<(), WriteError>,
}

impl Unwired {
    /// What keeps the target of this owner from being removed.
    pub fn obstacle(&self, owner: &str) -> Option<Obstacle> {
        wire::obstacle(self.steps.get(owner)?)
    }
}

/// Takes back what leaving links have told consumers. While other links of the same bundle live, the bundle stays and so do
/// the references to it.
pub async fn undo(context: &Context, links: &[Arc<PeerLink>]) -> Unwired {
    let mut leaving: BTreeMap<String, Vec<&Arc<PeerLink>>> = BTreeMap::new();
    for link in links.iter().filter(|link| !is_live(link)) {
        leaving.entry(owner(&context.cluster, link)).or_default().push(link);
    }
    for link in links.iter().filter(|link| is_live(link)) {
        leaving.remove(&owner(&context.cluster, link));
    }
    let mut unwired = Unwired {
        steps: BTreeMap::new(),
        result: Ok(()),
    };
    for (owner, links) in leaving {
        let links: Vec<_> = links.iter().map(|link| &link.spec).collect();
        let steps = wire::undo_all(&links, &owner, &|place| context.pool.read(place));
        let steps = carry_out(context, steps, &mut unwired.result).await;
        unwired.steps.insert(owner, steps);
    }
    unwired
}

/// What became of the wiring of the target that was delivered.
pub struct Wired {
    /// The owner's steps; `None` if nothing was delivered.
    steps: Option<Vec<Step>>,
    /// The first write that failed: it is tried again.
    pub result: Result<(), WriteError>,
}

/// Tells the consumers of a delivered target.
pub async fn wire(context: &Context, links: &[Arc<PeerLink>], decision: &Decision) -> Wired {
    let mut wired = Wired {
        steps: None,
        result: Ok(()),
    };
    let Some(held) = &decision.held else { return wired };
    let ours = |link: &&Arc<PeerLink>| owner(&context.cluster, link) == held.owner;
    let mut former = BTreeSet::new();
    for link in links.iter().filter(ours) {
        former.extend(link.spec.unwire.iter().map(|former| normal(&former.object)));
        if !is_live(link) {
            former.extend(wire::places(&link.spec));
        }
    }
    let Some(first) = links.iter().filter(ours).find(|link| is_live(link)) else {
        return wired;
    };
    // Another link of the bundle may not know yet that the profile has changed, or know it first.
    for link in links.iter().filter(ours).filter(|link| is_live(link)) {
        let named = wire::named(&link.spec);
        former.retain(|place| !named.contains(place));
    }
    let steps = wire::steps(&first.spec, held, &former, &|place| context.pool.read(place));
    wired.steps = Some(carry_out(context, steps, &mut wired.result).await);
    wired
}

impl Wired {
    /// Whether what stood at a former place may still be referred to.
    pub fn may_refer_to_the_old(&self) -> bool {
        self.steps.as_deref().is_none_or(wire::may_refer_to_the_old)
    }

    /// What is to be said about it.
    pub fn stage(&self, link: &PeerLink, outcome: &Outcome, stages: &mut Stages) {
        let status = link.status.clone().unwrap_or_default();
        if let (Some(steps), Report::Delivered(_)) = (&self.steps, &outcome.report) {
            stages.wired = wire::verdict(&link.spec, steps);
            stages.consumers = Said::This(wire::holding(steps, &status.wired));
        } else {
            let wired_before = condition(&status.conditions, reasons::WIRED).is_some();
            stages.wired = wire::undelivered(&link.spec, wired_before);
        }
    }
}

/// Makes the writes, one after another; one that fails does not keep the others from being made.
async fn carry_out(context: &Context, steps: Vec<Step>, result: &mut Result<(), WriteError>) -> Vec<Step> {
    let mut done = Vec::with_capacity(steps.len());
    for mut step in steps {
        let seen = context.pool.read(&step.place);
        let written = write(context, &step, &seen).await;
        if step.write != Write::Nothing && written.is_ok() {
            info!(object = %step.place, "consumer written");
            for left in &step.left {
                info!(object = %step.place, "left to whom it belongs now: {left}");
            }
        }
        match written {
            Ok(()) => {}
            Err(WriteError::Gone(_)) => step = step.vanished(),
            Err(error) => {
                if error.is_conflict() {
                    // Somebody else was faster: what the watch brings is planned anew.
                    step.pending = true;
                } else {
                    step = step.refused(error.to_string());
                }
                if result.is_ok() {
                    *result = Err(error);
                }
            }
        }
        done.push(step);
    }
    done
}

async fn write(context: &Context, step: &Step, seen: &Seen) -> Result<(), WriteError> {
    let (client, seen) = (&context.spoke.request, seen.present());
    match &step.write {
        Write::Nothing => Ok(()),
        Write::Patch(changes) => {
            let version = seen.and_then(|seen| seen.resource_version.as_deref());
            patch(client, &step.place, changes, version).await
        }
        Write::Act(action) => act(client, &step.place, action, seen).await,
    }
}
