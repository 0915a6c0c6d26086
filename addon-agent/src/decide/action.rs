//! The object that should stand at a place, and the least action that brings it about.
use std::collections::BTreeMap;

use exchange::object;
use peering_api::{
    Sensitive, names,
    peering::{DeletionPolicy, OnConflict},
};

use crate::spoke::{Observed, observed::Body};

/// The most bytes that the data of a Secret may hold (`MaxSecretSize` of Kubernetes); a `ConfigMap` may not hold more.
pub const MAX_DATA: usize = 1024 * 1024;

/// The annotations by which we know our objects: each is as wanted, or not there.
pub const OUR_ANNOTATIONS: [&str; 4] = [
    names::REVISIONS_ANNOTATION,
    names::CERTIFICATES_ANNOTATION,
    names::RETIRING_ANNOTATION,
    names::TEMPLATE_ANNOTATION,
];

/// The object that should stand at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A Secret or `ConfigMap`.
    Data(DataObject),
    /// An object of any other kind, whole, as it is applied.
    Object(Body),
}

/// A Secret or `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataObject {
    /// Type, of a Secret.
    pub type_: Option<String>,
    /// Labels, ours among them.
    pub labels: BTreeMap<String, String>,
    /// Our annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys and bytes.
    pub data: BTreeMap<String, Sensitive>,
    /// Whether other keys have to go.
    pub exact: bool,
}

impl DataObject {
    fn stands(&self, seen: &Observed) -> bool {
        let labels = self
            .labels
            .iter()
            .all(|(key, value)| seen.labels.get(key) == Some(value));
        let annotation = |key: &&str| seen.annotations.get(*key) == self.annotations.get(*key);
        let data = self.data.iter().all(|(key, value)| seen.data.get(key) == Some(value));
        let nothing_else = !self.exact || seen.data.len() == self.data.len();
        data && nothing_else && labels && OUR_ANNOTATIONS.iter().all(annotation) && !self.must_recreate(seen)
    }

    /// The API server would refuse the change: the type of a Secret never changes, nor does anything immutable.
    fn must_recreate(&self, seen: &Observed) -> bool {
        let data = seen.immutable && self.data != seen.data;
        self.exact && (data || (self.type_.is_some() && self.type_ != seen.type_))
    }
}

impl Wanted {
    /// Whether the object at the place is as wanted already.
    #[must_use]
    pub fn stands(&self, seen: &Observed) -> bool {
        match self {
            Self::Data(wanted) => wanted.stands(seen),
            Self::Object(wanted) => seen
                .body
                .as_ref()
                .is_some_and(|body| object::stands(&wanted.0, &body.0)),
        }
    }

    /// Whether the API server would refuse the change, so that the object has to be made anew.
    #[must_use]
    pub fn must_recreate(&self, seen: &Observed) -> bool {
        matches!(self, Self::Data(wanted) if wanted.must_recreate(seen))
    }

    /// How many bytes the data of the object would have, with what stands there and stays; 0 for other kinds, whose limits
    /// only the API server knows.
    #[must_use]
    pub fn size(&self, seen: Option<&Observed>) -> usize {
        let Self::Data(wanted) = self else { return 0 };
        let size = |(key, value): (&String, &Sensitive)| key.len() + value.expose().len();
        let ours: usize = wanted.data.iter().map(size).sum();
        let stays = seen.filter(|_| !wanted.exact).into_iter().flat_map(|seen| &seen.data);
        let stays = stays.filter(|(key, _)| !wanted.data.contains_key(*key));
        ours + stays.map(size).sum::<usize>()
    }
}

/// What is to be done at a place. Everything that changes an existing object names its uid or resourceVersion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    None,
    /// Create it.
    Create(Wanted),
    /// Change it: it is ours, or is taken over.
    Apply(Wanted),
    /// Delete it and create it anew.
    Recreate(Wanted),
    /// Delete it.
    Delete,
    /// Take our labels and annotations off it.
    Release {
        /// Also set this key of its data, or remove it.
        data: Option<(String, Option<String>)>,
    },
}

/// The least action that makes the object at the place as wanted.
#[must_use]
pub fn bring_about(wanted: Wanted, target: Option<&Observed>) -> Action {
    match target {
        None => Action::Create(wanted),
        Some(seen) if wanted.stands(seen) => Action::None,
        Some(seen) if wanted.must_recreate(seen) => Action::Recreate(wanted),
        Some(_) => Action::Apply(wanted),
    }
}

/// What is done with an object of ours that is no longer wanted.
#[must_use]
pub fn withdraw(policy: DeletionPolicy, target: &Observed) -> Action {
    match policy {
        _ if target.terminating => Action::None,
        DeletionPolicy::Delete => Action::Delete,
        DeletionPolicy::Orphan => Action::Release { data: None },
    }
}

/// Whose an existing object is, seen from the one who wants to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Ours,
    /// It is nobody's of us, and may be taken over.
    Adoptable,
    /// It is left alone.
    Foreign,
}

/// Whose an object is.
#[must_use]
pub fn claim(target: &Observed, owner: &str, on_conflict: OnConflict) -> Claim {
    match (target.owner(), on_conflict) {
        (Some(label), _) if label == owner => Claim::Ours,
        (None, OnConflict::Adopt) => Claim::Adoptable,
        _ => Claim::Foreign,
    }
}
