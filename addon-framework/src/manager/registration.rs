//! Registers an addon's agent: first its permissions, then, in one write, namespace, registrations, `RegistrationApplied`, and what
//! rollouts of its configurations need to know.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::rbac::v1::{Role, RoleBinding},
    kube::{Api, ResourceExt},
    ocm::{
        ManagedClusterAddOn,
        addon::v1beta1::RegistrationConfig,
        names::{condition, reason},
    },
};
use tracing::debug;

use super::{
    Error, Key, Shared,
    status::{self, Wish},
};
use crate::{
    config::{Resolution, Settings},
    rbac,
    registration::{Registration, install_namespace, is_guarded, is_owned, merge},
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
    let options = &observed.options;
    if object.metadata.deletion_timestamp.is_some()
        || !is_owned(object)
        || !is_guarded(object, options.finalizer.as_ref())
    {
        return Ok(Outcome::Done);
    }
    let Some(cluster) = &observed.cluster else {
        return Ok(Outcome::Done);
    };
    let known = Wish {
        references: shared.references(&observed),
        ..Wish::new(options)
    };
    let configs = match &observed.configs {
        Resolution::Known(configs) => configs,
        // OCM's addon-manager waits for these hashes.
        Resolution::Pending { told: None, .. } if hashes_differ(object, &known) => {
            return register(&shared, &key, object, &known).await;
        }
        // What comes by itself is waited for: everything is written at once then.
        Resolution::Pending { told: None, .. } => return Ok(Outcome::Done),
        Resolution::Pending { told: Some(told), .. } => {
            let wish = Wish {
                condition: (!is_registered(object)).then(|| pending(told, object)),
                ..known
            };
            return register(&shared, &key, object, &wish).await;
        }
    };
    let settings = Settings::new(&configs.deployment_configs()?, cluster);
    let wanted = observed.addon.registration(cluster, object);
    let merged = wanted
        .as_ref()
        .map(|wanted| merge(&key.cluster, registrations(object), &wanted.configs))
        .unwrap_or_default();
    let permitted = permit(&shared, &key, object, wanted.as_ref(), &merged).await;
    let (registrations, condition) = match &permitted {
        Ok(()) => (Some(merged), applied(wanted.as_ref())),
        Err(error) if !error.lasts() => return permitted.map(|()| Outcome::Done),
        // Credentials without permissions are of no use yet: what is registered stays as it is.
        Err(error) => (None, failed(&key, &error_chain(error))),
    };
    let wish = Wish {
        namespace: Some(install_namespace(object, options.install_namespace.as_ref(), &settings)),
        registrations,
        condition: Some(condition.at(object.metadata.generation)),
        ..known
    };
    let outcome = register(&shared, &key, object, &wish).await?;
    permitted.map(|()| outcome)
}

fn hashes_differ(object: &ManagedClusterAddOn, wish: &Wish) -> bool {
    let existing = object.status.iter().flat_map(|status| &status.config_references);
    let mut both = existing.zip(wish.references.iter().flatten());
    both.any(|(old, new)| old.desired_config != new.desired_config)
}

/// Writes what differs from what is there.
async fn register(shared: &Shared, key: &Key, object: &ManagedClusterAddOn, wish: &Wish) -> Result<Outcome, Error> {
    let Some(patch) = status::patch(object, wish, Timestamp::now()) else {
        return Ok(Outcome::Done);
    };
    match write::patch_status(&shared.addon_api(&key.cluster), object, MANAGER, patch).await {
        Err(refused) if write::is_outdated(&refused) => {
            // What others wrote is on its way to us.
            debug!(
                cluster = key.cluster,
                addon = key.addon,
                "addon changed meanwhile, registering again"
            );
            Ok(Outcome::RequeueAfter(AFTER_CONFLICT))
        }
        result => {
            let action = format!(
                "write the registration of ManagedClusterAddOn {}/{}",
                key.cluster, key.addon
            );
            shared.recent.wrote(result.map_err(Error::request(action))?);
            Ok(Outcome::Done)
        }
    }
}

fn is_registered(object: &ManagedClusterAddOn) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| conditions::is_true(&status.conditions, condition::REGISTRATION_APPLIED))
}

fn pending(told: &str, object: &ManagedClusterAddOn) -> Wanted {
    Wanted::new(condition::REGISTRATION_APPLIED, false, reason::PERMISSION_PENDING, told).at(object.metadata.generation)
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
    let role = watches.roles.open(Some(&key.cluster), &rbac::name(&key.addon));
    let rules = wanted
        .map(|wanted| wanted.permissions.clone())
        .filter(|rules| !rules.is_empty());
    let cluster_roles = wanted.map(|wanted| wanted.cluster_roles.as_slice()).unwrap_or_default();
    let bindings = rbac::bindings(object, merged, rules.is_some(), cluster_roles);
    permit_role(
        shared,
        key,
        role.as_ref(),
        rules.map(|rules| rbac::role(object, rules)).as_ref(),
    )
    .await?;
    let mut there: BTreeMap<_, _> = shared
        .bindings(key)
        .into_iter()
        .map(|binding| (binding.name_any(), binding))
        .collect();
    for wanted in &bindings {
        let observed = there.remove(&wanted.name_any());
        permit_binding(shared, key, observed.as_ref(), Some(wanted)).await?;
    }
    for obsolete in there.values() {
        permit_binding(shared, key, Some(obsolete), None).await?;
    }
    Ok(())
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
    use serde_json::{Value, json};

    use super::*;

    fn addon(status: &Value) -> ManagedClusterAddOn {
        serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}, "status": status}))
            .unwrap()
    }

    #[test]
    fn an_addon_without_registration_is_registered_too() {
        assert_eq!(applied(None).reason, "NilRegistration");
        assert_eq!(applied(None).status, conditions::Status::True);
    }

    #[test]
    fn a_configuration_that_is_missing_is_told_and_is_no_registration() {
        let told = pending("it is not there", &addon(&json!({})));
        assert_eq!(told.reason, "PermissionConfigPending");
        let condition = conditions::merge(&[], &told, Timestamp::now());
        assert!(!is_registered(&addon(&json!({"conditions": [condition]}))));
    }

    #[test]
    fn only_hashes_are_written_before_the_rest_is_known() {
        let reference = |hash: &str, generation: u32| json!([{"resource": "r", "desiredConfig": {"name": "n", "specHash": hash}, "lastObservedGeneration": generation}]);
        let object = addon(&json!({"configReferences": reference("", 1)}));
        for (hash, generation, differ) in [("", 1, false), ("", 2, false), ("h", 1, true)] {
            let status = addon(&json!({"configReferences": reference(hash, generation)})).status;
            let wish = Wish {
                references: status.map(|status| status.config_references),
                ..Wish::default()
            };
            assert_eq!(hashes_differ(&object, &wish), differ, "{hash} {generation}");
        }
        assert!(!hashes_differ(&object, &Wish::default()));
    }
}
