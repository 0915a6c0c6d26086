//! Watches of what storage brings along. Each kind may be missing, come later and go again: that is a state, not an error.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

use addon_framework::runtime::{Clients, FailureKind, Queue, Recent, Watch, WatchState, watch};
use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, ResourceExt};
use kube_runtime::watcher;
use peering_api::{
    ocm::ManifestWork,
    odf::{CREATED_BY, CREATED_BY_LABEL, ClientInfo, DRCluster, DRPolicy, MirrorPeer, RAMEN_CONFIG_MAP},
};
use serde::de::DeserializeOwned;
use storage::{
    client_info, mapping,
    mirrorpeer::{Foreign, provider_clusters},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::known::Known;
use crate::touched::Key;

/// A watch with our own newest writes in front of it.
pub(super) struct Kind<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    watch: Watch<K>,
    pub(super) recent: Arc<Recent<K>>,
}

impl<K> Kind<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// What there is, as far as that is known.
    fn seen(&self) -> Foreign<Vec<Arc<K>>> {
        if self.is_missing() {
            Foreign::Missing
        } else if self.is_pending() {
            Foreign::Pending
        } else {
            Foreign::Known(self.recent.over(self.watch.store.state(), |_| true))
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self.watch.state(), WatchState::Failing(failure) if failure.kind == FailureKind::Missing)
    }

    /// Nothing was ever listed, and it is not because there is no such kind.
    fn is_pending(&self) -> bool {
        !self.is_missing() && self.watch.ready().now_or_never().is_none()
    }

    fn all(&self) -> Vec<Arc<K>> {
        self.seen().known().cloned().unwrap_or_default()
    }

    /// Resolves when the first list is complete or has failed.
    async fn settled(&self) {
        let mut states = self.watch.states();
        // An error says that the watch was stopped: nobody has to wait any longer.
        let _ = states.wait_for(|state| *state != WatchState::Listing).await;
    }
}

/// All of them.
pub(crate) struct Storage {
    pub(super) peers: Kind<MirrorPeer>,
    pub(super) dr_clusters: Kind<DRCluster>,
    dr_policies: Kind<DRPolicy>,
    pub(super) ramen: Kind<ConfigMap>,
    clients: Kind<ConfigMap>,
    pub(super) works: Kind<ManifestWork>,
    /// What is known about storage clients.
    pub(super) known: Known,
    /// Uids of `MirrorPeer`s, and clusters on which nothing of the Go orchestrator's tickets is left: each looks for it once.
    pub(super) clean: Mutex<BTreeSet<(String, String)>>,
    /// The namespace that we run in.
    pub(super) namespace: String,
    /// Names of clusters whose `PeerMember` may need work.
    pub(super) members: Queue<String>,
}

/// What every watch is started with.
struct Starter<'a> {
    clients: &'a Clients,
    tasks: &'a TaskTracker,
    token: &'a CancellationToken,
    queue: &'a Queue<Key>,
}

impl Starter<'_> {
    fn kind<K>(
        &self,
        name: &'static str,
        config: watcher::Config,
        on: impl Fn(&K, &Queue<Key>) + Send + Sync + 'static,
    ) -> Kind<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let recent = Arc::new(Recent::<K>::default());
        let (seen, queue) = (recent.clone(), self.queue.clone());
        let api = Api::all(self.clients.watch.clone());
        let watch = watch(self.tasks, self.token, name, api, config, move |object: &K| {
            seen.seen(object);
            on(object, &queue);
        });
        self.tell(&watch);
        Kind { watch, recent }
    }

    /// A kind that comes or goes concerns everybody.
    fn tell<K>(&self, watch: &Watch<K>)
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        // Neither the number of tries nor what the last error says matters here.
        let kind = |state: &WatchState| match state {
            WatchState::Listing => (true, None),
            WatchState::Synced => (false, None),
            WatchState::Failing(failure) => (false, Some(failure.kind)),
        };
        let (mut states, queue, token) = (watch.states(), self.queue.clone(), self.token.clone());
        let mut before = None;
        self.tasks.spawn(async move {
            let follow = async move {
                loop {
                    let now = Some(kind(&states.borrow_and_update()));
                    if std::mem::replace(&mut before, now) != now {
                        queue.add(Key::All);
                        queue.add(Key::Info);
                    }
                    if states.changed().await.is_err() {
                        return;
                    }
                }
            };
            token.run_until_cancelled(follow).await
        });
    }

    fn named<K>(&self, name: &'static str, object: &'static str, key: Key) -> Kind<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={object}"));
        self.kind(name, config, move |_, queue| queue.add(key.clone()))
    }
}

impl Storage {
    /// Starts all watches.
    pub(crate) fn watch(
        clients: &Clients,
        tasks: &TaskTracker,
        token: &CancellationToken,
        (queue, members): (&Queue<Key>, &Queue<String>),
        namespace: &str,
    ) -> Arc<Self> {
        let starter = Starter {
            clients,
            tasks,
            token,
            queue,
        };
        let all = watcher::Config::default;
        Arc::new(Self {
            peers: starter.kind("mirrorpeers", all(), |peer: &MirrorPeer, queue| {
                queue.add(Key::Peer(peer.name_any()));
                queue.add(Key::Info);
                // Others may share its clusters, or wait for it to go.
                for item in &peer.spec.items {
                    queue.add(Key::Cluster(item.cluster_name.clone()));
                }
            }),
            dr_clusters: starter.kind("drclusters", all(), |cluster: &DRCluster, queue| {
                queue.add(Key::Cluster(cluster.name_any()));
            }),
            dr_policies: starter.kind("drpolicies", all(), |policy: &DRPolicy, queue| {
                for cluster in &policy.spec.dr_clusters {
                    queue.add(Key::Cluster(cluster.clone()));
                }
            }),
            ramen: starter.named("ramen-configuration", RAMEN_CONFIG_MAP, Key::All),
            clients: starter.named("odf-client-info", client_info::NAME, Key::Info),
            works: starter.kind(
                "storage-works",
                all().labels(&format!("{CREATED_BY_LABEL}={CREATED_BY}")),
                |work: &ManifestWork, queue| {
                    let cluster = work.namespace().unwrap_or_default();
                    if work.name_any() == mapping::WORK {
                        queue.add(Key::Cluster(cluster.clone()));
                    }
                    queue.add(Key::Classes(cluster));
                },
            ),
            known: Known::default(),
            clean: Mutex::default(),
            namespace: namespace.to_owned(),
            members: members.clone(),
        })
    }

