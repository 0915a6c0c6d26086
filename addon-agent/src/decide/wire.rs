//! What consumers on this cluster are told of a target, and how that is taken back. What a patch holds is planned in
//! [`exchange::wire`]; here the entries of a profile become changes of objects as they were seen, and what became of them
//! one condition.
use std::collections::{BTreeMap, BTreeSet};

use exchange::{
    expression::{Scope, resolve, template},
    rights::{consumers, place_of},
    state::Verdict,
    wire::{self, Change, Outcome, WireError},
};
use peering_api::peering::{
    AddToList, Annotate, ObjectRef, OnConflict, PeerLinkSpec, SetField, Wire,
    reasons::{self, Wired},
};

use super::{
    action::{Action, Claim, Wanted, bring_about, claim},
    content::filled,
    group::{Held, Obstacle, our_labels},
    link::Said,
};
use crate::spoke::{Place, Seen, observed::normal};

/// What is to be done with a consumer, or with an object that is applied beside the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Write {
    /// Nothing.
    #[default]
    Nothing,
    /// Somebody else's object is changed.
    Patch(json_patch::Patch),
    /// An object of our own is made, changed or deleted.
    Act(Action),
}

/// What a consumer holds of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// Something.
    Something,
    /// It cannot be told.
    Unknown,
}

/// One object and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it stands.
    pub place: Place,
    /// To be done with it.
    pub write: Write,
    /// What stands in the way.
    pub problem: Option<(Wired, String)>,
    /// Its watch has not said anything, or it is about to vanish: what is to be said about it is not known yet.
    pub pending: bool,
    /// What it holds once that is done.
    pub holds: Holds,
    /// What was ours there and is not taken back, since somebody else has changed it.
    pub left: Vec<String>,
}

impl Step {
    fn new(place: &Place, holds: Holds) -> Self {
        Self {
            place: place.clone(),
            write: Write::Nothing,
            problem: None,
            pending: false,
            holds,
            left: Vec::new(),
        }
    }

    fn pending(place: &Place) -> Self {
        Self {
            pending: true,
            ..Self::new(place, Holds::Unknown)
        }
    }

    fn problem(place: &Place, holds: Holds, reason: Wired, message: String) -> Self {
        Self {
            problem: Some((reason, message)),
            ..Self::new(place, holds)
        }
    }

    /// The same, after the API server has refused the write.
    #[must_use]
    pub fn refused(self, message: String) -> Self {
        Self {
            problem: Some((Wired::PatchRejected, message)),
            holds: Holds::Unknown,
            ..self
        }
    }

    /// The same, after the object turned out to be gone.
    #[must_use]
    pub fn vanished(self) -> Self {
        let place = self.place;
        missing(&place)
    }
}

/// Everything that a link changes or applies, or did before: what has to be watched.
#[must_use]
pub fn places(link: &PeerLinkSpec) -> BTreeSet<Place> {
    let named = consumers(&link.wire);
    let all = named.iter().chain(&link.unwire);
    all.map(|consumer| normal(&consumer.object)).collect()
}

/// What has to be done so that all consumers know of the target, and those that are named no longer do not.
///
/// `former` are the objects that links of the target name as such; `read` tells how an object was seen.
#[must_use]
pub fn steps(link: &PeerLinkSpec, held: &Held, former: &BTreeSet<Place>, read: &dyn Fn(&Place) -> Seen) -> Vec<Step> {
    let scope = super::content::scope(link, &held.payload, held.certificate_key.as_ref());
    let mut changes: Vec<(Place, Vec<Filled>)> = Vec::new();
    let mut steps = Vec::new();
    for (index, entry) in link.wire.iter().enumerate() {
        if entry.apply.is_some() {
            steps.extend(applied(link, entry, index, held, &scope, read));
        } else if let Some((place, change)) = change(entry, index, held, &scope) {
            match changes.iter_mut().find(|(known, _)| *known == place) {
                Some((_, of_place)) => of_place.push(change),
                None => changes.push((place, vec![change])),
            }
        }
    }
    for (place, wanted) in changes {
        let wanted: Result<Vec<_>, _> = wanted.into_iter().collect();
        steps.push(match wanted {
            Ok(wanted) => consumer(&place, &held.owner, &wanted.concat(), read(&place)),
            // The others of this object are not made alone: what it had set and is not named would be taken back.
            Err(message) => Step::problem(&place, Holds::Unknown, Wired::TemplateFailed, message),
        });
    }
    let named = named(link);
    let former = former.iter().filter(|place| !named.contains(*place));
    steps.extend(former.map(|place| undo(place, &held.owner, read(place))));
    steps
}

/// The objects that a link changes or applies now.
#[must_use]
pub fn named(link: &PeerLinkSpec) -> BTreeSet<Place> {
    let consumers = consumers(&link.wire);
    consumers.iter().map(|consumer| normal(&consumer.object)).collect()
}

/// The changes of one entry, with its texts filled; or why that cannot be done.
type Filled = Result<Vec<Change>, String>;

