//! Wiring, case by case: what one link does. `props` tries what nobody has thought of.
mod guards;
mod props;
mod sharing;

use json_patch::{Patch, PatchOperation};
use serde_json::json;

use super::*;

const A: &str = "1244d3bc6c53866b576a23659f450d97";
const B: &str = "a368f7122cb95eb2dbcd72663e74c3be";

/// Applies a patch as the API server does (see `edit`): a test for null holds where nothing is, and a test for a text that
/// Go's encoder escapes never holds.
fn apply(object: &Value, patch: &Patch) -> Result<Value, String> {
    let mut object = object.clone();
    for operation in patch.iter() {
        match operation {
            PatchOperation::Test(test) if test.value.is_null() => {
                let holder = test.path.as_str().rsplit_once('/').unwrap().0;
                let seen = object.pointer(holder).map(|_| object.pointer(test.path.as_str()));
                if seen.is_none_or(|seen| seen.is_some_and(|value| !value.is_null())) {
                    return Err(test.to_string());
                }
            }
            PatchOperation::Test(test) if test.value.to_string().contains(['<', '>', '&']) => {
                return Err(test.to_string());
            }
            operation => {
                let one = std::slice::from_ref(operation);
                json_patch::patch(&mut object, one).map_err(|error| error.to_string())?;
            }
        }
    }
    touch(&mut object);
    Ok(object)
}

/// A new resource version, as with every write.
fn touch(object: &mut Value) {
    if let Some(Value::String(version)) = object.pointer_mut("/metadata/resourceVersion") {
        version.push('1');
    }
}

fn consumer(content: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool",
        "metadata": {"namespace": "rook-ceph", "name": "pool", "uid": "u"},
    });
    object
        .as_object_mut()
        .unwrap()
        .extend(content.as_object().unwrap().clone());
    object
}

fn add(path: &str, value: Value) -> Change {
    let path = path.to_owned();
    Change::AddToList { path, value, key: None }
}

fn add_by(path: &str, key: &str, value: Value) -> Change {
    Change::AddToList {
        path: path.to_owned(),
        value,
        key: Some(key.to_owned()),
    }
}

fn set(path: &str, value: Value) -> Change {
    Change::SetField {
        path: path.to_owned(),
        value,
        on_conflict: OnConflict::Refuse,
    }
}

fn adopt(path: &str, value: Value) -> Change {
    Change::SetField {
        path: path.to_owned(),
        value,
        on_conflict: OnConflict::Adopt,
    }
}

fn annotate(key: &str, value: &str, pod_template: bool) -> Change {
    Change::Annotate {
        key: key.to_owned(),
        value: value.to_owned(),
        pod_template,
    }
}

/// Plans and applies.
fn wire(object: &Value, link: &str, wanted: &[Change]) -> (Value, Vec<Outcome>) {
    let plan = plan(object, link, wanted).unwrap();
    let after = plan
        .patch
        .map_or_else(|| object.clone(), |patch| apply(object, &patch).unwrap());
    (after, plan.outcomes)
}

/// Wires one change without trouble.
fn wired(object: &Value, link: &str, wanted: &[Change]) -> Value {
    let (after, outcomes) = wire(object, link, wanted);
    assert!(outcomes.iter().all(Outcome::is_good), "{outcomes:?}");
    after
}

fn undone(object: &Value, link: &str) -> Value {
    wire(object, link, &[]).0
}

/// Without the record and what the API server changes by itself.
fn bare(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(WIRED_ANNOTATION);
    }
    if metadata.get("annotations") == Some(&json!({})) {
        metadata.remove("annotations");
    }
    object
}

fn record(object: &Value) -> &str {
    object["metadata"]["annotations"][WIRED_ANNOTATION]
        .as_str()
        .unwrap_or_default()
}

fn conflict(outcomes: &[Outcome]) -> &str {
    match outcomes {
        [Outcome::Conflict(message)] => message,
        other => panic!("{other:?}"),
    }
}

