//! Follows the `PeerExport`s of this cluster: source in, status out. What a source becomes is decided in
//! [`exchange::source`] and [`decide::export`]; here it is looked up, asked for and written.
//!
//! [`provision`]: objects that are made first and removed last. [`issue`]: tokens and certificates. [`fetch`]: answers of
//! services.
mod fetch;
mod issue;
mod provision;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, conditions::apply_status};
use exchange::{
    envelope::EnvelopeError,
    source::{self, Bad, Inputs, Issued, Lookup, Reading, State},
};
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::peering::{PeerExport, PeerExportSpec, PeerExportStatus};
use thiserror::Error;
use tracing::info;

use crate::{
    context::Context,
    decide::{
        OwnShare,
        export::{Decision, Pass},
    },
    hub::Hub,
    spoke::{Pool, User, write::MANAGER},
    status,
};

/// The longest time until an export is looked at again because something expires.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Why an export could not be brought up to date.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Sealing failed.
    #[error("the content could not be sealed")]
    Seal(#[from] EnvelopeError),
    /// The hub did not take the status.
    #[error("the status could not be written")]
    Status(#[source] kube::Error),
    /// This cluster refused something, which the status tells as well: it is tried again.
    #[error("{0}")]
    Refused(String),
}

/// Brings the status of one export up to date.
pub async fn reconcile(context: Arc<Context>, name: String) -> Result<Outcome, ExportError> {
    let Some(hub) = context.hub() else {
        return Ok(Outcome::Done);
    };
    let user = User::Export(name.clone());
    let Some(export) = hub.export(&name) else {
        context.pool.want(&user, &BTreeSet::new());
        context.exports.forget(&context.cluster, &name);
        return Ok(Outcome::Done);
    };
    let export = context.exports.newest(export);
    if export.metadata.deletion_timestamp.is_some() {
        return provision::withdraw(&context, &hub, &user, &export).await;
    }
    let Some(keys) = context.keys() else {
        return Ok(Outcome::Done);
    };
    let pass = Pass::new(&export, &keys, Timestamp::now());
    if pass.is_used_up() {
        context.pool.want(&user, &BTreeSet::new());
        return conclude(&context, &hub, &export, &pass.used_up()).await;
    }
    let Some(looked) = look(&context, &user, &export.spec).await else {
        // The watch that has not said anything yet wakes the export when it does.
        return Ok(Outcome::Done);
    };
    match looked {
        Err(Refused { bad, retry }) => {
            let failure = retry.then(|| bad.message.clone());
            conclude(&context, &hub, &export, &pass.refuse(&bad)).await?;
            failure.map_or(Ok(Outcome::Done), |why| Err(ExportError::Refused(why)))
        }
        Ok(inputs) if inputs.are_issued() => issue::issue(&context, &hub, &export, &keys, &inputs).await,
        Ok(inputs) => {
            let decision = match inputs.content(&Issued::new()) {
                Err(bad) => pass.refuse(&bad),
                Ok(good) => pass.publish(&good, &mut rand::rng())?,
            };
            conclude(&context, &hub, &export, &decision).await
        }
    }
}

/// What keeps a source from being published.
struct Refused {
    bad: Bad,
    /// No watch will tell when it has changed.
    retry: bool,
}

impl From<Bad> for Refused {
    fn from(bad: Bad) -> Self {
        Self { bad, retry: false }
    }
}

/// Provisions what is to be made first, and reads the inputs; `None` while a watch has not said anything.
async fn look<'s>(context: &Context, user: &User, spec: &'s PeerExportSpec) -> Option<Result<Inputs<'s>, Refused>> {
    let provisions = match source::provisions(&context.cluster, spec) {
        Ok(provisions) => provisions,
        Err(bad) => return Some(Err(bad.into())),
    };
    let made: BTreeSet<_> = provisions.iter().map(source::Provision::lookup).collect();
    let read = want(&context.pool, user, &context.cluster, spec, &made);
    match provision::apply(context, spec, &provisions).await {
        Err(refused) => return Some(Err(refused)),
        Ok(provision::Made::Waiting) => return None,
        Ok(provision::Made::All) => {}
    }
    match read.state {
        State::Waiting => None,
        State::Bad(bad) => Some(Err(bad.into())),
        State::Ready(inputs) => Some(Ok(inputs)),
    }
}

