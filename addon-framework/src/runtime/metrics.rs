//! Counters of the runtime, for the binaries' `/metrics`.
use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
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

/// What became of a certificate signing request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
}

/// The counters of this process. Take them by [`metrics`].
#[derive(Debug, Default)]
pub struct Metrics {
    reconciles: Family<Controller, Counter>,
    reconcile_errors: Family<Controller, Counter>,
    watch_errors: Family<Watch, Counter>,
    watch_lists: Family<Watch, Counter>,
    csr_decisions: Family<Decided, Counter>,
}

/// The counters of this process: queues and watches are made in many places, so they are counted in one.
#[must_use]
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    &METRICS
}

impl Metrics {
    /// Registers the counters, so that they are exposed as `reconciles_total`, `reconcile_errors_total` (by `controller`),
    /// `watch_errors_total`, `watch_lists_total` (by `watch`) and `csr_decisions_total` (by `decision`), after the registry's
    /// own prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("reconciles", "Finished reconciles", self.reconciles.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles which failed or ran out of time",
            self.reconcile_errors.clone(),
        );
        registry.register(
            "watch_errors",
            "Failed requests and error events of a watch",
            self.watch_errors.clone(),
        );
        registry.register(
            "watch_lists",
            "Complete lists read by a watch",
            self.watch_lists.clone(),
        );
        registry.register(
            "csr_decisions",
            "Looks at certificate signing requests of agents",
            self.csr_decisions.clone(),
        );
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
    fn is_exposed_by_a_registry() {
        let metrics = Metrics::default();
        metrics.reconciled("deploy");
        metrics.watch_failed("csr");
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("reconciles_total{controller=\"deploy\"} 1"), "{text}");
        assert!(text.contains("watch_errors_total{watch=\"csr\"} 1"), "{text}");
    }
}
