//! Follows the `PeerExport`s of this cluster: source in, status out. What a source becomes is decided in [`decide::export`].
use std::{collections::BTreeSet, sync::Arc};

use addon_framework::runtime::{Outcome, conditions::apply_status};
use exchange::envelope::EnvelopeError;
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::peering::{PeerExport, PeerExportSpec};
use thiserror::Error;
use tracing::info;

use crate::{
    context::Context,
    decide::{
        self,
        export::{Decision, Source},
    },
    hub::Hub,
    spoke::{Place, Pool, Seen, User, input_of, write::MANAGER},
    status,
};

/// Why an export could not be brought up to date.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Sealing failed.
    #[error("the content could not be sealed")]
    Seal(#[from] EnvelopeError),
    /// The hub did not take the status.
    #[error("the status could not be written")]
    Status(#[source] kube::Error),
}

/// Brings the status of one export up to date.
pub async fn reconcile(context: Arc<Context>, name: String) -> Result<Outcome, ExportError> {
    let (Some(hub), Some(keys)) = (context.hub(), context.keys()) else {
        return Ok(Outcome::Done);
    };
    let user = User::Export(name.clone());
    let export = hub.export(&name).filter(|export| !leaving(export));
    let Some(export) = export else {
        context.pool.want(&user, &BTreeSet::new());
        context.exports.forget(&context.cluster, &name);
        return Ok(Outcome::Done);
    };
    let place = export.spec.inputs.first().and_then(input_of);
    context.pool.want(&user, &place.iter().cloned().collect());
    let Some(source) = source(&context.pool, place.as_ref()) else {
        return Ok(Outcome::Done);
    };
    let export = context.exports.newest(export);
    let decision = decide::export::decide(&export, &source, &keys, Timestamp::now(), &mut rand::rng())?;
    write(&context, &hub, &export, &decision).await?;
    Ok(Outcome::Done)
}

fn leaving(export: &PeerExport) -> bool {
    export.metadata.deletion_timestamp.is_some()
}

/// What is known of a source; `None` while its watch has not said anything.
#[must_use]
pub fn source(pool: &Pool, place: Option<&Place>) -> Option<Source> {
    // The CRD admits no other kinds; one that came in nevertheless cannot be read.
    let Some(place) = place else {
        return Some(Source::Read(None));
    };
    match pool.read(place) {
        Seen::Pending => None,
        Seen::Denied => Some(Source::Forbidden),
        Seen::Unknown | Seen::Absent => Some(Source::Read(None)),
        Seen::Present(object) => Some(Source::Read(Some(object.into_source()))),
    }
}

/// What an export says of its own certificates, for the bundle on this cluster; `None` as for [`source`].
#[must_use]
pub fn own_share(pool: &Pool, spec: &PeerExportSpec) -> Option<decide::OwnShare> {
    let source = source(pool, spec.inputs.first().and_then(input_of).as_ref())?;
    Some(match decide::export::judge(spec, &source) {
        Ok(good) => decide::OwnShare::Good(exchange::ca::parse(&good.content.joined()).certificates),
        Err(_) => decide::OwnShare::Bad,
    })
}

async fn write(context: &Context, hub: &Hub, export: &PeerExport, decision: &Decision) -> Result<(), ExportError> {
    if export.status.as_ref() == Some(&decision.status) {
        return Ok(());
    }
    let body = status::body(&decision.status);
    let written = apply_status(&hub.api::<PeerExport>(), export, MANAGER, &body).await;
    let Some(written) = status::gone_is_fine(written).map_err(ExportError::Status)? else {
        return Ok(());
    };
    context.metrics.sealed(decision.seals);
    info!(
        export = export.name_any(),
        revision = decision.status.revision,
        seals = decision.seals,
        reason = decision.status.conditions.first().map(|said| said.reason.as_str()),
        "export status written"
    );
    context.exports.wrote(written);
    Ok(())
}
