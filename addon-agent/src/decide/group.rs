//! The words in which decisions about targets are asked for and given, and the opening of envelopes, which both kinds share.
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use exchange::{
    ca::Certificate,
    content::Content,
    envelope::{self, EnvelopeError, Opened},
    key::{KeyPair, PublicKey},
};
use jiff::Timestamp;
use peering_api::{
    Sensitive, names,
    peering::{PeerLink, reasons},
};

use super::link::{Outcome, Report};
use crate::spoke::{Observed, Place};

/// A link that ends at the target, with what its carrier holds for it.
#[derive(Clone, Copy, Debug)]
pub struct LinkView<'a> {
    /// The link.
    pub link: &'a PeerLink,
    /// Its envelope; `None` while none has arrived.
    pub envelope: Option<&'a Sensitive>,
}

impl LinkView<'_> {
    /// The link goes away: what it wrote is to be withdrawn.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.link.metadata.deletion_timestamp.is_some()
    }

    /// An outcome for this link; `acts` says that it holds only if the action succeeds.
    #[must_use]
    pub fn outcome(&self, report: Report, acts: bool) -> Outcome {
        Outcome {
            name: self.link.metadata.name.clone().unwrap_or_default(),
            id: self.link.spec.id.clone(),
            report,
            acts,
        }
    }
}

/// This cluster's own certificates in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnShare {
    /// This cluster exports nothing to the bundle.
    #[default]
    None,
    /// Its source cannot be read or is invalid: what it brought before stays.
    Bad,
    /// The certificates of its source.
    Good(Vec<Certificate>),
}

/// Everything that a decision about one target looks at.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Where the target stands.
    pub place: &'a Place,
    /// This cluster.
    pub cluster: &'a str,
    /// The links that end there, oldest first.
    pub links: &'a [LinkView<'a>],
    /// The target, if it exists.
    pub target: Option<&'a Observed>,
    /// This cluster's own certificates, for a bundle.
    pub own: &'a OwnShare,
    /// This agent's key pair.
    pub keys: &'a KeyPair,
    /// The highest revision that this process has applied, per link.
    pub applied: &'a BTreeMap<String, i64>,
    /// The time.
    pub now: Timestamp,
}

/// The object that should stand at the target's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
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

impl Wanted {
    /// Whether the object at the place is as wanted already.
    #[must_use]
    pub fn stands(&self, seen: &Observed) -> bool {
        let holds = |wanted: &BTreeMap<String, String>, seen: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| seen.get(key) == Some(value))
        };
        let data = self.data.iter().all(|(key, value)| seen.data.get(key) == Some(value));
        let nothing_else = !self.exact || seen.data.len() == self.data.len();
        data && nothing_else
            && !self.must_recreate(seen)
            && holds(&self.labels, &seen.labels)
            && holds(&self.annotations, &seen.annotations)
    }

    /// The API server would refuse the change: the type of a Secret never changes, nor does anything immutable.
    #[must_use]
    pub fn must_recreate(&self, seen: &Observed) -> bool {
        let data = seen.immutable && self.data != seen.data;
        self.exact && (data || (self.type_.is_some() && self.type_ != seen.type_))
    }
}

/// What is to be done with the target. Everything that changes an existing object names its uid or resourceVersion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    None,
    /// Create it.
    Create(Wanted),
    /// Change it, it is ours.
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

/// A refused envelope, to be counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The link.
    pub id: String,
    /// Tells one envelope from another.
    pub digest: u64,
    /// Why.
    pub reason: &'static str,
}

/// What is to be done and said.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// To be done with the target.
    pub action: Action,
    /// To be said about the links.
    pub outcomes: Vec<Outcome>,
    /// Envelopes that were refused.
    pub refused: Vec<Refusal>,
    /// When to decide again, even if nothing happens.
    pub again_at: Option<Timestamp>,
}

impl Decision {
    /// Takes note of a refused envelope.
    pub fn refuse(&mut self, view: &LinkView<'_>, reason: reasons::Delivered, message: String) {
        let mut hasher = DefaultHasher::new();
        view.envelope.map(Sensitive::expose).hash(&mut hasher);
        self.refused.push(Refusal {
            id: view.link.spec.id.clone(),
            digest: hasher.finish(),
            reason: reason.as_str(),
        });
        self.outcomes
            .push(view.outcome(Report::NotDelivered(reason, message), false));
    }
}

/// What an envelope turned out to be.
pub enum Brought {
    /// There is none yet, or no key to check it with.
    Waiting(String),
    /// It is refused.
    Refused(reasons::Delivered, String),
    /// Its content.
    Content {
        /// Revision of the content.
        revision: i64,
        /// Its hash, as the source states it.
        hash: String,
        /// The content.
        content: Content,
    },
}

