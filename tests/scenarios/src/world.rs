//! The product, installed once on the environment that all scenarios of a test binary share.
use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use peering_api::{names, ocm::ManagedClusterAddOn, peering::PeerMember};
use testenv::{Env, RunningProcess, apply, controlplane::repository, plain_http};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long anything may take that is only a matter of watches and reconciles. It takes seconds; a machine that builds something
/// else at the same time takes a minute for some of it.
pub const SOON: Duration = Duration::from_mins(3);
/// Namespace of the addon-manager on the hub.
pub const MANAGER_NAMESPACE: &str = "multicluster-orchestrator";
/// Namespace of the agents on the managed clusters: what the sample `ManagedClusterAddOn` asks for.
pub const AGENT_NAMESPACE: &str = "default";

static INSTALLED: OnceCell<()> = OnceCell::const_new();
/// Scenarios that stop or restart what others need hold it alone.
static ORDER: RwLock<()> = RwLock::const_new(());

/// Whether a scenario shares the environment or has it alone.
pub enum Turn {
    /// Others run at the same time.
    Shared(RwLockReadGuard<'static, ()>),
    /// Nobody else runs.
    Alone(RwLockWriteGuard<'static, ()>),
}

/// The environment with the product on it. Clones are for scenarios that run side by side in one turn.
#[derive(Clone)]
pub struct World {
    /// The environment.
    pub env: &'static Env,
    _turn: Arc<Turn>,
}

impl World {
    /// The environment for a scenario that disturbs nobody.
    pub async fn shared() -> Result<Self> {
        let turn = Turn::Shared(ORDER.read().await);
        Self::new(turn).await
    }

    /// The environment for a scenario that stops or restarts what others need.
    pub async fn alone() -> Result<Self> {
        let turn = Turn::Alone(ORDER.write().await);
        Self::new(turn).await
    }

    async fn new(turn: Turn) -> Result<Self> {
        let env = testenv::shared();
        INSTALLED.get_or_try_init(|| install(env)).await?;
        Ok(Self {
            env,
            _turn: Arc::new(turn),
        })
    }

    /// The product on an environment that the caller has started for itself.
    pub async fn on(env: &'static Env) -> Result<Self> {
        let turn = Turn::Alone(ORDER.write().await);
        install(env).await?;
        Ok(Self {
            env,
            _turn: Arc::new(turn),
        })
    }

    /// The addon-manager's process.
    pub async fn manager(&self) -> Result<RunningProcess> {
        self.env
            .hub()
            .node()?
            .await_ready(MANAGER_NAMESPACE, "addon-manager", SOON)
            .await
    }

    /// The process of a cluster's agent.
    pub async fn agent(&self, cluster: &str) -> Result<RunningProcess> {
        self.env
            .spoke(cluster)?
            .node()?
            .await_ready(AGENT_NAMESPACE, names::AGENT, SOON)
            .await
    }
}

/// Installs the product as its users do: the manifests on the hub, a `ManagedClusterAddOn` per cluster.
async fn install(env: &Env) -> Result<()> {
    install_hub(env).await?;
    for cluster in ["cluster1", "cluster2"] {
        install_addon(env, cluster).await?;
    }
    for cluster in ["cluster1", "cluster2"] {
        await_member(env, cluster).await?;
    }
    Ok(())
}

/// Installs the hub's half: the manifests and the profile of the scenarios. Returns the manager's process.
///
/// As under the Operator Lifecycle Manager the `ClusterManagementAddOn` is left out: the manager makes it.
pub async fn install_hub(env: &Env) -> Result<RunningProcess> {
    let mut objects = apply::load(&repository().join("manifests/hub"))?;
    objects.retain(|object| object["kind"] != "ClusterManagementAddOn");
    apply::objects(&env.hub().client().await?, objects).await?;
    env.hub()
        .apply_path(&repository().join("manifests/profiles/storage-peering-basic.yaml"))
        .await?;
    let node = env.hub().node()?;
    let manager = node.await_ready(MANAGER_NAMESPACE, "addon-manager", SOON).await?;
    // In the version that every hub serves.
    let kind = GroupVersionKind::gvk("addon.open-cluster-management.io", "v1alpha1", "ClusterManagementAddOn");
    let client = env.hub().client().await?;
    let definitions = Api::<DynamicObject>::all_with(client, &ApiResource::from_gvk(&kind));
    env.until("the manager to make the ClusterManagementAddOn", SOON, || async {
        Ok(definitions.get_opt(names::ADDON).await?)
    })
    .await?;
    Ok(manager)
}

/// Creates the seed's own `ManagedClusterAddOn` on a cluster.
pub async fn install_addon(env: &Env, cluster: &str) -> Result<()> {
    let sample = std::fs::read_to_string(repository().join("manifests/samples/managedclusteraddon.yaml"))?;
    env.hub().apply_text(&sample.replace("cluster1", cluster)).await?;
    Ok(())
}

/// Waits until a cluster's agent has introduced itself.
pub async fn await_member(env: &Env, cluster: &str) -> Result<PeerMember> {
    let api: Api<PeerMember> = Api::namespaced(env.hub().client().await?, cluster);
    env.until(
        &format!("the agent of {cluster} to publish its key"),
        SOON * 2,
        || async {
            let member = api.get_opt(cluster).await?;
            Ok(member.filter(|member| member.status.as_ref().is_some_and(|status| status.public_key.is_some())))
        },
    )
    .await
}

/// The addon of a cluster, in v1beta1.
pub async fn addons(env: &Env, cluster: &str) -> Result<Api<ManagedClusterAddOn>> {
    Ok(Api::namespaced(env.hub().client().await?, cluster))
}

/// The sum of a process's metrics whose line holds `name` and `label`.
pub async fn metric(process: &RunningProcess, name: &str, label: &str) -> Result<f64> {
    metric_where(process, name, |line| line.contains(label)).await
}

/// The sum of a process's metrics whose line holds `name` and is to be counted.
pub async fn metric_where(process: &RunningProcess, name: &str, counts: impl Fn(&str) -> bool) -> Result<f64> {
    let port = process.local_port(8080).context("the process has no health port")?;
    let response = plain_http::get(port, "/metrics", SOON).await?;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(name) && counts(line));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    // Not `sum`, which makes -0 of nothing.
    Ok(values.fold(0.0, |sum, value| sum + value))
}
