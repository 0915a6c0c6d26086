//! Tokens and certificates: what has to be issued now. What an export says once it was stands in [`conclude`](super::conclude).
//!
//! A token is issued for all recipients at once, a certificate for each of them. The plaintext is not kept. What was sealed
//! stays in force as long as what it was made from is the same (`inputsHash`), the time of its renewal has not come, and
//! every recipient can open it: so a restart issues nothing.
use std::time::Duration;

use exchange::{
    certificate::{self, Checked, Subject},
    refresh::Policy,
    source::{Bad, Inputs, Issued},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::{
    duration, names,
    peering::{PeerExportStatus, Recipient, Refresh, SealedEnvelope, reasons::SourceReady},
};
use sha2::{Digest, Sha256};

use super::{
    Pass,
    seal::{Receiver, receivers},
};

/// What is issued at once: something for all recipients, or for one.
#[derive(Debug)]
pub struct Unit<'a> {
    /// What is to be asked for now.
    pub order: Order<'a>,
    pub(super) receivers: Vec<Receiver<'a>>,
    /// Keyed hash of what it is made from.
    pub(super) hash: String,
    /// Until when what was issued before may still be used, where it is of use at all.
    pub(super) valid_until: Option<Timestamp>,
}

/// What is to be asked for.
#[derive(Debug)]
pub enum Order<'a> {
    /// Nothing: what was issued before stays until it is to be renewed.
    Nothing(Option<Timestamp>),
    /// The tokens of the export.
    Tokens,
    /// A certificate for this request, and the tokens.
    Certificate(Request<'a>),
    /// It cannot be asked for.
    Held(Bad),
}

/// A request that may be signed.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub recipient: &'a Recipient,
    /// What it asks for, checked.
    pub checked: Checked,
    /// The same as it came (PEM).
    pub pem: &'a str,
    /// Lower-case hex SHA-256 of it.
    pub hash: String,
}

/// What came of an order.
#[derive(Debug)]
pub enum Answer {
    /// Nothing was asked for.
    Nothing,
    /// It was issued, and expires at that time.
    Issued(Issued, Timestamp),
    /// The signer has not signed the object of this name yet, which was made at that time.
    Pending(String, Timestamp),
    /// It was not issued.
    Failed(String),
}

/// What is known of something that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub hash: String,
    pub revision: i64,
    pub expires_at: Timestamp,
    pub renew_after: Timestamp,
}

impl Record {
    fn of(
        hash: Option<&String>,
        revision: Option<i64>,
        expires_at: Option<&Time>,
        renew_after: Option<&Time>,
    ) -> Option<Self> {
        Some(Self {
            hash: hash?.clone(),
            revision: revision?,
            expires_at: expires_at?.0,
            renew_after: renew_after?.0,
        })
    }

    fn of_all(status: &PeerExportStatus) -> Option<Self> {
        let (expires_at, renew_after) = (status.expires_at.as_ref(), status.renew_after.as_ref());
        Self::of(status.inputs_hash.as_ref(), status.revision, expires_at, renew_after)
    }

    pub fn of_one(envelope: &SealedEnvelope) -> Option<Self> {
        let (expires_at, renew_after) = (envelope.expires_at.as_ref(), envelope.renew_after.as_ref());
        Self::of(
            envelope.inputs_hash.as_ref(),
            envelope.revision,
            expires_at,
            renew_after,
        )
    }
}

/// The renewal policy of an export.
#[must_use]
pub fn policy(refresh: Option<&Refresh>) -> Policy {
    let refresh = refresh.cloned().unwrap_or_default();
    Policy {
        percent: refresh.renew_at_percent,
        jitter_percent: refresh.jitter_percent,
        // The CRD's schema takes nothing else.
        floor: duration::parse(&refresh.min_interval).unwrap_or(Duration::from_mins(1)),
    }
}

