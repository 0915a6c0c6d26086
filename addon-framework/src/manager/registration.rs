//! Registers an addon's agent: first its permissions, then, in one write, namespace, registrations and `RegistrationApplied`.
use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::rbac::v1::{Role, RoleBinding},
    kube::{self, Api, ResourceExt},
    ocm::{
        ManagedClusterAddOn,
        addon::v1beta1::RegistrationConfig,
        names::{condition, reason},
    },
};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{Error, Key, Shared};
use crate::{
    addon::Registration,
    compare, rbac,
    registration::{install_namespace, is_guarded, is_owned, merge},
    runtime::{
        Outcome,
        conditions::{self, Wanted},
        error_chain, write,
    },
};

/// Field manager of the status fields, `Role`s and `RoleBinding`s that this controller writes.
const MANAGER: &str = "addon-framework-registration";

/// How soon to look again after a conflict, if no event of the other write comes (it does, at once).
const AFTER_CONFLICT: Duration = Duration::from_secs(1);

pub(super) async fn reconcile(shared: Arc<Shared>, key: Key) -> Result<Outcome, Error> {
    let Some(observed) = shared.observed(&key) else {
        return Ok(Outcome::Done);
    };
    let object = &observed.object;
    // While it is being deleted the agent keeps its rights, which go with the object.
    let options = observed.addon.options();
    if object.metadata.deletion_timestamp.is_some() || !is_owned(object) || !is_guarded(object, &options) {
        return Ok(Outcome::Done);
    }
    let Some(cluster) = &observed.cluster else {
        return Ok(Outcome::Done);
    };
    let namespace = install_namespace(object, &options);
    let wanted = observed.addon.registration(cluster, object);
    let existing = registrations(object);
    let merged = wanted
        .as_ref()
        .map(|wanted| merge(&key.cluster, existing, &wanted.configs))
        .unwrap_or_default();
    let permitted = permit(&shared, &key, object, wanted.as_ref(), &merged).await;
    let (registrations, condition) = match &permitted {
        Ok(()) => (merged, applied(wanted.as_ref())),
        Err(error) if !error.lasts() => return permitted.map(|()| Outcome::Done),
        // Credentials without permissions are of no use yet: what is registered stays as it is.
        Err(error) => (existing.to_vec(), failed(&key, &error_chain(error))),
    };
    let condition = condition.at(object.metadata.generation);
    if let Some(status) = status(object, &namespace, &registrations, &condition, Timestamp::now()) {
        let written = conditions::apply_status_locked(&shared.addon_api(&key.cluster), object, MANAGER, &status).await;
        match written {
            Err(kube::Error::Api(refused)) if refused.is_conflict() => {
                // Usual at an installation: others write into the same status. What they wrote is on its way to us.
                debug!(
                    cluster = key.cluster,
                    addon = key.addon,
                    "addon changed meanwhile, registering again"
                );
                return Ok(Outcome::RequeueAfter(AFTER_CONFLICT));
            }
            result => {
                let action = format!(
                    "write the registration of ManagedClusterAddOn {}/{}",
                    key.cluster, key.addon
                );
                result.map_err(Error::request(action))?;
            }
        }
    }
    permitted.map(|()| Outcome::Done)
}

fn registrations(object: &ManagedClusterAddOn) -> &[RegistrationConfig] {
    object
        .status
        .as_ref()
        .map(|status| status.registrations.as_slice())
        .unwrap_or_default()
}

fn applied(wanted: Option<&Registration>) -> Wanted {
    let (reason, message) = match wanted {
        Some(_) => (
            reason::PERMISSION_APPLIED,
            "Registration of the addon agent is configured",
        ),
        None => (
            reason::NIL_REGISTRATION,
            "Registration of the addon agent is not needed",
        ),
    };
    Wanted::new(condition::REGISTRATION_APPLIED, true, reason, message)
}

fn failed(key: &Key, cause: &str) -> Wanted {
    let message = format!(
        "cannot set up Role and RoleBinding {} in namespace {} on the hub: {cause}; the addon manager must itself have what it grants",
        rbac::name(&key.addon),
        key.cluster
    );
    Wanted::new(
        condition::REGISTRATION_APPLIED,
        false,
        reason::PERMISSION_FAILED,
        message,
    )
}

/// All of the status that this controller owns; `None` if it stands there already.
fn status(
    object: &ManagedClusterAddOn,
    namespace: &str,
    registrations: &[RegistrationConfig],
    condition: &Wanted,
    now: Timestamp,
) -> Option<Map<String, Value>> {
    let existing = object.status.clone().unwrap_or_default();
    let (old, new) = (json!(existing.registrations), json!(registrations));
    let news = conditions::changed(&existing.conditions, std::slice::from_ref(condition), now);
    if existing.namespace.as_deref() == Some(namespace) && compare::same(&old, &new) && news.is_none() {
        return None;
    }
    let conditions = json!([conditions::merge(&existing.conditions, condition, now)]);
    let mut status = Map::new();
    status.insert("namespace".to_owned(), namespace.into());
    status.insert("conditions".to_owned(), conditions);
    // An empty list says that others' entries must go too; where there is none, none is needed.
    if !(registrations.is_empty() && existing.registrations.is_empty()) {
        status.insert("registrations".to_owned(), new);
    }
    Some(status)
}

