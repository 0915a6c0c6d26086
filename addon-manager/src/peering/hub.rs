//! The hub as the manager sees it: one watch per kind ([`watches`]), and snapshots of everything that concerns one Peering.
mod asked;
mod watches;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Weak},
};

use addon_framework::runtime::{Clients, Queue, Recent, Watch, WatchState};
use base64::{Engine, prelude::BASE64_STANDARD};
use exchange::plan::{Claim, claim};
use jiff::Timestamp;
use kube::{Resource, ResourceExt, core::PartialObjectMeta};
use peering_api::{
    names,
    ocm::{
        ManagedCluster, ManagedClusterAddOn, ManifestWork, Placement, PlacementDecision, addon::is_silent, names as ocm,
    },
    peering::{
        ApiServer, ExchangeProfile, PeerExport, PeerLink, PeerMember, Peering, PeeringSpec, condition, is_true, reasons,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{asked::Asked, watches::Starter};
use super::{
    events::Recorder,
    metrics::{Fleet, Metrics},
};
use crate::touched::Key;

/// A watch with our own newest writes in front of it.
pub(crate) struct Kind<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    watch: Watch<K>,
    /// What we wrote and have not seen yet.
    pub(crate) recent: Arc<Recent<K>>,
}

impl<K> Kind<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    fn of_peering(&self, peering: &str) -> Vec<Arc<K>> {
        let ours = |object: &K| label(object) == Some(peering);
        self.recent.over(self.watch.store.state_filter(ours), ours)
    }
}

fn label<K: Resource>(object: &K) -> Option<&str> {
    object
        .meta()
        .labels
        .as_ref()?
        .get(names::PEERING_LABEL)
        .map(String::as_str)
}

/// What is known about a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cluster {
    /// It is a `ManagedCluster` and not being deleted.
    pub(crate) managed: bool,
    /// Its `ManagedCluster` says that addons must not be installed by themselves.
    pub(crate) opted_out: bool,
    /// Its `ManagedClusterAddOn`, if there is one.
    pub(crate) addon: Option<Addon>,
    /// It is the hub itself.
    pub(crate) is_hub: bool,
    /// The public key that its agent published.
    pub(crate) public_key: Option<String>,
    /// The key before it, while a rotation is under way.
    pub(crate) previous_public_key: Option<String>,
    /// The fingerprint that a person has confirmed.
    pub(crate) confirmed: Option<String>,
    /// How its API server is reached.
    pub(crate) api_server: Option<ApiServer>,
}

impl Cluster {
    /// It has the addon, to stay.
    pub(crate) fn installed(&self) -> bool {
        self.addon.as_ref().is_some_and(|addon| !addon.leaving)
    }
}

/// What is known about a `ManagedClusterAddOn`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addon {
    /// It is being deleted.
    pub(crate) leaving: bool,
    /// Where the agent runs on the managed cluster, once that is settled.
    pub(crate) namespace: Option<String>,
    /// Its agent ran and has fallen silent, as OCM sees it.
    pub(crate) silent: bool,
}

impl Addon {
    fn of(addon: &ManagedClusterAddOn) -> Self {
        let status = addon.status.as_ref();
        Self {
            leaving: addon.meta().deletion_timestamp.is_some(),
            namespace: status.and_then(|status| status.namespace.clone()),
            silent: status.is_some_and(|status| is_silent(&status.conditions)),
        }
    }
}

/// Label by which OCM marks the `ManagedCluster` that is the hub itself.
const LOCAL_CLUSTER_LABEL: &str = "local-cluster";

fn is_hub(cluster: &ManagedCluster) -> bool {
    cluster
        .labels()
        .get(LOCAL_CLUSTER_LABEL)
        .is_some_and(|value| value == "true")
}

/// The first way to its API server that the cluster's registration agent told the hub.
fn api_server(cluster: &ManagedCluster) -> Option<ApiServer> {
    let config = cluster.spec.managed_cluster_client_configs.first()?;
    let pem = config
        .ca_bundle
        .as_deref()
        .and_then(|text| BASE64_STANDARD.decode(text).ok());
    Some(ApiServer {
        url: config.url.clone(),
        ca_bundle: pem.and_then(|pem| String::from_utf8(pem).ok()),
    })
}

