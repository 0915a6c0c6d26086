//! One pass over a consumer for one link: what it no longer wants is taken back, what it wants is put there, containers
//! that were made for it and are empty again are removed, and the record is brought up to date.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use json_patch::Patch;
use peering_api::{compare::covers, names::WIRED_ANNOTATION};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    Outcome,
    claim::{Claim, InvalidChange, overlap},
    edit::Editor,
    path::Path,
    record::{Entry, Record, imprint},
};

/// Why a place of the consumer cannot get what is wanted.
#[derive(Debug, Error)]
enum Obstacle {
    #[error("{path}: expected {expected}, seen {seen}: correct the path in the profile, or the consumer")]
    Shape {
        path: Path,
        expected: &'static str,
        seen: &'static str,
    },
    #[error(
        "{0}: expected the value of this link, seen another one that it has not set: remove it there, or set onConflict to Adopt in the profile"
    )]
    ForeignField(Path),
    #[error(
        "{path}: expected this link's item, seen one with the same {key:?} and other content that this link has not added: remove or rename that item"
    )]
    ForeignItem { path: Path, key: String },
    #[error("{path}: expected one item with the {key:?} of this link, seen several: leave one")]
    Ambiguous { path: Path, key: String },
    #[error("{path}: expected the value of this link, seen what link {link} has set: let only one of them set it")]
    Held { path: Path, link: String },
}

/// What is to be done about one place.
enum Step {
    /// It holds what is wanted, and somebody else has put it there.
    Foreign,
    /// It holds what is wanted because of us: that has to be recorded.
    Hold(Option<Value>),
    /// It has to be written, and recorded.
    Write(Option<Value>),
}

/// What stands at a place.
struct Spot {
    /// Null if there is nothing.
    seen: Value,
    /// Position in the list, of an item.
    index: Option<usize>,
    /// This link's entry, if what stands there still is what it left.
    mine: Option<Entry>,
    /// Another link whose entry says the same of itself.
    other: Option<(String, Option<Value>)>,
}

/// What a pass comes to.
pub(super) struct Done {
    pub patch: Option<Patch>,
    pub outcomes: Vec<Outcome>,
    pub left: Vec<String>,
}

/// Makes a pass. Without `release` what the link no longer wants stays.
pub(super) fn pass(
    object: &Value,
    record: &Record,
    link: &str,
    wanted: &[Result<Vec<Claim>, InvalidChange>],
    release: bool,
) -> Done {
    let mut others = record.links.clone();
    let mine = others.remove(link).unwrap_or_default();
    let mut pass = Pass {
        link,
        editor: Editor::new(object),
        created: record.created.clone(),
        others,
        mine,
        kept: Vec::new(),
        left: Vec::new(),
    };
    pass.set_aside(wanted, release);
    pass.prune();
    let outcomes = wanted.iter().map(|change| pass.change(change)).collect();
    pass.mine.clear();
    pass.prune();
    pass.write_record(record);
    Done {
        patch: pass.editor.finish(object),
        outcomes,
        left: pass.left,
    }
}

struct Pass<'a> {
    link: &'a str,
    editor: Editor,
    created: BTreeSet<Path>,
    /// What other links have recorded.
    others: BTreeMap<String, Vec<Entry>>,
    /// What this link had recorded.
    mine: Vec<Entry>,
    /// What this link has recorded in the end.
    kept: Vec<Entry>,
    left: Vec<String>,
}

