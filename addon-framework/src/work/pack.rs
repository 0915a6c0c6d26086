//! Which manifest goes into which of an addon's works. Pure, and the same whatever the manifests' order.
//!
//! As in the Go framework, a manifest stays in the work that it is in, and a new one goes where most space is left. Unlike
//! there, one that grows beyond what its work takes is moved, and the lowest free index names a new work.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use peering_api::ocm::work::MAX_MANIFESTS_SIZE;
use serde_json::Value;

/// Works are filled up to here (the Go framework's threshold of 80 %), so that manifests in them can grow.
const FILL: usize = MAX_MANIFESTS_SIZE / 5 * 4;

/// What a manifest takes in a work besides its own bytes, as OCM's webhook counts (it encodes them as protobuf).
const OVERHEAD: usize = 16;

/// An object, whatever the version of its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Id {
    pub(super) fn of(manifest: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = manifest["apiVersion"].as_str().unwrap_or_default();
        Self {
            group: version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: text(&manifest["kind"]),
            namespace: text(&manifest["metadata"]["namespace"]),
            name: text(&manifest["metadata"]["name"]),
        }
    }
}

/// What is to be packed.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: Id,
    pub(super) size: usize,
}

/// The bytes that a manifest takes in a work: those of its JSON as Go writes it, which escapes what HTML would read.
pub(super) fn size(manifest: &Value) -> usize {
    let json = manifest.to_string();
    let escapes: usize = json
        .chars()
        .map(|char| match char {
            '<' | '>' | '&' => 5,
            '\u{2028}' | '\u{2029}' => 3,
            _ => 0,
        })
        .sum();
    json.len() + escapes + OVERHEAD
}

/// The work of each item, by index: positions among `items`. `existing` are the works that are there, with what is in them;
/// those for which nothing is left are not in the result. No item may be larger than a work takes.
pub(super) fn pack(items: &[Item], existing: &BTreeMap<usize, BTreeSet<Id>>) -> BTreeMap<usize, Vec<usize>> {
    let homes = |item: &Item| -> Vec<usize> {
        let containing = existing.iter().filter(|(_, ids)| ids.contains(&item.id));
        containing.map(|(index, _)| *index).collect()
    };
    let mut packing = Packing {
        items,
        works: existing.keys().map(|index| (*index, vec![])).collect(),
    };
    let mut loose = vec![];
    for (position, item) in items.iter().enumerate() {
        match homes(item).first().and_then(|home| packing.works.get_mut(home)) {
            Some(work) => work.push(position),
            None => loose.push(position),
        }
    }
    let (crowded, evicted) = packing.evict();
    loose.extend(evicted);
    loose.sort_by_key(|&position| (Reverse(items[position].size), &items[position].id));
    for position in loose {
        // One that is on its way is in its old work and in its new one.
        let underway = homes(&items[position])
            .into_iter()
            .find(|home| !crowded.contains(home) && packing.fits(*home, position, MAX_MANIFESTS_SIZE));
        let home = underway.unwrap_or_else(|| packing.roomiest(position, &crowded));
        packing.works.entry(home).or_default().push(position);
    }
    packing.works.retain(|_, work| !work.is_empty());
    packing.works.values_mut().for_each(|work| work.sort_unstable());
    packing.works
}

struct Packing<'a> {
    items: &'a [Item],
    works: BTreeMap<usize, Vec<usize>>,
}

