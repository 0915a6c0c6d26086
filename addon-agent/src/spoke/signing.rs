//! `CertificateSigningRequest`s: made, approved, read and removed. Decided in
//! [`decide::export::signing`](crate::decide::export::signing).
use addon_framework::runtime::write::delete;
use exchange::refresh::Policy;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use peering_api::{names, peering::rfc3339};
use serde_json::{Value, json};

use super::{refusal::Refusal, write::MANAGER};
use crate::decide::export::signing::{Step, Wanted, object, step};

/// Most steps in one pass: replace what an earlier round left, make, approve, look.
const STEPS: usize = 5;

/// How far signing came.
#[derive(Debug)]
pub enum Progress {
    /// The chain, when its first certificate expires, and the uid of the object.
    Signed(String, Timestamp, String),
    /// The signer has not signed it yet, since that time.
    Waiting(Timestamp),
    /// It was not signed, for this reason.
    Refused(String),
}

/// Brings a request on its way, as far as it goes without waiting.
pub async fn advance(client: &Client, wanted: &Wanted<'_>, policy: &Policy, now: Timestamp) -> Progress {
    let api = Api::<CertificateSigningRequest>::all(client.clone());
    let mut seen = match api.get_opt(&wanted.name).await {
        Ok(seen) => seen,
        Err(error) => return refused("read", wanted, &error),
    };
    for _ in 0..STEPS {
        let done = match (step(wanted, seen.as_ref(), policy, now), &seen) {
            (Step::Take(chain, expires_at), seen) => {
                let uid = seen.as_ref().and_then(ResourceExt::uid).unwrap_or_default();
                return Progress::Signed(chain, expires_at, uid);
            }
            (Step::Wait(since), _) => return Progress::Waiting(since),
            (Step::Refused(why), _) => return Progress::Refused(why),
            (Step::Create, _) => create(&api, wanted).await.map(Some).map_err(|error| ("create", error)),
            (Step::Approve, Some(seen)) => {
                let approved = approve(&api, seen, now).await;
                approved.map(Some).map_err(|error| ("approve", error))
            }
            (Step::Replace(_), Some(old)) => {
                let removed = delete(&api, old).await;
                removed.map(|_| None).map_err(|error| ("delete", error))
            }
            (Step::Approve | Step::Replace(_), None) => return Progress::Waiting(now),
        };
        seen = match done {
            Ok(seen) => seen,
            // Somebody else was faster: what stands there now is looked at in the next pass.
            Err((_, error)) if Refusal::from(&error).is_conflict() => return Progress::Waiting(now),
            Err((verb, error)) => return refused(verb, wanted, &error),
        };
    }
    Progress::Waiting(now)
}

async fn create(
    api: &Api<CertificateSigningRequest>,
    wanted: &Wanted<'_>,
) -> Result<CertificateSigningRequest, kube::Error> {
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.create(&params, &object(wanted)).await
}

async fn approve(
    api: &Api<CertificateSigningRequest>,
    seen: &CertificateSigningRequest,
    now: Timestamp,
) -> Result<CertificateSigningRequest, kube::Error> {
    let patch = Patch::Merge(approval(seen, now));
    api.patch_approval(&seen.name_any(), &PatchParams::default(), &patch)
        .await
}

/// The conditions with one more. For exactly the version that was judged, since a merge patch replaces the list.
fn approval(seen: &CertificateSigningRequest, now: Timestamp) -> Value {
    let existing = seen.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions: Vec<Value> = existing.iter().flatten().map(|condition| json!(condition)).collect();
    let now = rfc3339(now);
    conditions.push(json!({
        "type": "Approved", "status": "True", "reason": "PeeringSource", "lastUpdateTime": now, "lastTransitionTime": now,
        "message": "checked against the profile of its Peering by the agent of this cluster",
    }));
    json!({
        "metadata": {"uid": seen.uid(), "resourceVersion": seen.resource_version()},
        "status": {"conditions": conditions},
    })
}

/// Removes a request whose certificate has been handed over, or that nobody waits for any more. One that stays is removed by
/// Kubernetes after an hour.
pub async fn remove(client: &Client, name: &str, uid: Option<String>) -> Result<(), Refusal> {
    let mut signed = CertificateSigningRequest::default();
    signed.metadata.name = Some(name.to_owned());
    signed.metadata.uid = uid;
    let removed = delete(&Api::all(client.clone()), &signed).await;
    removed.map(drop).map_err(|error| Refusal::from(&error))
}

fn refused(verb: &str, wanted: &Wanted<'_>, error: &kube::Error) -> Progress {
    let refusal = Refusal::from(error);
    let hint = if refusal.is_forbidden() {
        let work = names::work_name(wanted.peering, 0);
        format!("; the right arrives with ManifestWork {work}")
    } else {
        String::new()
    };
    let name = &wanted.name;
    Progress::Refused(format!(
        "the agent could not {verb} CertificateSigningRequest {name}: {refusal}{hint}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_keeps_other_conditions_and_is_for_one_version() {
        let seen = json!({"metadata": {"name": "x", "uid": "u", "resourceVersion": "5"},
            "spec": {"request": "", "signerName": "s"}, "status": {"conditions": [{"type": "Mine", "status": "True"}]}});
        let seen = serde_json::from_value(seen).unwrap();
        let patch = approval(&seen, Timestamp::UNIX_EPOCH);
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "5"}));
        let conditions = &patch["status"]["conditions"];
        assert_eq!(
            (&conditions[0]["type"], &conditions[1]["type"]),
            (&json!("Mine"), &json!("Approved"))
        );
        assert_eq!(conditions[1]["lastUpdateTime"], "1970-01-01T00:00:00Z");
    }
}
