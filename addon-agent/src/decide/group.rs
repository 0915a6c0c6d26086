//! The words in which decisions about targets are asked for and given.
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use exchange::{ca::Certificate, key::KeyPair};
use jiff::Timestamp;
use peering_api::{
    Sensitive, names,
    peering::{PeerLink, reasons},
};

use super::{
    action::Action,
    link::{Outcome, Report},
};
use crate::spoke::{Observed, Place};

/// The private key of the certificate that a link asks for.
#[derive(Clone, Copy, Debug, Default)]
pub enum CertificateKey<'a> {
    /// The link holds no certificate.
    #[default]
    None,
    /// It is not there yet, and why.
    Missing(&'a str),
    /// The key (PEM).
    Ready(&'a Sensitive),
}

/// What keeps a leaving link from removing its target: a consumer still refers to it, or it is not known what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A watch has not said anything.
    Pending,
    /// Somebody refuses, and why.
    Refused(String),
}

/// A link that ends at the target, with what was found of its own.
#[derive(Clone, Copy, Debug)]
pub struct LinkView<'a> {
    /// The link.
    pub link: &'a PeerLink,
    /// Its envelope; `None` while none has arrived.
    pub envelope: Option<&'a Sensitive>,
    /// The key of its certificate.
    pub key: CertificateKey<'a>,
    /// What keeps it from removing its target, of a leaving link.
    pub obstacle: Option<&'a Obstacle>,
}

impl<'a> LinkView<'a> {
    /// A link of which nothing was found yet.
    #[must_use]
    pub fn new(link: &'a PeerLink) -> Self {
        Self {
            link,
            envelope: None,
            key: CertificateKey::None,
            obstacle: None,
        }
    }

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

    /// What a leaving link reports that may not remove its target yet.
    #[must_use]
    pub fn held_back(&self) -> Option<Report> {
        Some(match self.obstacle? {
            Obstacle::Pending => Report::Unchanged,
            Obstacle::Refused(why) => Report::NotWithdrawn(why.clone()),
        })
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
    /// This agent's key pairs, the newest first: during a rotation envelopes for the one before are under way.
    pub keys: &'a [&'a KeyPair],
    /// The highest revision that this process has applied, per link.
    pub applied: &'a BTreeMap<String, i64>,
    /// The time.
    pub now: Timestamp,
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

/// What the target holds after the action, for those who refer to it and for those who prove that it works.
#[derive(Clone, Debug)]
pub struct Held {
    /// Whose the target is: the id of its link, or of its bundle.
    pub owner: String,
    /// What came, by key; of a bundle the union of certificates.
    pub payload: BTreeMap<String, Sensitive>,
    /// The private key of a delivered certificate.
    pub certificate_key: Option<Sensitive>,
    /// Tells one content from another.
    pub hash: String,
    /// The CA certificates, of a bundle.
    pub bundle: Option<Sensitive>,
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
    /// What the target holds if the action succeeds; `None` where nothing was delivered.
    pub held: Option<Held>,
    /// Until when CA certificates that their sources have dropped stay at the latest.
    pub overlap_until: Option<Timestamp>,
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

/// What a link reports that would take an object over, but could not do so without deleting it first.
#[must_use]
pub fn not_adoptable(group: &Group<'_>) -> Report {
    let message = format!(
        "{} exists and is not ours: expected an object that can be taken over, seen one of another type, or an immutable one with other data, which would have to be deleted first; delete it, or set deliver.type",
        group.place
    );
    Report::NotDelivered(reasons::Delivered::TargetConflict, message)
}

/// Labels of a target: what the profile asks for, and ours, which win.
#[must_use]
pub fn labels(view: &LinkView<'_>, owner: &str) -> BTreeMap<String, String> {
    let mut labels = view.link.spec.target.labels.clone();
    labels.extend(our_labels(owner, &view.link.spec.peering));
    labels
}

/// The labels by which we know our objects.
#[must_use]
pub fn our_labels(owner: &str, peering: &str) -> BTreeMap<String, String> {
    let pairs = [(names::LINK_LABEL, owner), (names::PEERING_LABEL, peering)];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The annotation that tells which revisions a target holds.
#[must_use]
pub fn revisions(revisions: &BTreeMap<String, i64>) -> (String, String) {
    // A map of strings to numbers always serialises.
    let text = serde_json::to_string(revisions).unwrap_or_default();
    (names::REVISIONS_ANNOTATION.to_owned(), text)
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

/// The decision while the target's kind is not installed: nothing stands there, and nothing can.
#[must_use]
pub fn unknown(group: &Group<'_>) -> Decision {
    let mut decision = Decision::default();
    for view in group.links {
        let report = if view.leaving() {
            view.held_back().unwrap_or(Report::Withdrawn)
        } else {
            let message = format!(
                "expected kind {} ({}) on this cluster, seen none: install it, or choose another kind in the ExchangeProfile; it is picked up at once",
                group.place.kind, group.place.api_version
            );
            Report::NotDelivered(reasons::Delivered::ApplyFailed, message)
        };
        decision.outcomes.push(view.outcome(report, false));
    }
    decision
}