/// Sets up or takes away the agent's `Role` and `RoleBinding`.
async fn permit(
    shared: &Shared,
    key: &Key,
    object: &ManagedClusterAddOn,
    wanted: Option<&Registration>,
    merged: &[RegistrationConfig],
) -> Result<(), Error> {
    let Some(watches) = shared.watches.get() else {
        return Ok(());
    };
    let name = rbac::name(&key.addon);
    let (role, binding) = (
        watches.roles.get(Some(&key.cluster), &name),
        watches.bindings.get(Some(&key.cluster), &name),
    );
    let rules = wanted
        .map(|wanted| wanted.permissions.clone())
        .filter(|rules| !rules.is_empty());
    let bound = rules.is_some().then(|| rbac::binding(object, merged)).flatten();
    permit_role(
        shared,
        key,
        role.as_deref(),
        rules.map(|rules| rbac::role(object, rules)).as_ref(),
    )
    .await?;
    permit_binding(shared, key, binding.as_deref(), bound.as_ref()).await
}

async fn permit_role(shared: &Shared, key: &Key, observed: Option<&Role>, wanted: Option<&Role>) -> Result<(), Error> {
    let api = Api::<Role>::namespaced(shared.clients.request.clone(), &key.cluster);
    match (observed, wanted) {
        (Some(observed), Some(wanted)) if rbac::role_unchanged(observed, wanted) => Ok(()),
        (_, Some(wanted)) => {
            let result = write::apply(&api, &wanted.name_any(), MANAGER, wanted).await;
            result.map(drop).map_err(Error::request(format!(
                "apply Role {}/{}",
                key.cluster,
                wanted.name_any()
            )))
        }
        (Some(observed), None) => {
            let result = write::delete(&api, observed).await;
            result.map(drop).map_err(Error::request(format!(
                "delete Role {}/{}",
                key.cluster,
                observed.name_any()
            )))
        }
        (None, None) => Ok(()),
    }
}

async fn permit_binding(
    shared: &Shared,
    key: &Key,
    observed: Option<&RoleBinding>,
    wanted: Option<&RoleBinding>,
) -> Result<(), Error> {
    let api = Api::<RoleBinding>::namespaced(shared.clients.request.clone(), &key.cluster);
    // What a binding refers to can never be changed, so one that refers to something else is made anew.
    let obsolete = observed.filter(|observed| wanted.is_none_or(|wanted| wanted.role_ref != observed.role_ref));
    if let Some(obsolete) = obsolete {
        let action = format!("delete RoleBinding {}/{}", key.cluster, obsolete.name_any());
        write::delete(&api, obsolete).await.map_err(Error::request(action))?;
    }
    let Some(wanted) = wanted else { return Ok(()) };
    if observed.is_some_and(|observed| rbac::binding_unchanged(observed, wanted)) {
        return Ok(());
    }
    let result = write::apply(&api, &wanted.name_any(), MANAGER, wanted).await;
    result.map(drop).map_err(Error::request(format!(
        "apply RoleBinding {}/{}",
        key.cluster,
        wanted.name_any()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addon(status: &Value) -> ManagedClusterAddOn {
        serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}, "status": status}))
            .unwrap()
    }

    #[test]
    fn everything_is_written_at_once_and_then_nothing() {
        let registration = Registration::kube_client("c1", "hello");
        let condition = applied(Some(&registration));
        let written = status(
            &addon(&json!({})),
            "ns",
            &registration.configs,
            &condition,
            Timestamp::now(),
        )
        .unwrap();
        assert_eq!(
            written.keys().collect::<Vec<_>>(),
            ["conditions", "namespace", "registrations"]
        );
        let after = addon(&Value::Object(written.clone()));
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(status(&after, "ns", &registration.configs, &condition, later), None);
        let moved = status(&after, "other", &registration.configs, &condition, later).unwrap();
        assert_eq!(
            moved["conditions"], written["conditions"],
            "all that is owned is sent, with the old times"
        );
    }

    #[test]
    fn no_registration_empties_the_list_only_if_there_is_one() {
        let condition = applied(None);
        assert_eq!(condition.reason, "NilRegistration");
        let fresh = status(&addon(&json!({})), "ns", &[], &condition, Timestamp::now()).unwrap();
        assert!(!fresh.contains_key("registrations"));
        let registered = addon(&json!({"registrations": Registration::kube_client("c1", "hello").configs}));
        let emptied = status(&registered, "ns", &[], &condition, Timestamp::now()).unwrap();
        assert_eq!(emptied["registrations"], json!([]));
    }
}