/// One entry with its texts filled, and the object that it changes.
fn change(entry: &Wire, index: usize, held: &Held, scope: &Scope) -> Option<(Place, Filled)> {
    let failed =
        |field: &str, problem: String| format!("wire[{index}].{field}: {problem}; correct the ExchangeProfile");
    let value = |field: &str, value| template(value, scope).map_err(|error| failed(field, error.to_string()));
    if let Some(AddToList {
        object,
        path,
        value: item,
        each,
        key,
        ..
    }) = &entry.add_to_list
    {
        let change = |value| Change::AddToList {
            path: path.clone(),
            value,
            key: key.clone(),
        };
        let changes = value("addToList.value", item).and_then(|value| match value {
            serde_json::Value::Array(items) if *each => Ok(items.into_iter().map(change).collect()),
            _ if *each => Err(failed(
                "addToList.value",
                "expected a list, since each of its items is added".to_owned(),
            )),
            value => Ok(vec![change(value)]),
        });
        return Some((normal(object.as_ref()?), changes));
    }
    if let Some(SetField {
        object,
        path,
        value: field,
        on_conflict,
        ..
    }) = &entry.set_field
    {
        let change = value("setField.value", field).map(|value| Change::SetField {
            path: path.clone(),
            value,
            on_conflict: match on_conflict {
                OnConflict::Refuse => wire::OnConflict::Refuse,
                OnConflict::Adopt => wire::OnConflict::Adopt,
            },
        });
        return Some((normal(object.as_ref()?), change.map(|change| vec![change])));
    }
    let Annotate {
        object,
        key,
        value: text,
        pod_template,
        ..
    } = entry.annotate.as_ref()?;
    let text = text.as_ref().map_or_else(
        || Ok(held.hash.clone()),
        |text| resolve(text, scope).map_err(|error| failed("annotate.value", error.to_string())),
    );
    let change = text.map(|value| Change::Annotate {
        key: key.clone(),
        value,
        pod_template: *pod_template,
    });
    Some((normal(object.as_ref()?), change.map(|change| vec![change])))
}

/// An object of somebody else that is to hold these changes, and nothing else of ours.
fn consumer(place: &Place, owner: &str, wanted: &[Change], seen: Seen) -> Step {
    let object = match seen {
        Seen::Pending => return Step::pending(place),
        Seen::Denied => return denied(place),
        Seen::Unknown | Seen::Absent => return missing(place),
        Seen::Present(object) => object.json(place),
    };
    let had = wire::undo(&object, owner).is_ok_and(|plan| plan.patch.is_some());
    let plan = match wire::plan(&object, owner, wanted) {
        Ok(plan) => plan,
        Err(error) => return unwirable(place, &error),
    };
    let done = plan.outcomes.contains(&Outcome::Done);
    let problem = plan.outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Done | Outcome::AlreadyThere => None,
        Outcome::Conflict(message) => Some((Wired::WireConflict, message)),
        Outcome::Invalid(message) => Some((Wired::TemplateFailed, message)),
    });
    Step {
        write: plan.patch.map_or(Write::Nothing, Write::Patch),
        problem,
        left: plan.left,
        ..Step::new(place, if had || done { Holds::Something } else { Holds::Nothing })
    }
}

fn unwirable(place: &Place, error: &WireError) -> Step {
    let reason = match error {
        WireError::Record { .. } => Wired::WireConflict,
        WireError::Secret { .. } => Wired::TemplateFailed,
    };
    Step::problem(place, Holds::Unknown, reason, error.to_string())
}

/// An object of our own beside the target.
fn applied(
    link: &PeerLinkSpec,
    entry: &Wire,
    index: usize,
    held: &Held,
    scope: &Scope,
    read: &dyn Fn(&Place) -> Seen,
) -> Option<Step> {
    let apply = entry.apply.as_ref()?;
    let place = normal(&place_of(apply)?);
    let seen = match read(&place) {
        Seen::Pending => return Some(Step::pending(&place)),
        Seen::Denied => return Some(denied(&place)),
        Seen::Unknown => return Some(missing(&place)),
        Seen::Absent => None,
        Seen::Present(object) if object.terminating => return Some(Step::pending(&place)),
        Seen::Present(object) => Some(object),
    };
    if let Some(object) = &seen
        && claim(object, &held.owner, OnConflict::Refuse) != Claim::Ours
    {
        let message = format!(
            "{place} exists and is not of this link: it stays untouched; delete it, or choose another name in wire[{index}].apply of the ExchangeProfile"
        );
        return Some(Step::problem(&place, Holds::Nothing, Wired::WireConflict, message));
    }
    let field = format!("wire[{index}].apply.template");
    let labels = our_labels(&held.owner, &link.peering);
    let body = filled(&field, &apply.template, &place, scope, &labels, BTreeMap::new());
    Some(match body {
        Ok(body) => Step {
            write: match bring_about(Wanted::Object(body), seen.as_ref()) {
                Action::None => Write::Nothing,
                action => Write::Act(action),
            },
            ..Step::new(&place, Holds::Something)
        },
        Err(message) => Step::problem(
            &place,
            if seen.is_some() {
                Holds::Something
            } else {
                Holds::Nothing
            },
            Wired::TemplateFailed,
            message,
        ),
    })
}