/// A Peering that leaves out links because others write the same objects.
fn is_colliding(peering: &Peering) -> bool {
    let status = peering.status.as_ref();
    let accepted = status.and_then(|status| condition(&status.conditions, reasons::ACCEPTED));
    accepted.is_some_and(|accepted| accepted.reason == reasons::Accepted::DuplicateTarget.as_str())
}

/// Everything that concerns one Peering, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Its name.
    pub(crate) name: String,
    /// The Peering, unless it is gone.
    pub(crate) peering: Option<Arc<Peering>>,
    /// Its profile, unless that is missing.
    pub(crate) profile: Option<Arc<ExchangeProfile>>,
    /// The clusters that it names or that still hold something of it.
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Its exports.
    pub(crate) exports: Vec<Arc<PeerExport>>,
    /// Its links.
    pub(crate) links: Vec<Arc<PeerLink>>,
    /// Its works.
    pub(crate) works: Vec<Arc<ManifestWork>>,
    /// What its Placement has decided; `None` if there is no such Placement, or it has not decided.
    pub(crate) placement: Option<BTreeSet<String>>,
    /// Targets of other Peerings that were there first, and whose they are.
    pub(crate) claims: BTreeMap<Claim, String>,
    /// When this was seen.
    pub(crate) now: Timestamp,
}

/// All watches of the hub.
pub(crate) struct Hub {
    /// To write with.
    pub(crate) client: kube::Client,
    pub(crate) peerings: Kind<Peering>,
    pub(crate) profiles: Kind<ExchangeProfile>,
    clusters: Watch<ManagedCluster>,
    placements: Watch<PartialObjectMeta<Placement>>,
    decisions: Watch<PlacementDecision>,
    addons: Watch<ManagedClusterAddOn>,
    pub(crate) members: Watch<PeerMember>,
    pub(crate) exports: Kind<PeerExport>,
    pub(crate) links: Kind<PeerLink>,
    pub(crate) works: Kind<ManifestWork>,
    /// Tells transitions.
    pub(crate) events: Recorder,
    /// What is measured as it happens.
    pub(crate) metrics: Arc<Metrics>,
    /// Clusters whose addon is being made.
    pub(crate) asked: Arc<Asked>,
}

/// Where touched objects are reported.
#[derive(Clone)]
pub(crate) struct Queues {
    /// Names of Peerings.
    pub(crate) peerings: Queue<String>,
    /// Names of `ExchangeProfile`s to look through.
    pub(crate) profiles: Queue<String>,
    /// Names of clusters whose `PeerMember` may need work.
    pub(crate) members: Queue<String>,
    /// Names of clusters whose addon may be able to go now.
    pub(crate) leaving: Queue<String>,
    /// What `MirrorPeer`s may have to know of.
    pub(crate) storage: Queue<Key>,
}

impl Hub {
    /// Starts all watches. Touched objects lead to the names of the Peerings that they concern.
    pub(crate) fn watch(
        clients: &Clients,
        tasks: &TaskTracker,
        token: &CancellationToken,
        queues: &Queues,
    ) -> Arc<Self> {
        Arc::new_cyclic(|hub: &Weak<Self>| Starter::new(clients, tasks, token, queues, hub.clone()).start())
    }

    fn peerings_of(&self, concerned: impl Fn(&Peering) -> bool) -> BTreeSet<String> {
        let all = self.peerings.watch.store.state();
        all.iter()
            .filter(|peering| concerned(peering))
            .map(|peering| peering.name_any())
            .collect()
    }

