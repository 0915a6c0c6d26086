//! What protects others and secrets: tests in patches, the record, refusals.
use super::*;

#[test]
fn a_patch_from_an_old_object_is_refused() {
    let wanted = [
        add("spec.names", json!("ours")),
        add_by("spec.items", "n", json!({"n": "x"})),
        adopt("spec.mode", json!("ours")),
        set("spec.fresh.x", json!("ours")),
    ];
    let before = consumer(&json!({"spec": {"names": ["a"], "items": [{"n": "y"}], "mode": "theirs", "rest": 1}}));
    let after = wired(&before, A, &wanted);
    let (doing, undoing) = (
        plan(&before, A, &wanted).unwrap().patch.unwrap(),
        undo(&after, A).unwrap().patch.unwrap(),
    );
    for (pointer, value) in [
        ("/metadata/uid", json!("another object")),
        ("/spec/names", json!(["a", "ours", "b"])),
        ("/spec/items", json!([])),
        ("/spec/mode", json!("changed")),
        ("/spec/fresh", json!({"y": 1})),
        ("/metadata/annotations", json!({WIRED_ANNOTATION: "{\"links\":{}}"})),
    ] {
        for (object, patch) in [(&before, &doing), (&after, &undoing)] {
            assert!(apply(object, patch).is_ok());
            let mut changed = object.clone();
            let (holder, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(holder).unwrap()[name] = value.clone();
            assert!(apply(&changed, patch).is_err(), "{pointer}");
        }
    }
    // Also where nothing has to be done: the decision was made there.
    let gone = {
        let mut object = wired(
            &consumer(&json!({"spec": {"names": []}})),
            A,
            &[add("spec.names", json!("ours"))],
        );
        object["spec"]["names"] = json!([]);
        object
    };
    let forgetting = undo(&gone, A).unwrap().patch.unwrap();
    let again = wired(&gone, A, &[add("spec.names", json!("ours"))]);
    assert!(apply(&gone, &forgetting).is_ok() && apply(&again, &forgetting).is_err());
    for (object, patch) in [(&before, &doing), (&after, &undoing)] {
        let mut changed = object.clone();
        changed["spec"]["rest"] = json!(2);
        changed["status"] = json!({"seen": true});
        assert!(
            apply(&changed, patch).is_ok(),
            "what has nothing to do with it may change"
        );
    }
}

#[test]
fn texts_that_cannot_be_tested_are_guarded_by_the_resource_version() {
    let mut before = consumer(&json!({"data": {"url": "https://a/?x=1&y=2", "key<>": "v"}, "spec": {"ratio": 0.5}}));
    before["metadata"]["resourceVersion"] = json!("7");
    let wanted = [
        adopt("data.url", json!("https://b/?x=1&y=<2>")),
        adopt("data[\"key<>\"]", json!("w")),
        adopt("spec.ratio", json!(0.75)),
    ];
    let object = wired(&before, A, &wanted);
    assert!(!record(&object).contains(['<', '>', '&']), "{}", record(&object));
    assert_eq!(bare(undone(&object, A)), bare(before.clone()));
    let patch = plan(&before, A, &wanted).unwrap().patch.unwrap();
    before["metadata"]["resourceVersion"] = json!("8");
    assert!(apply(&before, &patch).is_err());
}

#[test]
fn defaults_of_the_api_server_are_no_change() {
    let before = consumer(&json!({"spec": {}}));
    let wanted = [
        set("spec.tls", json!({"ports": [{"name": "a"}], "off": []})),
        add_by("spec.items", "n", json!({"n": 1.0})),
    ];
    let mut object = wired(&before, A, &wanted);
    object["spec"]["tls"]["ports"][0]["port"] = json!(443);
    object["spec"]["tls"]["mode"] = json!("Strict");
    object["spec"]["items"][0] = json!({"n": 1, "weight": 5});
    assert_eq!(plan(&object, A, &wanted).unwrap().patch, None);
    assert_eq!(
        bare(undone(&object, A)),
        consumer(&json!({"spec": {"tls": {"mode": "Strict"}}}))
    );
}

#[test]
fn neither_record_nor_debug_nor_messages_show_a_value() {
    let before = consumer(&json!({"spec": {"mode": "theirs"}}));
    let wanted = [
        add("spec.names", json!("s3cr3t")),
        add_by("spec.items", "n", json!({"n": "s3cr3t", "x": {"y": "s3cr3t"}})),
        set("spec.fresh", json!({"x": ["s3cr3t"]})),
        set("spec.mode", json!("s3cr3t")),
        annotate("a", "s3cr3t", false),
    ];
    let plan = plan(&before, A, &wanted).unwrap();
    let after = apply(&before, plan.patch.as_ref().unwrap()).unwrap();
    assert!(after.to_string().matches("s3cr3t").count() == 5 && !record(&after).is_empty());
    let shown = format!("{wanted:?} {plan:?} {}", record(&after));
    assert!(!shown.contains("s3cr3t") && !shown.contains("theirs"), "{shown}");
}

#[test]
fn a_record_that_cannot_be_read_stops_everything() {
    let mut object = consumer(&json!({}));
    object["metadata"]["annotations"] = json!({WIRED_ANNOTATION: "{}"});
    let error = undo(&object, A).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("CephBlockPool rook-ceph/pool: expected the record"),
        "{error}"
    );
    assert_eq!(plan(&object, A, &[set("spec.x", json!(1))]), Err(error));
}

#[test]
fn a_secret_is_delivered_not_wired() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {}});
    let error = plan(&secret, A, &[set("data.x", json!("eA=="))]).unwrap_err();
    assert!(
        error.to_string().starts_with("Secret s: a Secret cannot be wired"),
        "{error}"
    );
    assert_eq!(undo(&secret, A).map(|plan| plan.patch), Ok(None));
}
