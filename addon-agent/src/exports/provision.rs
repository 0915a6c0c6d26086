//! Objects that a source provisions: applied before its inputs are read, removed when its export goes away.
use addon_framework::runtime::Outcome;
use exchange::source::{self, Bad, Provision, Remains, Standing};
use jiff::Timestamp;
use peering_api::{
    names,
    peering::{PeerExport, PeerExportSpec, reasons::SourceReady},
};
use tracing::info;

use super::{ExportError, Refused, write};
use crate::{
    context::Context,
    decide::export::withdrawn,
    hub::Hub,
    spoke::{User, provision, refusal::Refusal},
};

/// How far the objects are.
pub(super) enum Made {
    /// All are there.
    All,
    /// A watch has not said anything yet.
    Waiting,
}

/// Applies what is not as it should be. The first problem is told; the others are still worked on.
pub(super) async fn apply(context: &Context, spec: &PeerExportSpec, provisions: &[Provision]) -> Result<Made, Refused> {
    let (mut made, mut refused) = (Made::All, None);
    for provision in provisions {
        match provision.standing(&context.pool.look(&provision.lookup())) {
            Standing::Stands => {}
            Standing::Waiting => made = Made::Waiting,
            Standing::Bad(bad) => {
                refused.get_or_insert(Refused::from(bad));
            }
            Standing::Apply(uid) => match provision::apply(&context.spoke.request, provision, uid.as_deref()).await {
                Ok(()) => info!(object = %provision.place, "provisioned"),
                Err(refusal) => {
                    refused.get_or_insert(failed(spec, provision, &refusal));
                }
            },
        }
    }
    refused.map_or(Ok(made), Err)
}

fn failed(spec: &PeerExportSpec, provision: &Provision, refusal: &Refusal) -> Refused {
    let place = &provision.place;
    let must = if refusal.is_missing() || refusal.is_forbidden() {
        let work = names::work_name(&spec.peering, 0);
        let namespace = place.namespace.as_ref();
        let exist = namespace.map(|namespace| format!(", and namespace {namespace} must exist"));
        format!(
            "; the right arrives with ManifestWork {work}{}",
            exist.unwrap_or_default()
        )
    } else {
        "; see the template in the profile, and admission webhooks and quotas of this cluster".to_owned()
    };
    let message = format!("{place} could not be applied: {refusal}{must}; it is tried again");
    Refused {
        bad: Bad::new(SourceReady::ProvisionFailed, message),
        retry: true,
    }
}

/// Removes what an export had provisioned, and says so: only then the hub lets it go.
pub(super) async fn withdraw(
    context: &Context,
    hub: &Hub,
    user: &User,
    export: &PeerExport,
) -> Result<Outcome, ExportError> {
    context.pool.want_all(user, &source::provisioned(&export.spec));
    let remains = source::remains(&context.cluster, &export.spec, &|lookup| context.pool.look(lookup));
    if remains.is_empty() {
        // Nobody waits for it: it goes at once.
        return Ok(Outcome::Done);
    }
    let mut problem = None;
    for (place, remains) in &remains {
        match remains {
            Remains::Nothing => {}
            Remains::Waiting => return Ok(Outcome::Done),
            Remains::Hidden(why) => problem = Some(why.clone()),
            Remains::Delete(uid) => match provision::delete(&context.spoke.request, place, uid).await {
                Ok(()) => info!(object = %place, "provisioned object removed"),
                Err(refusal) => {
                    problem = Some(format!("{place} could not be removed: {refusal}; it is tried again"));
                }
            },
        }
    }
    let status = withdrawn(export, problem.as_deref(), Timestamp::now());
    write(context, hub, export, &status).await?;
    problem.map_or(Ok(Outcome::Done), |why| Err(ExportError::Refused(why)))
}