impl Pass<'_> {
    /// Takes back what no claim wants any more, or keeps it.
    fn set_aside(&mut self, wanted: &[Result<Vec<Claim>, InvalidChange>], release: bool) {
        let claims: Vec<_> = wanted.iter().flatten().flatten().collect();
        let (mine, unwanted) = std::mem::take(&mut self.mine)
            .into_iter()
            .partition(|entry| claims.iter().any(|claim| claim.is_at(self.link, entry)));
        self.mine = mine;
        if release {
            for entry in unwanted {
                self.release(&entry);
            }
        } else {
            self.kept = unwanted;
        }
    }

    /// Takes one entry back, if it still is as this link has left it and no other link wants it too.
    fn release(&mut self, entry: &Entry) {
        let path = entry.path();
        self.editor.expect(path);
        let index = entry.position(self.link, self.items(path));
        if entry.is_item() && index.is_none() {
            return;
        }
        let seen = self.seen(path, index);
        if !entry.is_left(self.link, &seen) {
            if !seen.is_null() {
                let note = format!("{path}: somebody else has changed what this link had set: it stays as it is");
                self.left.push(note);
            }
        } else if self.other(path, index, &seen).is_none() {
            match (index, entry.before()) {
                (Some(index), _) => self.editor.remove_item(path, index),
                (None, Some(before)) => self.set(path, before.clone()),
                (None, None) => self.editor.remove(path),
            }
        }
    }

    /// Makes one change, or nothing of it if one of its places cannot have what is wanted.
    fn change(&mut self, change: &Result<Vec<Claim>, InvalidChange>) -> Outcome {
        let claims = match change {
            Ok(claims) => claims,
            Err(invalid) => return Outcome::Invalid(invalid.to_string()),
        };
        let (mut steps, mut obstacles) = (Vec::new(), Vec::new());
        for claim in claims {
            self.editor.expect(claim.path());
            match self.judge(claim) {
                Ok((spot, step)) => steps.push((claim, spot, step)),
                Err(obstacle) => obstacles.push(obstacle.to_string()),
            }
        }
        if !obstacles.is_empty() {
            for (claim, spot, _) in steps {
                let free = !self.kept.iter().any(|known| claim.is_at(self.link, known));
                self.kept.extend(spot.mine.filter(|_| free));
            }
            return Outcome::Conflict(obstacles.join("; "));
        }
        let before = self.editor.changes();
        for (claim, spot, step) in steps {
            self.take(claim, &spot, step);
        }
        if self.editor.changes() > before {
            Outcome::Done
        } else {
            Outcome::AlreadyThere
        }
    }

    fn judge(&self, claim: &Claim) -> Result<(Spot, Step), Obstacle> {
        self.check_shape(claim)?;
        self.check_overlap(claim)?;
        let spot = self.look(claim)?;
        let wanted = imprint(self.link, claim.path(), claim.value());
        let same = spot.mine.as_ref().is_some_and(|mine| *mine.left() == wanted);
        let covered = covers(&spot.seen, claim.value());
        let mine_before = spot.mine.as_ref().and_then(Entry::before).cloned();
        let step = match (&spot.mine, &spot.other) {
            (Some(_), _) if same => Step::Hold(mine_before),
            // The last of the links that goes puts back what was there before the first.
            (mine, Some((_, before))) if covered => {
                Step::Hold(if mine.is_some() { mine_before } else { before.clone() })
            }
            (_, Some((link, _))) => {
                let (path, link) = (claim.path().clone(), link.clone());
                return Err(Obstacle::Held { path, link });
            }
            (Some(_), None) => Step::Write(mine_before),
            (None, None) if covered => Step::Foreign,
            (None, None) if spot.seen.is_null() => Step::Write(None),
            (None, None) => Step::Write(Some(adopted(claim, &spot.seen)?)),
        };
        Ok((spot, step))
    }

    /// Whether what leads to the place are objects, and a list is a list.
    fn check_shape(&self, claim: &Claim) -> Result<(), Obstacle> {
        let wrong = |path: &Path, expected| {
            let seen = kind(self.editor.get(path)?);
            (seen != expected).then(|| Obstacle::Shape {
                path: path.clone(),
                expected,
                seen,
            })
        };
        let mut parents = claim.path().parents();
        let problem = parents.find_map(|parent| wrong(&parent, "an object"));
        let list = claim.is_item().then(|| wrong(claim.path(), "a list")).flatten();
        problem.or(list).map_or(Ok(()), Err)
    }

    /// Whether another entry lies around the place or in it: it would be overwritten, or changed.
    fn check_overlap(&self, claim: &Claim) -> Result<(), Obstacle> {
        let hit = |entry: &&Entry| overlap((claim.path(), claim.is_item()), (entry.path(), entry.is_item()));
        let mine = self.kept.iter().map(|entry| (self.link, entry));
        let mut all = self.others().chain(mine);
        match all.find(|(_, entry)| hit(entry)) {
            Some((link, entry)) => Err(Obstacle::Held {
                path: entry.path().clone(),
                link: link.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn look(&self, claim: &Claim) -> Result<Spot, Obstacle> {
        let items = self.items(claim.path());
        let mut meant = (0..items.len()).filter(|&index| claim.means(&items[index]));
        let index = meant.next();
        if let (
            Claim::Item {
                path, key: Some(key), ..
            },
            Some(_),
        ) = (claim, meant.next())
        {
            let (path, key) = (path.clone(), key.clone());
            return Err(Obstacle::Ambiguous { path, key });
        }
        let absent = claim.is_item() && index.is_none();
        let seen = if absent {
            Value::Null
        } else {
            self.seen(claim.path(), index)
        };
        let is_mine = |entry: &&Entry| !absent && claim.is_at(self.link, entry) && entry.is_left(self.link, &seen);
        Ok(Spot {
            mine: self.mine.iter().find(is_mine).cloned(),
            other: if absent {
                None
            } else {
                self.other(claim.path(), index, &seen)
            },
            seen,
            index,
        })
    }

    fn take(&mut self, claim: &Claim, spot: &Spot, step: Step) {
        match step {
            Step::Foreign => {}
            Step::Hold(before) => self.keep(claim, before),
            Step::Write(before) => {
                self.write(claim, spot);
                self.keep(claim, before);
            }
        }
    }

    fn write(&mut self, claim: &Claim, spot: &Spot) {
        let (path, value) = (claim.path(), claim.value().clone());
        match (claim, spot.index) {
            (Claim::Field { .. }, _) => {
                self.forget_stale(path);
                if spot.seen != value {
                    self.set(path, value);
                }
            }
            (Claim::Item { .. }, Some(index)) => {
                let merged = merge(&spot.seen, spot.mine.as_ref().map(Entry::left), &value);
                if merged != spot.seen {
                    self.editor.replace_item(path, index, merged);
                }
            }
            (Claim::Item { .. }, None) if self.editor.get(path).is_some() => self.editor.append(path, value),
            (Claim::Item { .. }, None) => {
                self.set(path, Value::Array(vec![value]));
                self.created.insert(path.clone());
            }
        }
    }

    /// Other links have lost a field that this link writes, or it would not. Their entries must not come to life again
    /// because the new value happens to be theirs: the value from before would be lost.
    fn forget_stale(&mut self, field: &Path) {
        for entries in self.others.values_mut() {
            entries.retain(|entry| entry.is_item() || entry.path() != field);
        }
        self.others.retain(|_, entries| !entries.is_empty());
    }

    fn set(&mut self, path: &Path, value: Value) {
        let made = self.editor.set(path, value);
        self.created.extend(made);
    }

    /// Records a place once, though two changes may want the same there.
    fn keep(&mut self, claim: &Claim, before: Option<Value>) {
        self.mine.retain(|known| !claim.is_at(self.link, known));
        self.kept.retain(|known| !claim.is_at(self.link, known));
        self.kept.push(claim.entry(self.link, before));
    }

    /// Removes containers that were made for wired values and are empty again, and forgets those that live on without us.
    fn prune(&mut self) {
        let mut created: Vec<_> = self.created.iter().cloned().collect();
        created.sort_by_key(|path| Reverse(path.names().len()));
        for path in created {
            let used = self.is_used(&path);
            if !used && self.editor.get(&path).is_some_and(is_hollow) {
                self.editor.remove(&path);
            }
            if !used || self.editor.get(&path).is_none() {
                self.created.remove(&path);
            }
        }
    }

    /// The record belongs to every patch: it is tested if it stays as it is, so that no patch follows from an old one.
    fn write_record(&mut self, observed: &Record) {
        let mut record = Record {
            created: std::mem::take(&mut self.created),
            links: std::mem::take(&mut self.others),
        };
        // The API server keeps no empty map of labels or annotations.
        record.created.retain(|path| !path.is_within(&Path::of(&["metadata"])));
        if !self.kept.is_empty() {
            self.kept.sort_by_cached_key(Entry::order);
            record
                .links
                .insert(self.link.to_owned(), std::mem::take(&mut self.kept));
        }
        let path = Path::of(&["metadata", "annotations", WIRED_ANNOTATION]);
        if record == *observed {
            self.editor.expect(&path);
        } else if let Some(text) = record.text() {
            self.editor.set(&path, text.into());
        } else {
            self.editor.remove(&path);
        }
        for name in ["annotations", "labels"] {
            let path = Path::of(&["metadata", name]);
            if self.editor.changes() > 0 && self.editor.get(&path).is_some_and(is_hollow) {
                self.editor.remove(&path);
            }
        }
    }

    /// Whether a link has something in a container.
    fn is_used(&self, container: &Path) -> bool {
        let mine = self.mine.iter().chain(&self.kept);
        let mut entries = self.others().map(|(_, entry)| entry).chain(mine);
        entries.any(|entry| entry.path().is_within(container))
    }

    fn others(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let links = self.others.iter();
        links.flat_map(|(link, entries)| entries.iter().map(move |entry| (link.as_str(), entry)))
    }

    /// Another link that has set what stands at a place, and what was there before it.
    fn other(&self, path: &Path, index: Option<usize>, seen: &Value) -> Option<(String, Option<Value>)> {
        let items = self.items(path);
        let same = |link: &str, entry: &Entry| {
            entry.path() == path
                && entry.is_item() == index.is_some()
                && entry.position(link, items) == index
                && entry.is_left(link, seen)
        };
        let (link, entry) = self.others().find(|(link, entry)| same(link, entry))?;
        Some((link.to_owned(), entry.before().cloned()))
    }

    fn items(&self, path: &Path) -> &[Value] {
        self.editor
            .get(path)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// What stands at a place; null if there is nothing.
    fn seen(&self, path: &Path, index: Option<usize>) -> Value {
        let seen = match index {
            Some(index) => self.items(path).get(index),
            None => self.editor.get(path),
        };
        seen.cloned().unwrap_or(Value::Null)
    }
}

/// The value that is taken over, if that is wished. An empty text is nobody's: operators and API servers fill fields with it
/// that nobody has set, such as `trustedCA.name` of `OpenShift`'s Proxy.
fn adopted(claim: &Claim, seen: &Value) -> Result<Value, Obstacle> {
    let path = claim.path().clone();
    match claim {
        Claim::Field { adopt, .. } if *adopt || seen.as_str() == Some("") => Ok(seen.clone()),
        Claim::Item { key: Some(key), .. } => {
            let key = key.clone();
            Err(Obstacle::ForeignItem { path, key })
        }
        _ => Err(Obstacle::ForeignField(path)),
    }
}

/// An item with our fields in it: those that we had set and no longer do are left out, those of others stay.
fn merge(seen: &Value, left: Option<&Value>, wanted: &Value) -> Value {
    let (Value::Object(seen), Value::Object(wanted)) = (seen, wanted) else {
        return wanted.clone();
    };
    let dropped = |name: &String| left.is_some_and(|left| left.get(name).is_some());
    let foreign = seen.iter().filter(|(name, _)| !dropped(name));
    let all = foreign.chain(wanted).map(|(name, value)| (name.clone(), value.clone()));
    all.collect::<Map<_, _>>().into()
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
