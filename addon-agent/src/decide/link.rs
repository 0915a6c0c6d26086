//! What the status of a link says after a pass over its target. The conditions `SourceReady` and `Ready` are the manager's.
use addon_framework::runtime::conditions::{Wanted, merge};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::peering::{PeerLink, PeerLinkStatus, condition, reasons};

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
    let ours = [reasons::DELIVERED, reasons::WITHDRAWN];
    status.conditions = ours
        .iter()
        .filter_map(|type_| condition(&status.conditions, type_).cloned())
        .collect();
    status
}

/// The agent's part of a link's status, as it should be.
#[must_use]
pub fn wanted(link: &PeerLink, report: &Report, now: Timestamp) -> PeerLinkStatus {
    let mut status = present(link);
    let said = match report {
        Report::Unchanged => return status,
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
    };
    let said = merge(&status.conditions, &said.at(link.metadata.generation), now);
    status.conditions.retain(|known| known.type_ != said.type_);
    status.conditions.push(said);
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::{link, now};

    fn delivery(revision: i64) -> Report {
        Report::Delivered(Delivery {
            revision,
            hash: "h".into(),
            expires_at: None,
            fingerprints: vec![],
            message: "m".into(),
        })
    }

    fn managers() -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
        vec![merge(&[], &Wanted::new("Ready", true, "Ready", ""), now())]
    }

    #[test]
    fn the_managers_conditions_are_neither_read_nor_sent() {
        let mut link = link("a");
        link.status = Some(PeerLinkStatus {
            conditions: managers(),
            ..PeerLinkStatus::default()
        });
        assert_eq!(present(&link), PeerLinkStatus::default());
        let status = wanted(&link, &delivery(7), now());
        assert_eq!(status.conditions.len(), 1);
        link.status = Some(PeerLinkStatus {
            conditions: [managers(), status.conditions.clone()].concat(),
            ..status.clone()
        });
        assert_eq!(
            wanted(&link, &delivery(7), now() + jiff::SignedDuration::from_hours(1)),
            present(&link),
            "saying it again writes nothing"
        );
    }

    #[test]
    fn a_refusal_and_a_withdrawal_keep_what_was_delivered() {
        let mut link = link("a");
        link.status = Some(wanted(&link, &delivery(7), now()));
        let refused = wanted(
            &link,
            &Report::NotDelivered(reasons::Delivered::StaleRevision, "m".into()),
            now(),
        );
        assert_eq!((refused.applied_revision, refused.conditions.len()), (Some(7), 1));
        let gone = wanted(&link, &Report::Withdrawn, now());
        let types: Vec<_> = gone.conditions.iter().map(|seen| seen.type_.as_str()).collect();
        assert_eq!(types, ["Delivered", "Withdrawn"]);
        assert_eq!(gone.conditions[0].status, "True");
        assert_eq!(wanted(&link, &Report::Unchanged, now()), present(&link));
    }

    #[test]
    fn only_what_depends_on_the_action_fails_with_it() {
        let outcome = |report, acts| Outcome {
            name: "n".into(),
            id: "i".into(),
            report,
            acts,
        };
        let failed = |report, acts| {
            outcome(report, acts)
                .failed(reasons::Delivered::ApplyFailed, "no")
                .report
        };
        assert_eq!(
            failed(delivery(1), true),
            Report::NotDelivered(reasons::Delivered::ApplyFailed, "no".into())
        );
        assert_eq!(failed(delivery(1), false), delivery(1));
        assert_eq!(failed(Report::Withdrawn, true), Report::NotWithdrawn("no".into()));
        assert_eq!(failed(Report::Unchanged, true), Report::Unchanged);
    }
}
