//! What an export says after tokens and certificates were asked for.
use exchange::{
    envelope::EnvelopeError,
    refresh::renew_after,
    source::{Bad, Inputs, Issued},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use peering_api::peering::{
    PeerExportStatus, condition,
    reasons::{SOURCE_READY, SourceReady},
    rfc3339,
};
use rand::CryptoRng;

use super::{
    Decision, Pass,
    issue::{Answer, Order, Record, Unit, policy},
    seal::Sealing,
    signing,
};

/// How long the API server's signer may take before it is a matter for people. It usually takes less than a second.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// What has become of one unit.
struct Outcome {
    /// Whether its recipients have something that they can use.
    served: bool,
    problem: Option<Problem>,
    again_at: Option<Timestamp>,
}

struct Problem {
    reason: SourceReady,
    message: String,
    /// Trying again may help.
    retry: bool,
}

impl Pass<'_> {
    /// What the export says after everything was asked for.
    pub fn conclude(
        &self,
        inputs: &Inputs<'_>,
        answered: &[(Unit<'_>, Answer)],
        rng: &mut impl CryptoRng,
    ) -> Result<Decision, EnvelopeError> {
        let mut conclusion = Conclusion {
            pass: self,
            inputs,
            each: inputs.certificate().is_some(),
            status: PeerExportStatus {
                envelopes: Vec::new(),
                public_envelope: None,
                ..self.before.clone()
            },
            seals: 0,
            outcomes: Vec::new(),
        };
        for (unit, answer) in answered {
            let outcome = conclusion.unit(unit, answer, rng)?;
            conclusion.outcomes.push(outcome);
        }
        Ok(self.bounded(conclusion.decision()))
    }
}

struct Conclusion<'c> {
    pass: &'c Pass<'c>,
    inputs: &'c Inputs<'c>,
    /// Each recipient has content of its own.
    each: bool,
    status: PeerExportStatus,
    seals: u64,
    outcomes: Vec<Outcome>,
}

impl Conclusion<'_> {
    fn unit(&mut self, unit: &Unit<'_>, answer: &Answer, rng: &mut impl CryptoRng) -> Result<Outcome, EnvelopeError> {
        let outcome = match answer {
            Answer::Issued(values, expires_at) => match self.seal(unit, values, *expires_at, rng)? {
                Ok(outcome) => return Ok(outcome),
                Err(problem) => unit.failed(problem),
            },
            Answer::Nothing => unit.unasked(),
            Answer::Failed(why) => unit.failed(Problem {
                reason: SourceReady::IssueDenied,
                message: why.clone(),
                retry: true,
            }),
            Answer::Pending(name, since) => unit.pending(name, *since, self.pass.now),
        };
        let old = unit.receivers.iter();
        let old = old.filter_map(|receiver| receiver.find(&self.pass.before.envelopes).cloned());
        self.status.envelopes.extend(old);
        Ok(outcome)
    }

    /// Seals what was issued to the unit's recipients, at a new revision; or says why it is no content.
    fn seal(
        &mut self,
        unit: &Unit<'_>,
        values: &Issued,
        expires_at: Timestamp,
        rng: &mut impl CryptoRng,
    ) -> Result<Result<Outcome, Problem>, EnvelopeError> {
        let pass = self.pass;
        if expires_at <= pass.now {
            return Ok(Err(Problem {
                reason: SourceReady::IssueDenied,
                message: format!(
                    "what was issued has expired already, at {}: see the clock of the source cluster",
                    rfc3339(expires_at)
                ),
                retry: true,
            }));
        }
        let content = match self.inputs.content(values) {
            Ok(good) => good.content,
            Err(bad) => return Ok(Err(bad.into())),
        };
        let export = pass.export;
        let seed = match unit.receivers.first() {
            Some(receiver) if self.each => receiver.recipient.link.as_str(),
            _ => export.metadata.uid.as_deref().unwrap_or_default(),
        };
        let record = Record {
            hash: unit.hash.clone(),
            revision: pass.next_revision(),
            expires_at: content.expires_at().map_or(expires_at, |first| first.min(expires_at)),
            renew_after: renew_after(pass.now, expires_at, &policy(export.spec.refresh.as_ref()), seed),
        };
        let content = content.encode();
        let hash = pass.keys.content_hash(content.expose());
        let sealing = Sealing {
            keys: pass.keys,
            revision: record.revision,
            hash: &hash,
            content: &content,
        };
        for receiver in &unit.receivers {
            let mut envelope = receiver.seal(sealing, rng)?;
            if self.each {
                envelope.revision = Some(record.revision);
                envelope.inputs_hash = Some(record.hash.clone());
                envelope.expires_at = Some(Time(record.expires_at));
                envelope.renew_after = Some(Time(record.renew_after));
                if let Order::Certificate(request) = &unit.order {
                    envelope.request_hash = Some(request.hash.clone());
                }
            }
            self.status.envelopes.push(envelope);
            self.seals += 1;
        }
        let again_at = Some(record.renew_after);
        if !self.each {
            self.status.revision = Some(record.revision);
            self.status.content_hash = Some(hash);
            self.status.inputs_hash = Some(record.hash);
            self.status.expires_at = Some(Time(record.expires_at));
            self.status.renew_after = Some(Time(record.renew_after));
        }
        Ok(Ok(Outcome {
            served: true,
            problem: None,
            again_at,
        }))
    }

    fn decision(mut self) -> Decision {
        if self.each {
            self.sum_up();
        }
        self.status.conditions = self.said().into_iter().collect();
        let problems = || self.outcomes.iter().filter_map(|outcome| outcome.problem.as_ref());
        Decision {
            seals: self.seals,
            again_at: self.outcomes.iter().filter_map(|outcome| outcome.again_at).min(),
            failure: problems()
                .find(|problem| problem.retry)
                .map(|problem| problem.message.clone()),
            status: self.status,
        }
    }

    /// What is said of the whole where each envelope is for itself. The revision never goes back.
    fn sum_up(&mut self) {
        let records: Vec<_> = self.status.envelopes.iter().filter_map(Record::of_one).collect();
        let revision = records.iter().map(|record| record.revision).max();
        self.status.revision = revision.max(self.pass.before.revision);
        self.status.expires_at = records.iter().map(|record| record.expires_at).min().map(Time);
        self.status.renew_after = records.iter().map(|record| record.renew_after).min().map(Time);
        self.status.content_hash = None;
        self.status.inputs_hash = None;
    }

    /// The condition. One recipient with a problem does not make the others' links unready: it is only told of.
    fn said(&self) -> Option<Condition> {
        let pass = self.pass;
        let problems: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.problem.as_ref())
            .collect();
        let served = self.outcomes.iter().filter(|outcome| outcome.served).count();
        if let (0, Some(first)) = (served, problems.first()) {
            return Some(pass.condition(false, first.reason, &first.told()));
        }
        if served == 0 && !self.outcomes.is_empty() {
            // The signer is at work, for a moment.
            return condition(&pass.before.conditions, SOURCE_READY).cloned();
        }
        let mut message = if self.status.envelopes.is_empty() {
            "nothing is issued before the agent of a destination has published its key".to_owned()
        } else if self.each {
            format!(
                "{} for {served} of {} destinations",
                self.inputs.published(),
                self.outcomes.len()
            )
        } else {
            self.inputs.published()
        };
        for problem in problems {
            message = format!("{message}; {}", problem.told());
        }
        Some(pass.condition(true, SourceReady::Published, &message))
    }
}