const NAMES: &str = "spec.mirroring.peers.secretNames";

#[test]
fn a_name_comes_and_goes_with_all_that_was_made_for_it() {
    for (before, after) in [
        (
            json!({}),
            json!({"spec": {"mirroring": {"peers": {"secretNames": ["ours"]}}}}),
        ),
        (
            json!({"spec": {"mirroring": {"enabled": true}}}),
            json!({"spec": {"mirroring": {"enabled": true, "peers": {"secretNames": ["ours"]}}}}),
        ),
        (
            json!({"spec": {"mirroring": {"peers": {}}}}),
            json!({"spec": {"mirroring": {"peers": {"secretNames": ["ours"]}}}}),
        ),
        (
            json!({"spec": {"mirroring": {"peers": {"secretNames": []}}}}),
            json!({"spec": {"mirroring": {"peers": {"secretNames": ["ours"]}}}}),
        ),
        (
            json!({"spec": {"mirroring": {"peers": {"secretNames": ["theirs"]}}}}),
            json!({"spec": {"mirroring": {"peers": {"secretNames": ["theirs", "ours"]}}}}),
        ),
    ] {
        let before = consumer(&before);
        let object = wired(&before, A, &[add(NAMES, json!("ours"))]);
        assert_eq!(bare(object.clone()), consumer(&after));
        assert_eq!(undone(&object, A), before);
    }
    let null = consumer(&json!({"spec": {"mirroring": null}}));
    let object = wired(&null, A, &[add(NAMES, json!("ours"))]);
    assert_eq!(
        bare(undone(&object, A)),
        consumer(&json!({"spec": {}})),
        "null is the same as absent"
    );
}

#[test]
fn what_others_put_beside_ours_keeps_the_container() {
    let mut object = wired(
        &consumer(&json!({})),
        A,
        &[add(NAMES, json!("ours")), set("spec.deep.er.x", json!(1))],
    );
    object["spec"]["mirroring"]["enabled"] = json!(false);
    object["spec"]["deep"]["empty"] = json!({});
    assert_eq!(
        undone(&object, A),
        consumer(&json!({"spec": {"mirroring": {"enabled": false}, "deep": {"empty": {}}}}))
    );
    let list = object.pointer_mut("/spec/mirroring/peers/secretNames").unwrap();
    *list = json!(["ours", "theirs"]);
    let after = undone(&object, A);
    assert_eq!(after["spec"]["mirroring"]["peers"]["secretNames"], json!(["theirs"]));
    assert_eq!(record(&after), "");
}

#[test]
fn an_item_that_is_there_already_stays_foreign() {
    let before = consumer(&json!({"spec": {"names": ["a"], "items": [{"name": "x", "v": 1, "more": true}]}}));
    let wanted = [
        add("spec.names", json!("a")),
        add_by("spec.items", "name", json!({"name": "x", "v": 1})),
    ];
    let plan = plan(&before, A, &wanted).unwrap();
    assert_eq!((plan.patch, plan.outcomes), (None, vec![Outcome::AlreadyThere; 2]));
    assert_eq!(undone(&before, A), before);
}

