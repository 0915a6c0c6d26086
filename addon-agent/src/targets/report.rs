//! Tells the hub what became of the links.
use addon_framework::runtime::conditions::apply_status;
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::peering::{PeerLink, PeerLinkStatus, reasons};
use tracing::info;

use super::{TargetError, scene::Scene};
use crate::{
    context::Context,
    decide::{
        Decision, fresh,
        link::{self, Stages},
    },
    hub::Hub,
    spoke::write::MANAGER,
    status,
};

/// What is to be said of a link besides its delivery.
pub struct Stage {
    /// Name of the `PeerLink`.
    pub name: String,
    /// What is said.
    pub stages: Stages,
}

/// Writes the status of each link that says something new; one that fails does not keep the others back. Returns when a
/// status says something else by itself.
pub async fn report(
    context: &Context,
    hub: &Hub,
    scene: &Scene,
    decision: &Decision,
    stages: Vec<Stage>,
) -> Result<Option<Timestamp>, TargetError> {
    let mut result = Ok(None);
    for Stage { name, stages } in stages {
        let outcome = decision.outcomes.iter().find(|outcome| outcome.name == name);
        let (Some(link), Some(outcome)) = (scene.link(&name), outcome) else {
            continue;
        };
        let now = Timestamp::now();
        let wanted = link::wanted(link, &outcome.report, stages, now);
        let until = fresh::fresh_until(&link.spec, wanted.expires_at.as_ref().map(|time| time.0), now);
        match (write(context, hub, link, &wanted).await, &mut result) {
            (Err(source), _) => result = Err(TargetError::Status { name, source }),
            (Ok(()), Ok(earliest)) => *earliest = earliest.iter().copied().chain(until).min(),
            (Ok(()), Err(_)) => {}
        }
    }
    result
}

async fn write(context: &Context, hub: &Hub, link: &PeerLink, wanted: &PeerLinkStatus) -> Result<(), kube::Error> {
    if *wanted == link::present(link) {
        return Ok(());
    }
    let written = apply_status(&hub.api::<PeerLink>(), link, MANAGER, &status::body(wanted)).await;
    if let Some(written) = status::gone_is_fine(written)? {
        let said = |type_| peering_api::peering::condition(&wanted.conditions, type_);
        let said = said(reasons::WITHDRAWN).or_else(|| said(reasons::DELIVERED));
        info!(
            link = link.name_any(),
            revision = wanted.applied_revision,
            reason = said.map(|said| said.reason.as_str()),
            "link status written"
        );
        context.links.wrote(written);
    }
    Ok(())
}
