//! What the manager tells of links, Peerings and agents. Most of it is looked up when it is asked for, so that there is
//! nothing to keep in step; only how long an exchange takes is measured as it happens.
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::peering::{
    PeerLink, Peering, condition, is_true,
    reasons::{self, CATALOGUE},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::{MetricType, counter::Counter, family::Family, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

/// Upper bounds of the durations of exchanges, in seconds: from a local test to a destination that was away for hours.
const DURATIONS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Profile {
    profile: String,
}

/// What is measured as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    exchanges: Family<Profile, Histogram, fn() -> Histogram>,
    /// The revision that each link had when it was last seen, by namespace and name.
    seen: Mutex<HashMap<(String, String), Option<i64>>>,
    /// Events that could not be sent.
    pub(crate) lost_events: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            exchanges: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            seen: Mutex::default(),
            lost_events: Counter::default(),
        }
    }
}

impl Metrics {
    /// Looks at a link that was touched: if it holds a new revision, its exchange is over.
    ///
    /// What a link holds when it is seen for the first time was exchanged before this process looked.
    pub(crate) fn seen(&self, link: &PeerLink, now: Timestamp) {
        let place = (link.namespace().unwrap_or_default(), link.name_any());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if link.metadata.deletion_timestamp.is_some() {
            seen.remove(&place);
            return;
        }
        let applied = link.status.as_ref().and_then(|status| status.applied_revision);
        let Some(before) = seen.insert(place, applied) else {
            return;
        };
        if let Some(revision) = applied.filter(|revision| before.is_none_or(|before| before < *revision)) {
            let labels = Profile {
                profile: link.spec.profile.clone(),
            };
            let duration = duration(link, before.is_none(), revision, now);
            self.exchanges.get_or_create(&labels).observe(duration);
        }
    }
}

/// Seconds from the publication of a revision to now. For the first one of a link that is younger than the revision: from the
/// creation of the link.
fn duration(link: &PeerLink, first: bool, revision: i64, now: Timestamp) -> f64 {
    let published = Timestamp::from_millisecond(revision).unwrap_or(now);
    let created = link.creation_timestamp().map(|created| created.0);
    let start = created.filter(|created| first && *created > published);
    // The source's clock may be ahead of ours.
    now.duration_since(start.unwrap_or(published)).as_secs_f64().max(0.0)
}

/// What is looked at when the metrics are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// All links.
    pub(crate) links: Vec<Arc<PeerLink>>,
    /// All Peerings.
    pub(crate) peerings: Vec<Arc<Peering>>,
    /// Clusters with the addon, and whether their agent is alive.
    pub(crate) agents: Vec<(String, bool)>,
}

/// Registers everything. `look` must be quick: it is called at each scrape.
pub(crate) fn register(registry: &mut Registry, metrics: &Metrics, look: impl Fn() -> Fleet + Send + Sync + 'static) {
    let build = [("component", "addon-manager"), ("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The running process", Info::new(build.to_vec()));
    let help =
        "Time from the publication of a revision by the source's agent (its clock) until the manager saw it delivered";
    registry.register_with_unit("exchange_duration", help, Unit::Seconds, metrics.exchanges.clone());
    let help = "Events that could not be sent";
    registry.register("events_lost", help, metrics.lost_events.clone());
    registry.register_collector(Box::new(Lookup(look)));
}

struct Lookup<F>(F);

impl<F> fmt::Debug for Lookup<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl<F: Fn() -> Fleet + Send + Sync + 'static> Collector for Lookup<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode(&(self.0)(), Timestamp::now(), encoder)
    }
}

/// Values by label values. A map: two objects with the same labels must not make the whole scrape invalid.
type Series<const N: usize> = BTreeMap<[String; N], i64>;

const LINK: [&str; 4] = ["peering", "artefact", "from", "to"];
const LINK_AND_CONTENT: [&str; 5] = ["peering", "artefact", "from", "to", "content"];