/// Reads the inputs and has everything watched that they want, which may grow with each one that becomes known.
fn want<'s>(
    pool: &Pool,
    user: &User,
    cluster: &str,
    spec: &'s PeerExportSpec,
    besides: &BTreeSet<Lookup>,
) -> Reading<'s> {
    let mut known = None;
    loop {
        let reading = read(pool, cluster, spec);
        if known.as_ref() == Some(&reading.wants) {
            // Once more after the last change: what others watch already is told at once, and nobody wakes us for it.
            return reading;
        }
        pool.want_all(user, &reading.wants.union(besides).cloned().collect());
        known = Some(reading.wants);
    }
}

fn read<'s>(pool: &Pool, cluster: &str, spec: &'s PeerExportSpec) -> Reading<'s> {
    source::read(cluster, spec, &|lookup| pool.look(lookup))
}

/// What an export of this cluster looks at, as far as that is known.
#[must_use]
pub fn lookups(pool: &Pool, cluster: &str, spec: &PeerExportSpec) -> BTreeSet<Lookup> {
    read(pool, cluster, spec).wants
}

/// What an export says of its own certificates, for the bundle on this cluster; `None` while a watch has not said anything.
#[must_use]
pub fn own_share(pool: &Pool, cluster: &str, spec: &PeerExportSpec) -> Option<OwnShare> {
    let content = match read(pool, cluster, spec).state {
        State::Waiting => return None,
        State::Bad(bad) => Err(bad),
        State::Ready(inputs) => inputs.content(&Issued::new()),
    };
    Some(match content {
        Ok(good) => OwnShare::Good(exchange::ca::parse(&good.content.joined()).certificates),
        Err(_) => OwnShare::Bad,
    })
}

/// Writes what was decided, and says when to look again.
async fn conclude(
    context: &Context,
    hub: &Hub,
    export: &PeerExport,
    decision: &Decision,
) -> Result<Outcome, ExportError> {
    write(context, hub, export, &decision.status).await?;
    context.metrics.sealed(decision.seals);
    if let Some(why) = &decision.failure {
        return Err(ExportError::Refused(why.clone()));
    }
    Ok(decision.again_at.map_or(Outcome::Done, again))
}

async fn write(
    context: &Context,
    hub: &Hub,
    export: &PeerExport,
    status: &PeerExportStatus,
) -> Result<(), ExportError> {
    if export.status.clone().unwrap_or_default() == *status {
        return Ok(());
    }
    let written = apply_status(&hub.api::<PeerExport>(), export, MANAGER, &status::body(status)).await;
    let Some(written) = status::gone_is_fine(written).map_err(ExportError::Status)? else {
        return Ok(());
    };
    info!(
        export = export.name_any(),
        revision = status.revision,
        reason = status.conditions.last().map(|said| said.reason.as_str()),
        "export status written"
    );
    context.exports.wrote(written);
    Ok(())
}

fn again(at: Timestamp) -> Outcome {
    let wait = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    Outcome::RequeueAfter(wait.clamp(Duration::from_millis(100), LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use exchange::source::Seen;
    use peering_api::peering::{Input, ObjectRef};

    use super::*;
    use crate::spoke::pool::tests::{pool, until_woken};

    #[tokio::test(start_paused = true)]
    async fn what_is_provisioned_is_watched_without_any_input_too() {
        let (pool, user) = (pool(None), User::Export("e".into()));
        let besides = Lookup::object(&ObjectRef::core("Secret", "ns", "made"));
        let spec = PeerExportSpec::default();
        let reading = want(&pool, &user, "east", &spec, &[besides.clone()].into());
        assert!(reading.wants.is_empty() && matches!(reading.state, State::Ready(_)));
        until_woken(&pool).await;
        assert_eq!(pool.look(&besides), Seen::Absent);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_watch_already_is_read_at_once() {
        let pool = pool(None);
        let input = Input {
            alias: "s".into(),
            api_version: Some("v1".into()),
            kind: Some("Secret".into()),
            namespace: Some("ns".into()),
            name: Some("s".into()),
            ..Input::default()
        };
        let spec = PeerExportSpec {
            inputs: vec![input],
            ..PeerExportSpec::default()
        };
        let read_as = |user: &str| want(&pool, &User::Export(user.into()), "east", &spec, &BTreeSet::new()).state;
        assert!(matches!(read_as("one"), State::Waiting));
        until_woken(&pool).await;
        assert!(matches!(read_as("two"), State::Bad(_)), "it does not exist");
    }
}
