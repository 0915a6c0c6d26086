//! Approves the certificate signing requests of agents, if [`crate::csr`] says so, and signs those for a signer of the addon's.
use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::certificates::v1::CertificateSigningRequest,
    kube::{
        self, Api, ResourceExt,
        api::{Patch, PatchParams},
    },
    ocm::names::reason,
};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use super::{Error, Key, Shared};
use crate::{
    csr::{self, Decision, Request},
    error::AddonError,
    runtime::{Outcome, metrics},
};

/// Reason of a denial.
const DENIED: &str = "DeniedByHubCSRApprovingController";

pub(super) async fn reconcile(shared: Arc<Shared>, name: String) -> Result<Outcome, Error> {
    let request = shared
        .watches
        .get()
        .and_then(|watches| watches.requests.get(None, &name));
    let open = request.filter(|request| csr::awaits_signature(request) || !csr::is_decided(request));
    let Some(request) = open else {
        shared.waiting.forget(&name);
        return Ok(Outcome::Done);
    };
    let Some((cluster, addon)) = csr::labelled(&request) else {
        return Ok(Outcome::Done);
    };
    let key = Key::new(cluster, addon);
    // Before anything about it is looked at: what changes from now on touches what waits.
    shared.waiting.add(key.clone(), name.clone());
    if csr::awaits_signature(&request) {
        return sign(&shared, &key, &name, &request).await;
    }
    let decision = decide(&shared, &key, &request);
    match &decision {
        Decision::Approve => {
            approve(
                &shared,
                &request,
                "Approved",
                reason::CSR_APPROVED,
                "Auto approving addon agent certificate.",
            )
            .await?;
            info!(name, cluster, addon, "signing request approved");
        }
        Decision::Deny(why) => {
            approve(&shared, &request, "Denied", DENIED, why).await?;
            warn!(name, cluster, addon, why, "signing request denied");
        }
        Decision::Ignore(why) => {
            debug!(name, cluster, addon, why, "signing request left alone");
        }
    }
    metrics().csr_decided(match decision {
        Decision::Approve => "approved",
        Decision::Deny(_) => "denied",
        Decision::Ignore(_) => "ignored",
    });
    Ok(Outcome::Done)
}

fn decide(shared: &Shared, key: &Key, csr: &CertificateSigningRequest) -> Decision {
    judged(shared, key, csr, csr::decide)
}

/// Gives `judge` the request with everything that is known about it.
fn judged<T>(shared: &Shared, key: &Key, csr: &CertificateSigningRequest, judge: impl FnOnce(&Request<'_>) -> T) -> T {
    let observed = shared.observed(key);
    let cluster = observed.as_ref().and_then(|observed| observed.cluster.as_deref());
    let registration = observed
        .as_ref()
        .zip(cluster)
        .and_then(|(observed, cluster)| observed.addon.registration(cluster, &observed.object));
    let wanted = registration
        .map(|registration| registration.configs)
        .unwrap_or_default();
    judge(&Request {
        csr,
        addon: observed.as_ref().map(|observed| &*observed.object),
        cluster,
        wanted: &wanted,
    })
}

/// Signs a request that was approved, by us or by hand.
async fn sign(shared: &Shared, key: &Key, name: &str, request: &CertificateSigningRequest) -> Result<Outcome, Error> {
    let (addon, signer_name) = (shared.addons.get(&key.addon), &request.spec.signer_name);
    let watches = shared
        .watches
        .get()
        .filter(|watches| watches.has_ca(&key.addon, signer_name));
    let signer = if let Some(watches) = watches {
        watches.signer(&key.addon, signer_name)
    } else {
        addon.and_then(|ours| ours.addon.signer(&key.cluster, signer_name))
    };
    let Some(signer) = signer else {
        return Ok(Outcome::Done);
    };
    let serial = rand::random();
    let outcome = judged(shared, key, request, |request| {
        csr::sign(request, &signer, Timestamp::now(), serial)
    });
    let certificate = match outcome {
        Ok(result) => result.map_err(|error| AddonError::caused(format!("cannot sign {name}"), error))?,
        Err(Decision::Ignore(why) | Decision::Deny(why)) => {
            warn!(name, why, "approved signing request not signed");
            return Ok(Outcome::Done);
        }
        Err(Decision::Approve) => return Ok(Outcome::Done),
    };
    let api = Api::<CertificateSigningRequest>::all(shared.clients.request.clone());
    let patch = Patch::Merge(json!({
        "metadata": {"uid": request.uid(), "resourceVersion": request.resource_version()},
        "status": {"certificate": STANDARD.encode(certificate)},
    }));
    match api.patch_status(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        result => {
            let action = format!("write the certificate of CertificateSigningRequest {name}");
            result.map_err(Error::request(action))?;
            info!(name, cluster = key.cluster, addon = key.addon, "signing request signed");
            metrics().csr_decided("signed");
        }
    }
    Ok(Outcome::Done)
}

async fn approve(
    shared: &Shared,
    request: &CertificateSigningRequest,
    type_: &str,
    reason: &str,
    message: &str,
) -> Result<(), Error> {
    let api = Api::<CertificateSigningRequest>::all(shared.clients.request.clone());
    let patch = Patch::Merge(approval(request, type_, reason, message, Timestamp::now()));
    match api
        .patch_approval(&request.name_any(), &PatchParams::default(), &patch)
        .await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => {
            let action = format!("set {type_} on CertificateSigningRequest {}", request.name_any());
            result.map(drop).map_err(Error::request(action))
        }
    }
}

/// The conditions with one more; with the version they were read in, since a merge patch replaces the list.
fn approval(request: &CertificateSigningRequest, type_: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let existing = request
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut conditions: Vec<Value> = existing.iter().map(|condition| json!(condition)).collect();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    conditions.push(json!({
        "type": type_, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now, "lastTransitionTime": now,
    }));
    json!({
        "metadata": {"uid": request.uid(), "resourceVersion": request.resource_version()},
        "status": {"conditions": conditions},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_keeps_other_conditions_and_is_for_one_version() {
        let wire = json!({"metadata": {"name": "addon-x", "uid": "u", "resourceVersion": "5"},
            "spec": {"request": "", "signerName": "s"}, "status": {"conditions": [{"type": "Mine", "status": "True"}]}});
        let request = serde_json::from_value(wire).unwrap();
        let now = Timestamp::from_second(0).unwrap();
        let patch = approval(&request, "Approved", "R", "m", now);
        assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "5"}));
        assert_eq!(patch["status"]["conditions"][0]["type"], "Mine");
        assert_eq!(
            patch["status"]["conditions"][1]["lastUpdateTime"],
            "1970-01-01T00:00:00Z"
        );
    }
}
