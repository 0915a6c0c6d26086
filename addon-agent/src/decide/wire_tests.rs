//! The table of what consumers are told.
use exchange::content::Content;
use json_patch::{PatchOperation, patch};
use peering_api::{
    names,
    peering::{FormerConsumer, ObjectTemplate},
};
use serde_json::{Value as Json, from_value, json};

use super::*;
use crate::{
    decide::fixtures::{content, link},
    spoke::{Observed, observed::Body},
};

const POOL: &str = "spec.mirroring.peers.secretNames";

fn pool() -> ObjectRef {
    ObjectRef {
        api_version: "ceph.rook.io/v1".into(),
        ..ObjectRef::core("CephBlockPool", "ns", "pool")
    }
}

fn linked(wire: Json) -> PeerLinkSpec {
    let mut spec = link("a").spec;
    spec.wire = from_value(wire).unwrap();
    spec
}

/// A link that adds its target to a list.
fn listed() -> PeerLinkSpec {
    linked(json!([{"addToList": {"object": pool(), "path": POOL, "value": "${target.name}"}}]))
}

fn held(link: &PeerLinkSpec) -> Held {
    let Content { data, .. } = content("token", "v");
    Held {
        owner: link.id.clone(),
        payload: data,
        certificate_key: None,
        hash: "the-hash".into(),
        bundle: None,
    }
}

fn present(body: Json) -> Seen {
    let meta = |name: &str| from_value(body["metadata"][name].clone()).unwrap_or_default();
    Seen::Present(Observed {
        labels: meta("labels"),
        annotations: meta("annotations"),
        body: Some(Body(body)),
        ..Observed::default()
    })
}

fn seen_pool(peers: &Json) -> Json {
    json!({
        "apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool",
        "metadata": {"namespace": "ns", "name": "pool", "uid": "u", "resourceVersion": "7"},
        "spec": {"mirroring": {"enabled": true, "peers": {"secretNames": peers}}},
    })
}

#[allow(clippy::needless_pass_by_value)] // Tables read better so.
fn run(link: &PeerLinkSpec, seen: Seen) -> Vec<Step> {
    steps(link, &held(link), &BTreeSet::new(), &|_| seen.clone())
}

/// The consumer after a step, as an API server would have it.
fn after(step: &Step, mut object: Json) -> Json {
    let Write::Patch(changes) = &step.write else {
        panic!("{step:?}")
    };
    // The API server's library takes a test for null as true when the path is missing; json-patch does not.
    let absent = |operation: &PatchOperation| matches!(operation, PatchOperation::Test(test) if test.value.is_null());
    let changes: Vec<_> = changes.iter().filter(|operation| !absent(operation)).cloned().collect();
    patch(&mut object, &changes).unwrap();
    object
}

