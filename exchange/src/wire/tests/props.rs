//! Properties of wiring, on random consumers, wishes and interleavings.
use proptest::prelude::*;

use super::*;

const LINKS: [&str; 3] = [A, B, "l3"];
const FIELDS: [&str; 5] = [
    "spec.mode",
    "spec.deep.x",
    "spec.deep.er.mode",
    "data[\"a.b\"]",
    "spec.whole",
];

/// A consumer in which everything may be there or not, also what links want.
fn consumers() -> impl Strategy<Value = Value> {
    let names = || prop::sample::subsequence(vec!["f0", "n0", "n1"], 0..=3);
    let peers = prop_oneof![
        Just(None),
        Just(Some(json!({}))),
        Just(Some(json!({"peers": {}, "enabled": true}))),
        names().prop_map(|names| Some(json!({"peers": {"secretNames": names}}))),
    ];
    let items = prop::sample::subsequence(
        vec![
            json!({"name": "p0", "v": "f"}),
            json!({"name": "p1", "v": "1", "more": "f"}),
            json!({"name": "f"}),
        ],
        0..=3,
    );
    let deep = prop::sample::select(vec![
        json!({}),
        json!({"er": {}}),
        json!({"x": "1"}),
        json!({"x": "f", "er": {"mode": "f", "more": {}}}),
    ]);
    let text = || prop::option::of(prop::sample::select(vec!["f", "1", "f&<>"]));
    let metadata = prop_oneof![
        Just(None),
        text().prop_map(|team| team.map(|team| json!({"team": team})))
    ];
    (
        peers,
        prop::option::of(items),
        prop::option::of(deep),
        text(),
        text(),
        metadata,
        any::<bool>(),
    )
        .prop_map(|(mirroring, items, deep, mode, data, annotations, whole)| {
            let mut object = consumer(&json!({}));
            object["metadata"]["resourceVersion"] = json!("1");
            let places = [
                ("/spec/mirroring", mirroring),
                ("/spec/items", items.map(Value::from)),
                ("/spec/deep", deep),
                ("/spec/mode", mode.map(Value::from)),
                ("/spec/whole", whole.then(|| json!(["f"]))),
                ("/data/a.b", data.map(Value::from)),
                ("/metadata/annotations", annotations),
            ];
            for (pointer, value) in places {
                if let Some(value) = value {
                    put(&mut object, pointer, value);
                }
            }
            object
        })
}

/// Sets a place of a test object, made if absent.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for name in pointer.split('/').skip(1) {
        place = &mut place[name];
    }
    *place = value;
}

fn push(object: &mut Value, pointer: &str, value: Value) {
    let mut list = object.pointer(pointer).cloned().unwrap_or_else(|| json!([]));
    list.as_array_mut().unwrap().push(value);
    put(object, pointer, list);
}

fn pointer(path: &str) -> String {
    path.parse::<Path>().unwrap().pointer().to_string()
}

fn changes() -> impl Strategy<Value = Change> {
    let value = || prop::sample::select(vec!["1", "2", "<&>"]);
    prop_oneof![
        (0..3).prop_map(|n| add(NAMES, json!(format!("n{n}")))),
        (0..3, value(), any::<bool>()).prop_map(|(n, value, more)| {
            let mut item = json!({"name": format!("p{n}"), "v": value});
            if more {
                item["nested"] = json!({"x": [value]});
            }
            add_by("spec.items", "name", item)
        }),
        (0..4usize, value(), any::<bool>()).prop_map(|(field, value, take)| {
            let change = if take { adopt } else { set };
            change(FIELDS[field], json!(value))
        }),
        (value(), any::<bool>()).prop_map(|(value, take)| {
            let change = if take { adopt } else { set };
            change("spec.deep", json!({"x": value, "er": {"mode": value}}))
        }),
        (value(), any::<bool>()).prop_map(|(value, take)| {
            let change = if take { adopt } else { set };
            change("spec.whole", json!([{"w": value}]))
        }),
        value().prop_map(|value| annotate("team", value, false)),
    ]
}

fn wishes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(changes(), 0..5)
}

/// Whether the consumer has what a change wants.
fn has(object: &Value, change: &Change) -> bool {
    let at = |path: &str| object.pointer(&pointer(path)).cloned().unwrap_or_default();
    match change {
        Change::AddToList { path, value, .. } => {
            let list = at(path);
            let mut items = list.as_array().into_iter().flatten();
            items.any(|item| peering_api::compare::covers(item, value))
        }
        Change::SetField { path, value, .. } => peering_api::compare::covers(&at(path), value),
        Change::Annotate { key, value, .. } => object["metadata"]["annotations"][key] == **value,
    }
}