/// Opens the envelope of a link. `held` is the revision that the target holds, if it is ours.
#[must_use]
pub fn open(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>) -> Brought {
    let spec = &view.link.spec;
    let Some(envelope) = view.envelope else {
        return Brought::Waiting(format!(
            "no envelope of cluster {} has arrived yet: it comes with ManifestWork {}",
            spec.from.cluster,
            names::work_name(&spec.peering, 0)
        ));
    };
    let opened = if spec.confidential {
        let key = spec.from.public_key.as_deref();
        let Some(sender) = key.and_then(|text| PublicKey::from_base64(text).ok()) else {
            return Brought::Waiting(format!(
                "the agent of cluster {} has not published a valid key yet, its envelope cannot be checked",
                spec.from.cluster
            ));
        };
        envelope::open(envelope.expose(), &spec.id, &sender, group.keys)
    } else {
        envelope::open_plain(envelope.expose())
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return Brought::Refused(reason(&error), error.to_string()),
    };
    check(group, view, held, opened)
}

fn check(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>, opened: Opened) -> Brought {
    let known = known_revision(group, view, held);
    if let Some(known) = known.filter(|known| opened.revision < *known) {
        let message = format!(
            "the envelope holds revision {}, but revision {known} was delivered already: an older one is never applied",
            opened.revision
        );
        return Brought::Refused(reasons::Delivered::StaleRevision, message);
    }
    match Content::decode(opened.content.expose()) {
        Ok(content) => Brought::Content {
            revision: opened.revision,
            hash: opened.hash,
            content,
        },
        Err(error) => Brought::Refused(reasons::Delivered::EnvelopeRejected, error.to_string()),
    }
}

/// The highest revision of a link that is known to have been delivered.
#[must_use]
pub fn known_revision(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>) -> Option<i64> {
    let stated = view.link.status.as_ref().and_then(|status| status.applied_revision);
    let remembered = group.applied.get(&view.link.spec.id).copied();
    [held, stated, remembered].into_iter().flatten().max()
}

fn reason(error: &EnvelopeError) -> reasons::Delivered {
    match error {
        EnvelopeError::WrongLink { .. } | EnvelopeError::WrongKey { .. } => reasons::Delivered::WrongRecipient,
        _ => reasons::Delivered::EnvelopeRejected,
    }
}

/// What a link without a usable envelope reports: as before if the target holds something of it, else that it waits.
#[must_use]
pub fn waiting(view: &LinkView<'_>, holds: bool, message: String) -> Report {
    let status = view.link.status.as_ref();
    let said = status.is_some_and(|status| {
        let delivered = reasons::DELIVERED;
        status.applied_revision.is_some() && peering_api::peering::condition(&status.conditions, delivered).is_some()
    });
    if holds && said {
        return Report::Unchanged;
    }
    Report::NotDelivered(reasons::Delivered::WaitingForEnvelope, message)
}

/// What a link reports whose target belongs to someone else.
#[must_use]
pub fn conflict(group: &Group<'_>) -> Report {
    let peering = group.target.and_then(|target| target.labels.get(names::PEERING_LABEL));
    let whose = peering.map_or_else(
        || "is not ours".to_owned(),
        |peering| format!("belongs to another link, of Peering {peering}"),
    );
    let message = format!(
        "{} exists and {whose}: it stays untouched; delete it, or choose another target in the ExchangeProfile",
        group.place
    );
    Report::NotDelivered(reasons::Delivered::TargetConflict, message)
}

/// Labels of a target: what the profile asks for, and ours, which win.
#[must_use]
pub fn labels(view: &LinkView<'_>, owner: &str) -> BTreeMap<String, String> {
    let mut labels = view.link.spec.target.labels.clone();
    labels.insert(names::LINK_LABEL.to_owned(), owner.to_owned());
    labels.insert(names::PEERING_LABEL.to_owned(), view.link.spec.peering.clone());
    labels
}

/// The annotation that tells which revisions a target holds.
#[must_use]
pub fn revisions(revisions: &BTreeMap<String, i64>) -> (String, String) {
    // A map of strings to numbers always serialises.
    let text = serde_json::to_string(revisions).unwrap_or_default();
    (names::REVISIONS_ANNOTATION.to_owned(), text)
}

/// The least action that makes the target as wanted.
#[must_use]
pub fn bring_about(wanted: Wanted, target: Option<&Observed>) -> Action {
    match target {
        None => Action::Create(wanted),
        Some(seen) if wanted.stands(seen) => Action::None,
        Some(seen) if wanted.must_recreate(seen) => Action::Recreate(wanted),
        Some(_) => Action::Apply(wanted),
    }
}

/// The decision while the agent may not read the target: every link is told why, nothing is done.
#[must_use]
pub fn denied(group: &Group<'_>) -> Decision {
    let mut decision = Decision::default();
    for view in group.links {
        let message = format!(
            "the agent may not read {}: the right arrives with ManifestWork {}, and namespace {} must exist",
            group.place,
            names::work_name(&view.link.spec.peering, 0),
            group.place.namespace.as_deref().unwrap_or_default()
        );
        let report = match view.envelope {
            _ if view.leaving() => Report::NotWithdrawn(message),
            None => waiting(view, false, message),
            Some(_) => Report::NotDelivered(reasons::Delivered::ApplyFailed, message),
        };
        decision.outcomes.push(view.outcome(report, false));
    }
    decision
}
