//! What the framework says in the status of an addon when it registers its agent, as one JSON patch. Pure.
//!
//! Not server-side apply: hashes and generations go into a list that OCM's addon-manager owns as a whole, which an apply would
//! take away from it, and a second request for them would be a second write for every cluster. The patch tests what it was
//! decided on, and nothing else: what others write into the same status meanwhile neither refuses it nor gets lost.
use jiff::Timestamp;
use json_patch::{Patch, PatchOperation};
use peering_api::{
    kube::ResourceExt,
    ocm::{
        GroupResource, ManagedClusterAddOn,
        addon::{
            ConfigReference,
            v1beta1::{ManagedClusterAddOnStatus, RegistrationConfig},
        },
    },
};
use serde_json::{Value, json};

use crate::{
    compare,
    config::ConfigKind,
    options::Options,
    runtime::{
        conditions::{self, Wanted},
        write::{add, remove, replace, test},
    },
};

/// How health is judged if nothing is said.
const LEASE: &str = "Lease";

/// What is to stand in the status; `None`: as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) namespace: Option<String>,
    pub(super) registrations: Option<Vec<RegistrationConfig>>,
    pub(super) condition: Option<Wanted>,
    /// Those of other frameworks may stand beside ours.
    pub(super) supported: Vec<GroupResource>,
    /// With the same entries in the same order as those that are there.
    pub(super) references: Option<Vec<ConfigReference>>,
    pub(super) health: Option<&'static str>,
}

impl Wish {
    /// What is known before anything else.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            supported: options.configs.iter().map(ConfigKind::group_resource).collect(),
            health: Some(options.health.mode()),
            ..Self::default()
        }
    }
}

/// The change of the status from what was seen to what is wished; `None` if it stands there already.
pub(super) fn patch(object: &ManagedClusterAddOn, wish: &Wish, now: Timestamp) -> Option<Patch> {
    let existing = object.status.clone().unwrap_or_default();
    let mut operations = vec![];
    if object.status.is_none() {
        operations.push(test(&["status"], Value::Null));
        operations.push(add(&["status"], json!({})));
    }
    let tests = operations.len();
    if let Some(namespace) = wish
        .namespace
        .as_ref()
        .filter(|new| existing.namespace.as_ref() != Some(new))
    {
        operations.push(add(&["status", "namespace"], json!(namespace)));
    }
    operations.extend(registrations(object, &existing, wish));
    operations.extend(supported(&existing, &wish.supported));
    operations.extend(health(&existing, wish));
    operations.extend(references(&existing, wish));
    operations.extend(condition(&existing, wish, now));
    if operations.len() == tests {
        return None;
    }
    let identity = object.uid().map(|uid| test(&["metadata", "uid"], json!(uid)));
    Some(Patch(identity.into_iter().chain(operations).collect()))
}

/// The registration agent writes into this list too, once there is one: then the object must be as it was seen (409).
fn registrations(
    object: &ManagedClusterAddOn,
    existing: &ManagedClusterAddOnStatus,
    wish: &Wish,
) -> Vec<PatchOperation> {
    const PATH: [&str; 2] = ["status", "registrations"];
    let Some(wanted) = &wish.registrations else {
        return vec![];
    };
    let (old, new) = (json!(existing.registrations), json!(wanted));
    if compare::same(&old, &new) {
        return vec![];
    }
    let change = if wanted.is_empty() {
        remove(&PATH)
    } else {
        add(&PATH, new)
    };
    let seen = object.resource_version().filter(|_| !existing.registrations.is_empty());
    let lock = seen.map(|version| add(&["metadata", "resourceVersion"], json!(version)));
    lock.into_iter().chain([change]).collect()
}