    /// The Peerings that name a cluster, and those which still have links that end there.
    fn peerings_of_cluster(&self, cluster: &str) -> BTreeSet<String> {
        // What a Placement decides and which artefacts go to the hub is not looked up here: a pass that changes nothing is cheap.
        let is_hub = self.clusters.get(None, cluster).is_some_and(|cluster| is_hub(&cluster));
        let mut names = self.peerings_of(|peering| {
            let named = peering.spec.members.iter().any(|member| member.cluster == cluster);
            named || is_hub || peering.spec.placement_ref.is_some()
        });
        let links = self.links.watch.store.state();
        let there = links.iter().filter(|link| link.namespace().as_deref() == Some(cluster));
        names.extend(there.filter_map(|link| label(link.as_ref()).map(str::to_owned)));
        names
    }

    /// Resolves when every kind has been listed once.
    pub(crate) async fn ready(&self) {
        self.peerings.watch.ready().await;
        self.profiles.watch.ready().await;
        self.clusters.ready().await;
        self.placements.ready().await;
        self.decisions.ready().await;
        self.addons.ready().await;
        self.members.ready().await;
        self.exports.watch.ready().await;
        self.links.watch.ready().await;
        self.works.watch.ready().await;
    }

    /// Which watches do not work at the moment, for the readiness endpoint.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let states = [
            ("peerings", self.peerings.watch.state()),
            ("profiles", self.profiles.watch.state()),
            ("managedclusters", self.clusters.state()),
            ("placements", self.placements.state()),
            ("placementdecisions", self.decisions.state()),
            ("managedclusteraddons", self.addons.state()),
            ("peermembers", self.members.state()),
            ("peerexports", self.exports.watch.state()),
            ("peerlinks", self.links.watch.state()),
            ("manifestworks", self.works.watch.state()),
        ];
        states
            .into_iter()
            .filter(|(_, state)| !matches!(state, WatchState::Synced))
            .map(|(name, _)| name)
            .collect()
    }

    /// Everything that concerns one Peering.
    pub(crate) fn observe(&self, name: &str) -> Observed {
        let peering = self.peering(name);
        let (exports, links, works) = (
            self.exports.of_peering(name),
            self.links.of_peering(name),
            self.works.of_peering(name),
        );
        let placement = peering.as_ref().and_then(|peering| self.placement(&peering.spec));
        let mut concerned: BTreeSet<String> = peering
            .iter()
            .flat_map(|peering| peering.spec.members.iter().map(|member| member.cluster.clone()))
            .chain(placement.iter().flatten().cloned())
            .chain(
                self.clusters
                    .store
                    .state_filter(is_hub)
                    .iter()
                    .map(|cluster| cluster.name_any()),
            )
            .collect();
        concerned.extend(exports.iter().filter_map(|export| export.namespace()));
        concerned.extend(links.iter().filter_map(|link| link.namespace()));
        concerned.extend(works.iter().filter_map(|work| work.namespace()));
        Observed {
            name: name.to_owned(),
            profile: peering.as_ref().and_then(|peering| self.profile(&peering.spec.profile)),
            clusters: concerned
                .into_iter()
                .map(|name| (name.clone(), self.cluster(&name)))
                .collect(),
            claims: self.claims(name, &links),
            placement,
            peering,
            exports,
            links,
            works,
            now: Timestamp::now(),
        }
    }

    /// What the Placement of a Peering has decided.
    fn placement(&self, peering: &PeeringSpec) -> Option<BTreeSet<String>> {
        let reference = peering.placement_ref.as_ref()?;
        self.placements.get(Some(&reference.namespace), &reference.name)?;
        let decisions = self.decisions.store.state_filter(|decision: &PlacementDecision| {
            decision.namespace().as_ref() == Some(&reference.namespace)
                && decision.labels().get(ocm::PLACEMENT_LABEL) == Some(&reference.name)
        });
        decided(&decisions)
    }

    /// Targets of other Peerings, except where a link of this one was there first.
    fn claims(&self, name: &str, ours: &[Arc<PeerLink>]) -> BTreeMap<Claim, String> {
        let age = |link: &PeerLink| (link.creation_timestamp().map(|at| at.0), link.spec.peering.clone());
        let mut oldest: BTreeMap<Claim, _> = BTreeMap::new();
        for link in ours {
            let age = age(link);
            let known = oldest.entry(claim(&link.spec)).or_insert_with(|| age.clone());
            *known = age.min(known.clone());
        }
        let others = self
            .links
            .watch
            .store
            .state_filter(|link: &PeerLink| link.spec.peering != name);
        let others = self.links.recent.over(others, |link| link.spec.peering != name);
        let first = others.iter().filter_map(|link| {
            let claim = claim(&link.spec);
            let later = oldest.get(&claim).is_some_and(|ours| *ours < age(link));
            (!later).then(|| (claim, link.spec.peering.clone()))
        });
        first.collect()
    }

    /// What is known about one cluster.
    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        let managed = self
            .clusters
            .get(None, name)
            .filter(|cluster| cluster.meta().deletion_timestamp.is_none());
        let opted_out = |cluster: &ManagedCluster| cluster.annotations().contains_key(ocm::DISABLE_INSTALL_ANNOTATION);
        let addon = self.addon(name);
        let member = self.members.get(Some(name), name);
        let member = member.as_deref();
        let status = member.and_then(|member| member.status.clone()).unwrap_or_default();
        Cluster {
            managed: managed.is_some(),
            opted_out: managed.as_deref().is_some_and(opted_out),
            is_hub: managed.as_deref().is_some_and(is_hub),
            api_server: managed.as_deref().and_then(api_server),
            addon: addon.as_deref().map(Addon::of),
            confirmed: member.and_then(|member| member.annotations().get(names::CONFIRM_KEY_ANNOTATION).cloned()),
            public_key: status.public_key,
            previous_public_key: status.previous_public_key,
        }
    }

    /// The clusters that claim something, with what they claim; those that are being detached are left out.
    pub(crate) fn cluster_claims(&self, name: &str) -> BTreeMap<String, String> {
        let all = self.clusters.store.state();
        let live = all.iter().filter(|cluster| cluster.meta().deletion_timestamp.is_none());
        let claims = live.filter_map(|cluster| {
            let claims = &cluster.status.as_ref()?.cluster_claims;
            let claim = claims.iter().find(|claim| claim.name == name)?;
            Some((cluster.name_any(), claim.value.clone()))
        });
        claims.collect()
    }

    /// What one cluster claims.
    pub(crate) fn cluster_claim(&self, cluster: &str, name: &str) -> Option<String> {
        let cluster = self.clusters.get(None, cluster)?;
        let claims = &cluster.status.as_ref()?.cluster_claims;
        claims
            .iter()
            .find(|claim| claim.name == name)
            .map(|claim| claim.value.clone())
    }

    /// The clusters with a label, by its value.
    pub(crate) fn labelled(&self, label: &str) -> BTreeMap<String, String> {
        let all = self.clusters.store.state();
        let labelled = all.iter().filter_map(|cluster| {
            let value = cluster.labels().get(label).filter(|value| !value.is_empty())?;
            Some((value.clone(), cluster.name_any()))
        });
        labelled.collect()
    }

    /// All members.
    pub(crate) fn all_members(&self) -> Vec<Arc<PeerMember>> {
        let mut all = self.members.store.state();
        all.sort_by_key(|member| member.namespace());
        all
    }

    /// A Peering, as it was last seen or written.
    pub(crate) fn peering(&self, name: &str) -> Option<Arc<Peering>> {
        let known = self.peerings.watch.get(None, name).into_iter().collect();
        let ours = |peering: &Peering| peering.name_any() == name;
        self.peerings.recent.over(known, ours).pop()
    }

    /// The links of a Peering.
    pub(crate) fn links_of(&self, peering: &str) -> Vec<Arc<PeerLink>> {
        self.links.of_peering(peering)
    }

    /// The exports of a Peering.
    pub(crate) fn exports_of(&self, peering: &str) -> Vec<Arc<PeerExport>> {
        self.exports.of_peering(peering)
    }

    /// The hub as a managed cluster of its own.
    pub(crate) fn itself(&self) -> Option<String> {
        let found = self.clusters.store.find(is_hub)?;
        Some(found.name_any())
    }

    /// Every Peering, as it was last seen or written.
    pub(crate) fn all_peerings(&self) -> Vec<Arc<Peering>> {
        let known = self.peerings.watch.store.state();
        self.peerings.recent.over(known, |_| true)
    }

    /// The clusters of which a touched Peering may change by which key they are known: all but those where everybody agrees.
    fn doubtful(&self, peering: &Peering) -> Vec<String> {
        let agreed = |cluster: &str, fingerprint: &String| {
            let member = self.members.get(Some(cluster), cluster);
            member.is_some_and(|member| {
                let published = member.status.as_ref().and_then(|status| status.fingerprint.as_ref());
                member.spec.known_fingerprint.as_ref() == Some(fingerprint) && published == Some(fingerprint)
            })
        };
        let known = peering.status.iter().flat_map(|status| &status.members);
        let doubtful = known.filter(|known| !agreed(&known.cluster, &known.fingerprint));
        doubtful.map(|known| known.cluster.clone()).collect()
    }

    /// The profile of that name.
    pub(crate) fn profile(&self, name: &str) -> Option<Arc<ExchangeProfile>> {
        let known = self.profiles.watch.get(None, name)?;
        Some(self.profiles.recent.newest(known))
    }

    /// The `ManagedClusterAddOn` of a cluster.
    pub(crate) fn addon(&self, cluster: &str) -> Option<Arc<ManagedClusterAddOn>> {
        self.addons.get(Some(cluster), names::ADDON)
    }

    /// What the metrics tell of.
    pub(crate) fn fleet(&self) -> Fleet {
        let alive = |addon: &ManagedClusterAddOn| {
            let conditions = addon.status.as_ref().map(|status| status.conditions.as_slice());
            conditions.is_some_and(|conditions| is_true(conditions, ocm::condition::AVAILABLE))
        };
        let addons = self.addons.store.state().into_iter();
        Fleet {
            links: self.links.watch.store.state(),
            peerings: self.peerings.watch.store.state(),
            agents: addons
                .map(|addon| (addon.namespace().unwrap_or_default(), alive(&addon)))
                .collect(),
        }
    }

    /// Whether a cluster still has links that its agent must withdraw.
    pub(crate) fn has_links(&self, cluster: &str) -> bool {
        self.links
            .watch
            .store
            .state()
            .iter()
            .any(|link| link.namespace().as_deref() == Some(cluster))
    }
}