#[test]
fn items_are_known_by_their_key() {
    const LIST: &str = "spec.s3Profiles";
    let theirs = json!({"s3ProfileName": "theirs", "s3Bucket": "b"});
    let before = consumer(&json!({"spec": {"s3Profiles": [theirs]}}));
    let ours = |bucket: &str| json!({"s3ProfileName": "ours", "s3Bucket": bucket});
    let wanted = |value| [add_by(LIST, "s3ProfileName", value)];
    let mut object = wired(&before, A, &wanted(ours("one")));
    assert_eq!(object["spec"]["s3Profiles"], json!([theirs, ours("one")]));
    // A default of the API server, or a field of somebody else.
    object["spec"]["s3Profiles"][1]["region"] = json!("eu");
    assert!(plan(&object, A, &wanted(ours("one"))).unwrap().patch.is_none());
    let other = json!({"s3ProfileName": "ours", "secret": "new"});
    let changed = wired(&object, A, &wanted(other));
    assert_eq!(
        changed["spec"]["s3Profiles"][1],
        json!({"s3ProfileName": "ours", "secret": "new", "region": "eu"}),
        "what is no longer stated goes, what others have added stays"
    );
    let renamed = wired(&object, A, &wanted(json!({"s3ProfileName": "second"})));
    assert_eq!(
        renamed["spec"]["s3Profiles"],
        json!([theirs, {"s3ProfileName": "second"}])
    );
    for object in [&object, &changed, &renamed] {
        assert_eq!(undone(object, A), before);
    }

    let (same, outcomes) = wire(
        &before,
        A,
        &wanted(json!({"s3ProfileName": "theirs", "s3Bucket": "other"})),
    );
    assert_eq!(same, before);
    assert_eq!(
        conflict(&outcomes),
        "CephBlockPool rook-ceph/pool: spec.s3Profiles: expected this link's item, seen one with the same \"s3ProfileName\" \
         and other content that this link has not added: remove or rename that item"
    );
    object["spec"]["s3Profiles"].as_array_mut().unwrap().push(ours("two"));
    let (_, outcomes) = wire(&object, A, &wanted(ours("one")));
    assert!(conflict(&outcomes).contains("seen several"), "{outcomes:?}");
}

#[test]
fn fields_are_set_adopted_and_put_back() {
    let before = consumer(&json!({"spec": {"mode": "theirs", "deep": {"x": 1}}}));
    let object = wired(&before, A, &[set("spec.fresh.mode", json!("ours"))]);
    assert_eq!(object["spec"]["fresh"], json!({"mode": "ours"}));
    assert_eq!(undone(&object, A), before);
    let (same, outcomes) = wire(&before, A, &[set("spec.mode", json!("ours"))]);
    assert_eq!(same, before);
    assert_eq!(
        conflict(&outcomes),
        "CephBlockPool rook-ceph/pool: spec.mode: expected the value of this link, seen another one that it has not set: \
         remove it there, or set onConflict to Adopt in the profile"
    );
    for value in [json!("ours"), json!(["a", {"b": 1}])] {
        let adopted = wired(&before, A, &[adopt("spec.mode", value.clone())]);
        assert_eq!(adopted["spec"]["mode"], value);
        let next = wired(&adopted, A, &[adopt("spec.mode", json!("next"))]);
        for object in [&adopted, &next] {
            assert_eq!(undone(object, A), before, "what was there before the first value");
        }
    }
    // An empty text is nobody's value, and is put back.
    let empty = consumer(&json!({"spec": {"mode": ""}}));
    let object = wired(&empty, A, &[set("spec.mode", json!("ours"))]);
    assert_eq!(object["spec"]["mode"], "ours");
    assert_eq!(undone(&object, A), empty);
    // The last foreign value is put back, not the first.
    let mut adopted = wired(&before, A, &[adopt("spec.mode", json!("ours"))]);
    adopted["spec"]["mode"] = json!("new");
    let again = wired(&adopted, A, &[adopt("spec.mode", json!("ours"))]);
    assert_eq!(again["spec"]["mode"], "ours");
    assert_eq!(undone(&again, A)["spec"]["mode"], "new");
}

