//! How an addon's health is judged, if not by its agent's Lease: what is reported, and what it means. Pure.
use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition,
    kube::core::DynamicObject,
    ocm::{
        ManagedCluster, ManagedClusterAddOn, ManifestWork,
        names::condition,
        work::{ManifestConfig, ResourceIdentifier},
    },
};
use serde_json::{Value, json};

use crate::{
    runtime::conditions::{Status, Wanted, find, is_true},
    work::{self, Feedback},
};

/// Mode of an addon whose health is read from its Lease.
const LEASE: &str = "Lease";
/// Mode of an addon whose `Available` somebody else than the registration agent writes.
const CUSTOMIZED: &str = "Customized";

/// How an addon's health is judged.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// By the Lease that its agent renews.
    #[default]
    Lease,
    /// By the Lease too; besides, the condition `Degraded` tells of a Deployment or `DaemonSet` that is not ready for half a minute,
    /// such as one whose image cannot be pulled. The Lease tells of that after five minutes.
    LeaseAndWorkloads,
    /// By the addon itself, which writes the condition `Available`.
    None,
    /// Available once all deploy works are.
    Works,
    /// By what the work agent reports about objects of its works.
    Probes(Probes),
    /// Available while each of its Deployments has a ready replica (those with no replicas do not count).
    Deployments,
    /// As `Deployments`, and while each of its `DaemonSets` is ready on all nodes that it should run on.
    Workloads,
}

type Check = dyn Fn(&[Feedback], &ManagedCluster, &ManagedClusterAddOn) -> Result<(), String> + Send + Sync;

/// Objects to report about, and what their reports mean.
#[derive(Clone)]
pub struct Probes {
    fields: Vec<Probe>,
    check: Arc<Check>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// What is reported about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Which object; `*` stands for any text in its namespace and name. All that it fits have to be healthy.
    pub object: ResourceIdentifier,
    /// Feedback rules of a `ManifestWork`.
    pub rules: Vec<Value>,
}

impl Probe {
    /// A probe for what OCM itself knows of a kind, such as `ReadyReplicas` of a Deployment.
    #[must_use]
    pub fn well_known(object: ResourceIdentifier) -> Self {
        let rules = vec![json!({"type": "WellKnownStatus"})];
        Self { object, rules }
    }
}

impl Probes {
    /// Healthy while `check` finds nothing wrong in the reports about any object; its error becomes the condition's message.
    pub fn each(
        fields: impl IntoIterator<Item = Probe>,
        check: impl Fn(&Feedback) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self::all(fields, move |reports, _, _| reports.iter().try_for_each(&check))
    }

    /// Healthy while `check` finds nothing wrong in all reports together.
    pub fn all(
        fields: impl IntoIterator<Item = Probe>,
        check: impl Fn(&[Feedback], &ManagedCluster, &ManagedClusterAddOn) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            fields: fields.into_iter().collect(),
            check: Arc::new(check),
        }
    }
}

/// How long a workload may be unready before [`Health::LeaseAndWorkloads`] tells: a pod that only starts again is no news.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long that is still to be kept back, of a workload that is unready since then.
pub(crate) fn kept_back(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    PATIENCE.checked_sub(passed).filter(|left| !left.is_zero())
}

/// Whether it says of an addon that it is degraded now, and was not before.
pub(crate) fn is_degradation(judged: &Wanted, existing: &[Condition]) -> bool {
    judged.type_ == condition::DEGRADED && judged.status == Status::True && !is_true(existing, condition::DEGRADED)
}

