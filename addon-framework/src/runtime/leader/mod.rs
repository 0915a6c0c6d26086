//! Leader election on a Lease, by client-go's algorithm: of any number of processes one at a time works.
//!
//! A candidate reads the Lease every few seconds. It takes one that is missing, given up, or was not renewed for the
//! duration that it states, measured on the candidate's own monotonic clock since it last saw the record change. Every
//! write is made over the version that was read, so of two candidates one fails.
//!
//! It differs from client-go where that would let two work at once: the time in which a leader must have renewed counts
//! from when its last successful request was *sent* (a slow answer does not prolong it), one request cannot use up all of
//! that time, and a leader that reads another holder stops at once.
mod record;

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::coordination::v1::Lease,
    kube::{self, Api, Client, ResourceExt, api::PostParams},
};
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::record::{Step, View};
use super::{error_chain, metrics};

/// A candidate tries again after one to this many times [`Timing::retry`], as in client-go.
const JITTER: f64 = 2.2;

/// How long a term lasts, and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For how long the others wait after a renewal, in whole seconds.
    pub lease: Duration,
    /// For how long after a renewal a leader works on without another one; shorter than `lease`, by the time that its
    /// process needs to end.
    pub renew: Duration,
    /// The time between renewals, and (with jitter) between looks at another's Lease.
    pub retry: Duration,
}

impl Default for Timing {
    /// client-go's: 15, 10 and 2 seconds.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Another works now, or may: end the process.
#[derive(Debug, Error)]
pub enum Lost {
    /// The Lease could not be renewed in time.
    #[error("could not renew the lease {0} in time, so another may lead")]
    Expired(String),
    /// Somebody else is in the Lease.
    #[error("the lease {lease} is held by {holder:?} now")]
    Taken {
        /// The Lease's name.
        lease: String,
        /// Its holder.
        holder: String,
    },
}

/// A name for this process that no other has, also not the one that runs in this pod after it.
#[must_use]
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "unknown".to_owned());
    format!("{host}_{:016x}", rand::random::<u64>())
}

/// One of the processes of which one shall work.
#[derive(Clone)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// A candidate for the Lease `name` in `namespace`, with an [`identity`] that is used once. Needs `get`, `create` and
    /// `update` on `leases` there.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, timing: Timing) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            timing,
        }
    }

    /// Waits until this process leads, runs `work`, and gives the Lease up once `work` has ended: `work` ends itself when
    /// `token` is cancelled, and the Lease is renewed until it has. Nothing if `token` was cancelled before it led.
    ///
    /// When the Lease is lost, `work` is dropped. What it has spawned is not, so end the process.
    pub async fn lead<F: Future>(
        self,
        token: &CancellationToken,
        work: impl FnOnce() -> F,
    ) -> Result<Option<F::Output>, Lost> {
        let gauge = metrics().leader(&self.name);
        gauge.set(0);
        info!(lease = self.name, identity = self.identity, "waiting to lead");
        let Some(mut term) = Term::begin(self, token).await else {
            return Ok(None);
        };
        info!(lease = term.candidate.name, "leading");
        gauge.set(1);
        let ended = tokio::select! {
            biased;
            lost = term.renew() => Err(lost),
            output = work() => Ok(Some(output)),
        };
        gauge.set(0);
        if ended.is_ok() {
            term.release().await;
        }
        ended
    }

    /// How long one look or write may take: two fit into the time in which a leader must have renewed.
    fn attempt_limit(&self) -> Duration {
        self.timing.renew / 2
    }
}

/// A candidate at work on the Lease.
struct Term {
    candidate: Candidate,
    view: View,
    /// Whether this process works by this term: then nobody else's Lease is taken, not even one whose time is over.
    leading: bool,
    /// When the last write that made us the holder was sent.
    sent: Instant,
}

impl Term {
    /// Waits until the Lease is ours. An attempt under way is finished before a cancelled token is obeyed: its write may
    /// have made us leader, which only its answer tells.
    async fn begin(candidate: Candidate, token: &CancellationToken) -> Option<Self> {
        let view = View::new(candidate.identity.clone(), candidate.timing.lease);
        let mut term = Self {
            candidate,
            view,
            leading: false,
            sent: Instant::now(),
        };
        let mut told = None;
        while !token.is_cancelled() {
            let leads = term.attempt_in_time(term.candidate.attempt_limit()).await;
            if leads && token.is_cancelled() {
                term.release().await;
                return None;
            }
            if leads {
                term.leading = true;
                return Some(term);
            }
            let holder = term.view.holder().map(str::to_owned);
            if holder != told {
                info!(lease = term.candidate.name, holder = holder.as_deref(), "another leads");
                told = holder;
            }
            let wait = term.candidate.timing.retry.mul_f64(rand::random_range(1.0..JITTER));
            token.run_until_cancelled(sleep(wait)).await;
        }
        None
    }