fn encode(fleet: &Fleet, now: Timestamp, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    let encoder = &mut encoder;
    let leaving = |link: &&Arc<PeerLink>| link.metadata.deletion_timestamp.is_some();
    let (withdrawn, live): (Vec<_>, Vec<_>) = fleet.links.iter().partition(leaving);
    let (withdrawn, live) = (withdrawn.as_slice(), live.as_slice());

    let help = "Links by the status and reason of their condition Ready, without those that are being withdrawn.";
    let series = count(live, |link| {
        let (ready, reason) = ready(link);
        [link.spec.profile.clone(), ready.to_owned(), reason.to_owned()]
    });
    gauge(encoder, ("links", None, help), ["profile", "ready", "reason"], &series)?;

    let help = "Links that are being deleted and wait for their agent to remove what they had written.";
    let series = count(withdrawn, |link| [link.spec.profile.clone()]);
    gauge(encoder, ("links_withdrawing", None, help), ["profile"], &series)?;

    let help = "When a link was last ready: now if it is, its creation if it never was.";
    let success = live
        .iter()
        .filter_map(|link| Some((names(link), last_success(link, now)?.as_second())));
    let name = ("link_last_success_timestamp", Some(&Unit::Seconds), help);
    gauge(encoder, name, LINK, &success.collect())?;

    let help = "When what a link delivered expires.";
    let expiration = live.iter().filter_map(|link| {
        let at = link.status.as_ref()?.expires_at.as_ref()?.0;
        Some((names_and_content(link), at.as_second()))
    });
    let name = ("link_expiration_timestamp", Some(&Unit::Seconds), help);
    gauge(encoder, name, LINK_AND_CONTENT, &expiration.collect())?;

    let help = "Time from the publication of what a link delivered until it expires.";
    let lifetime = live
        .iter()
        .filter_map(|link| Some((names_and_content(link), lifetime(link)?)));
    let name = ("link_lifetime", Some(&Unit::Seconds), help);
    gauge(encoder, name, LINK_AND_CONTENT, &lifetime.collect())?;

    let help = "1 if the condition Accepted of a Peering is True, else 0.";
    let accepted = fleet.peerings.iter().map(|peering| {
        let conditions = peering.status.as_ref().map(|status| status.conditions.as_slice());
        let accepted = is_true(conditions.unwrap_or_default(), reasons::ACCEPTED);
        ([peering.name_any()], i64::from(accepted))
    });
    gauge(
        encoder,
        ("peering_accepted", None, help),
        ["peering"],
        &accepted.collect(),
    )?;

    let help = "1 if the condition Available of a cluster's ManagedClusterAddOn is True, which follows the agent's Lease, else 0.";
    let agents = fleet
        .agents
        .iter()
        .map(|(cluster, alive)| ([cluster.clone()], i64::from(*alive)));
    gauge(
        encoder,
        ("agent_available", None, help),
        ["managed_cluster"],
        &agents.collect(),
    )
}

fn gauge<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit, help): (&str, Option<&Unit>, &str),
    labels: [&str; N],
    series: &Series<N>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (values, value) in series {
        let mut pairs = labels.map(|label| (label, ""));
        for (pair, value) in pairs.iter_mut().zip(values) {
            pair.1 = value;
        }
        metric.encode_family(&pairs)?.encode_gauge(value)?;
    }
    Ok(())
}

fn count<const N: usize>(links: &[&Arc<PeerLink>], key: impl Fn(&PeerLink) -> [String; N]) -> Series<N> {
    let mut series = Series::new();
    for link in links {
        *series.entry(key(link)).or_default() += 1;
    }
    series
}

fn names(link: &PeerLink) -> [String; 4] {
    let spec = &link.spec;
    let (from, to) = (spec.from.cluster.clone(), spec.to.cluster.clone());
    [spec.peering.clone(), spec.artefact.clone(), from, to]
}

fn names_and_content(link: &PeerLink) -> [String; 5] {
    let [peering, artefact, from, to] = names(link);
    let certificates = link
        .status
        .as_ref()
        .is_some_and(|status| !status.ca_fingerprints.is_empty());
    let content = if certificates { "ca" } else { "credential" };
    [peering, artefact, from, to, content.to_owned()]
}

/// Status and reason of `Ready`. A reason comes from an agent: one that is not in the catalogue must not become a label.
fn ready(link: &PeerLink) -> (&'static str, &'static str) {
    let conditions = link.status.as_ref().map(|status| status.conditions.as_slice());
    let Some(ready) = condition(conditions.unwrap_or_default(), reasons::READY) else {
        return ("Unknown", "NotReported");
    };
    let status = match ready.status.as_str() {
        "True" => "True",
        "False" => "False",
        _ => "Unknown",
    };
    let mut known = CATALOGUE.iter().flat_map(|condition| condition.reasons);
    let known = known.find(|known| known.name == ready.reason);
    (status, known.map_or("Other", |known| known.name))
}

/// `lastTransitionTime` of a condition that is not `True` is when it ceased to be so, or when it went from one bad status to
/// the other.
fn last_success(link: &PeerLink, now: Timestamp) -> Option<Timestamp> {
    let conditions = link.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = condition(conditions.unwrap_or_default(), reasons::READY);
    match ready {
        Some(ready) if ready.status == "True" => Some(now),
        Some(ready) => Some(ready.last_transition_time.0),
        None => link.creation_timestamp().map(|created| created.0),
    }
}

/// Seconds. A revision is the time of its publication in milliseconds.
fn lifetime(link: &PeerLink) -> Option<i64> {
    let status = link.status.as_ref()?;
    let published = status.applied_revision? / 1000;
    let expires = status.expires_at.as_ref()?.0.as_second();
    Some((expires - published).max(0))
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