    /// Resolves when it is known of every kind whether it is there.
    pub(crate) async fn ready(&self) {
        self.peers.settled().await;
        self.dr_clusters.settled().await;
        self.dr_policies.settled().await;
        self.ramen.settled().await;
        self.clients.settled().await;
        self.works.settled().await;
    }

    /// Whether it is known which `MirrorPeer`s and storage clients there are. A list that failed is no empty list: until it
    /// comes, nothing is superfluous.
    pub(super) fn is_known(&self) -> bool {
        !self.peers.is_pending() && !self.clients.is_pending()
    }

    /// All `MirrorPeer`s.
    pub(super) fn all_peers(&self) -> Vec<Arc<MirrorPeer>> {
        self.peers.all()
    }

    /// Names of the `MirrorPeer`s that fit.
    pub(super) fn names(&self, fits: impl Fn(&str, &Arc<MirrorPeer>) -> bool) -> BTreeSet<String> {
        let all = self.all_peers();
        let found = all.iter().filter(|peer| fits(&peer.name_any(), peer));
        found.map(|peer| peer.name_any()).collect()
    }

    /// One `MirrorPeer`.
    pub(super) fn peer(&self, name: &str) -> Option<Arc<MirrorPeer>> {
        let known = self.peers.watch.get(None, name)?;
        Some(self.peers.recent.newest(known))
    }

    /// Ramen's clusters, by name.
    pub(super) fn dr_clusters(&self) -> Foreign<BTreeMap<String, Arc<DRCluster>>> {
        match self.dr_clusters.seen() {
            Foreign::Pending => Foreign::Pending,
            Foreign::Missing => Foreign::Missing,
            Foreign::Known(all) => {
                Foreign::Known(all.into_iter().map(|cluster| (cluster.name_any(), cluster)).collect())
            }
        }
    }

    /// Ramen's policies.
    pub(super) fn dr_policies(&self) -> Foreign<Vec<Arc<DRPolicy>>> {
        self.dr_policies.seen()
    }

    /// The `ConfigMap`s with Ramen's configuration.
    pub(super) fn ramen(&self) -> Foreign<Vec<Arc<ConfigMap>>> {
        self.ramen.seen()
    }

    /// The works for a cluster that were made for storage, by us or by the Go orchestrator.
    pub(super) fn works(&self, cluster: &str) -> Vec<Arc<ManifestWork>> {
        let mut all = self.works.all();
        all.retain(|work| work.namespace().as_deref() == Some(cluster));
        all
    }

    /// The work that tells a cluster which storage client belongs to which.
    pub(super) fn mapping(&self, cluster: &str) -> Option<Arc<ManifestWork>> {
        let known = self.works.watch.get(Some(cluster), mapping::WORK)?;
        Some(self.works.recent.newest(known))
    }

    /// The clusters that `MirrorPeer`s name, those which provide for their clients, and those which have works.
    pub(super) fn clusters(&self) -> BTreeSet<String> {
        let (peers, known) = (self.all_peers(), self.known.now());
        let items = peers.iter().flat_map(|peer| &peer.spec.items);
        let named = items.map(|item| item.cluster_name.clone());
        let providers = peers.iter().flat_map(|peer| provider_clusters(&peer.spec, &known.all));
        named
            .chain(providers)
            .chain(self.works.all().iter().filter_map(|work| work.namespace()))
            .collect()
    }

    /// What clients and providers there are, by key of `odf-client-info`. What cannot be read is left out.
    pub(super) fn clients(&self) -> BTreeMap<String, ClientInfo> {
        self.known.now().all.clone()
    }

    /// All `odf-client-info`, ours and those that others keep.
    pub(super) fn client_maps(&self) -> Vec<Arc<ConfigMap>> {
        self.clients.all()
    }

    /// We have written ours.
    pub(super) fn wrote_client_map(&self, map: ConfigMap) {
        self.clients.recent.wrote(map);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;

    /// What is known once a hub has answered: it has none of anything, or refuses to list what the path names.
    async fn known(refused: &'static str) -> bool {
        let service = tower::service_fn(move |request: http::Request<Body>| async move {
            let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
            let (code, body) = if !refused.is_empty() && path.contains(refused) {
                (
                    503,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 503}),
                )
            } else if query.contains("watch=true") {
                std::future::pending().await
            } else {
                (
                    200,
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}),
                )
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(http::Response::builder().status(code).body(body).unwrap())
        });
        let client = Client::new(service, "default");
        let clients = Clients {
            watch: client.clone(),
            request: client,
        };
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let storage = Storage::watch(&clients, &tasks, &token, (&Queue::new(), &Queue::new()), "ns");
        storage.ready().await;
        let known = storage.is_known();
        token.cancel();
        known
    }

    #[tokio::test]
    async fn a_list_that_failed_is_no_empty_list() {
        assert!(known("").await);
        assert!(!known("mirrorpeers").await);
        assert!(!known("configmaps").await);
        assert!(known("drpolicies").await, "who needs them asks for them");
    }
}