fn told(link: &PeerLinkSpec, steps: &[Step]) -> (Option<bool>, String) {
    match verdict(link, steps) {
        Said::This(said) => (said.status, said.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_is_added_beside_others_kept_and_taken_back_alone() {
    let link = listed();
    let foreign = seen_pool(&json!(["theirs"]));
    let wired = run(&link, present(foreign.clone()));
    let object = after(&wired[0], foreign.clone());
    assert_eq!(
        object["spec"]["mirroring"]["peers"]["secretNames"],
        json!(["theirs", "t"])
    );
    assert_eq!(told(&link, &wired), (Some(true), "Wired".into()));
    assert_eq!(holding(&wired, &[]), [pool()]);
    let again = run(&link, present(object.clone()));
    assert_eq!((&again[0].write, holding(&again, &[])), (&Write::Nothing, vec![pool()]));
    let undone = undo(&normal(&pool()), &link.id, present(object.clone()));
    assert_eq!(after(&undone, object.clone()), foreign);
    assert!(holding(std::slice::from_ref(&undone), &[pool()]).is_empty());
    assert_eq!(obstacle(&[undone]), None);
    let others = undo(&normal(&pool()), "another", present(object));
    assert_eq!(others.write, Write::Nothing);
}

#[test]
fn all_entries_of_one_object_make_one_patch() {
    let link = linked(json!([
        {"setField": {"object": pool(), "path": "spec.token", "value": "${payload.token}"}},
        {"annotate": {"object": pool(), "key": "example.io/hash"}},
        {"annotate": {"object": pool(), "key": "example.io/from", "value": "${source.cluster}"}},
    ]));
    let object = seen_pool(&json!([]));
    let steps = run(&link, present(object.clone()));
    assert_eq!(steps.len(), 1);
    let object = after(&steps[0], object);
    assert_eq!(object["spec"]["token"], json!("dg=="));
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(
        (&annotations["example.io/hash"], &annotations["example.io/from"]),
        (&json!("the-hash"), &json!("east"))
    );
}

#[test]
fn what_stands_in_the_way_is_told() {
    let link = listed();
    let text = |wire: Json| linked(json!([wire]));
    let failing = text(json!({"addToList": {"object": pool(), "path": POOL, "value": "${payload.gone}"}}));
    let through = text(json!({"setField": {"object": pool(), "path": "spec.mirroring.enabled.x", "value": 1}}));
    let taken = text(json!({"setField": {"object": pool(), "path": "spec.mirroring.enabled", "value": false}}));
    let secret =
        text(json!({"setField": {"object": ObjectRef::core("Secret", "ns", "s"), "path": "data.x", "value": "eA=="}}));
    let object = || present(seen_pool(&json!([])));
    let mut broken = seen_pool(&json!([]));
    broken["metadata"]["annotations"] = json!({names::WIRED_ANNOTATION: "?"});
    let same_object = from_value(json!({"setField": {"object": pool(), "path": "spec.x", "value": "1"}})).unwrap();
    let mut both = failing.clone();
    both.wire.push(same_object);
    for (case, link, seen, reason) in [
        ("absent", &link, Seen::Absent, "ConsumerMissing"),
        ("unknown kind", &link, Seen::Unknown, "ConsumerMissing"),
        ("denied", &link, Seen::Denied, "PatchRejected"),
        ("text", &failing, object(), "TemplateFailed"),
        ("text beside another change", &both, object(), "TemplateFailed"),
        ("path", &through, object(), "WireConflict"),
        ("foreign value", &taken, object(), "WireConflict"),
        ("secret", &secret, present(json!({"metadata": {}})), "TemplateFailed"),
        ("record", &link, present(broken), "WireConflict"),
    ] {
        let steps = run(link, seen);
        assert_eq!(told(link, &steps), (Some(false), reason.into()), "{case}");
        assert!(steps.iter().all(|step| step.write == Write::Nothing), "{case}");
    }
    let steps = run(&link, Seen::Pending);
    assert_eq!(verdict(&link, &steps), Said::Nothing);
    assert_eq!(obstacle(&steps), Some(Obstacle::Pending));
}

#[test]
fn the_first_of_several_problems_is_told_and_the_others_counted() {
    let mut link = listed();
    let more = json!({"setField": {"object": ObjectRef::core("Service", "ns", "s"), "path": "spec.x", "value": "1"}});
    link.wire.push(from_value(more).unwrap());
    let Said::This(said) = verdict(&link, &run(&link, Seen::Absent)) else {
        panic!()
    };
    assert!(
        said.message.contains("CephBlockPool ns/pool") && said.message.ends_with("(and 1 more)"),
        "{}",
        said.message
    );
}

#[test]
fn an_object_is_applied_as_ours_and_deleted() {
    let template = json!({
        "apiVersion": "example.io/v1", "kind": "Client",
        "metadata": {"namespace": "ns", "name": "c"}, "spec": {"secret": "${target.name}"},
    });
    let mut link = linked(json!([{"apply": ObjectTemplate { template, ..ObjectTemplate::default() }}]));
    let made = run(&link, Seen::Absent);
    let Write::Act(Action::Create(Wanted::Object(body))) = &made[0].write else {
        panic!("{made:?}")
    };
    assert_eq!(
        (&body.0["spec"], &body.0["metadata"]["labels"][names::LINK_LABEL]),
        (&json!({"secret": "t"}), &json!(link.id))
    );
    let place = made[0].place.clone();
    let stands = present(body.0.clone());
    let again = run(&link, stands.clone());
    assert_eq!(
        (&again[0].write, told(&link, &again)),
        (&Write::Nothing, (Some(true), "Wired".into()))
    );
    assert_eq!(holding(&again, &[]), [place.bare()]);
    let mut edited = body.0.clone();
    edited["spec"]["secret"] = json!("x");
    assert!(matches!(
        run(&link, present(edited))[0].write,
        Write::Act(Action::Apply(_))
    ));
    let foreign =
        json!({"apiVersion": "example.io/v1", "kind": "Client", "metadata": {"namespace": "ns", "name": "c"}});
    let conflict = run(&link, present(foreign.clone()));
    assert_eq!(
        (&conflict[0].write, told(&link, &conflict).1.as_str()),
        (&Write::Nothing, "WireConflict")
    );
    assert_eq!(undo(&place, &link.id, stands).write, Write::Act(Action::Delete));
    assert_eq!(undo(&place, &link.id, present(foreign)).write, Write::Nothing);
    link.wire[0].apply.as_mut().unwrap().template["spec"]["secret"] = json!("${nothing}");
    assert_eq!(told(&link, &run(&link, Seen::Absent)).1, "TemplateFailed");
}

#[test]
fn what_is_no_longer_named_is_taken_back() {
    let link = listed();
    let object = after(&run(&link, present(seen_pool(&json!([]))))[0], seen_pool(&json!([])));
    let mut now = linked(json!([]));
    now.unwire = vec![FormerConsumer {
        object: pool(),
        applied: false,
    }];
    let former = BTreeSet::from([normal(&pool())]);
    let run = |link: &PeerLinkSpec, seen: Seen| steps(link, &held(link), &former, &|_| seen.clone());
    assert_eq!(places(&now), former, "it is watched for that");
    let steps = run(&now, present(object.clone()));
    assert_eq!(after(&steps[0], object)["metadata"].get("annotations"), None);
    assert_eq!(verdict(&now, &steps), Said::Gone);
    let refused = steps[0].clone().refused("no".into());
    assert_eq!(
        told(&now, std::slice::from_ref(&refused)),
        (Some(false), "PatchRejected".into())
    );
    assert_eq!(holding(&[refused], &[pool()]), [pool()], "it may still be there");
    assert_eq!(
        run(&now, Seen::Unknown)[0].problem,
        None,
        "without its kind there is no object"
    );
    assert_eq!(
        run(&listed(), present(seen_pool(&json!([])))).len(),
        1,
        "what is named again is not taken back"
    );
}

#[test]
fn the_place_of_before_is_kept_for_who_may_refer_to_it() {
    let link = listed();
    for (seen, may) in [
        (present(seen_pool(&json!([]))), false),
        (Seen::Absent, false),
        (Seen::Denied, true),
        (Seen::Pending, true),
    ] {
        assert_eq!(may_refer_to_the_old(&run(&link, seen.clone())), may, "{seen:?}");
    }
}

#[test]
fn before_the_first_delivery_nothing_is_wired() {
    let link = listed();
    assert_eq!(undelivered(&link, true), Said::Nothing);
    assert_eq!(undelivered(&linked(json!([])), false), Said::Nothing);
    let Said::This(said) = undelivered(&link, false) else {
        panic!()
    };
    assert_eq!((said.status, said.reason.as_str()), (None, "WaitingForDelivery"));
}

#[test]
fn a_leaving_link_undoes_all_that_it_named() {
    let link = listed();
    let object = after(&run(&link, present(seen_pool(&json!([]))))[0], seen_pool(&json!([])));
    let steps = undo_all(&[&link], &link.id, &|_| present(object.clone()));
    assert!(matches!(steps[0].write, Write::Patch(_)));
    assert_eq!(obstacle(&steps), None);
    let denied = undo_all(&[&link], &link.id, &|_| Seen::Denied);
    assert!(matches!(obstacle(&denied), Some(Obstacle::Refused(_))));
}

#[test]
fn each_item_of_a_list_is_added_and_taken_back_when_it_is_not_there_any_more() {
    let with = |value: &str| {
        let mut link = linked(
            json!([{"addToList": {"object": pool(), "path": "spec.classes", "each": true, "key": "name",
            "value": format!("${{{value}.map(name, {{'name': name}})}}")}}]),
        );
        link.parameters = [("classes".to_owned(), "[\"a\",\"b\"]".to_owned())].into();
        link
    };
    let mut foreign = seen_pool(&json!([]));
    foreign["spec"]["classes"] = json!([{"name": "theirs"}]);
    let link = with("json.decode(params.classes)");
    let object = after(&run(&link, present(foreign.clone()))[0], foreign.clone());
    assert_eq!(
        object["spec"]["classes"],
        json!([{"name": "theirs"}, {"name": "a"}, {"name": "b"}])
    );
    assert_eq!(run(&link, present(object.clone()))[0].write, Write::Nothing);
    let fewer = run(&with("['b']"), present(object.clone()));
    let object = after(&fewer[0], object);
    assert_eq!(object["spec"]["classes"], json!([{"name": "theirs"}, {"name": "b"}]));
    let none = run(&with("json.decode('[]')"), present(object.clone()));
    assert_eq!(after(&none[0], object)["spec"]["classes"], json!([{"name": "theirs"}]));
    let text = linked(json!([{"addToList": {"object": pool(), "path": "spec.classes", "each": true, "value": "x"}}]));
    let wrong = run(&text, present(foreign));
    assert_eq!(told(&text, &wrong), (Some(false), "TemplateFailed".into()));
}