fn supported(existing: &ManagedClusterAddOnStatus, wanted: &[GroupResource]) -> Vec<PatchOperation> {
    const PATH: [&str; 2] = ["status", "supportedConfigs"];
    let known = &existing.supported_configs;
    let missing: Vec<_> = wanted.iter().filter(|kind| !known.contains(kind)).collect();
    match (missing.as_slice(), known.as_slice()) {
        ([], _) => vec![],
        (missing, []) => vec![add(&PATH, json!(missing))],
        (missing, _) => {
            let append = |kind| add(&["status", "supportedConfigs", "-"], json!(kind));
            missing.iter().map(append).collect()
        }
    }
}

fn health(existing: &ManagedClusterAddOnStatus, wish: &Wish) -> Option<PatchOperation> {
    let known = existing.health_check.as_ref().and_then(|check| check.mode.as_deref());
    let wanted = wish.health.filter(|wanted| known.unwrap_or(LEASE) != *wanted)?;
    Some(add(&["status", "healthCheck"], json!({"mode": wanted})))
}

/// Hashes and generations, each in the entry that is still for the same object.
fn references(existing: &ManagedClusterAddOnStatus, wish: &Wish) -> Vec<PatchOperation> {
    let wanted = wish.references.as_deref().unwrap_or_default();
    let mut operations = vec![];
    for (index, (old, new)) in existing.config_references.iter().zip(wanted).enumerate() {
        let (Some(known), Some(desired)) = (&old.desired_config, &new.desired_config) else {
            continue;
        };
        let index = index.to_string();
        let at = |rest: &[&'static str]| [&["status", "configReferences", index.as_str()], rest].concat();
        let mut changes = vec![];
        if old.last_observed_generation != new.last_observed_generation {
            changes.push(add(
                &at(&["lastObservedGeneration"]),
                json!(new.last_observed_generation),
            ));
        }
        if known.spec_hash != desired.spec_hash {
            changes.push(add(&at(&["desiredConfig", "specHash"]), json!(desired.spec_hash)));
        }
        if !changes.is_empty() {
            operations.push(test(&at(&["resource"]), json!(old.resource)));
            operations.push(test(&at(&["desiredConfig", "name"]), json!(known.name)));
            operations.append(&mut changes);
        }
    }
    operations
}

fn condition(existing: &ManagedClusterAddOnStatus, wish: &Wish, now: Timestamp) -> Vec<PatchOperation> {
    const PATH: [&str; 2] = ["status", "conditions"];
    let there = &existing.conditions;
    let wanted = wish.condition.as_ref();
    let news = wanted.and_then(|wanted| conditions::changed(there, std::slice::from_ref(wanted), now)?.pop());
    let Some(news) = news else { return vec![] };
    let Some(position) = there.iter().position(|known| known.type_ == news.type_) else {
        return match there.as_slice() {
            [] => vec![test(&PATH, Value::Null), add(&PATH, json!([news]))],
            _ => vec![add(&["status", "conditions", "-"], json!(news))],
        };
    };
    let index = position.to_string();
    vec![
        test(&["status", "conditions", &index, "type"], json!(news.type_)),
        replace(&["status", "conditions", &index], json!(news)),
    ]
}

#[cfg(test)]
mod tests {
    use peering_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;
    use crate::registration::Registration;

    fn addon(status: &Value) -> ManagedClusterAddOn {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1", "uid": "u", "resourceVersion": "7"}, "spec": {}, "status": status});
        serde_json::from_value(wire).unwrap()
    }

    fn applied() -> Wanted {
        Wanted::new("RegistrationApplied", true, "SetPermissionApplied", "m")
    }

    fn wish(registrations: Vec<RegistrationConfig>) -> Wish {
        Wish {
            namespace: Some("ns".to_owned()),
            registrations: Some(registrations),
            condition: Some(applied()),
            ..Wish::default()
        }
    }

    fn configured() -> Wish {
        Wish::new(&Options {
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        })
    }

    fn kube_client() -> Vec<RegistrationConfig> {
        Registration::kube_client("c1", "hello").configs
    }

    /// The object after the patch, as an API server makes it: there a test for null is true when nothing is there, which
    /// json-patch does not know; and a resource version that is not the current one refuses all.
    fn patched(object: &ManagedClusterAddOn, patch: &Patch) -> Result<ManagedClusterAddOn, String> {
        let mut wire = serde_json::to_value(object).unwrap();
        for operation in &patch.0 {
            match operation {
                PatchOperation::Test(null) if null.value.is_null() => {
                    if wire.pointer(null.path.as_str()).is_some_and(|there| !there.is_null()) {
                        return Err(format!("{} is there", null.path));
                    }
                }
                PatchOperation::Add(lock) if lock.path.as_str() == "/metadata/resourceVersion" => {
                    if wire.pointer("/metadata/resourceVersion") != Some(&lock.value) {
                        return Err("conflict".to_owned());
                    }
                }
                _ => {
                    json_patch::patch(&mut wire, std::slice::from_ref(operation)).map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(serde_json::from_value(wire).unwrap())
    }

    fn after(object: &ManagedClusterAddOn, wish: &Wish) -> ManagedClusterAddOn {
        patched(object, &patch(object, wish, Timestamp::now()).unwrap()).unwrap()
    }

    fn status(object: &ManagedClusterAddOn) -> Value {
        json!(object.status)
    }

    #[test]
    fn everything_is_written_at_once_and_then_nothing() {
        for before in [
            json!(null),
            json!({"conditions": [{"type": "Configured", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
        ] {
            let before = addon(&before);
            let registered = after(&before, &wish(kube_client()));
            let written = registered.status.clone().unwrap();
            assert_eq!(written.namespace.as_deref(), Some("ns"));
            assert_eq!(written.registrations, kube_client());
            assert!(conditions::is_true(&written.conditions, "RegistrationApplied"));
            let others = before.status.map(|status| status.conditions).unwrap_or_default();
            assert!(written.conditions.starts_with(&others), "{written:?}");
            let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
            assert_eq!(patch(&registered, &wish(kube_client()), later), None);
            let moved = Wish {
                namespace: Some("other".to_owned()),
                ..wish(kube_client())
            };
            let changes = patch(&registered, &moved, later).unwrap();
            assert_eq!(changes.0.len(), 2, "the identity and the namespace: {changes}");
        }
    }

    #[test]
    fn no_registration_takes_the_list_away_only_if_there_is_one() {
        let fresh = patch(&addon(&json!({})), &wish(vec![]), Timestamp::now()).unwrap();
        assert!(!fresh.to_string().contains("registrations"), "{fresh}");
        let registered = after(&addon(&json!({})), &wish(kube_client()));
        assert_eq!(status(&after(&registered, &wish(vec![]))).get("registrations"), None);
    }

    #[test]
    fn what_others_write_meanwhile_neither_refuses_the_patch_nor_is_lost() {
        let reference =
            json!({"group": "g", "resource": "r", "desiredConfig": {"name": "n", "namespace": "m", "specHash": ""}});
        let seen = addon(&json!({"configReferences": [reference]}));
        let mut references = seen.status.clone().unwrap().config_references;
        references[0].last_observed_generation = Some(3);
        references[0].desired_config.as_mut().unwrap().spec_hash = "h".to_owned();
        let wished = Wish {
            references: Some(references),
            ..wish(kube_client())
        };
        let changes = patch(
            &seen,
            &Wish {
                condition: None,
                ..wished.clone()
            },
            Timestamp::now(),
        )
        .unwrap();
        let mut meanwhile = seen.clone();
        meanwhile.metadata.resource_version = Some("8".to_owned());
        let theirs = meanwhile.status.as_mut().unwrap();
        theirs.config_references[0].last_applied_config = theirs.config_references[0].desired_config.clone();
        theirs.conditions = vec![conditions::merge(
            &[],
            &Wanted::new("Progressing", true, "R", ""),
            Timestamp::now(),
        )];
        let both = patched(&meanwhile, &changes).unwrap().status.unwrap();
        assert_eq!(both.conditions, meanwhile.status.as_ref().unwrap().conditions);
        let [one] = both.config_references.as_slice() else {
            panic!("{both:?}")
        };
        assert_eq!(
            (
                one.last_observed_generation,
                one.desired_config.as_ref().unwrap().spec_hash.as_str()
            ),
            (Some(3), "h")
        );
        assert!(one.last_applied_config.is_some(), "theirs");
        let first = patch(&seen, &wished, Timestamp::now()).unwrap();
        assert!(
            patched(&meanwhile, &first).is_err(),
            "the first condition would replace theirs"
        );
    }

    #[test]
    fn a_reference_to_another_object_gets_no_hash() {
        let seen =
            addon(&json!({"configReferences": [{"group": "g", "resource": "r", "desiredConfig": {"name": "n"}}]}));
        let mut references = seen.status.clone().unwrap().config_references;
        references[0].last_observed_generation = Some(3);
        let wished = Wish {
            references: Some(references),
            ..Wish::default()
        };
        let changes = patch(&seen, &wished, Timestamp::now()).unwrap();
        assert!(patched(&seen, &changes).is_ok());
        for other in [
            json!([{"group": "g", "resource": "r", "desiredConfig": {"name": "other"}}]),
            json!([{"group": "g", "resource": "other", "desiredConfig": {"name": "n"}}]),
            json!([]),
        ] {
            let other = addon(&json!({"configReferences": other}));
            assert!(patched(&other, &changes).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_list_that_the_agent_writes_into_is_replaced_only_as_it_was_seen() {
        let seen = after(&addon(&json!({})), &wish(kube_client()));
        let mut wanted = kube_client();
        wanted.push(wanted[0].clone());
        let changes = patch(&seen, &wish(wanted), Timestamp::now()).unwrap();
        assert!(patched(&seen, &changes).is_ok());
        let mut meanwhile = seen;
        meanwhile.metadata.resource_version = Some("8".to_owned());
        assert_eq!(patched(&meanwhile, &changes).unwrap_err(), "conflict");
    }

    #[test]
    fn a_condition_changes_where_it_stands_and_nowhere_else() {
        let seen = after(&addon(&json!({})), &wish(kube_client()));
        let failed = Wanted::new("RegistrationApplied", false, "SetPermissionFailed", "m");
        let wished = Wish {
            condition: Some(failed),
            ..Wish::default()
        };
        let changes = patch(&seen, &wished, Timestamp::now()).unwrap();
        let written = patched(&seen, &changes).unwrap().status.unwrap().conditions;
        assert_eq!(
            written.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(),
            ["SetPermissionFailed"]
        );
        let mut moved = seen;
        let conditions = &mut moved.status.as_mut().unwrap().conditions;
        conditions.insert(
            0,
            Condition {
                type_: "Other".to_owned(),
                ..conditions[0].clone()
            },
        );
        assert!(patched(&moved, &changes).is_err());
    }

    #[test]
    fn kinds_of_configuration_and_the_mode_of_health_are_told_and_take_nothing_away() {
        let ours = json!({"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"});
        let first = after(&addon(&json!({})), &configured());
        assert_eq!(status(&first), json!({"supportedConfigs": [ours]}));
        assert_eq!(patch(&first, &configured(), Timestamp::now()), None);
        let theirs = json!({"group": "g", "resource": "theirs"});
        let beside = after(&addon(&json!({"supportedConfigs": [theirs]})), &configured());
        assert_eq!(status(&beside), json!({"supportedConfigs": [theirs, ours]}));
        let judged = Wish {
            health: Some("Customized"),
            ..Wish::default()
        };
        let judged = after(&addon(&json!({})), &judged);
        assert_eq!(status(&judged), json!({"healthCheck": {"mode": "Customized"}}));
        let back = after(
            &judged,
            &Wish {
                health: Some(LEASE),
                ..Wish::default()
            },
        );
        assert_eq!(
            status(&back)["healthCheck"]["mode"],
            "Lease",
            "it was judged by us before"
        );
    }
}
