//! The works of an addon as wanted, against those that are there: what to write, what to delete, and what must wait. Pure.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use peering_api::{
    kube::core::{DynamicObject, ObjectMeta},
    ocm::{
        ManagedClusterAddOn, ManifestWork,
        names::condition,
        work::{MAX_MANIFESTS_SIZE, ManifestStatus, ManifestWorkSpec, Workload},
    },
};
use serde_json::Value;

use super::{
    Extras, Part, WorkError, check, described,
    pack::{Id, Item, pack, size},
};
use crate::runtime::conditions::find;

/// The works that are there, by index.
pub type Existing = BTreeMap<usize, Arc<ManifestWork>>;

/// What to do for an addon on a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The works to be there, by index.
    pub wanted: Vec<ManifestWork>,
    /// The works for which nothing is left.
    pub obsolete: Vec<Arc<ManifestWork>>,
    /// Whether some works are in neither list: they lose manifests to others which the cluster has not applied there yet.
    /// Written too early, they would let the work agent delete those objects before it makes them again.
    pub held: bool,
}

/// Plans the works which deploy these manifests.
pub fn plan(
    part: &Part,
    addon: &ManagedClusterAddOn,
    manifests: &[DynamicObject],
    extras: &Extras,
    existing: &Existing,
) -> Result<Plan, WorkError> {
    check(manifests)?;
    let values = manifests
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<Value>, _>>()?;
    let items = values.iter().map(item).collect::<Result<Vec<_>, _>>()?;
    let there: BTreeMap<usize, BTreeSet<Id>> = existing
        .iter()
        .map(|(index, work)| (*index, work.spec.workload.manifests.iter().map(Id::of).collect()))
        .collect();
    let packed = pack(&items, &there);
    let homes: BTreeMap<&Id, usize> = packed
        .iter()
        .flat_map(|(index, work)| work.iter().map(|&position| (&items[position].id, *index)))
        .collect();
    let must_wait = |index: &usize| {
        let moved = there.get(index).into_iter().flatten();
        let mut moved = moved.filter_map(|id| homes.get(id).filter(|home| *home != index).map(|home| (id, home)));
        moved.any(|(id, home)| !existing.get(home).is_some_and(|work| has_applied(work, id)))
    };
    let all: BTreeSet<usize> = packed.keys().chain(existing.keys()).copied().collect();
    let mut plan = Plan::default();
    for index in all {
        if must_wait(&index) {
            plan.held = true;
        } else if let Some(work) = packed.get(&index) {
            let manifests = work.iter().map(|&position| values[position].clone()).collect();
            plan.wanted
                .push(build(part.metadata(addon, part.name(index)), manifests, extras));
        } else {
            plan.obsolete.extend(existing.get(&index).cloned());
        }
    }
    Ok(plan)
}

fn item(manifest: &Value) -> Result<Item, WorkError> {
    let (id, size) = (Id::of(manifest), size(manifest));
    if size > MAX_MANIFESTS_SIZE {
        let manifest = described(&id.kind, &id.namespace, &id.name);
        return Err(WorkError::TooLarge { manifest, size });
    }
    Ok(Item { id, size })
}

pub(super) fn build(metadata: ObjectMeta, manifests: Vec<Value>, extras: &Extras) -> ManifestWork {
    let mut spec = ManifestWorkSpec {
        workload: Workload { manifests },
        ..ManifestWorkSpec::default()
    };
    extras.apply(&mut spec);
    ManifestWork {
        metadata,
        spec,
        status: None,
    }
}

/// Whether the cluster has applied this object from this work as the work is now.
fn has_applied(work: &ManifestWork, id: &Id) -> bool {
    let Some(status) = &work.status else { return false };
    let answered = find(&status.conditions, condition::APPLIED).is_some_and(|applied| {
        applied
            .observed_generation
            .is_none_or(|seen| Some(seen) == work.metadata.generation)
    });
    let applied = |manifest: &ManifestStatus| {
        let meta = &manifest.resource_meta;
        let group = meta.extra.get("group").and_then(Value::as_str).unwrap_or_default();
        (group, &meta.kind, &meta.namespace, &meta.name) == (&id.group, &id.kind, &id.namespace, &id.name)
            && find(&manifest.conditions, condition::APPLIED).is_some_and(|applied| applied.status == "True")
    };
    answered
        && work
            .spec
            .workload
            .manifests
            .iter()
            .any(|manifest| Id::of(manifest) == *id)
        && status.resource_status.manifests.iter().any(applied)
}

