//! Counters of the runtime, for the binaries' `/metrics`.
use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Which controller a counter belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: String,
}

/// Which watch a counter belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watch {
    watch: String,
}

/// Which leader election a gauge belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Election {
    lease: String,
}

/// What became of a certificate signing request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
}

/// What a write was, and what the API server said to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Write {
    /// As roles name it: `secrets`, `peerlinks/status`.
    pub(super) resource: String,
    /// As roles name it, but `apply` for a server-side apply.
    pub(super) verb: &'static str,
    /// HTTP status, or `none` when there was no answer.
    pub(super) code: String,
}

/// The counters of this process. Take them by [`metrics`].
#[derive(Debug, Default)]
pub struct Metrics {
    writes: Family<Write, Counter>,
    reconciles: Family<Controller, Counter>,
    reconcile_errors: Family<Controller, Counter>,
    watch_errors: Family<Watch, Counter>,
    watch_lists: Family<Watch, Counter>,
    csr_decisions: Family<Decided, Counter>,
    leader: Family<Election, Gauge>,
}

/// The counters of this process: queues and watches are made in many places, so they are counted in one.
#[must_use]
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    &METRICS
}

impl Metrics {
    /// Registers the counters. `docs/monitoring.md` lists them, and is tested against this.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Reconciles that ended, also those that failed";
        registry.register("reconciles", help, self.reconciles.clone());
        let help = "Reconciles that failed or ran out of time";
        registry.register("reconcile_errors", help, self.reconcile_errors.clone());
        let help = "Failed requests and error events of a watch";
        registry.register("watch_errors", help, self.watch_errors.clone());
        let help = "Complete lists that a watch has read";
        registry.register("watch_lists", help, self.watch_lists.clone());
        let help = "Requests that create, change or delete, by the answer's HTTP status";
        registry.register("writes", help, self.writes.clone());
        let help = "Looks at certificate signing requests of agents, by what came out";
        registry.register("csr_decisions", help, self.csr_decisions.clone());
        let help = "1 while this process leads by that Lease, 0 while it waits to; absent without leader election";
        registry.register("leader", help, self.leader.clone());
    }

    /// The reconciles of a controller which ended so far.
    #[must_use]
    pub fn reconciles(&self, controller: &str) -> u64 {
        self.reconciles
            .get_or_create(&Controller {
                controller: controller.to_owned(),
            })
            .get()
    }

    /// The reconciles of a controller which failed so far.
    #[must_use]
    pub fn reconcile_errors(&self, controller: &str) -> u64 {
        self.reconcile_errors
            .get_or_create(&Controller {
                controller: controller.to_owned(),
            })
            .get()
    }

    /// The errors of a watch so far.
    #[must_use]
    pub fn watch_errors(&self, watch: &str) -> u64 {
        self.watch_errors
            .get_or_create(&Watch {
                watch: watch.to_owned(),
            })
            .get()
    }

    /// How often a signing request of an agent was found to be `approved`, `denied`, `ignored` or `signed` so far.
    #[must_use]
    pub fn csr_decisions(&self, decision: &'static str) -> u64 {
        self.csr_decisions.get_or_create(&Decided { decision }).get()
    }

    pub(super) fn wrote(&self, write: &Write) {
        self.writes.get_or_create(write).inc();
    }

    pub(super) fn reconciled(&self, controller: &str) {
        self.reconciles
            .get_or_create(&Controller {
                controller: controller.to_owned(),
            })
            .inc();
    }

    pub(super) fn reconcile_failed(&self, controller: &str) {
        self.reconcile_errors
            .get_or_create(&Controller {
                controller: controller.to_owned(),
            })
            .inc();
    }

    pub(crate) fn csr_decided(&self, decision: &'static str) {
        self.csr_decisions.get_or_create(&Decided { decision }).inc();
    }

    pub(super) fn leader(&self, lease: &str) -> Gauge {
        self.leader
            .get_or_create(&Election {
                lease: lease.to_owned(),
            })
            .clone()
    }

    pub(super) fn watch_failed(&self, watch: &str) {
        self.watch_errors
            .get_or_create(&Watch {
                watch: watch.to_owned(),
            })
            .inc();
    }

    pub(super) fn watch_listed(&self, watch: &str) {
        self.watch_lists
            .get_or_create(&Watch {
                watch: watch.to_owned(),
            })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_exactly_these_metrics() {
        let metrics = Metrics::default();
        metrics.reconciled("deploy");
        metrics.reconcile_failed("deploy");
        metrics.watch_failed("csr");
        metrics.watch_listed("csr");
        metrics.csr_decided("approved");
        metrics.leader("addon-manager").set(1);
        metrics.wrote(&Write {
            resource: "secrets".into(),
            verb: "apply",
            code: "200".into(),
        });
        let mut registry = Registry::with_prefix("orchestrator");
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let sample = "orchestrator_reconciles_total{controller=\"deploy\"} 1";
        assert!(text.contains(sample), "{text}");
        let expected = exposition::table(&exposition::parse(&text));
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert_eq!(
            exposition::rows(&page, "### Manager and agent"),
            expected.lines().collect::<Vec<_>>(),
            "put these rows into docs/monitoring.md:\n{expected}"
        );
    }
}