#[test]
fn an_object_is_set_field_by_field() {
    let before = consumer(&json!({"spec": {"security": {"trustDomain": "theirs", "other": {"y": 1}}}}));
    let wanted = json!({"clientID": "ours", "other": {"x": [1, 2]}});
    let object = wired(&before, A, &[set("spec.security", wanted)]);
    assert_eq!(
        object["spec"]["security"],
        json!({"trustDomain": "theirs", "clientID": "ours", "other": {"y": 1, "x": [1, 2]}})
    );
    assert_eq!(undone(&object, A), before);
    let fewer = wired(&object, A, &[set("spec.security", json!({"clientID": "ours"}))]);
    assert_eq!(
        fewer["spec"]["security"],
        json!({"trustDomain": "theirs", "clientID": "ours", "other": {"y": 1}})
    );
    let (same, outcomes) = wire(
        &before,
        A,
        &[set("spec.security", json!({"clientID": "ours", "trustDomain": "ours"}))],
    );
    assert_eq!(same, before, "all of it or nothing");
    assert!(
        conflict(&outcomes).contains("spec.security.trustDomain"),
        "{outcomes:?}"
    );
}

#[test]
fn annotations_of_objects_and_of_pod_templates() {
    let workload = consumer(&json!({"kind": "Deployment", "spec": {"template": {"spec": {}}}}));
    let wanted = |value| {
        [
            annotate("example.com/hash", value, true),
            annotate("team", value, false),
        ]
    };
    let object = wired(&workload, A, &wanted("h1"));
    let template = "/spec/template/metadata/annotations/example.com~1hash";
    assert_eq!(object.pointer(template), Some(&json!("h1")));
    assert_eq!(object["metadata"]["annotations"]["team"], "h1");
    let next = wired(&object, A, &wanted("h2"));
    assert_eq!(next.pointer(template), Some(&json!("h2")));
    assert_eq!(undone(&next, A), workload);
    let (same, outcomes) = wire(&consumer(&json!({"spec": {}})), A, &[annotate("a", "b", true)]);
    assert_eq!(same, consumer(&json!({"spec": {}})));
    assert!(
        matches!(&outcomes[..], [Outcome::Invalid(message)] if message.contains("no pod template") || message.contains("seen none"))
    );
}

#[test]
fn what_makes_no_sense_is_invalid() {
    let object = consumer(&json!({"spec": {"template": {}}}));
    for (change, part) in [
        (set("spec..x", json!(1)), "character 6"),
        (set("spec.l[0]", json!(1)), "character 8"),
        (set("apiVersion", json!("v2")), "apiVersion belongs"),
        (set("kind", json!("x")), "kind belongs"),
        (set("status.x", json!(1)), "status.x belongs"),
        (set("metadata.name", json!("x")), "metadata.name belongs"),
        (set("metadata.namespace", json!("x")), "metadata.namespace belongs"),
        (set("metadata.uid", json!("x")), "metadata.uid belongs"),
        (
            set("metadata.ownerReferences", json!([])),
            "metadata.ownerReferences belongs",
        ),
        (
            set("metadata", json!({"finalizers": ["x"]})),
            "metadata.finalizers belongs",
        ),
        (
            set("metadata.managedFields", json!([])),
            "metadata.managedFields belongs",
        ),
        (set("metadata.labels", json!({})), "metadata.labels belongs"),
        (set("metadata.labels.x", json!(1)), "set a string"),
        (
            set(
                "metadata.labels[\"peering.open-cluster-management.io/link\"]",
                json!("x"),
            ),
            "used by this addon",
        ),
        (annotate(WIRED_ANNOTATION, "{}", false), "used by this addon"),
        (set("spec.x", json!(null)), "seen null"),
        (set("spec.x", json!({"y": [{"z": null}]})), "seen null"),
        (add("metadata.finalizers", json!("x")), "metadata.finalizers belongs"),
        (add("status.list", json!("x")), "status.list belongs"),
        (add("spec.list", json!({"a": 1})), "set the key"),
        (add("spec.list", json!(["a"])), "set the key"),
        (add("spec.list", json!(null)), "seen null"),
        (add_by("spec.list", "name", json!("x")), "under its key \"name\""),
        (
            add_by("spec.list", "name", json!({"name": {}})),
            "under its key \"name\"",
        ),
        (
            add_by("spec.list", "name", json!({"other": "x"})),
            "under its key \"name\"",
        ),
    ] {
        let (same, outcomes) = wire(&object, A, std::slice::from_ref(&change));
        assert_eq!(same, object);
        let prefix = "CephBlockPool rook-ceph/pool: ";
        assert!(
            matches!(&outcomes[..], [Outcome::Invalid(message)] if message.contains(part) && message.starts_with(prefix)),
            "{change:?} {outcomes:?}"
        );
    }
}

