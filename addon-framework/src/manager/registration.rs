//! Registers an addon's agent: first its permissions, then, in one write, namespace, registrations and `RegistrationApplied`.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::rbac::v1::{Role, RoleBinding},
    kube::{self, Api, ResourceExt},
    ocm::{
        GroupResource, ManagedClusterAddOn,
        addon::v1beta1::RegistrationConfig,
        names::{condition, reason},
    },
};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{Error, Key, Shared};
use crate::{
    addon::{Options, Registration},
    compare,
    config::{ConfigKind, Resolution, Settings},
    rbac,
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
    let options = &observed.options;
    if object.metadata.deletion_timestamp.is_some() || !is_owned(object) || !is_guarded(object, options) {
        return Ok(Outcome::Done);
    }
    let Some(cluster) = &observed.cluster else {
        return Ok(Outcome::Done);
    };
    let configs = match &observed.configs {
        Resolution::Known(configs) => configs,
        // What comes by itself is waited for: everything is written at once then.
        Resolution::Pending { told: None, .. } => return Ok(Outcome::Done),
        Resolution::Pending { told: Some(told), .. } => {
            let wish = Wish {
                condition: (!is_registered(object)).then(|| pending(told, object)),
                ..Wish::new(options)
            };
            return register(&shared, &key, object, &wish).await;
        }
    };
    let settings = Settings::new(&configs.deployment_configs()?, cluster);
    let namespace = install_namespace(object, options, &settings);
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
    let wish = Wish {
        namespace: Some(&namespace),
        registrations: Some(&registrations),
        condition: Some(condition.at(object.metadata.generation)),
        ..Wish::new(options)
    };
    let outcome = register(&shared, &key, object, &wish).await?;
    permitted.map(|()| outcome)
}

