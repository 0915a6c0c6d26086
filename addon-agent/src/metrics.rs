//! The agent's own counters. Those of queues and watches are the framework's.
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::decide::group::Refusal;

/// Distinct refused envelopes that are remembered per link; beyond that, repeated ones are counted again.
const REMEMBERED: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// The counters, and which refused envelopes are in them already.
#[derive(Debug, Default)]
pub struct Metrics {
    refused: Family<Reason, Counter>,
    deliveries: Family<Kind, Counter>,
    seals: Counter,
    counted: Mutex<HashMap<String, HashSet<(u64, &'static str)>>>,
}

impl Metrics {
    /// Registers `refused_envelopes_total` (by `reason`), `deliveries_total` (by `kind`) and `seals_total`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Distinct envelopes that were refused";
        registry.register("refused_envelopes", help, self.refused.clone());
        let help = "Targets that were created or changed";
        registry.register("deliveries", help, self.deliveries.clone());
        registry.register("seals", "Envelopes that were sealed", self.seals.clone());
    }

    /// Counts a refused envelope; returns false if it was counted before.
    pub fn refused(&self, refusal: &Refusal) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counted.entry(refusal.id.clone()).or_default();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let new = known.insert((refusal.digest, refusal.reason));
        if new {
            let reason = refusal.reason;
            self.refused.get_or_create(&Reason { reason }).inc();
        }
        new
    }

    /// Counts a target that was created or changed.
    pub fn delivered(&self, kind: &str) {
        let kind = kind.to_owned();
        self.deliveries.get_or_create(&Kind { kind }).inc();
    }

    /// Counts sealed envelopes.
    pub fn sealed(&self, number: u64) {
        self.seals.inc_by(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_counted_once() {
        let metrics = Metrics::default();
        let refusal = |digest, reason| Refusal {
            id: "l".into(),
            digest,
            reason,
        };
        let seen =
            [(1, "a"), (1, "a"), (2, "a"), (1, "b")].map(|(digest, reason)| metrics.refused(&refusal(digest, reason)));
        assert_eq!(seen, [true, false, true, true]);
        metrics.delivered("Secret");
        metrics.sealed(2);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "refused_envelopes_total{reason=\"a\"} 2",
            "deliveries_total{kind=\"Secret\"} 1",
            "seals_total 2",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
