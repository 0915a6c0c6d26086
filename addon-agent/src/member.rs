//! Keeps the status of this cluster's `PeerMember`: the public key, its fingerprint, the agent's version.
use std::sync::Arc;

use addon_framework::runtime::{Outcome, conditions::apply_status};
use jiff::Timestamp;
use peering_api::peering::PeerMember;
use thiserror::Error;
use tracing::info;

use crate::{context::Context, decide::member::wanted, spoke::write::MANAGER, status};

/// Why the member could not be brought up to date.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The hub did not take the status.
    #[error("the status could not be written")]
    Status(#[source] kube::Error),
}

/// Brings the status up to date, once the manager has made the object.
pub async fn reconcile(context: Arc<Context>) -> Result<Outcome, MemberError> {
    let Some(hub) = context.hub() else {
        return Ok(Outcome::Done);
    };
    let Some(member) = hub.member(&context.cluster) else {
        return Ok(Outcome::Done);
    };
    let member = context.members.newest(member);
    let version = env!("CARGO_PKG_VERSION");
    let Some(wanted) = wanted(&member, &context.identity(), version, Timestamp::now()) else {
        return Ok(Outcome::Done);
    };
    if member.status.as_ref() == Some(&wanted) {
        return Ok(Outcome::Done);
    }
    let written = apply_status(&hub.api::<PeerMember>(), &*member, MANAGER, &status::body(&wanted)).await;
    if let Some(written) = status::gone_is_fine(written).map_err(MemberError::Status)? {
        info!(fingerprint = wanted.fingerprint, "member status written");
        context.members.wrote(written);
    }
    Ok(Outcome::Done)
}