#[cfg(test)]
mod tests {
    use peering_api::{
        kube::ResourceExt,
        ocm::{
            names::{ADDON_NAME_LABEL, CONFIG_SPEC_HASH_ANNOTATION},
            work::ManifestConfig,
        },
    };
    use serde_json::json;

    use super::*;

    const KIB: usize = 1024;

    fn part() -> Part {
        Part::managed("hello", "c1")
    }

    fn plan(addon: &ManagedClusterAddOn, manifests: &[DynamicObject], existing: &Existing) -> Result<Plan, WorkError> {
        super::plan(&part(), addon, manifests, &Extras::default(), existing)
    }

    fn addon() -> ManagedClusterAddOn {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1", "uid": "u"}, "spec": {}});
        serde_json::from_value(wire).unwrap()
    }

    fn map(name: &str, size: usize) -> DynamicObject {
        let wire = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"},
            "data": {"a": "x".repeat(size)}});
        serde_json::from_value(wire).unwrap()
    }

    /// The works of a plan as the cluster leaves them: `failing` is what it could not apply.
    fn served(wanted: &[ManifestWork], existing: &Existing, generation: i64, failing: &[&str]) -> Existing {
        let mut works = existing.clone();
        for work in wanted {
            let mut work = work.clone();
            work.metadata.generation = Some(generation);
            let condition = |ok: bool| {
                json!([{"type": "Applied", "status": if ok { "True" } else { "False" }, "reason": "R",
                "message": "", "observedGeneration": generation, "lastTransitionTime": "2026-09-01T10:00:00Z"}])
            };
            let manifests: Vec<_> = contents(&work)
                .iter()
                .map(|name| {
                    json!({"resourceMeta": {"kind": "ConfigMap", "group": "", "namespace": "ns", "name": name},
                        "conditions": condition(!failing.contains(&name.as_str()))})
                })
                .collect();
            let status =
                json!({"conditions": condition(failing.is_empty()), "resourceStatus": {"manifests": manifests}});
            work.status = serde_json::from_value(status).unwrap();
            works.insert(part().index(&work.name_any()).unwrap(), Arc::new(work));
        }
        works
    }

    fn contents(work: &ManifestWork) -> Vec<String> {
        let manifests = work.spec.workload.manifests.iter();
        manifests.map(|manifest| Id::of(manifest).name).collect()
    }

    fn shape(plan: &Plan) -> Vec<(String, Vec<String>)> {
        plan.wanted
            .iter()
            .map(|work| (work.name_any(), contents(work)))
            .collect()
    }

    fn work(index: usize, names: &[&str]) -> (String, Vec<String>) {
        (part().name(index), names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn manifests_keep_their_order_within_a_work() {
        let plan = plan(&addon(), &[map("b", 1), map("a", 1), map("c", 1)], &Existing::new()).unwrap();
        assert_eq!(shape(&plan), [work(0, &["b", "a", "c"])]);
    }

    #[test]
    fn every_work_has_name_label_owner_and_hash_of_the_addon() {
        let mut addon = addon();
        let status = json!({"configReferences": [{"resource": "r", "desiredConfig": {"name": "n", "specHash": "1"}}]});
        addon.status = serde_json::from_value(status).unwrap();
        let plan = plan(&addon, &[map("a", 300 * KIB), map("b", 300 * KIB)], &Existing::new()).unwrap();
        assert_eq!(shape(&plan), [work(0, &["a"]), work(1, &["b"])]);
        for work in &plan.wanted {
            assert_eq!(work.namespace().as_deref(), Some("c1"));
            assert_eq!(work.labels()[ADDON_NAME_LABEL], "hello");
            assert_eq!(work.annotations()[CONFIG_SPEC_HASH_ANNOTATION], r#"{"r//n":"1"}"#);
            assert_eq!(work.owner_references()[0].uid, "u");
        }
    }

    #[test]
    fn a_manifest_that_can_never_fit_is_named() {
        let error = plan(&addon(), &[map("a", 1), map("huge", 500 * KIB)], &Existing::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ConfigMap ns/huge has 512"), "{text}");
    }

    #[test]
    fn works_without_manifests_go() {
        let two = [map("a", 300 * KIB), map("b", 300 * KIB)];
        let first = plan(&addon(), &two, &Existing::new()).unwrap();
        let there = served(&first.wanted, &Existing::new(), 1, &[]);
        let less = plan(&addon(), &two[..1], &there).unwrap();
        assert_eq!(shape(&less), [work(0, &["a"])]);
        assert_eq!((less.obsolete, less.held), (vec![there[&1].clone()], false));
        let none = plan(&addon(), &[], &there).unwrap();
        assert_eq!((none.wanted.len(), none.obsolete.len(), none.held), (0, 2, false));
    }

    /// `a` has grown so that its work cannot hold it any more.
    fn grown() -> ([DynamicObject; 2], Existing) {
        let before = [map("a", 100 * KIB), map("b", 200 * KIB)];
        let first = plan(&addon(), &before, &Existing::new()).unwrap();
        assert_eq!(shape(&first), [work(0, &["a", "b"])]);
        let there = served(&first.wanted, &Existing::new(), 1, &[]);
        ([map("a", 350 * KIB), map("b", 200 * KIB)], there)
    }

    #[test]
    fn a_work_keeps_what_it_loses_until_the_other_has_applied_it() {
        let (after, there) = grown();
        let moving = plan(&addon(), &after, &there).unwrap();
        assert_eq!((shape(&moving), moving.held), (vec![work(1, &["a"])], true));

        // Written, but not applied yet; applied in an older generation; refused by the cluster.
        let mut written = there.clone();
        written.insert(1, Arc::new(moving.wanted[0].clone()));
        assert_eq!(plan(&addon(), &after, &written).unwrap(), moving);
        let mut older = served(&moving.wanted, &there, 1, &[]);
        Arc::make_mut(older.get_mut(&1).unwrap()).metadata.generation = Some(2);
        assert_eq!(plan(&addon(), &after, &older).unwrap(), moving);
        let refused = served(&moving.wanted, &there, 1, &["a"]);
        assert_eq!(plan(&addon(), &after, &refused).unwrap(), moving);

        let applied = served(&moving.wanted, &there, 1, &[]);
        let moved = plan(&addon(), &after, &applied).unwrap();
        assert_eq!(
            (shape(&moved), moved.held),
            (vec![work(0, &["b"]), work(1, &["a"])], false)
        );
        let there = served(&moved.wanted, &applied, 2, &[]);
        assert_eq!(plan(&addon(), &after, &there).unwrap(), moved);
    }

    #[test]
    fn a_refusal_of_another_manifest_does_not_hold_it() {
        let (after, there) = grown();
        let after = [after[0].clone(), after[1].clone(), map("new", 1)];
        let moving = plan(&addon(), &after, &there).unwrap();
        assert_eq!((shape(&moving), moving.held), (vec![work(1, &["a", "new"])], true));
        let there = served(&moving.wanted, &there, 1, &["new"]);
        assert!(!plan(&addon(), &after, &there).unwrap().held);
    }

    #[test]
    fn every_work_says_what_is_reported_and_what_stays() {
        let mut stays = map("b", 300 * KIB);
        stays
            .annotations_mut()
            .insert("addon.open-cluster-management.io/deletion-orphan".into(), String::new());
        let manifests = [map("a", 300 * KIB), stays];
        let extras = Extras::new(&manifests, [ManifestConfig::default()]);
        let plan = super::plan(&part(), &addon(), &manifests, &extras, &Existing::new()).unwrap();
        assert_eq!(plan.wanted.len(), 2);
        for work in &plan.wanted {
            assert_eq!(work.spec.manifest_configs.len(), 1);
            let option = work.spec.delete_option.clone().unwrap();
            assert_eq!(option.selectively_orphans.unwrap().orphaning_rules[0].name, "b");
        }
    }

    #[test]
    fn a_doubled_manifest_stays_in_the_lower_work() {
        let one = plan(&addon(), &[map("a", 1)], &Existing::new()).unwrap();
        let mut there = served(&one.wanted, &Existing::new(), 1, &[]);
        let mut copy = (*there[&0]).clone();
        copy.metadata.name = Some(part().name(3));
        there.insert(3, Arc::new(copy));
        let plan = plan(&addon(), &[map("a", 1)], &there).unwrap();
        assert_eq!(shape(&plan), [work(0, &["a"])]);
        assert_eq!(plan.obsolete, [there[&3].clone()]);
    }
}
