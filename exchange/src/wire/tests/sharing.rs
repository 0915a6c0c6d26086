//! Several links, and other writers, at one consumer.
use super::*;

#[test]
fn links_share_what_they_both_want() {
    let before = consumer(&json!({"spec": {"mode": "theirs"}}));
    let wanted = [
        add(NAMES, json!("shared")),
        add_by("spec.items", "n", json!({"n": "x"})),
        adopt("spec.mode", json!("ours")),
    ];
    let both = wired(&wired(&before, A, &wanted), B, &wanted);
    assert_eq!(both["spec"]["mirroring"]["peers"]["secretNames"], json!(["shared"]));
    for (first, last) in [(A, B), (B, A)] {
        let one = undone(&both, first);
        assert_eq!(
            bare(one.clone()),
            bare(both.clone()),
            "it stays until the last has gone"
        );
        assert_eq!(undone(&one, last), before);
    }
    let mut more = wired(
        &both,
        A,
        &[add(NAMES, json!("only a")), wanted[1].clone(), wanted[2].clone()],
    );
    assert_eq!(
        more["spec"]["mirroring"]["peers"]["secretNames"],
        json!(["shared", "only a"])
    );
    more = undone(&more, B);
    assert_eq!(more["spec"]["mirroring"]["peers"]["secretNames"], json!(["only a"]));
    assert_eq!(undone(&more, A), before);
}

#[test]
fn links_that_want_different_things_do_not_fight() {
    let before = consumer(&json!({"spec": {"names": []}}));
    let object = wired(
        &before,
        A,
        &[
            set("spec.mode", json!("a")),
            set("spec.deep.x", json!(1)),
            add("spec.names", json!("n")),
        ],
    );
    for (change, place) in [
        (adopt("spec.mode", json!("b")), "spec.mode"),
        (adopt("spec.deep", json!("b")), "spec.deep.x"),
        (adopt("spec.deep.x.y", json!("b")), "spec.deep.x"),
        (adopt("spec.names", json!(["b"])), "spec.names"),
    ] {
        let (same, outcomes) = wire(&object, B, &[change]);
        assert_eq!(same, object);
        let message = conflict(&outcomes);
        assert!(message.contains(place), "{message}");
        assert!(
            message.contains(A) || message.contains("expected an object"),
            "{message}"
        );
    }
}

#[test]
fn a_shared_value_can_be_rotated() {
    let before = consumer(&json!({"spec": {"mode": "theirs"}}));
    let (old, new) = ([adopt("spec.mode", json!("v1"))], [adopt("spec.mode", json!("v2"))]);
    let both = wired(&wired(&before, A, &old), B, &old);
    let (first, outcomes) = wire(&both, A, &new);
    assert!(conflict(&outcomes).contains(B), "B still holds the old value");
    let second = wired(&first, B, &new);
    let third = wired(&second, A, &new);
    assert_eq!(third["spec"]["mode"], "v2");
    assert_eq!(undone(&undone(&third, A), B), before);
}

#[test]
fn what_somebody_else_has_changed_is_theirs() {
    let before = consumer(&json!({"spec": {}}));
    let wanted = [
        set("spec.mode", json!("ours")),
        add("spec.names", json!("ours")),
        add_by("spec.items", "n", json!({"n": "x", "v": 1})),
    ];
    let mut object = wired(&before, A, &wanted);
    object["spec"]["mode"] = json!("theirs");
    object["spec"]["names"] = json!(["theirs"]);
    object["spec"]["items"][0]["v"] = json!(2);
    let plan = undo(&object, A).unwrap();
    let after = apply(&object, &plan.patch.unwrap()).unwrap();
    assert_eq!(
        after,
        consumer(&json!({"spec": object["spec"]})),
        "nothing but the record is removed"
    );
    assert_eq!(plan.left.len(), 2, "{:?}", plan.left);
    let (kept, outcomes) = wire(&object, A, &wanted);
    assert!(
        matches!(
            &outcomes[..],
            [Outcome::Conflict(_), Outcome::Done, Outcome::Conflict(_)]
        ),
        "what is removed is set again, what is changed is not: {outcomes:?}"
    );
    // Their value, even if it becomes ours by chance, is not removed any more.
    let mut back = kept;
    back["spec"]["mode"] = json!("ours");
    assert_eq!(undone(&back, A)["spec"]["mode"], "ours");
}