impl Problem {
    fn told(&self) -> String {
        let retry = if self.retry { "; it is tried again" } else { "" };
        format!("{}{retry}", self.message)
    }
}

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Self {
        Self {
            reason: bad.reason,
            message: bad.message,
            retry: false,
        }
    }
}

impl Unit<'_> {
    /// Nothing was asked for: what stands is kept, or it could not be asked.
    fn unasked(&self) -> Outcome {
        match &self.order {
            Order::Nothing(renew_after) => Outcome {
                served: true,
                problem: None,
                again_at: *renew_after,
            },
            Order::Held(bad) => self.failed(bad.clone().into()),
            Order::Tokens | Order::Certificate(_) => Outcome {
                served: self.valid_until.is_some(),
                problem: None,
                again_at: self.valid_until,
            },
        }
    }

    /// What was issued before serves until it expires.
    fn failed(&self, mut problem: Problem) -> Outcome {
        if let Some(until) = self.valid_until {
            let until = rfc3339(until);
            problem.message = format!(
                "its renewal fails: {}; what was issued before is valid until {until}",
                problem.message
            );
        }
        Outcome {
            served: self.valid_until.is_some(),
            problem: Some(problem),
            again_at: self.valid_until,
        }
    }

    fn pending(&self, name: &str, since: Timestamp, now: Timestamp) -> Outcome {
        let patient = now.duration_since(since) < PATIENCE;
        let problem = Problem {
            reason: SourceReady::IssuePending,
            message: format!(
                "CertificateSigningRequest {name} has been approved and waits for the API server's signer since {}: see \
                 it, and the controller manager of the source cluster",
                rfc3339(since)
            ),
            retry: false,
        };
        Outcome {
            served: self.valid_until.is_some(),
            problem: (!patient).then_some(problem),
            again_at: Some(signing::again_at(since, now)),
        }
    }
}