/// The clusters of a Placement's decisions. `None` if it has not decided.
///
/// OCM makes a `PlacementDecision` before it writes its status, and keeps one at least even if no cluster is chosen
/// (`pkg/placement/controllers/scheduling`). Without any status nothing is known, and nobody must be withdrawn for that: the
/// decisions have just been made anew, were restored from a backup, or are being collected with their Placement.
fn decided(decisions: &[Arc<PlacementDecision>]) -> Option<BTreeSet<String>> {
    let told: Vec<_> = decisions
        .iter()
        .filter_map(|decision| decision.status.as_ref())
        .collect();
    let clusters = told.iter().flat_map(|status| &status.decisions);
    let clusters = clusters.map(|decision| decision.cluster_name.clone()).collect();
    (!told.is_empty()).then_some(clusters)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn a_placement_has_decided_when_one_of_its_decisions_says_so() {
        let decision = |status: serde_json::Value| {
            let decision = serde_json::json!({"metadata": {"name": "p-decision-1"}, "spec": {}, "status": status});
            Arc::new(serde_json::from_value::<PlacementDecision>(decision).unwrap())
        };
        let chosen =
            |cluster: &str| decision(serde_json::json!({"decisions": [{"clusterName": cluster, "reason": ""}]}));
        let (nobody, fresh) = (
            decision(serde_json::json!({"decisions": []})),
            decision(serde_json::Value::Null),
        );
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(decided(&[]), None);
        assert_eq!(decided(slice::from_ref(&fresh)), None);
        assert_eq!(decided(&[nobody]), names(&[]));
        assert_eq!(decided(&[chosen("a"), fresh, chosen("b")]), names(&["a", "b"]));
    }
}
