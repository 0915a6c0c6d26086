//! The clusters and Peerings on the hub. Each Peering is a mesh of clusters that take part in no other.
use std::{
    ops::Range,
    time::{Duration, Instant},
};

use addon_framework::runtime::{Clients, Watch, watch, write};
use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, runtime::watcher};
use peering_api::{
    names,
    ocm::{ManagedCluster, ManagedClusterAddOn},
    peering::{Peering, condition, reasons},
};
use scenarios::bench::{agents::Agents, each};
use serde_json::json;
use testenv::Env;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::numbers::Numbers;

/// What every mesh exchanges: one sealed Secret a cluster, as in `manifests/profiles/storage-peering-basic.yaml`.
const PROFILE: &str = r"
apiVersion: peering.open-cluster-management.io/v1alpha1
kind: ExchangeProfile
metadata: {name: fleet}
spec:
  artefacts:
  - name: token
    flow: Both
    inputs:
    - {as: token, apiVersion: v1, kind: Secret, namespace: fleet, name: source}
    deliver: {kind: Secret, namespace: fleet, name: 'peer-${source.cluster}'}
";
/// The artefact of the profile.
const ARTEFACT: &str = "token";
/// Field manager of what the fleet applies.
const MANAGER: &str = "fleet";
/// Every tenth source changes.
const PART: usize = 10;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(30);
/// The time between two looks at what a watch has brought.
const INTERVAL: Duration = Duration::from_millis(20);

/// The fleet.
pub struct Fleet<'a> {
    env: &'a Env,
    client: kube::Client,
    size: u32,
    namespaces: Watch<Namespace>,
    peerings: Watch<Peering>,
    _stop: DropGuard,
}

/// A source that changes.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its cluster.
    pub cluster: String,
    /// Its Peering.
    pub peering: String,
    /// Name of its `PeerExport`.
    pub export: String,
    /// Its links.
    pub links: Vec<Link>,
}

/// A link of a source.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its id.
    pub id: String,
    /// The destination.
    pub cluster: String,
    /// Name of the `PeerLink`.
    pub name: String,
}

impl<'a> Fleet<'a> {
    /// An empty fleet, of meshes of so many clusters.
    pub async fn start(env: &'a Env, clients: &Clients, size: u32) -> Result<Self> {
        env.hub().apply_text(PROFILE).await?;
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let all = watcher::Config::default;
        let fleet = Self {
            env,
            client: clients.request.clone(),
            size,
            namespaces: watch(
                &tasks,
                &token,
                "namespaces",
                Api::all(clients.watch.clone()),
                all(),
                |_| {},
            ),
            peerings: watch(
                &tasks,
                &token,
                "peerings",
                Api::all(clients.watch.clone()),
                all(),
                |_| {},
            ),
            _stop: token.drop_guard(),
        };
        fleet.namespaces.ready().await;
        fleet.peerings.ready().await;
        Ok(fleet)
    }

    /// How many clusters so many meshes have.
    pub fn clusters(&self, meshes: u32) -> u32 {
        meshes * self.size
    }

    /// How many links so many meshes have.
    pub fn links(&self, meshes: u32) -> u32 {
        meshes * self.size * (self.size - 1)
    }

    /// Makes the `ManagedCluster`s of some meshes and waits until OCM has made their cluster namespaces.
    pub async fn accept(&self, meshes: Range<u32>) -> Result<()> {
        let clusters = self.names(meshes);
        let api = Api::<ManagedCluster>::all(self.client.clone());
        // Nobody renews their Leases. After five times this OCM would say that it does not know about them any more.
        let spec = json!({"hubAcceptsClient": true, "leaseDurationSeconds": 86_400});
        each(&clusters, |cluster| {
            let (api, spec) = (api.clone(), spec.clone());
            async move {
                let object = json!({
                    "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
                    "metadata": {"name": cluster}, "spec": spec,
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

    /// Installs the addon on the clusters of some meshes. Returns how long it took until all agents had published their keys.
    pub async fn install(&self, meshes: Range<u32>, agents: &Agents<Numbers>) -> Result<Duration> {
        let clusters = self.names(meshes);
        let start = Instant::now();
        each(&clusters, |cluster| {
            let api = Api::<ManagedClusterAddOn>::namespaced(self.client.clone(), cluster);
            async move {
                let object = json!({
                    "apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ManagedClusterAddOn",
                    "metadata": {"name": names::ADDON, "namespace": cluster}, "spec": {},
                });
                write::apply(&api, names::ADDON, MANAGER, &object).await.map(drop)
            }
        })
        .await?;
        self.until("the agents' keys", || {
            clusters.iter().all(|cluster| agents.is_registered(cluster))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Applies some Peerings. Returns how long it took until all their links were Ready.
    pub async fn peer(&self, meshes: Range<u32>) -> Result<Duration> {
        let peerings: Vec<_> = meshes.clone().map(peering).collect();
        let api = Api::<Peering>::all(self.client.clone());
        let start = Instant::now();
        let meshes: Vec<_> = meshes.collect();
        each(&meshes, |mesh| {
            let (api, name) = (api.clone(), peering(*mesh));
            let members: Vec<_> = (0..self.size)
                .map(|index| json!({"cluster": cluster(*mesh, index)}))
                .collect();
            async move {
                let object = json!({
                    "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "Peering",
                    "metadata": {"name": name}, "spec": {"profile": "fleet", "members": members},
                });
                write::apply(&api, &name, MANAGER, &object).await.map(drop)
            }
        })
        .await?;
        self.until("the Peerings to be Ready", || {
            peerings.iter().all(|name| self.is_ready(name))
        })
        .await?;
        Ok(start.elapsed())
    }

    fn is_ready(&self, name: &str) -> bool {
        let Some(status) = self.peerings.get(None, name).and_then(|peering| peering.status.clone()) else {
            return false;
        };
        let ready = condition(&status.conditions, reasons::READY);
        status
            .links
            .is_some_and(|links| links.ready == i64::from(self.links(1)))
            && ready.is_some_and(|ready| ready.status == "True")
    }

    /// Every tenth source of so many meshes.
    pub fn sources(&self, meshes: u32) -> Vec<Source> {
        let all = (0..meshes).flat_map(|mesh| (0..self.size).map(move |index| (mesh, index)));
        all.step_by(PART)
            .map(|(mesh, index)| self.source(mesh, index))
            .collect()
    }

    fn source(&self, mesh: u32, index: u32) -> Source {
        let (peering, from) = (peering(mesh), cluster(mesh, index));
        let others = (0..self.size).filter(|other| *other != index);
        let link = |to: String| {
            let id = names::link_id(&peering, ARTEFACT, &from, &to);
            Link {
                name: names::link_name(&peering, ARTEFACT, &from, &id),
                cluster: to,
                id,
            }
        };
        Source {
            export: names::export_name(&peering, ARTEFACT, &from),
            links: others.map(|other| link(cluster(mesh, other))).collect(),
            cluster: from.clone(),
            peering: peering.clone(),
        }
    }

    fn names(&self, meshes: Range<u32>) -> Vec<String> {
        let size = self.size;
        meshes
            .flat_map(|mesh| (0..size).map(move |index| cluster(mesh, index)))
            .collect()
    }

    /// Waits until the watches have brought what is waited for.
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

/// Name of a Peering.
fn peering(mesh: u32) -> String {
    format!("fleet-{mesh:04}")
}

/// Name of a cluster.
fn cluster(mesh: u32, index: u32) -> String {
    format!("{}-{index:03}", peering(mesh))
}
