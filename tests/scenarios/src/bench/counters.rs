//! What the API servers count: requests by cluster, verb, resource and code.
use std::collections::BTreeMap;

use anyhow::Result;
use testenv::Env;

/// Requests that an API server counts together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The cluster.
    pub cluster: String,
    /// The verb as `apiserver_request_total` has it: `APPLY` is server-side apply, `PATCH` every other patch.
    pub verb: String,
    /// The resource and, after a slash, the subresource.
    pub resource: String,
    /// The status code of the answer.
    pub code: String,
}

/// The kinds of requests that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Anything about Leases.
    Lease,
    /// The beginning or end of a watch.
    Watch,
    /// Get and list.
    Read,
    /// Everything else.
    Write,
}

/// All kinds, in the order in which they are told.
pub const KINDS: [Kind; 4] = [Kind::Lease, Kind::Watch, Kind::Read, Kind::Write];

impl Call {
    /// Its kind. Events are no part of anything that is measured; nor are requests that name no resource, which are ours.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match (self.resource.as_str(), self.verb.as_str()) {
            ("" | "events", _) => None,
            ("leases", _) => Some(Kind::Lease),
            (_, "WATCH") => Some(Kind::Watch),
            (_, "GET" | "LIST") => Some(Kind::Read),
            _ => Some(Kind::Write),
        }
    }
}

/// How many requests there were.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub BTreeMap<Call, f64>);

impl Counts {
    /// What was counted since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |call| earlier.0.get(call).copied().unwrap_or_default();
        let calls = self.0.iter().map(|(call, count)| (call.clone(), count - before(call)));
        Self(calls.filter(|(_, count)| *count > 0.0).collect())
    }

    /// Adds another count.
    pub fn add(&mut self, more: &Self) {
        for (call, count) in &more.0 {
            *self.0.entry(call.clone()).or_default() += count;
        }
    }

    /// The sum over the calls for which something holds.
    #[must_use]
    pub fn sum(&self, holds: impl Fn(&Call) -> bool) -> f64 {
        let counts = self.0.iter().filter(|(call, _)| holds(call)).map(|(_, count)| count);
        // Not `sum`, which makes -0 of nothing.
        counts.fold(0.0, |sum, count| sum + count)
    }
}

/// The names of the clusters, the hub first.
#[must_use]
pub fn clusters(env: &Env) -> Vec<String> {
    let spokes = env.spokes();
    let names = std::iter::once(env.hub()).chain(&spokes);
    names.map(|cluster| cluster.name().to_owned()).collect()
}

/// The metrics page of a cluster's API server.
pub async fn page(env: &Env, cluster: &str) -> Result<String> {
    if cluster == env.hub().name() {
        env.hub().get_raw("/metrics").await
    } else {
        env.spoke(cluster)?.get_raw("/metrics").await
    }
}

/// All requests that the API servers have answered so far.
pub async fn requests(env: &Env) -> Result<Counts> {
    let mut counts = Counts::default();
    for cluster in clusters(env) {
        for (labels, value) in samples(&page(env, &cluster).await?, "apiserver_request_total") {
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let (mut resource, subresource) = (label("resource"), label("subresource"));
            if !resource.is_empty() && !subresource.is_empty() {
                resource = format!("{resource}/{subresource}");
            }
            let call = Call {
                cluster: cluster.clone(),
                verb: label("verb"),
                resource,
                code: label("code"),
            };
            *counts.0.entry(call).or_default() += value;
        }
    }
    Ok(counts)
}

/// The samples of a metric, with their labels. No label that is read here has a quote or a comma in its value.
pub fn samples<'a>(page: &'a str, metric: &'a str) -> impl Iterator<Item = (BTreeMap<String, String>, f64)> + 'a {
    page.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} ")?;
        let labels = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
        Some((labels.collect(), value.trim().parse().ok()?))
    })
}