#[test]
fn a_lost_field_does_not_come_back_by_chance() {
    let before = consumer(&json!({}));
    let mut object = wired(&before, B, &[set("spec.mode", json!("same"))]);
    object["spec"]["mode"] = json!("theirs");
    let adopted = wired(&object, A, &[adopt("spec.mode", json!("same"))]);
    for (first, last) in [(A, B), (B, A)] {
        assert_eq!(undone(&undone(&adopted, first), last)["spec"]["mode"], "theirs");
    }
}

#[test]
fn a_place_is_recorded_once_though_two_changes_want_it() {
    let object = wired(&consumer(&json!({})), B, &[set("spec.deep.y", json!("b"))]);
    let object = wired(&object, A, &[set("spec.deep.x", json!("old"))]);
    let wanted = [
        set("spec.deep", json!({"x": "new", "y": "a"})),
        set("spec.deep.x", json!("new")),
    ];
    for wanted in [wanted.clone(), [wanted[1].clone(), wanted[0].clone()]] {
        let (after, outcomes) = wire(&object, A, &wanted);
        assert!(outcomes.contains(&Outcome::Done) && !outcomes.iter().all(Outcome::is_good));
        assert_eq!(after["spec"]["deep"], json!({"x": "new", "y": "b"}));
        assert_eq!(plan(&after, A, &wanted).unwrap().patch, None);
        assert_eq!(
            bare(undone(&after, A)),
            consumer(&json!({"spec": {"deep": {"y": "b"}}}))
        );
    }
}

#[test]
fn a_wish_that_is_stated_twice_adopts_once() {
    let wanted = [adopt("spec.mode", json!("ours")), adopt("spec.mode", json!("ours"))];
    let mut object = wired(&consumer(&json!({})), A, &wanted);
    object["spec"]["mode"] = json!("theirs");
    let again = wired(&object, A, &wanted);
    assert_eq!(undone(&again, A)["spec"]["mode"], "theirs");
}

#[test]
fn a_container_is_left_to_the_link_that_uses_it() {
    let mut object = wired(&consumer(&json!({})), A, &[add(NAMES, json!("a"))]);
    *object.pointer_mut("/spec/mirroring/peers/secretNames").unwrap() = json!([]);
    let other = wired(&object, B, &[set("spec.mode", json!("b"))]);
    assert_eq!(other["spec"]["mirroring"], object["spec"]["mirroring"]);
    assert_eq!(bare(undone(&other, A)), consumer(&json!({"spec": {"mode": "b"}})));
}

#[test]
fn the_old_stays_until_the_new_can_be_had() {
    let before = consumer(&json!({"spec": {"mode": "theirs"}}));
    let object = wired(&before, A, &[add("spec.names", json!("old"))]);
    for blocked in [set("spec.mode", json!("ours")), set("spec.", json!(1))] {
        let (after, outcomes) = wire(&object, A, &[add("spec.names", json!("new")), blocked]);
        assert_eq!(outcomes[0], Outcome::Done);
        assert_eq!(after["spec"]["names"], json!(["old", "new"]));
        let free = wired(&after, A, &[add("spec.names", json!("new"))]);
        assert_eq!(free["spec"]["names"], json!(["new"]));
        assert_eq!(undone(&after, A), before);
        assert_eq!(undone(&free, A), before);
    }
    let moved = wired(&object, A, &[set("spec.names", json!(["now a value"]))]);
    assert_eq!(
        moved["spec"]["names"],
        json!(["now a value"]),
        "a place may change its shape"
    );
    assert_eq!(undone(&moved, A), before);
}