    /// Renews the Lease until that fails for too long.
    async fn renew(&mut self) -> Lost {
        let timing = self.candidate.timing;
        loop {
            // The others may take it `timing.lease` after they saw our last write, which was not before it was sent.
            let until = self.sent + timing.renew;
            let next = (Instant::now() + timing.retry).min(until);
            sleep_until(next).await;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Lost::Expired(self.candidate.name.clone());
            }
            if !self.attempt_in_time(left.min(self.candidate.attempt_limit())).await
                && let Some(holder) = self.others_holder()
            {
                return Lost::Taken {
                    lease: self.candidate.name.clone(),
                    holder: holder.to_owned(),
                };
            }
        }
    }

    /// Who was last seen in the Lease, if it was not this process.
    fn others_holder(&self) -> Option<&str> {
        self.view.holder().filter(|_| !self.view.is_ours())
    }

    /// Whether the Lease is ours after one attempt of at most this time.
    async fn attempt_in_time(&mut self, limit: Duration) -> bool {
        let name = self.candidate.name.clone();
        match timeout(limit, self.attempt()).await {
            Ok(Ok(leads)) => leads,
            Ok(Err(error)) => {
                warn!(
                    lease = name,
                    error = error_chain(&error),
                    "cannot take or renew the lease"
                );
                false
            }
            Err(_) => {
                warn!(lease = name, "no answer about the lease in time");
                false
            }
        }
    }

    /// client-go's `tryAcquireOrRenew`.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        if let Some(lease) = self.view.renewal(Instant::now(), Timestamp::now()) {
            match self.write(&lease).await {
                Ok(()) => return Ok(true),
                Err(error) => debug!(error = error_chain(&error), "the lease was changed, reading it"),
            }
        }
        let Some(lease) = self.candidate.leases.get_opt(&self.candidate.name).await? else {
            let (sent, first) = (Instant::now(), self.view.first(&self.candidate.name, Timestamp::now()));
            let lease = self.candidate.leases.create(&PostParams::default(), &first).await?;
            self.wrote(lease, sent);
            return Ok(true);
        };
        self.view.saw(lease, Instant::now());
        if self.leading && self.others_holder().is_some() {
            return Ok(false);
        }
        match self.view.step(Instant::now(), Timestamp::now()) {
            Step::Wait { holder } => {
                debug!(holder, "another holds the lease");
                Ok(false)
            }
            Step::Write(lease) => self.write(&lease).await.map(|()| true),
        }
    }

    async fn write(&mut self, lease: &Lease) -> Result<(), kube::Error> {
        let sent = Instant::now();
        let written = self
            .candidate
            .leases
            .replace(&lease.name_any(), &PostParams::default(), lease)
            .await?;
        self.wrote(written, sent);
        Ok(())
    }

    fn wrote(&mut self, lease: Lease, sent: Instant) {
        self.view.saw(lease, Instant::now());
        self.sent = sent;
    }

    /// Gives the Lease up. If that fails, the others wait until its time is over.
    async fn release(self) {
        let name = &self.candidate.name;
        match timeout(self.candidate.attempt_limit(), self.write_release()).await {
            Ok(Ok(())) => info!(lease = name, "lease given up"),
            Ok(Err(error)) => warn!(lease = name, error = error_chain(&error), "lease not given up"),
            Err(_) => warn!(lease = name, "lease not given up in time"),
        }
    }

    async fn write_release(&self) -> Result<(), kube::Error> {
        let (leases, name) = (&self.candidate.leases, &self.candidate.name);
        loop {
            let lease = leases.get_opt(name).await?;
            let Some(released) = lease.and_then(|lease| self.view.released(&lease, Timestamp::now())) else {
                return Ok(());
            };
            match leases.replace(name, &PostParams::default(), &released).await {
                // A renewal whose answer was not waited for may have come in between.
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                result => return result.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests;
