//! What expressions see.
use std::{borrow::Cow, collections::BTreeMap};

use crate::value::Value;

/// The variables of an expression.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `params.<name>`: the values for the member on whose cluster the text is used.
    pub params: BTreeMap<String, String>,
    /// `peering.name`.
    pub peering: String,
    /// `source.cluster`.
    pub source: String,
    /// `destination.cluster`, in what is resolved per destination.
    pub destination: Option<String>,
    /// Further variables by name: `inputs`, `payload`, `target`, `self`. One that is named like a variable above stands
    /// in for it.
    pub extra: BTreeMap<String, Value>,
}

impl Scope {
    /// The value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<Cow<'_, Value>> {
        if let Some(value) = self.extra.get(name) {
            return Some(Cow::Borrowed(value));
        }
        let single = |key: &str, text: &String| [(key, Value::Text(text.clone()))].into_iter().collect();
        Some(Cow::Owned(match name {
            "params" => self
                .params
                .iter()
                .map(|(name, text)| (name, Value::Text(text.clone())))
                .collect(),
            "peering" => single("name", &self.peering),
            "source" => single("cluster", &self.source),
            "destination" => single("cluster", self.destination.as_ref()?),
            _ => return None,
        }))
    }

    /// The names of all variables, for people.
    pub(super) fn names(&self) -> String {
        let mut names = vec!["params", "peering", "source"];
        names.extend(self.destination.as_ref().map(|_| "destination"));
        names.extend(self.extra.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }
}