/// Writes what differs from what is there.
async fn register(shared: &Shared, key: &Key, object: &ManagedClusterAddOn, wish: &Wish<'_>) -> Result<Outcome, Error> {
    let Some(status) = status(object, wish, Timestamp::now()) else {
        return Ok(Outcome::Done);
    };
    match conditions::apply_status_locked(&shared.addon_api(&key.cluster), object, MANAGER, &status).await {
        Err(kube::Error::Api(refused)) if refused.is_conflict() => {
            // Usual at an installation: others write into the same status. What they wrote is on its way to us.
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
            result.map(|_| Outcome::Done).map_err(Error::request(action))
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

/// What this controller owns of the status; `None`: as it is.
struct Wish<'a> {
    namespace: Option<&'a str>,
    registrations: Option<&'a [RegistrationConfig]>,
    condition: Option<Wanted>,
    supported: Vec<GroupResource>,
}

impl Wish<'_> {
    fn new(options: &Options) -> Self {
        Self {
            namespace: None,
            registrations: None,
            condition: None,
            supported: options.configs.iter().map(ConfigKind::group_resource).collect(),
        }
    }
}

/// All of the status that this controller owns; `None` if it stands there already.
fn status(object: &ManagedClusterAddOn, wish: &Wish<'_>, now: Timestamp) -> Option<Map<String, Value>> {
    let existing = object.status.clone().unwrap_or_default();
    let namespace = wish.namespace.or(existing.namespace.as_deref());
    let registrations = wish.registrations.unwrap_or(&existing.registrations);
    let (old, new) = (json!(existing.registrations), json!(registrations));
    let news = conditions::changed(&existing.conditions, wish.condition.as_slice(), now);
    // Those of other frameworks may stand beside ours.
    let declared = wish
        .supported
        .iter()
        .all(|kind| existing.supported_configs.contains(kind));
    if existing.namespace.as_deref() == namespace && compare::same(&old, &new) && news.is_none() && declared {
        return None;
    }
    let condition = match &wish.condition {
        Some(wanted) => Some(conditions::merge(&existing.conditions, wanted, now)),
        None => conditions::find(&existing.conditions, condition::REGISTRATION_APPLIED).cloned(),
    };
    let mut status = Map::new();
    let mut put = |name: &str, value: Value| status.insert(name.to_owned(), value);
    if let Some(namespace) = namespace {
        put("namespace", namespace.into());
    }
    if let Some(condition) = condition {
        put("conditions", json!([condition]));
    }
    if !wish.supported.is_empty() {
        put("supportedConfigs", json!(wish.supported));
    }
    // An empty list says that others' entries must go too; where there is none, none is needed.
    if !(registrations.is_empty() && existing.registrations.is_empty()) {
        put("registrations", new);
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
    let role = watches.roles.get(Some(&key.cluster), &rbac::name(&key.addon));
    let rules = wanted
        .map(|wanted| wanted.permissions.clone())
        .filter(|rules| !rules.is_empty());
    let cluster_roles = wanted.map(|wanted| wanted.cluster_roles.as_slice()).unwrap_or_default();
    let bindings = rbac::bindings(object, merged, rules.is_some(), cluster_roles);
    permit_role(
        shared,
        key,
        role.as_deref(),
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
        permit_binding(shared, key, observed.as_deref(), Some(wanted)).await?;
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
    use super::*;

    fn addon(status: &Value) -> ManagedClusterAddOn {
        serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}, "status": status}))
            .unwrap()
    }

    fn wish<'a>(registrations: &'a [RegistrationConfig], namespace: &'a str, condition: Wanted) -> Wish<'a> {
        Wish {
            namespace: Some(namespace),
            registrations: Some(registrations),
            condition: Some(condition),
            ..Wish::new(&Options::default())
        }
    }

    #[test]
    fn everything_is_written_at_once_and_then_nothing() {
        let registration = Registration::kube_client("c1", "hello");
        let wished = |namespace| wish(&registration.configs, namespace, applied(Some(&registration)));
        let written = status(&addon(&json!({})), &wished("ns"), Timestamp::now()).unwrap();
        assert_eq!(
            written.keys().collect::<Vec<_>>(),
            ["conditions", "namespace", "registrations"]
        );
        let after = addon(&Value::Object(written.clone()));
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(status(&after, &wished("ns"), later), None);
        let moved = status(&after, &wished("other"), later).unwrap();
        assert_eq!(
            moved["conditions"], written["conditions"],
            "all that is owned is sent, with the old times"
        );
    }

    #[test]
    fn no_registration_empties_the_list_only_if_there_is_one() {
        assert_eq!(applied(None).reason, "NilRegistration");
        let wished = || wish(&[], "ns", applied(None));
        let fresh = status(&addon(&json!({})), &wished(), Timestamp::now()).unwrap();
        assert!(!fresh.contains_key("registrations"));
        let registered = addon(&json!({"registrations": Registration::kube_client("c1", "hello").configs}));
        let emptied = status(&registered, &wished(), Timestamp::now()).unwrap();
        assert_eq!(emptied["registrations"], json!([]));
    }

    #[test]
    fn kinds_of_configuration_are_told_before_anything_else_is_known_and_take_nothing_away() {
        let options = Options {
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        };
        let ours = json!([{"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"}]);
        let first = status(&addon(&json!({})), &Wish::new(&options), Timestamp::now()).unwrap();
        assert_eq!(Value::Object(first), json!({"supportedConfigs": ours}));
        let registration = Registration::kube_client("c1", "hello");
        let registered = wish(&registration.configs, "ns", applied(Some(&registration)));
        let mut before = Value::Object(status(&addon(&json!({})), &registered, Timestamp::now()).unwrap());
        let added = status(&addon(&before), &Wish::new(&options), Timestamp::now()).unwrap();
        before["supportedConfigs"] = ours.clone();
        assert_eq!(Value::Object(added), before);
        let mut all = ours;
        all.as_array_mut()
            .unwrap()
            .push(json!({"group": "g", "resource": "theirs"}));
        before["supportedConfigs"] = all;
        assert_eq!(status(&addon(&before), &Wish::new(&options), Timestamp::now()), None);
    }

    #[test]
    fn a_configuration_that_is_missing_is_told() {
        let object = addon(&json!({}));
        let wish = Wish {
            condition: Some(pending("it is not there", &object)),
            ..Wish::new(&Options::default())
        };
        let told = status(&object, &wish, Timestamp::now()).unwrap();
        assert_eq!(told["conditions"][0]["reason"], "PermissionConfigPending");
        assert!(!is_registered(&addon(&Value::Object(told))));
    }
}
