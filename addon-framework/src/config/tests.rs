//! Which configurations are in force, and what is written about them.
use peering_api::ocm::addon::v1beta1::ClusterManagementAddOnStatus;
use serde_json::{Value, json};

use super::*;

const GROUP: &str = addon::GROUP;
const ADC: &str = "addondeploymentconfigs";

fn kinds() -> Vec<ConfigKind> {
    vec![
        ConfigKind::deployment_config(),
        ConfigKind::new("example.com", "v1", "gadgets"),
    ]
}

fn object(name: &str, generation: i64, spec: &Value) -> DynamicObject {
    let wire = json!({"metadata": {"name": name, "namespace": "ns", "generation": generation}, "spec": spec});
    serde_json::from_value(wire).unwrap()
}

fn hash_of(spec: &Value) -> String {
    spec_hash(&object("any", 1, spec))
}

/// Finds these objects, whatever their kind; `unreadable` is a kind that cannot be read.
fn find(objects: Vec<DynamicObject>) -> impl Fn(&GroupResource, &ConfigSpecHash) -> Found {
    move |kind, config| {
        if kind.resource == "unreadable" {
            return Found::Unreadable;
        }
        let found = objects
            .iter()
            .find(|object| object.metadata.name.as_ref() == Some(&config.name));
        found.map_or(Found::Missing, |object| Found::Object(Arc::new(object.clone())))
    }
}

fn reference(group: &str, resource: &str, name: &str, hash: &str) -> Value {
    json!({"group": group, "resource": resource, "desiredConfig": {"namespace": "ns", "name": name, "specHash": hash}})
}

fn addon_with(references: &[Value], configured: &str, configs: &Value) -> ManagedClusterAddOn {
    let configured = json!({"type": "Configured", "status": configured, "reason": "R", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"});
    let wire = json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {"configs": configs},
        "status": {"configReferences": references, "conditions": [configured]}});
    serde_json::from_value(wire).unwrap()
}

fn names(configs: &Configs) -> Vec<&str> {
    configs
        .objects()
        .filter_map(|object| object.metadata.name.as_deref())
        .collect()
}

#[test]
fn configurations_are_known_once_their_hashes_are_those_of_the_rollout() {
    let (spec, other) = (json!({"a": 1}), json!({"a": 2}));
    let objects = || find(vec![object("one", 1, &spec), object("two", 1, &spec)]);
    let references = |hash: &str| {
        [
            reference(GROUP, ADC, "two", &hash_of(&spec)),
            reference(GROUP, ADC, "one", hash),
        ]
    };
    let resolved = |hash: &str| {
        resolve(
            &kinds(),
            &addon_with(&references(hash), "True", &json!([])),
            true,
            &objects(),
        )
    };
    let Resolution::Known(configs) = resolved(&hash_of(&spec)) else {
        panic!("not known")
    };
    assert_eq!(names(&configs), ["two", "one"], "in the order of the references");
    for hash in ["", &hash_of(&other)] {
        let Resolution::Pending { told, found } = resolved(hash) else {
            panic!("known with hash {hash}")
        };
        assert_eq!((told, names(&found).len()), (None, 2), "it comes by itself");
    }
}

#[test]
fn nothing_is_rendered_before_the_addon_manager_has_spoken_unless_it_does_not_care() {
    for (configured, managed, known) in [("False", true, false), ("True", true, true), ("False", false, true)] {
        let resolution = resolve(
            &kinds(),
            &addon_with(&[], configured, &json!([])),
            managed,
            &find(vec![]),
        );
        assert_eq!(
            matches!(resolution, Resolution::Known(_)),
            known,
            "{configured} {managed}"
        );
    }
    let fresh = serde_json::from_value(json!({"metadata": {"name": "hello"}, "spec": {}})).unwrap();
    assert!(matches!(
        resolve(&kinds(), &fresh, true, &find(vec![])),
        Resolution::Pending { .. }
    ));
    assert!(
        matches!(resolve(&[], &fresh, true, &find(vec![])), Resolution::Known(_)),
        "it reads none"
    );
}

#[test]
fn a_missing_configuration_is_told_by_name() {
    let references = [
        reference(GROUP, ADC, "gone", "h"),
        reference("example.com", "gadgets", "gone", "h"),
    ];
    let Resolution::Pending { told, .. } = resolve(
        &kinds(),
        &addon_with(&references, "True", &json!([])),
        true,
        &find(vec![]),
    ) else {
        panic!("known")
    };
    let text = told.unwrap();
    assert!(
        text.starts_with(
            "configuration addondeploymentconfigs.addon.open-cluster-management.io ns/gone does not exist"
        ),
        "{text}"
    );
}

