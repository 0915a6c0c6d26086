//! The agent's own counters. Those of queues and watches are the framework's.
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use peering_api::peering::reasons::Delivered;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::{decide::group::Refusal, probe};

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

/// A probe of a link: as many as there are links with probes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProbeLabels {
    /// Name of the Peering.
    pub peering: String,
    /// Name of the artefact.
    pub artefact: String,
    /// The cluster that hands over.
    pub from: String,
    /// Kind of the probe and its position among those of the artefact.
    pub probe: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeResult {
    result: &'static str,
}

/// By link: digests of refused envelopes, and why they were refused.
type Counted = HashMap<String, HashSet<(u64, &'static str)>>;

/// What a probe's run is counted under where it succeeds.
const SUCCESS: &str = "Success";

/// The counters, and which refused envelopes are in them already. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    refused: Family<Reason, Counter>,
    deliveries: Family<Kind, Counter>,
    seals: Counter,
    probes: Family<ProbeResult, Counter>,
    last_success: Family<ProbeLabels, Gauge>,
    counted: Arc<Mutex<Counted>>,
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
        let help = "Runs of probes over the network, by Success or the reason of the failure";
        registry.register("probe_runs", help, self.probes.clone());
        let help = "When a probe over the network last succeeded, in seconds since 1970";
        registry.register("probe_last_success_timestamp_seconds", help, self.last_success.clone());
    }

    /// Counts a run of a probe: when it succeeded, or why it did not.
    pub fn probed(&self, labels: &ProbeLabels, result: Result<Timestamp, probe::Reason>) {
        let counted = match result {
            Ok(at) => {
                self.last_success.get_or_create(labels).set(at.as_second());
                SUCCESS
            }
            Err(reason) => reason.as_str(),
        };
        self.probes.get_or_create(&ProbeResult { result: counted }).inc();
    }

    /// A probe that runs no more says nothing.
    pub fn forget_probe(&self, labels: &ProbeLabels) {
        self.last_success.remove(labels);
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
        let probe = |from: &str| ProbeLabels {
            peering: "p".to_owned(),
            artefact: "a".to_owned(),
            from: from.to_owned(),
            probe: "tls/0".to_owned(),
        };
        let at = Timestamp::from_second(7).unwrap();
        metrics.probed(&probe("east"), Ok(at));
        metrics.probed(&probe("north"), Ok(at));
        metrics.probed(&probe("north"), Err(probe::Reason::Unreachable));
        metrics.forget_probe(&probe("north"));
        let text = scrape(&metrics);
        assert!(
            text.contains("orchestrator_deliveries_total{kind=\"Secret\"} 1"),
            "{text}"
        );
        assert!(text.contains("orchestrator_seals_total 2"), "{text}");
        for line in [
            "orchestrator_probe_runs_total{result=\"Success\"} 2",
            "orchestrator_probe_runs_total{result=\"Unreachable\"} 1",
            "orchestrator_probe_last_success_timestamp_seconds{peering=\"p\",artefact=\"a\",from=\"east\",probe=\"tls/0\"} 7",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("from=\"north\""), "{text}");
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
