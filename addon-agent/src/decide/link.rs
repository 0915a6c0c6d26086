//! What the status of a link says after a pass over its target. The conditions `SourceReady` and `Ready` are the manager's.
use addon_framework::runtime::conditions::{Wanted, merge};
use exchange::state::Verdict;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use peering_api::peering::{ObjectRef, PeerLink, PeerLinkStatus, reasons};

use super::fresh;

/// The conditions of a link that its destination's agent writes.
const OURS: [&str; 6] = [
    reasons::DELIVERED,
    reasons::WIRED,
    reasons::TRUSTED,
    reasons::FRESH,
    reasons::CONNECTED,
    reasons::WITHDRAWN,
];

/// What a link brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The revision that the target holds.
    pub revision: i64,
    /// Its hash, as the source states it.
    pub hash: String,
    /// When the first certificate in it expires.
    pub expires_at: Option<Timestamp>,
    /// Fingerprints of its CA certificates, sorted.
    pub fingerprints: Vec<String>,
    /// For people.
    pub message: String,
}

/// What a pass has to say about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// What was said before stays true.
    Unchanged,
    /// The target holds what the link brought.
    Delivered(Delivery),
    /// It does not; what was delivered before stays.
    NotDelivered(reasons::Delivered, String),
    /// What the link had written is gone.
    Withdrawn,
    /// It could not be removed.
    NotWithdrawn(String),
}

/// What a pass has to say about a part of the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said<T> {
    /// Nothing: it stays as it is.
    #[default]
    Nothing,
    /// It goes.
    Gone,
    /// It becomes this.
    This(T),
}

impl<T> Said<T> {
    /// What is said is all that there is to say.
    #[must_use]
    pub fn all(value: Option<T>) -> Self {
        value.map_or(Self::Gone, Self::This)
    }

    fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Nothing => {}
            Self::Gone => *field = None,
            Self::This(value) => *field = Some(value),
        }
    }
}

/// What a pass has to say about a link besides its delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// `Wired`.
    pub wired: Said<Verdict>,
    /// `Trusted`.
    pub trusted: Said<Verdict>,
    /// `Connected`.
    pub connected: Said<Verdict>,
    /// The objects that hold something of the link.
    pub consumers: Said<Vec<ObjectRef>>,
    /// What is to be signed.
    pub certificate_request: Said<String>,
    /// Until when dropped CA certificates stay.
    pub overlap_until: Said<Time>,
    /// Whether what came has served.
    pub used: Said<String>,
}

/// What a pass has to say about one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the `PeerLink`.
    pub name: String,
    /// Id of the link.
    pub id: String,
    /// What is said if the action succeeds.
    pub report: Report,
    /// Whether the report depends on the action.
    pub acts: bool,
}

impl Outcome {
    /// The same, after the action has failed.
    #[must_use]
    pub fn failed(mut self, reason: reasons::Delivered, message: &str) -> Self {
        if self.acts {
            self.report = match self.report {
                Report::Delivered(_) => Report::NotDelivered(reason, message.to_owned()),
                Report::Withdrawn => Report::NotWithdrawn(message.to_owned()),
                other => other,
            };
        }
        self
    }
}

/// The agent's part of a link's status, as it is.
#[must_use]
pub fn present(link: &PeerLink) -> PeerLinkStatus {
    let mut status = link.status.clone().unwrap_or_default();
    status.conditions.retain(|known| OURS.contains(&known.type_.as_str()));
    sort(&mut status.conditions);
    status
}

fn sort(conditions: &mut [Condition]) {
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// The agent's part of a link's status, as it should be.
#[must_use]
pub fn wanted(link: &PeerLink, report: &Report, stages: Stages, now: Timestamp) -> PeerLinkStatus {
    let mut status = present(link);
    let mut said: Vec<_> = delivery(&mut status, report).into_iter().collect();
    let Stages {
        wired,
        trusted,
        connected,
        consumers,
        certificate_request,
        overlap_until,
        used,
    } = stages;
    used.apply(&mut status.used);
    certificate_request.apply(&mut status.certificate_request);
    overlap_until.apply(&mut status.overlap_until);
    let mut wired_objects = Some(std::mem::take(&mut status.wired));
    consumers.apply(&mut wired_objects);
    status.wired = wired_objects.unwrap_or_default();
    let stages = [
        (reasons::WIRED, wired),
        (reasons::TRUSTED, trusted),
        (reasons::CONNECTED, connected),
        (reasons::FRESH, fresh(link, &status, now)),
    ];
    for (type_, stage) in stages {
        match stage {
            Said::Nothing => {}
            Said::Gone => status.conditions.retain(|known| known.type_ != type_),
            Said::This(verdict) => said.push(Wanted::new(type_, verdict.status, verdict.reason, verdict.message)),
        }
    }
    for said in said {
        let said = merge(&status.conditions, &said.at(link.metadata.generation), now);
        status.conditions.retain(|known| known.type_ != said.type_);
        status.conditions.push(said);
    }
    sort(&mut status.conditions);
    status
}

/// What is delivered does not have to arrive again to expire.
fn fresh(link: &PeerLink, status: &PeerLinkStatus, now: Timestamp) -> Said<Verdict> {
    if link.metadata.deletion_timestamp.is_some() || status.applied_revision.is_none() {
        return Said::Nothing;
    }
    let expires_at = status.expires_at.as_ref().map(|time| time.0);
    Said::all(fresh::fresh(&link.spec, expires_at, now))
}

/// Takes over what was delivered; returns the condition that tells of it.
fn delivery(status: &mut PeerLinkStatus, report: &Report) -> Option<Wanted> {
    Some(match report {
        Report::Unchanged => return None,
        Report::Delivered(delivery) => {
            status.applied_revision = Some(delivery.revision);
            status.applied_hash = Some(delivery.hash.clone());
            status.expires_at = delivery.expires_at.map(Time);
            status.ca_fingerprints.clone_from(&delivery.fingerprints);
            Wanted::new(
                reasons::DELIVERED,
                true,
                reasons::Delivered::Delivered.as_str(),
                &delivery.message,
            )
        }
        Report::NotDelivered(reason, message) => Wanted::new(reasons::DELIVERED, false, reason.as_str(), message),
        Report::Withdrawn => {
            let message = "what this link had written on its destination is gone";
            Wanted::new(
                reasons::WITHDRAWN,
                true,
                reasons::Withdrawn::Withdrawn.as_str(),
                message,
            )
        }
        Report::NotWithdrawn(message) => Wanted::new(
            reasons::WITHDRAWN,
            false,
            reasons::Withdrawn::WithdrawFailed.as_str(),
            message,
        ),
    })
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