/// What happens to a consumer.
#[derive(Clone, Debug)]
enum Action {
    Wire(usize, Vec<Change>),
    /// A patch is computed now and sent later.
    Draft(usize, Vec<Change>),
    Send,
    /// Somebody else adds a name, an item or a field of their own.
    AddName,
    AddItem,
    AddBeside(&'static str),
    /// Somebody else sets or removes a field that links may have set.
    SetField(usize),
    RemoveField(usize),
    /// Somebody else removes what a link has added.
    RemoveOurs(usize),
    /// Somebody else removes their own name.
    RemoveTheirs,
}

fn actions() -> impl Strategy<Value = Action> {
    let link = || 0..LINKS.len();
    prop_oneof![
        4 => (link(), wishes()).prop_map(|(link, wanted)| Action::Wire(link, wanted)),
        2 => link().prop_map(|link| Action::Wire(link, vec![])),
        2 => (link(), wishes()).prop_map(|(link, wanted)| Action::Draft(link, wanted)),
        2 => Just(Action::Send),
        1 => Just(Action::AddName),
        1 => Just(Action::AddItem),
        1 => prop::sample::select(vec!["/spec/mirroring/enabled", "/spec/deep/er/beside", "/spec/deep/beside"])
            .prop_map(Action::AddBeside),
        1 => (0..FIELDS.len()).prop_map(Action::SetField),
        1 => (0..FIELDS.len()).prop_map(Action::RemoveField),
        1 => (0..3usize).prop_map(Action::RemoveOurs),
        1 => Just(Action::RemoveTheirs),
    ]
}

/// What somebody else does, to the consumer and to the one that no link has ever touched.
fn edit(action: &Action, step: usize, wired: &mut Value, alone: &mut Value) {
    let own = json!(format!("g{step}"));
    let names = pointer(NAMES);
    let remove = |object: &mut Value, name: &str| {
        if let Some(list) = object.pointer_mut(&names).and_then(Value::as_array_mut) {
            list.retain(|item| item != name);
        }
    };
    let has_name = |object: &Value, name: &str| {
        let list = object.pointer(&names).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|item| item == name))
    };
    let here = alone.clone();
    for object in [wired, alone] {
        match action {
            Action::AddName => push(object, &names, own.clone()),
            Action::AddItem => push(object, "/spec/items", json!({"name": own, "v": "f"})),
            Action::AddBeside(pointer) => put(object, pointer, own.clone()),
            Action::SetField(field) if FIELDS[*field] == "spec.whole" => put(object, "/spec/whole", json!([own])),
            Action::SetField(field) => put(object, &pointer(FIELDS[*field]), own.clone()),
            Action::RemoveField(field) => {
                let pointer = pointer(FIELDS[*field]);
                let (holder, name) = pointer.rsplit_once('/').unwrap();
                if let Some(holder) = object.pointer_mut(holder).and_then(Value::as_object_mut) {
                    holder.remove(name);
                }
            }
            Action::RemoveOurs(n) if !has_name(&here, &format!("n{n}")) => remove(object, &format!("n{n}")),
            Action::RemoveTheirs => remove(object, "f0"),
            _ => {}
        }
    }
}

/// Without empty objects and lists. When somebody else empties a container that was made for us, nobody can tell whether
/// they would miss it.
fn dense(value: Value) -> Value {
    let full = |value: &Value| *value != json!({}) && *value != json!([]);
    match value {
        Value::Object(map) => {
            let fields = map.into_iter().map(|(name, value)| (name, dense(value)));
            fields
                .filter(|(_, value)| full(value))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.into_iter().map(dense).filter(full).collect(),
        scalar => scalar,
    }
}

proptest! {
    #[test]
    fn undo_gives_back_the_original(before in consumers(), first in wishes(), second in wishes()) {
        let (object, _) = wire(&before, A, &first);
        prop_assert_eq!(bare(undone(&object, A)), bare(before.clone()));
        let (object, _) = wire(&object, A, &second);
        let object = undone(&object, A);
        prop_assert_eq!(record(&object), "");
        prop_assert_eq!(bare(object), bare(before));
    }

    #[test]
    fn a_second_plan_has_nothing_to_do(before in consumers(), first in wishes(), other in wishes(), second in wishes()) {
        let (object, _) = wire(&before, A, &first);
        let (object, _) = wire(&object, B, &other);
        let (object, outcomes) = wire(&object, A, &second);
        for (change, outcome) in second.iter().zip(&outcomes) {
            prop_assert!(!outcome.is_good() || has(&object, change), "{:?} {}", change, object);
        }
        let again = plan(&object, A, &second).unwrap();
        prop_assert_eq!(again.patch, None);
        for (once, twice) in outcomes.iter().zip(&again.outcomes) {
            prop_assert_eq!(once.is_good(), twice == &Outcome::AlreadyThere, "{:?} {:?}", once, twice);
        }
    }

    #[test]
    fn others_never_lose_anything(before in consumers(), actions in prop::collection::vec(actions(), 1..25)) {
        let (mut object, mut alone, mut draft) = (before.clone(), before, None);
        for (step, action) in actions.iter().enumerate() {
            match action {
                Action::Wire(link, wanted) => object = wire(&object, LINKS[*link], wanted).0,
                Action::Draft(link, wanted) => {
                    let patch = plan(&object, LINKS[*link], wanted).unwrap().patch;
                    draft = patch.map(|patch| (patch, *link, wanted));
                }
                Action::Send => {
                    if let Some((patch, link, wanted)) = draft.take()
                        && let Ok(sent) = apply(&object, &patch)
                    {
                        let fresh = wire(&object, LINKS[link], wanted).0;
                        prop_assert_eq!(dense(bare(sent.clone())), dense(bare(fresh)), "refused, or as good as new");
                        object = sent;
                    }
                }
                action => {
                    edit(action, step, &mut object, &mut alone);
                    touch(&mut object);
                }
            }
        }
        for link in LINKS {
            object = undone(&object, link);
        }
        prop_assert_eq!(record(&object), "");
        prop_assert_eq!(dense(bare(object)), dense(bare(alone)));
    }
}
