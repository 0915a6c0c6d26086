//! What an export should say, given its source: pure, so that every case stands in a table.
//!
//! [`seal`]: content into envelopes. [`issue`]: which tokens and certificates are to be issued. [`conclude`]: what is said
//! of them. [`signing`]: the API server's signer.
mod conclude;
pub mod issue;
pub mod seal;
pub mod signing;
#[cfg(test)]
mod tests;

use addon_framework::runtime::conditions::{Wanted, merge};
use base64::{Engine, prelude::BASE64_STANDARD};
use exchange::{
    envelope::{self, EnvelopeError},
    key::KeyPair,
    revision,
    source::{Bad, Good},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use peering_api::peering::{
    PeerExport, PeerExportStatus, condition,
    reasons::{self, SourceReady, Withdrawn},
};
use rand::CryptoRng;

use self::seal::{Sealing, receivers};

/// Most bytes of envelopes in one export. An object has room for 1.5 MiB (etcd's `--max-request-bytes`); recipients,
/// conditions and bookkeeping need the rest.
const STATUS_LIMIT: usize = 1024 * 1024;

/// What an export should say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// All that the agent owns in it.
    pub status: PeerExportStatus,
    /// How many envelopes were sealed anew.
    pub seals: u64,
    /// When to look again, even if nothing has changed.
    pub again_at: Option<Timestamp>,
    /// What has failed and is to be tried again.
    pub failure: Option<String>,
}

/// One look at an export.
#[derive(Debug)]
pub struct Pass<'a> {
    export: &'a PeerExport,
    before: PeerExportStatus,
    keys: &'a KeyPair,
    now: Timestamp,
}

impl<'a> Pass<'a> {
    /// A look at an export by the agent with these keys.
    #[must_use]
    pub fn new(export: &'a PeerExport, keys: &'a KeyPair, now: Timestamp) -> Self {
        Self {
            export,
            before: export.status.clone().unwrap_or_default(),
            keys,
            now,
        }
    }

    /// A bad source changes the condition only: the last good content stays published.
    #[must_use]
    pub fn refuse(&self, bad: &Bad) -> Decision {
        self.keep(self.condition(false, bad.reason, &bad.message))
    }

    /// Whether every destination has used what was published.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        let recipients = &self.export.spec.recipients;
        !recipients.is_empty() && recipients.iter().all(|recipient| recipient.used)
    }

    /// What was published has served: nothing of it stays, and nothing more is asked for.
    #[must_use]
    pub fn used_up(&self) -> Decision {
        let message = "every destination has used what was published: nothing more is issued";
        Decision {
            status: PeerExportStatus {
                revision: self.before.revision,
                conditions: vec![self.condition(true, SourceReady::Published, message)],
                ..PeerExportStatus::default()
            },
            ..Decision::default()
        }
    }

    /// Everything as it was, with another condition.
    fn keep(&self, said: Condition) -> Decision {
        Decision {
            status: PeerExportStatus {
                conditions: vec![said],
                ..self.before.clone()
            },
            ..Decision::default()
        }
    }

    fn condition(&self, status: bool, reason: SourceReady, message: &str) -> Condition {
        let said = Wanted::new(reasons::SOURCE_READY, status, reason.as_str(), message);
        let said = said.at(self.export.metadata.generation);
        merge(&self.before.conditions, &said, self.now)
    }

    /// Publishes content that the inputs hold.
    pub fn publish(&self, good: &Good, rng: &mut impl CryptoRng) -> Result<Decision, EnvelopeError> {
        let content = good.content.encode();
        let hash = self.keys.content_hash(content.expose());
        let same = self.before.content_hash.as_ref() == Some(&hash);
        let kept = self
            .before
            .revision
            .filter(|revision| same && self.is_recent(*revision));
        let sealing = Sealing {
            keys: self.keys,
            revision: kept.unwrap_or_else(|| self.next_revision()),
            hash: &hash,
            content: &content,
        };
        let mut status = PeerExportStatus {
            revision: Some(sealing.revision),
            content_hash: Some(hash.clone()),
            expires_at: good.content.expires_at().map(Time),
            conditions: vec![self.condition(true, good.reason, &good.message)],
            ..PeerExportStatus::default()
        };
        let mut seals = 0;
        if self.export.spec.confidential {
            for receiver in receivers(&self.export.spec.recipients) {
                let old = receiver.find(&self.before.envelopes).filter(|_| kept.is_some());
                let old = old.filter(|old| receiver.opens(old, self.keys));
                seals += u64::from(old.is_none());
                let envelope = old.cloned().map_or_else(|| receiver.seal(sealing, rng), Ok)?;
                status.envelopes.push(envelope);
            }
        } else {
            let plain = envelope::plain(sealing.revision, &hash, &content)?;
            status.public_envelope = Some(BASE64_STANDARD.encode(plain));
        }
        Ok(self.bounded(Decision {
            status,
            seals,
            ..Decision::default()
        }))
    }

    /// Whether a revision is not behind what a destination has seen, as after a restored backup of the hub.
    fn is_recent(&self, revision: i64) -> bool {
        self.export.spec.revision_floor.is_none_or(|floor| revision >= floor)
    }

    fn next_revision(&self) -> i64 {
        revision::next(self.before.revision.max(self.export.spec.revision_floor), self.now)
    }

    /// What no object has room for is not published at all.
    fn bounded(&self, decision: Decision) -> Decision {
        let envelopes = &decision.status.envelopes;
        let size: usize = envelopes.iter().map(|envelope| envelope.data.len()).sum();
        if size <= STATUS_LIMIT || decision.seals == 0 {
            return decision;
        }
        let message = format!(
            "the content, sealed to each of {} destinations, has {size} bytes, expected at most {STATUS_LIMIT}: narrow \
             payload or keys to what is needed, or spread the destinations over several Peerings; the last good content \
             stays in force",
            envelopes.len()
        );
        self.refuse(&Bad::new(SourceReady::PayloadTooLarge, message))
    }
}

/// What an export says once everything that it had provisioned is gone, or why it is not.
#[must_use]
pub fn withdrawn(export: &PeerExport, problem: Option<&str>, now: Timestamp) -> PeerExportStatus {
    let mut status = export.status.clone().unwrap_or_default();
    let (reason, message) = problem.map_or(
        (
            Withdrawn::Withdrawn,
            "what this export had provisioned on its source is gone",
        ),
        |problem| (Withdrawn::WithdrawFailed, problem),
    );
    let said = Wanted::new(reasons::WITHDRAWN, problem.is_none(), reason.as_str(), message);
    let said = merge(&status.conditions, &said.at(export.metadata.generation), now);
    let source = condition(&status.conditions, reasons::SOURCE_READY).cloned();
    status.conditions = source.into_iter().chain([said]).collect();
    status
}