impl Pass<'_> {
    /// What has to be issued now.
    pub fn units<'p>(&'p self, inputs: &Inputs<'_>) -> Result<Vec<Unit<'p>>, Bad> {
        let receivers = receivers(&self.export.spec.recipients);
        if inputs.certificate().is_none() {
            return Ok(vec![self.for_all(inputs, receivers)?]);
        }
        let units = receivers.iter().map(|receiver| self.for_one(inputs, receiver));
        units.collect()
    }

    fn for_all<'p>(&'p self, inputs: &Inputs<'_>, receivers: Vec<Receiver<'p>>) -> Result<Unit<'p>, Bad> {
        let hash = self.keys.content_hash(inputs.basis(None)?.expose());
        let sealed = receivers.iter().all(|receiver| self.is_sealed(receiver));
        let record = Record::of_all(&self.before);
        let order = match self.standing(record.as_ref(), &hash, sealed) {
            _ if receivers.is_empty() => Order::Nothing(None),
            Some(renew_after) => Order::Nothing(Some(renew_after)),
            None => Order::Tokens,
        };
        Ok(Unit {
            order,
            receivers,
            valid_until: self.valid_until(record, Some(&hash)),
            hash,
        })
    }

    fn for_one<'p>(&'p self, inputs: &Inputs<'_>, receiver: &Receiver<'p>) -> Result<Unit<'p>, Bad> {
        let record = receiver.find(&self.before.envelopes).and_then(Record::of_one);
        let unit = |order, hash: Option<String>| Unit {
            order,
            valid_until: self.valid_until(record.clone(), hash.as_ref()),
            hash: hash.unwrap_or_default(),
            receivers: vec![receiver.clone()],
        };
        let (subject, request) = match asked(inputs, receiver.recipient) {
            Ok(asked) => asked,
            Err(bad) => return Ok(unit(Order::Held(bad), None)),
        };
        let basis = inputs.basis(Some((&subject, request.pem)))?;
        let hash = self.keys.content_hash(basis.expose());
        let kept = self.standing(record.as_ref(), &hash, self.is_sealed(receiver));
        let order = kept.map_or(Order::Certificate(request), |renew_after| {
            Order::Nothing(Some(renew_after))
        });
        Ok(unit(order, Some(hash)))
    }

    fn is_sealed(&self, receiver: &Receiver<'_>) -> bool {
        let envelope = receiver.find(&self.before.envelopes);
        envelope.is_some_and(|envelope| receiver.opens(envelope, self.keys))
    }

    /// Until when what was issued is kept; `None` if something else is to be issued now.
    fn standing(&self, record: Option<&Record>, hash: &str, sealed: bool) -> Option<Timestamp> {
        let record = record.filter(|record| sealed && record.hash == hash && self.is_recent(record.revision))?;
        (self.now < record.renew_after).then_some(record.renew_after)
    }

    /// Until when what was issued before serves. What was made from something else (`hash`) does not; where it is not
    /// known what it should be made from, it does.
    fn valid_until(&self, record: Option<Record>, hash: Option<&String>) -> Option<Timestamp> {
        let record = record.filter(|record| hash.is_none_or(|hash| record.hash == *hash))?;
        (self.now < record.expires_at).then_some(record.expires_at)
    }
}

/// What one receiver asks for, checked against what it may have.
fn asked<'r>(inputs: &Inputs<'_>, recipient: &'r Recipient) -> Result<(Subject, Request<'r>), Bad> {
    let cluster = &recipient.cluster;
    let subject = inputs.subject(cluster)?;
    let Some(pem) = recipient.certificate_request.as_deref() else {
        let message = format!(
            "the certificate request of cluster {cluster} has not arrived: its agent makes it as soon as it sees its \
             PeerLink; see ManagedClusterAddOn {} of that cluster",
            names::ADDON
        );
        return Err(Bad::new(SourceReady::WaitingForRequest, message));
    };
    let checked = certificate::check(pem, &subject).map_err(|error| {
        let message = format!("the certificate request of cluster {cluster} is refused: {error}");
        Bad::new(SourceReady::IssueDenied, message)
    })?;
    let request = Request {
        recipient,
        checked,
        pem,
        hash: names::hex(&Sha256::digest(pem.as_bytes())),
    };
    Ok((subject, request))
}
