//! A copy of an object that is changed step by step, and the JSON patch that does the same on the API server.
//!
//! The patch tests each place that it changes, and each place that its author has looked at to decide. What a patch was
//! computed from and what it is applied to may thus differ only in places that it has nothing to do with.
//!
//! The API server applies JSON patches by Go's `evanphx/json-patch` v4. Two of its habits matter here:
//! * A test for null holds where there is no such field (its parent must exist). That is the test for absence.
//! * It compares scalars by the bytes of their JSON text, and the object's text is from Go's encoder, which escapes `<`,
//!   `>`, `&` and more (kubernetes/apiserver#100). A test for such a text always fails. In its place the patch tests the
//!   object's resource version.
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf,
};
use serde_json::{Map, Value, json};

use super::path::Path;

/// An object under change.
pub(super) struct Editor {
    object: Value,
    operations: Vec<PatchOperation>,
    changes: usize,
    /// Something stands in the way of a change that cannot be tested for.
    untestable: bool,
}

impl Editor {
    pub fn new(object: &Value) -> Self {
        Self {
            object: object.clone(),
            operations: Vec::new(),
            changes: 0,
            untestable: false,
        }
    }

    /// What stands there now. Null is the same as nothing.
    pub fn get(&self, path: &Path) -> Option<&Value> {
        let value = self.object.pointer(path.pointer().as_str());
        value.filter(|value| !value.is_null())
    }

    /// How many changes there are so far.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Sets a field, and makes the objects on the way to it: returns their paths. What is on the way already must be an
    /// object, else nothing happens.
    pub fn set(&mut self, path: &Path, value: Value) -> Vec<Path> {
        let made: Vec<_> = path.parents().filter(|parent| self.get(parent).is_none()).collect();
        let top = made.first().unwrap_or(path);
        let below = path.names().iter().skip(top.names().len()).rev();
        let value = below.fold(value, |inner, name| json!({ name: inner }));
        let operation = if self.get(path).is_some() {
            replace(path.pointer(), value.clone())
        } else {
            add(top.pointer(), value.clone())
        };
        self.expect(path);
        if let Some(holder) = self.holder(top) {
            holder.insert(top.name().to_owned(), value);
            self.change(operation);
        }
        made
    }

    /// Removes a field.
    pub fn remove(&mut self, path: &Path) {
        self.expect(path);
        if self
            .holder(path)
            .is_some_and(|holder| holder.remove(path.name()).is_some())
        {
            self.change(remove(path.pointer()));
        }
    }

    /// Adds an item to the end of a list.
    pub fn append(&mut self, list: &Path, item: Value) {
        self.expect(list);
        if let Some(items) = self.list(list) {
            items.push(item.clone());
            self.change(add(position(list, "-"), item));
        }
    }

    /// Replaces an item of a list.
    pub fn replace_item(&mut self, list: &Path, index: usize, item: Value) {
        self.expect(list);
        if let Some(seen) = self.list(list).and_then(|items| items.get_mut(index)) {
            seen.clone_from(&item);
            self.change(replace(position(list, &index.to_string()), item));
        }
    }

    /// Removes an item of a list.
    pub fn remove_item(&mut self, list: &Path, index: usize) {
        self.expect(list);
        if let Some(items) = self.list(list).filter(|items| index < items.len()) {
            items.remove(index);
            self.change(remove(position(list, &index.to_string())));
        }
    }

    /// Makes the patch fail where something else stands at this place. Once is enough: what the patch itself makes of the
    /// place follows from it.
    pub fn expect(&mut self, path: &Path) {
        let at = self.testable_place(path);
        let pointer = at.pointer();
        if self.operations.iter().any(|known| known.path() == pointer) {
            return;
        }
        let value = self.get(&at).cloned().unwrap_or(Value::Null);
        if is_testable(&value) {
            self.operations.push(test(pointer, value));
        } else {
            self.untestable = true;
        }
    }

    /// The place itself; or what there is in its stead: the first field on the way that is absent, or something on the way
    /// that has no fields.
    fn testable_place(&self, path: &Path) -> Path {
        let mut way = path.parents().chain([path.clone()]);
        let Some(absent) = way.find(|place| self.get(place).is_none()) else {
            return path.clone();
        };
        let holder = absent.parents().last();
        let dead_end = holder.filter(|holder| !self.get(holder).is_some_and(Value::is_object));
        dead_end.unwrap_or(absent)
    }

    /// The patch; `None` if nothing has changed. `observed` is the object as it was at the beginning.
    pub fn finish(self, observed: &Value) -> Option<Patch> {
        if self.changes == 0 {
            return None;
        }
        // The uid, since another object may have taken the name.
        let fields = ["uid", "resourceVersion"]
            .into_iter()
            .take(1 + usize::from(self.untestable));
        let mut operations: Vec<_> = fields
            .filter_map(|field| {
                let seen = observed.get("metadata")?.get(field)?.clone();
                Some(test(PointerBuf::from_tokens(["metadata", field]), seen))
            })
            .collect();
        operations.extend(self.operations);
        Some(Patch(operations))
    }

    fn change(&mut self, operation: PatchOperation) {
        self.operations.push(operation);
        self.changes += 1;
    }

    /// The object that holds a field.
    fn holder(&mut self, path: &Path) -> Option<&mut Map<String, Value>> {
        self.object.pointer_mut(path.holder().as_str())?.as_object_mut()
    }

    fn list(&mut self, path: &Path) -> Option<&mut Vec<Value>> {
        self.object.pointer_mut(path.pointer().as_str())?.as_array_mut()
    }
}

/// Whether the API server would find this value equal to its own text of it.
fn is_testable(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::String(text) => !text.chars().any(|c| {
            matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
                || (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        }),
        Value::Array(list) => list.iter().all(is_testable),
        Value::Object(map) => map.values().all(is_testable),
    }
}

fn position(list: &Path, position: &str) -> PointerBuf {
    list.pointer().with_trailing_token(position)
}

fn test(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path, value })
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}

fn replace(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path, value })
}

fn remove(path: PointerBuf) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path })
}
