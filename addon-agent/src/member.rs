//! Keeps the status of this cluster's `PeerMember` (public keys, version, API groups), and replaces the key pair when the
//! annotation on it asks for that. What is done is decided in [`crate::decide::member`] and [`crate::decide::rotation`].
use std::{sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, backoff::Backoff, conditions::apply_status};
use exchange::envelope;
use jiff::Timestamp;
use peering_api::peering::{PeerLink, PeerMember};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    context::{Context, Stored},
    decide::{
        member::{About, wanted},
        report,
        rotation::{self, Arrived, Current, Step, View},
    },
    hub::Hub,
    identity::{self, IdentityError},
    spoke::{Seen, User, carrier_of, write::MANAGER},
    status,
};

/// Waits between tries to find the API groups.
const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_mins(1),
};

/// Why the member could not be brought up to date.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The hub did not take the status.
    #[error("the status could not be written")]
    Status(#[source] kube::Error),
    /// The key pair could not be replaced.
    #[error("the key pair could not be replaced")]
    Key(#[from] IdentityError),
}

/// Finds the API groups that this cluster serves, once; tries until that is done.
pub async fn discover(context: Arc<Context>, token: CancellationToken) {
    let tries = async {
        let mut failures = 0;
        loop {
            match context.spoke.request.list_api_groups().await {
                Ok(found) => return found,
                Err(error) => {
                    failures += 1;
                    warn!(failures, %error, "the API groups of this cluster are not known yet, trying again");
                    sleep(RETRY.random_delay(failures)).await;
                }
            }
        }
    };
    if let Some(found) = token.run_until_cancelled(tries).await {
        let mut groups: Vec<_> = found.groups.into_iter().map(|group| group.name).collect();
        groups.sort_unstable();
        groups.dedup();
        context.set_api_groups(groups);
    }
}

/// Brings key pair and status up to date, once the manager has made the object.
pub async fn reconcile(context: Arc<Context>) -> Result<Outcome, MemberError> {
    let Some(hub) = context.hub() else {
        return Ok(Outcome::Done);
    };
    let Some(member) = hub.member(&context.cluster) else {
        return Ok(Outcome::Done);
    };
    let member = context.members.newest(member);
    if let Some(stored) = context.stored() {
        turn(&context, &hub, &member, &stored).await?;
    }
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        api_groups: context.api_groups(),
    };
    let now = Timestamp::now();
    let Some(wanted) = wanted(&member, &context.identity(), &about, now) else {
        return Ok(Outcome::Done);
    };
    let lookups = member.spec.reports.iter().map(report::lookup).collect();
    context.pool.want_all(&User::Member, &lookups);
    // A watch that has not said anything yet wakes the member when it does.
    let wanted = report::add(&member, wanted, |lookup| context.pool.look(lookup), now);
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

/// Takes the next step of a rotation, if there is one to take.
async fn turn(context: &Context, hub: &Hub, member: &PeerMember, stored: &Stored) -> Result<(), MemberError> {
    let asked = rotation::asked(member);
    let rotating = stored.ring.previous.is_some();
    let published = member.status.as_ref().and_then(|status| status.public_key.clone());
    let view = View {
        asked,
        acted: stored.acted.as_deref(),
        unpublished: published != Some(stored.ring.current.public().to_base64()),
        rotating,
        needed: rotating && is_needed(context, hub, member, stored),
    };
    let asked = asked.unwrap_or_default();
    match rotation::step(&view) {
        Step::Nothing => {}
        Step::Remember => identity::remember(context, stored, asked).await?,
        Step::Rotate => identity::rotate(context, stored, asked).await?,
        Step::Drop => identity::drop_previous(context, stored).await?,
    }
    Ok(())
}

/// Looks at everything that may still need the key before.
fn is_needed(context: &Context, hub: &Hub, member: &PeerMember, stored: &Stored) -> bool {
    let key = stored.ring.current.public();
    let (text, fingerprint) = (key.to_base64(), key.fingerprint());
    let current = Current {
        key: &text,
        fingerprint: &fingerprint,
    };
    let links: Vec<_> = hub
        .links
        .store
        .state()
        .into_iter()
        .map(|link| context.links.newest(link))
        .collect();
    let links: Vec<_> = links
        .iter()
        .map(|link| (link.as_ref(), arrived(context, link)))
        .collect();
    let exports = hub.exports.store.state().into_iter();
    let exports: Vec<_> = exports.map(|export| context.exports.newest(export)).collect();
    let exports: Vec<_> = exports.iter().map(AsRef::as_ref).collect();
    rotation::is_needed(current, member, &links, &exports)
}

/// What has arrived for a link.
fn arrived(context: &Context, link: &PeerLink) -> Arrived {
    match context.pool.read(&carrier_of(&link.spec, &context.namespace)) {
        Seen::Pending => Arrived::Unknown,
        Seen::Denied | Seen::Unknown | Seen::Absent => Arrived::Nothing,
        Seen::Present(carrier) => {
            let sealed = carrier.data.get(&link.spec.id);
            let recipient = sealed.and_then(|envelope| envelope::recipient(envelope.expose()));
            recipient.map_or(Arrived::Nothing, Arrived::SealedTo)
        }
    }
}
