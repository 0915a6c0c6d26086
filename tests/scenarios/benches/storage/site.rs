//! The clusters, the `MirrorPeer`s and Ramen on the hub.
use std::{
    ops::Range,
    time::{Duration, Instant},
};

use addon_framework::runtime::{Clients, Watch, watch, write};
use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use peering_api::{
    ocm::ManagedCluster,
    odf::{MirrorPeer, Phase, RAMEN_CONFIG_KEY, RAMEN_CONFIG_MAP},
};
use scenarios::{
    bench::each,
    objects::config_map,
    scenario::{put, repository},
};
use serde_json::json;
use testenv::Env;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Namespace of each `StorageCluster`.
pub const NAMESPACE: &str = "openshift-storage";
/// Its name.
pub const STORAGE_CLUSTER: &str = "ocs-storagecluster";
/// Namespace of Ramen's hub operator.
const RAMEN: &str = "ramen-system";
/// What Ramen's installation has written.
const CONFIG: &str = "apiVersion: ramendr.openshift.io/v1alpha1\nkind: RamenConfig\nramenControllerType: dr-hub\n";
/// The cluster that the hub is.
const HUB: &str = "local-cluster";
/// Field manager of what is applied here.
const MANAGER: &str = "administrator";
/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(10);
/// The time between two looks at what a watch has brought.
const INTERVAL: Duration = Duration::from_millis(20);

/// The hub, and what is on it.
pub struct Site<'a> {
    env: &'a Env,
    client: kube::Client,
    pairs: u32,
    namespaces: Watch<Namespace>,
    peers: Watch<MirrorPeer>,
    _stop: DropGuard,
}

/// Name of a cluster of a pair.
pub fn cluster(pair: u32, index: u32) -> String {
    format!("storage-{pair:03}-{index}")
}

/// Name of the `MirrorPeer` of a pair.
pub fn mirror_peer(pair: u32) -> String {
    format!("pair-{pair:03}")
}

impl<'a> Site<'a> {
    /// A hub with Ramen and our profiles, and no cluster yet.
    pub async fn start(env: &'a Env, clients: &Clients, pairs: u32) -> Result<Self> {
        let hub = env.hub();
        for path in [
            "tests/scenarios/crds/ramen.yaml",
            "manifests/profiles/odf-converged.yaml",
            "manifests/profiles/odf-s3.yaml",
        ] {
            hub.apply_path(&repository(path)).await?;
        }
        hub.apply_text(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {RAMEN}}}}}"
        ))
        .await?;
        let maps = Api::<ConfigMap>::namespaced(clients.request.clone(), RAMEN);
        put(&maps, config_map(RAMEN_CONFIG_MAP, &[(RAMEN_CONFIG_KEY, CONFIG)])).await?;
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let all = watcher::Config::default;
        let client = || clients.watch.clone();
        let site = Self {
            env,
            client: clients.request.clone(),
            pairs,
            namespaces: watch(&tasks, &token, "namespaces", Api::all(client()), all(), |_| {}),
            peers: watch(&tasks, &token, "mirrorpeers", Api::all(client()), all(), |_| {}),
            _stop: token.drop_guard(),
        };
        site.namespaces.ready().await;
        site.peers.ready().await;
        Ok(site)
    }

    /// Makes the `ManagedCluster`s, the hub's own and those of one more pair among them, and waits for their cluster namespaces.
    pub async fn accept(&self) -> Result<()> {
        let mut clusters: Vec<_> = (0..=self.pairs)
            .flat_map(|pair| [cluster(pair, 0), cluster(pair, 1)])
            .collect();
        clusters.push(HUB.to_owned());
        let api = Api::<ManagedCluster>::all(self.client.clone());
        each(&clusters, |cluster| {
            let api = api.clone();
            async move {
                let labels = if cluster == HUB {
                    json!({"local-cluster": "true"})
                } else {
                    json!({})
                };
                let object = json!({
                    "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
                    "metadata": {"name": cluster, "labels": labels},
                    // Nobody renews their Leases. After five times this OCM would say that it does not know about them any more.
                    "spec": {"hubAcceptsClient": true, "leaseDurationSeconds": 86_400},
                });
                write::apply(&api, cluster, MANAGER, &object).await.map(drop)
            }
        })
        .await?;
        self.until("the cluster namespaces", || {
            clusters.iter().all(|name| self.namespaces.get(None, name).is_some())
        })
        .await
    }

    /// Applies all `MirrorPeer`s. Returns how long it took until all were ready.
    pub async fn peer(&self) -> Result<Duration> {
        let start = Instant::now();
        self.apply(0..self.pairs).await?;
        self.until("the MirrorPeers to be ready", || {
            (0..self.pairs).all(|pair| self.is_ready(&mirror_peer(pair)))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Applies another one and does not wait for it.
    pub async fn peer_one(&self, pair: u32) -> Result<()> {
        self.apply(pair..pair + 1).await
    }

    async fn apply(&self, pairs: Range<u32>) -> Result<()> {
        let api = Api::<MirrorPeer>::all(self.client.clone());
        let pairs: Vec<_> = pairs.collect();
        each(&pairs, |pair| {
            let (api, name) = (api.clone(), mirror_peer(*pair));
            let storage = json!({"name": STORAGE_CLUSTER, "namespace": NAMESPACE});
            let items = [0, 1].map(|index| json!({"clusterName": cluster(*pair, index), "storageClusterRef": storage}));
            async move {
                let object = json!({
                    "apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer",
                    "metadata": {"name": name}, "spec": {"type": "async", "manageS3": true, "items": items},
                });
                write::apply(&api, &name, MANAGER, &object).await.map(drop)
            }
        })
        .await
    }

    /// Somebody annotates Ramen's configuration.
    pub async fn annotate_ramen(&self) -> Result<()> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), RAMEN);
        let patch = json!({"metadata": {"annotations": {"example.com/unrelated": "true"}}});
        maps.patch(RAMEN_CONFIG_MAP, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    fn is_ready(&self, name: &str) -> bool {
        let status = self.peers.get(None, name).and_then(|peer| peer.status.clone());
        status.is_some_and(|status| status.phase.as_deref() == Some(Phase::Ready.as_str()))
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !done() {
            self.env.check()?;
            if start.elapsed() > DEADLINE {
                return Err(anyhow!("waited {DEADLINE:?} for {what} in vain"));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }
}
