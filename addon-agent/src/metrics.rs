//! The agent's own counters. Those of queues and watches are the framework's.
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use peering_api::peering::reasons::Delivered;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, info::Info},
    registry::Registry,
};

use crate::decide::group::Refusal;

/// Distinct refused envelopes that are remembered per link; beyond that, repeated ones are counted again.
const REMEMBERED: usize = 256;

/// The reasons for which an envelope is refused.
const REFUSALS: [Delivered; 3] = [
    Delivered::StaleRevision,
    Delivered::EnvelopeRejected,
    Delivered::WrongRecipient,
];

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
    /// Registers everything. `docs/monitoring.md` lists it, and is tested against this.
    pub fn register(&self, registry: &mut Registry) {
        // A counter that first appears with 1 has not increased for Prometheus: the first refusal would raise no alert.
        for reason in REFUSALS.map(Delivered::as_str) {
            drop(self.refused.get_or_create(&Reason { reason }));
        }
        let build = [("component", "addon-agent"), ("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The running process", Info::new(build.to_vec()));
        let help = "Distinct envelopes that were refused, by the reason on their PeerLink";
        registry.register("refused_envelopes", help, self.refused.clone());
        let help = "Targets that were created or changed, by their kind";
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
        let text = scrape(&metrics);
        assert!(
            text.contains("orchestrator_refused_envelopes_total{reason=\"a\"} 2"),
            "{text}"
        );
    }

    fn scrape(metrics: &Metrics) -> String {
        let mut registry = Registry::with_prefix("orchestrator");
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_page_lists_exactly_these_metrics() {
        let metrics = Metrics::default();
        metrics.delivered("Secret");
        metrics.sealed(2);
        let text = scrape(&metrics);
        assert!(
            text.contains("orchestrator_deliveries_total{kind=\"Secret\"} 1"),
            "{text}"
        );
        assert!(text.contains("orchestrator_seals_total 2"), "{text}");
        let zero = "orchestrator_refused_envelopes_total{reason=\"StaleRevision\"} 0";
        assert!(text.contains(zero), "{text}");
        let expected = exposition::table(&exposition::parse(&text));
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert_eq!(
            exposition::rows(&page, "### Agent"),
            expected.lines().collect::<Vec<_>>(),
            "put these rows into docs/monitoring.md:\n{expected}"
        );
    }
}