impl Health {
    /// `status.healthCheck.mode`.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Lease | Self::LeaseAndWorkloads => LEASE,
            _ => CUSTOMIZED,
        }
    }

    /// The condition that the framework writes.
    pub(crate) fn condition(&self) -> Option<&'static str> {
        match self {
            Self::Lease | Self::None => None,
            Self::LeaseAndWorkloads => Some(condition::DEGRADED),
            _ => Some(condition::AVAILABLE),
        }
    }

    fn probes(&self, manifests: &[DynamicObject]) -> Option<Probes> {
        let kinds: &[&str] = match self {
            Self::Lease | Self::None | Self::Works => return None,
            Self::Probes(probes) => return Some(probes.clone()),
            Self::Deployments => &["Deployment"],
            Self::Workloads | Self::LeaseAndWorkloads => &["Deployment", "DaemonSet"],
        };
        let workloads = manifests.iter().filter(|manifest| runs(manifest, kinds));
        let fields = workloads.map(|manifest| Probe::well_known(work::identifier(manifest, manifests)));
        Some(Probes::each(fields, workload))
    }

    /// What the works of these manifests have to ask for.
    pub(crate) fn manifest_configs(&self, manifests: &[DynamicObject]) -> Vec<ManifestConfig> {
        let fields = self.probes(manifests).map(|probes| probes.fields).unwrap_or_default();
        let config = |probe: Probe| ManifestConfig {
            resource_identifier: probe.object,
            feedback_rules: probe.rules,
            ..ManifestConfig::default()
        };
        fields.into_iter().map(config).collect()
    }

    /// What is to be said of an addon with these works, in the condition that is ours to write; `None`: there is none, or not
    /// now.
    pub(crate) fn judge(
        &self,
        cluster: &ManagedCluster,
        addon: &ManagedClusterAddOn,
        manifests: &[DynamicObject],
        works: &[ManifestWork],
    ) -> Option<Wanted> {
        let reachable = cluster
            .status
            .as_ref()
            .and_then(|status| find(&status.conditions, condition::CLUSTER_AVAILABLE));
        // While nothing is known of the cluster, the hub says so on all of its addons.
        if reachable.is_some_and(|found| found.status == Status::Unknown.as_str()) {
            return None;
        }
        match self {
            Self::Lease | Self::None => None,
            Self::LeaseAndWorkloads => self.degraded(manifests, works),
            _ => self.available(cluster, addon, manifests, works),
        }
    }

    /// `Degraded`, once something has been reported about each workload.
    fn degraded(&self, manifests: &[DynamicObject], works: &[ManifestWork]) -> Option<Wanted> {
        let all = Feedback::all(works);
        let mut unready = None;
        for field in self.probes(manifests)?.fields {
            let mut reports = all.iter().filter(|report| report.fits(&field.object)).peekable();
            reports.peek()?;
            unready = unready.or_else(|| reports.find_map(|report| workload(report).err()));
        }
        Some(match unready {
            Some(what) => Wanted::new(condition::DEGRADED, true, "WorkloadsNotReady", what),
            None => Wanted::new(condition::DEGRADED, false, "WorkloadsReady", "every workload is ready"),
        })
    }

    fn available(
        &self,
        cluster: &ManagedCluster,
        addon: &ManagedClusterAddOn,
        manifests: &[DynamicObject],
        works: &[ManifestWork],
    ) -> Option<Wanted> {
        let said = |status: Status, reason: &str, message: String| {
            Some(Wanted::new(condition::AVAILABLE, status, reason, message))
        };
        if works.is_empty() {
            return said(
                Status::Unknown,
                "WorkNotFound",
                "the addon has no ManifestWork on the hub yet".to_owned(),
            );
        }
        for work in works {
            let conditions = work
                .status
                .as_ref()
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default();
            match find(conditions, condition::AVAILABLE) {
                None => {
                    let message = format!("{} is not applied yet, or the cluster has not answered", named(work));
                    return said(Status::Unknown, "WorkNotApplied", message);
                }
                Some(found) if !is_true(conditions, condition::AVAILABLE) => {
                    let status = if found.status == "False" {
                        Status::False
                    } else {
                        Status::Unknown
                    };
                    let message = format!("{} is not available: {}", named(work), found.message);
                    return said(status, "WorkNotApplied", message);
                }
                Some(_) => {}
            }
        }
        let Some(probes) = self.probes(manifests).filter(|probes| !probes.fields.is_empty()) else {
            return said(
                Status::True,
                "WorkApplied",
                "all ManifestWorks of the addon are available".to_owned(),
            );
        };
        let all = Feedback::all(works);
        let mut reports = vec![];
        for field in &probes.fields {
            let before = reports.len();
            reports.extend(all.iter().filter(|report| report.fits(&field.object)).cloned());
            if reports.len() == before {
                let message = format!(
                    "Probe results are not returned: nothing is reported about {}",
                    described(&field.object)
                );
                return said(Status::Unknown, "NoProbeResult", message);
            }
        }
        match (probes.check)(&reports, cluster, addon) {
            Ok(()) => {
                let name = addon.metadata.name.as_deref().unwrap_or_default();
                said(Status::True, "ProbeAvailable", format!("{name} add-on is available."))
            }
            Err(error) => said(Status::False, "ProbeUnavailable", error),
        }
    }
}

fn runs(manifest: &DynamicObject, kinds: &[&str]) -> bool {
    let types = manifest.types.clone().unwrap_or_default();
    types.api_version.starts_with("apps/")
        && kinds.contains(&types.kind.as_str())
        && manifest.data["spec"]["replicas"] != 0
}

fn workload(report: &Feedback) -> Result<(), String> {
    let number = |name: &str| report.number(name).unwrap_or(0);
    let unready = if report.object.resource == "daemonsets" {
        let (ready, desired) = (number("NumberReady"), number("DesiredNumberScheduled"));
        (ready != desired).then(|| format!("is ready on {ready} of {desired} nodes"))
    } else {
        let (ready, replicas) = (number("ReadyReplicas"), report.number("Replicas"));
        (ready < 1 && replicas != Some(0)).then(|| format!("has {ready} ready replicas, at least 1 is needed"))
    };
    match unready {
        Some(what) => Err(format!(
            "{} of ManifestWork {} {what}",
            described(&report.object),
            report.work
        )),
        None => Ok(()),
    }
}

fn named(work: &ManifestWork) -> String {
    let metadata = &work.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("ManifestWork {}/{}", text(&metadata.namespace), text(&metadata.name))
}

fn described(object: &ResourceIdentifier) -> String {
    let slash = if object.namespace.is_empty() { "" } else { "/" };
    format!("{} {}{slash}{}", object.resource, object.namespace, object.name)
}

#[cfg(test)]
mod tests;