#[test]
fn a_link_must_not_contradict_itself() {
    let object = consumer(&json!({}));
    for (first, second, fine) in [
        (set("spec.x", json!(1)), set("spec.x", json!(1)), true),
        (set("spec.x", json!(1)), set("spec.x", json!(2)), false),
        (set("spec.x", json!(1)), set("spec.x.y", json!(2)), false),
        (set("spec.x", json!({"y": 1})), set("spec.x", json!({"z": 1})), true),
        (set("spec.l", json!(["a"])), add("spec.l", json!("b")), false),
        (add("spec.l", json!("a")), add("spec.l", json!("b")), true),
        (add("spec.l", json!("a")), add("spec.l", json!("a")), true),
        (add("spec.l", json!("a")), set("spec.l.x", json!(1)), false),
        (
            add_by("spec.l", "n", json!({"n": 1, "v": 1})),
            add_by("spec.l", "n", json!({"n": 1, "v": 2})),
            false,
        ),
        (
            add_by("spec.l", "n", json!({"n": 1})),
            add_by("spec.l", "n", json!({"n": 2})),
            true,
        ),
        (
            add_by("spec.l", "n", json!({"n": 1})),
            add_by("spec.l", "m", json!({"m": 2})),
            false,
        ),
    ] {
        let (_, outcomes) = wire(&object, A, &[first.clone(), second.clone()]);
        assert_eq!(outcomes[0], Outcome::Done);
        let invalid = matches!(&outcomes[1], Outcome::Invalid(message) if message.contains("two changes of this link"));
        assert_eq!(invalid, !fine, "{first:?} {second:?} {outcomes:?}");
    }
}

#[test]
fn the_path_must_fit_the_consumer() {
    let object = consumer(&json!({"spec": {"text": "x", "list": [{"a": 1}], "map": {}}}));
    for (change, part) in [
        (
            set("spec.text.x", json!(1)),
            "spec.text: expected an object, seen a string",
        ),
        (
            set("spec.list.0.a", json!(2)),
            "spec.list: expected an object, seen a list",
        ),
        (
            add("spec.text", json!("a")),
            "spec.text: expected a list, seen a string",
        ),
        (add("spec.map", json!("a")), "spec.map: expected a list, seen an object"),
    ] {
        let (same, outcomes) = wire(&object, A, std::slice::from_ref(&change));
        assert_eq!(same, object);
        assert!(conflict(&outcomes).contains(part), "{outcomes:?}");
        let (other, outcomes) = wire(&object, A, &[change, set("spec.fine", json!(1))]);
        assert_eq!((&other["spec"]["fine"], &outcomes[1]), (&json!(1), &Outcome::Done));
    }
}

#[test]
fn changes_are_read_as_profiles_write_them() {
    let text = r"
- addToList: {path: spec.names, value: a}
- addToList: {path: spec.items, key: s3ProfileName, value: {s3ProfileName: a}}
- setField: {path: spec.mode, value: x, onConflict: Adopt}
- annotate: {key: example.com/hash, value: h, podTemplate: true}
";
    let changes: Vec<Change> = serde_saphyr::from_str(text).unwrap();
    let expected = [
        add("spec.names", json!("a")),
        add_by("spec.items", "s3ProfileName", json!({"s3ProfileName": "a"})),
        adopt("spec.mode", json!("x")),
        annotate("example.com/hash", "h", true),
    ];
    assert!(changes == expected, "{changes:?}");
    assert!(serde_saphyr::from_str::<Change>("setField: {path: a, value: 1, onconflict: Adopt}").is_err());
}