#[test]
fn other_kinds_and_the_reserved_name_are_not_waited_for() {
    let references = [
        reference("example.com", "others", "gone", ""),
        reference(GROUP, ADC, NO_DEFAULT_CONFIG, ""),
    ];
    let resolution = resolve(
        &kinds(),
        &addon_with(&references, "True", &json!([])),
        true,
        &find(vec![]),
    );
    assert_eq!(resolution, Resolution::Known(Configs::default()));
    let unreadable = [ConfigKind::new("", "v1", "unreadable")];
    let addon = addon_with(&[reference("", "unreadable", "x", "h")], "True", &json!([]));
    assert!(matches!(
        resolve(&unreadable, &addon, true, &find(vec![])),
        Resolution::Pending { told: None, .. }
    ));
}

#[test]
fn the_generation_is_written_for_all_and_the_hash_for_the_addons_own() {
    let spec = json!({"a": 1});
    let objects = || find(vec![object("own", 7, &spec), object("placed", 8, &spec)]);
    let references = [
        reference(GROUP, ADC, "own", ""),
        reference("example.com", "gadgets", "placed", "theirs"),
        reference("example.com", "others", "own", "theirs"),
    ];
    let configs = json!([{"group": GROUP, "resource": ADC, "namespace": "ns", "name": "own"}]);
    let mut addon = addon_with(&references, "False", &configs);
    let written = observed(&kinds(), &addon, &objects()).unwrap();
    let told: Vec<_> = written
        .iter()
        .map(|reference| {
            (
                reference.last_observed_generation,
                reference.desired_config.clone().unwrap().spec_hash,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(7), hash_of(&spec)),
            (Some(8), "theirs".to_owned()),
            (None, "theirs".to_owned())
        ]
    );
    addon.status.as_mut().unwrap().config_references = written;
    assert_eq!(
        observed(&kinds(), &addon, &objects()),
        None,
        "the second time changes nothing"
    );
    assert_eq!(
        observed(&kinds(), &addon, &find(vec![])),
        None,
        "a configuration that is gone leaves what is there"
    );
}

#[test]
fn defaults_and_placements_get_their_hashes_and_keep_everything_else() {
    let spec = json!({"a": 1});
    let objects = || find(vec![object("d", 1, &spec)]);
    let mut entry = reference(GROUP, ADC, "d", "old");
    entry["lastKnownGoodConfig"] = json!({"name": "before", "specHash": "x"});
    let wire = json!({"defaultConfigReferences": [reference(GROUP, ADC, "d", ""), reference("g", "others", "d", "")],
        "installProgressions": [{"namespace": "ns", "name": "p", "configReferences": [entry], "conditions": []}]});
    let status: ClusterManagementAddOnStatus = serde_json::from_value(wire.clone()).unwrap();
    let written = hashed(&kinds(), &status, &objects()).unwrap();
    let mut expected = wire;
    expected["defaultConfigReferences"][0]["desiredConfig"]["specHash"] = hash_of(&spec).into();
    expected["installProgressions"][0]["configReferences"][0]["desiredConfig"]["specHash"] = hash_of(&spec).into();
    expected["defaultConfigReferences"][1]["desiredConfig"]
        .as_object_mut()
        .unwrap()
        .remove("specHash");
    assert_eq!(serde_json::to_value(&written).unwrap(), expected);
    assert_eq!(hashed(&kinds(), &written, &objects()), None);
}

#[test]
fn addons_read_their_configurations_by_kind() {
    let kind = ConfigKind::deployment_config();
    let gadget = ConfigKind::new("example.com", "v1", "gadgets");
    let configs = Configs::new([
        (kind.clone(), object("a", 1, &json!({"agentInstallNamespace": "x"}))),
        (gadget.clone(), object("b", 1, &json!({"size": 3}))),
        (kind, object("c", 1, &json!({}))),
    ]);
    let read = configs.deployment_configs().unwrap();
    assert_eq!(
        read.iter()
            .map(|spec| spec.agent_install_namespace.as_deref())
            .collect::<Vec<_>>(),
        [Some("x"), None]
    );
    assert_eq!(configs.of(&gadget).next().unwrap().data["spec"]["size"], 3);
    let broken = Configs::new([(
        ConfigKind::deployment_config(),
        object("d", 1, &json!({"registries": 1})),
    )]);
    assert!(broken.deployment_configs().is_err());
}