/// Takes everything of ours out of an object, or deletes it if it is ours.
#[must_use]
pub fn undo(place: &Place, owner: &str, seen: Seen) -> Step {
    let object = match seen {
        Seen::Pending => return Step::pending(place),
        Seen::Denied => return denied(place),
        // Without its kind there is no object.
        Seen::Unknown | Seen::Absent => return Step::new(place, Holds::Nothing),
        Seen::Present(object) => object,
    };
    if claim(&object, owner, OnConflict::Refuse) == Claim::Ours {
        return if object.terminating {
            Step::new(place, Holds::Nothing)
        } else {
            Step {
                write: Write::Act(Action::Delete),
                ..Step::new(place, Holds::Nothing)
            }
        };
    }
    match wire::undo(&object.json(place), owner) {
        Ok(plan) => Step {
            write: plan.patch.map_or(Write::Nothing, Write::Patch),
            left: plan.left,
            ..Step::new(place, Holds::Nothing)
        },
        Err(error) => unwirable(place, &error),
    }
}

/// What has to be done before a link that goes away may remove its target: whoever refers to it is told first.
#[must_use]
pub fn undo_all(links: &[&PeerLinkSpec], owner: &str, read: &dyn Fn(&Place) -> Seen) -> Vec<Step> {
    let places: BTreeSet<_> = links.iter().flat_map(|link| places(link)).collect();
    places.iter().map(|place| undo(place, owner, read(place))).collect()
}

/// What keeps the target from being removed after these steps.
#[must_use]
pub fn obstacle(steps: &[Step]) -> Option<Obstacle> {
    match problem(steps) {
        Some((_, message)) => Some(Obstacle::Refused(message.to_owned())),
        None => steps.iter().any(|step| step.pending).then_some(Obstacle::Pending),
    }
}

/// The first problem: what people should look at.
fn problem(steps: &[Step]) -> Option<(Wired, &str)> {
    let mut problems = steps.iter().filter_map(|step| step.problem.as_ref());
    problems.next().map(|(reason, message)| (*reason, message.as_str()))
}

/// Whether a consumer still refers to what this link wrote before: somebody refused to be told of the new target.
#[must_use]
pub fn may_refer_to_the_old(steps: &[Step]) -> bool {
    let may = |step: &Step| {
        let missing = matches!(step.problem, Some((Wired::ConsumerMissing, _)));
        step.pending || (step.problem.is_some() && !missing)
    };
    steps.iter().any(may)
}

/// `Wired` after these steps.
#[must_use]
pub fn verdict(link: &PeerLinkSpec, steps: &[Step]) -> Said<Verdict> {
    let said = |reason: Wired, message: String| {
        Said::This(Verdict::new(
            reasons::WIRED,
            reason.status().as_bool(),
            reason.as_str(),
            message,
        ))
    };
    if let Some((reason, message)) = problem(steps) {
        let more = match steps.iter().filter(|step| step.problem.is_some()).count() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        return said(reason, format!("{message}{more}"));
    }
    if link.wire.is_empty() {
        return Said::Gone;
    }
    if steps.iter().any(|step| step.pending) {
        return Said::Nothing;
    }
    let places: BTreeSet<_> = named(link).iter().map(ToString::to_string).collect();
    let places: Vec<_> = places.into_iter().collect();
    said(
        Wired::Wired,
        format!("{} set up as the profile says: {}", places.len(), places.join(", ")),
    )
}

/// `Wired` of a link whose target is not delivered: what was wired stays.
#[must_use]
pub fn undelivered(link: &PeerLinkSpec, wired_before: bool) -> Said<Verdict> {
    if link.wire.is_empty() || wired_before {
        return Said::Nothing;
    }
    let reason = Wired::WaitingForDelivery;
    Said::This(Verdict::new(
        reasons::WIRED,
        reason.status().as_bool(),
        reason.as_str(),
        "consumers are told of the target once it is delivered for the first time: see Delivered",
    ))
}

/// The objects that hold something of the link. Where that cannot be told, it is as it was said before.
#[must_use]
pub fn holding(steps: &[Step], before: &[ObjectRef]) -> Vec<ObjectRef> {
    let holds = |step: &&Step| match step.holds {
        Holds::Something => true,
        Holds::Nothing => false,
        Holds::Unknown => before.iter().any(|known| known.bare() == step.place.bare()),
    };
    let all: BTreeSet<_> = steps.iter().filter(holds).map(|step| step.place.bare()).collect();
    all.into_iter().collect()
}

fn denied(place: &Place) -> Step {
    let message = format!(
        "the agent may not read {place}: the right arrives with the ManifestWork of the Peering, and the namespace must exist"
    );
    Step::problem(place, Holds::Unknown, Wired::PatchRejected, message)
}

fn missing(place: &Place) -> Step {
    let message = format!(
        "expected {place} ({}), seen none: create it or install its kind, or correct parameters or profile; it is picked up at once",
        place.api_version
    );
    Step::problem(place, Holds::Nothing, Wired::ConsumerMissing, message)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