impl Packing<'_> {
    fn total(&self, work: &[usize]) -> usize {
        work.iter().map(|&position| self.items[position].size).sum()
    }

    /// Takes the largest items out of the works that are too large: the fewest moves. Nothing is put into such a work in
    /// their place, so that no two works wait for each other.
    fn evict(&mut self) -> (BTreeSet<usize>, Vec<usize>) {
        let (mut crowded, mut evicted) = (BTreeSet::new(), vec![]);
        for (index, mut work) in self.works.clone() {
            if self.total(&work) <= MAX_MANIFESTS_SIZE {
                continue;
            }
            crowded.insert(index);
            work.sort_by_key(|&position| (self.items[position].size, Reverse(&self.items[position].id)));
            // To the limit, not to the threshold: with those that have left already it would stop elsewhere.
            while self.total(&work) > MAX_MANIFESTS_SIZE && work.len() > 1 {
                evicted.extend(work.pop());
            }
            self.works.insert(index, work);
        }
        (crowded, evicted)
    }

    fn fits(&self, index: usize, position: usize, limit: usize) -> bool {
        let total = self.works.get(&index).map_or(0, |work| self.total(work));
        total + self.items[position].size <= limit
    }

    /// The work with the most space, if it is enough; else a new one.
    fn roomiest(&self, position: usize, crowded: &BTreeSet<usize>) -> usize {
        let open = self.works.iter().filter(|(index, _)| !crowded.contains(index));
        let roomiest = open.min_by_key(|(index, work)| (self.total(work), **index));
        let enough = roomiest.filter(|(index, work)| work.is_empty() || self.fits(**index, position, FILL - 1));
        enough.map_or_else(
            || {
                self.works
                    .keys()
                    .zip(0..)
                    .take_while(|(index, next)| *index == next)
                    .count()
            },
            |(index, _)| *index,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KIB: usize = 1024;

    fn id(name: usize) -> Id {
        Id::of(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name:03}")}}))
    }

    fn items(sizes: &[(usize, usize)]) -> Vec<Item> {
        sizes.iter().map(|&(name, size)| Item { id: id(name), size }).collect()
    }

    type Works = BTreeMap<usize, BTreeSet<Id>>;

    /// The works after these items are packed.
    fn packed(items: &[Item], existing: &Works) -> Works {
        let works = pack(items, existing);
        let ids = |work: &Vec<usize>| work.iter().map(|&position| items[position].id.clone()).collect();
        works.iter().map(|(index, work)| (*index, ids(work))).collect()
    }

    fn works(works: &[(usize, &[usize])]) -> Works {
        let ids = |names: &[usize]| names.iter().map(|name| id(*name)).collect();
        works.iter().map(|(index, names)| (*index, ids(names))).collect()
    }

    #[test]
    fn the_scenario_of_the_go_framework() {
        let first = items(&[(1, 150 * KIB), (2, 200 * KIB), (3, 50 * KIB)]);
        let one = packed(&first, &Works::new());
        assert_eq!(one, works(&[(0, &[1, 2]), (1, &[3])]));
        let more = items(&[(1, 150 * KIB), (2, 200 * KIB), (3, 50 * KIB), (4, 80 * KIB)]);
        let two = packed(&more, &one);
        assert_eq!(two, works(&[(0, &[1, 2]), (1, &[3, 4])]));
        assert_eq!(packed(&more[1..], &two), works(&[(0, &[2]), (1, &[3, 4])]));
    }

    #[test]
    fn the_lowest_free_index_names_a_new_work() {
        let three = items(&[(1, 300 * KIB), (2, 300 * KIB), (3, 300 * KIB)]);
        let there = works(&[(0, &[1]), (2, &[2])]);
        assert_eq!(packed(&three, &there), works(&[(0, &[1]), (1, &[3]), (2, &[2])]));
    }

    #[test]
    fn an_emptied_work_is_used_again() {
        let there = works(&[(0, &[7]), (1, &[1])]);
        assert_eq!(
            packed(&items(&[(1, 10), (2, 10)]), &there),
            works(&[(0, &[2]), (1, &[1])])
        );
        assert_eq!(packed(&items(&[(1, 10)]), &there), works(&[(1, &[1])]));
    }

    #[test]
    fn a_manifest_above_the_threshold_has_a_work_of_its_own() {
        let both = items(&[(1, 450 * KIB), (2, 10)]);
        assert_eq!(packed(&both, &Works::new()), works(&[(0, &[1]), (1, &[2])]));
        assert_eq!(
            packed(&items(&[(1, MAX_MANIFESTS_SIZE)]), &Works::new()),
            works(&[(0, &[1])])
        );
    }

    #[test]
    fn growth_within_the_limit_moves_nothing_and_beyond_it_the_largest() {
        let there = works(&[(0, &[1, 2, 3])]);
        let within = items(&[(1, 200 * KIB), (2, 200 * KIB), (3, 99 * KIB)]);
        assert_eq!(packed(&within, &there), there);
        let beyond = items(&[(1, 210 * KIB), (2, 200 * KIB), (3, 99 * KIB)]);
        let moved = works(&[(0, &[2, 3]), (1, &[1])]);
        assert_eq!(packed(&beyond, &there), moved);
        // While it is on its way it is in both.
        assert_eq!(packed(&beyond, &works(&[(0, &[1, 2, 3]), (1, &[1])])), moved);
        assert_eq!(packed(&beyond, &moved), moved);
    }

    #[test]
    fn sizes_are_those_of_gos_json() {
        assert_eq!(size(&json!({"a": "b"})), r#"{"a":"b"}"#.len() + OVERHEAD);
        assert_eq!(
            size(&json!({"a": "<&>\u{2028}é"})),
            r#"{"a":"\u003c\u0026\u003e\u2028é"}"#.len() + OVERHEAD
        );
    }

    #[test]
    fn an_object_is_the_same_in_any_version_of_its_group() {
        let of = |version: &str| Id::of(&json!({"apiVersion": version, "kind": "K", "metadata": {"name": "n"}}));
        assert_eq!(of("g/v1"), of("g/v1beta1"));
        assert_ne!(of("g/v1"), of("v1"));
    }

    /// Items by name, with sizes from tiny to the largest that fits.
    fn manifests() -> impl Strategy<Value = BTreeMap<usize, usize>> {
        let size = prop_oneof![1..2 * KIB, 2 * KIB..200 * KIB, 1..=MAX_MANIFESTS_SIZE];
        proptest::collection::btree_map(0_usize..40, size, 0..30)
    }

    fn of(sizes: &BTreeMap<usize, usize>) -> Vec<Item> {
        items(&sizes.iter().map(|(name, size)| (*name, *size)).collect::<Vec<_>>())
    }

    fn check(items: &[Item], works: &Works) {
        let sizes: BTreeMap<_, _> = items.iter().map(|item| (&item.id, item.size)).collect();
        let all: Vec<_> = works.values().flatten().collect();
        assert_eq!(all.len(), items.len(), "nothing lost, nothing doubled");
        assert_eq!(
            all.into_iter().collect::<BTreeSet<_>>(),
            sizes.keys().copied().collect()
        );
        for work in works.values() {
            assert!(!work.is_empty());
            assert!(work.iter().map(|id| sizes[id]).sum::<usize>() <= MAX_MANIFESTS_SIZE);
        }
    }

    proptest! {
        #[test]
        fn any_change_packs_everything_once_and_then_rests(before in manifests(), after in manifests(), reversed: bool) {
            let first = packed(&of(&before), &Works::new());
            check(&of(&before), &first);
            prop_assert_eq!(&packed(&of(&before), &first), &first);
            let mut changed = of(&after);
            let second = packed(&changed, &first);
            check(&changed, &second);
            prop_assert_eq!(&packed(&changed, &second), &second);
            if reversed {
                changed.reverse();
                prop_assert_eq!(&packed(&changed, &first), &second, "the order of the manifests decides nothing");
            }
            // What is in a work that is not too large stays there.
            for (index, ids) in &first {
                let staying: Vec<_> = changed.iter().filter(|item| ids.contains(&item.id)).collect();
                if staying.iter().map(|item| item.size).sum::<usize>() <= MAX_MANIFESTS_SIZE {
                    for item in staying {
                        prop_assert!(second[index].contains(&item.id));
                    }
                }
            }
        }

        #[test]
        fn what_is_underway_arrives_where_it_was_sent(before in manifests(), after in manifests()) {
            // Works that lose manifests are held back, so that for a while those are in two works.
            let (first, changed) = (packed(&of(&before), &Works::new()), of(&after));
            let second = packed(&changed, &first);
            let mut both = second.clone();
            for (index, ids) in &first {
                both.entry(*index).or_default().extend(ids.iter().cloned());
            }
            prop_assert_eq!(packed(&changed, &both), second);
        }
    }
}
