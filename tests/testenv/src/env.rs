//! A whole environment: one hub and its managed clusters, joined by a real Open Cluster Management.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use futures::future::{join_all, try_join_all};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    apply,
    cluster::Cluster,
    controlplane::{self, ControlPlane},
    etcd::{Dump, Etcd},
    explain, files,
    node::{self, Node},
    ocm,
    process::{Process, Register},
    wait::Wait,
};

/// What is told about the progress of a start.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What to start.
#[derive(Clone)]
pub struct Options {
    /// The names of the managed clusters.
    pub spokes: Vec<String>,
    /// Whether the hub manages itself too, as `local-cluster`: a third managed cluster without a third API server.
    pub local_cluster: bool,
    /// Whether it is an older Open Cluster Management ([`ControlPlane::build_older`]).
    pub older: bool,
    /// The directory for everything; a new one in the temporary directory when absent.
    pub directory: Option<PathBuf>,
    /// Files or directories with CRDs that the hub has from its start. Kinds that come later are collected as garbage
    /// only once the controller manager finds them, up to half a minute later.
    pub hub_crds: Vec<PathBuf>,
    /// How the nodes run our images.
    pub node: node::Options,
    /// Told what happens.
    pub progress: Option<Progress>,
}

impl Default for Options {
    /// Two managed clusters, `cluster1` and `cluster2`, and our own CRDs on the hub.
    fn default() -> Self {
        let crds = controlplane::repository().join("manifests/crds");
        Self {
            spokes: vec!["cluster1".to_owned(), "cluster2".to_owned()],
            local_cluster: false,
            older: false,
            directory: None,
            hub_crds: if crds.is_dir() { vec![crds] } else { Vec::new() },
            node: node::Options::default(),
            progress: None,
        }
    }
}

/// A running environment. Its processes end when it is stopped, or with the process that started it.
pub struct Env {
    directory: PathBuf,
    register: Register,
    control_plane: ControlPlane,
    etcd: Etcd,
    hub: Arc<Cluster>,
    spokes: RwLock<BTreeMap<String, Arc<Cluster>>>,
    local_cluster: bool,
    node_options: node::Options,
    progress: Option<Progress>,
    started: Instant,
}

impl Env {
    /// Starts an environment and waits until every managed cluster is joined and available.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        crate::runtime::handle()?;
        let control_plane = if options.older {
            ControlPlane::build_older().await?
        } else {
            ControlPlane::build().await?
        };
        let started = Instant::now();
        let directory = match &options.directory {
            Some(directory) => directory.clone(),
            None => files::environment_directory()?,
        };
        files::claim(&directory)?;
        let register = Register::default();
        let etcd_log = directory.join("etcd.log");
        let etcd = Etcd::start(
            &register,
            &control_plane.binary("etcd"),
            &directory.join("etcd"),
            &etcd_log,
        )
        .await?;
        let start = |name: String| {
            let (directory, register, control_plane, etcd) = (&directory, &register, &control_plane, &etcd);
            async move { Cluster::start(&name, &directory.join(&name), register, control_plane, etcd).await }
        };
        // All API servers at once: they mostly wait for themselves.
        let names = std::iter::once("hub".to_owned()).chain(options.spokes.iter().cloned());
        let mut clusters = try_join_all(names.map(start)).await?.into_iter().map(Arc::new);
        let hub = clusters.next().ok_or_else(|| anyhow!("no hub"))?;
        let spokes: Vec<Arc<Cluster>> = clusters.collect();
        let env = Arc::new(Self {
            directory,
            register,
            control_plane,
            etcd,
            hub,
            spokes: RwLock::default(),
            local_cluster: options.local_cluster,
            node_options: options.node,
            progress: options.progress,
            started,
        });
        env.tell("API servers are ready");
        let prepare = try_join_all(spokes.iter().map(|spoke| ocm::prepare_spoke(spoke, &env.control_plane)));
        futures::try_join!(
            ocm::install_hub(
                &env.hub,
                &env.control_plane,
                &options.hub_crds,
                env.local_cluster,
                &env.register
            ),
            prepare
        )?;
        env.tell("the hub runs Open Cluster Management");
        env.start_node(&env.hub).await?;
        futures::try_join!(
            env.join_itself(),
            try_join_all(spokes.iter().map(|spoke| env.join_cluster(spoke)))
        )?;
        Ok(env)
    }

    /// The directory with kubeconfigs and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Arc<Cluster> {
        &self.hub
    }

    /// A managed cluster. `local-cluster` is the hub, where it manages itself.
    pub fn spoke(&self, name: &str) -> Result<Arc<Cluster>> {
        if self.local_cluster && name == ocm::LOCAL_CLUSTER {
            return Ok(self.hub.clone());
        }
        let spokes = self.spokes.read().unwrap_or_else(PoisonError::into_inner);
        spokes
            .get(name)
            .cloned()
            .ok_or_else(|| anyhow!("there is no managed cluster {name}"))
    }

    /// The managed clusters with a control plane of their own that have joined, in order of name.
    #[must_use]
    pub fn spokes(&self) -> Vec<Arc<Cluster>> {
        self.spokes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// The binaries of the control planes, among them `kubectl`.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// All keys of etcd with a prefix and their values. The hub's prefix is `/hub/`.
    pub async fn etcd_dump(&self, prefix: &str) -> Result<Dump> {
        self.etcd.dump(prefix).await
    }

    /// Kills etcd with SIGKILL and starts it again.
    pub async fn crash_etcd(&self) -> Result<()> {
        self.etcd.crash().await
    }

    /// Starts another managed cluster, with an API server, agents and a node of its own, and waits until it is available.
    pub async fn join(&self, name: &str) -> Result<Arc<Cluster>> {
        ensure!(
            self.spoke(name).is_err() && name != "hub" && name != ocm::LOCAL_CLUSTER,
            "there is already a cluster {name}"
        );
        let directory = self.directory.join(name);
        let spoke = Cluster::start(name, &directory, &self.register, &self.control_plane, &self.etcd).await?;
        let spoke = Arc::new(spoke);
        ocm::prepare_spoke(&spoke, &self.control_plane).await?;
        self.join_cluster(&spoke).await?;
        Ok(spoke)
    }

    /// Makes a `ManagedCluster` that nobody stands behind: accepted, with its cluster namespace, never available.
    pub async fn bare_cluster(&self, name: &str) -> Result<()> {
        self.declare_cluster(name, &json!({})).await
    }

    async fn declare_cluster(&self, name: &str, labels: &Value) -> Result<()> {
        let client = self.hub.client().await?;
        let object = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": {"name": name, "labels": labels},
            "spec": {"hubAcceptsClient": true},
        });
        let params = PatchParams::apply(apply::FIELD_MANAGER).force();
        ocm::managed_clusters(&client)
            .patch(name, &params, &Patch::Apply(&object))
            .await?;
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client);
        self.until(&format!("the namespace of {name}"), Duration::from_mins(2), || async {
            Ok(namespaces.get_opt(name).await?.map(drop))
        })
        .await
    }

    /// Deletes what [`Env::bare_cluster`] made, and waits until the hub has let go of it.
    pub async fn delete_bare_cluster(&self, name: &str) -> Result<()> {
        let client = self.hub.client().await?;
        let clusters = ocm::managed_clusters(&client);
        clusters.delete(name, &DeleteParams::default()).await?;
        self.until(
            &format!("ManagedCluster {name} to be gone"),
            Duration::from_mins(3),
            || async { Ok(clusters.get_opt(name).await?.is_none().then_some(())) },
        )
        .await
    }

    /// An error with the tail of its log when a process that must run has died.
    pub fn check(&self) -> Result<()> {
        self.register.check()
    }

    /// The processes of the control planes and of Open Cluster Management that are running.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        self.register.running()
    }

    /// Waits until `poll` gives a value. Fails at once when a process has died, and in the end with [`Env::explain`].
    pub async fn until<T, F, Fut>(&self, what: &str, deadline: Duration, poll: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        self.wait(what, deadline).until(poll).await
    }

    /// A wait as [`Env::until`] makes, to which more dumps can be added.
    pub fn wait(&self, what: &str, deadline: Duration) -> Wait<'_> {
        Wait::new(what, deadline)
            .register(&self.register)
            .dump(|| self.explain())
    }

    /// The objects and log tails that tell why something is not as it should be. Secret data is left out.
    pub async fn explain(&self) -> String {
        explain::explain(self).await
    }

    /// The logs of everything that ran on the nodes: the addon manager and the agents.
    #[must_use]
    pub fn workload_logs(&self) -> Vec<PathBuf> {
        let nodes = std::iter::once(self.hub.clone())
            .chain(self.spokes())
            .filter_map(|cluster| cluster.node().ok());
        nodes.flat_map(|node| node.logs()).collect()
    }

    /// Stops everything: what runs on the nodes first, then the agents, controllers, API servers and etcd.
    pub async fn stop(&self) -> Result<()> {
        let clusters = std::iter::once(self.hub.clone()).chain(self.spokes());
        join_all(
            clusters
                .filter_map(|cluster| cluster.node().ok())
                .map(|node| async move { node.stop().await }),
        )
        .await;
        let grace = Duration::from_secs(5);
        let (etcd, others): (Vec<Process>, Vec<Process>) = self
            .processes()
            .into_iter()
            .partition(|process| process.pid() == self.etcd.process().pid());
        let (servers, clients): (Vec<Process>, Vec<Process>) = others
            .into_iter()
            .partition(|process| process.name().ends_with("/kube-apiserver"));
        for group in [clients, servers, etcd] {
            try_join_all(group.iter().map(|process| process.stop(grace))).await?;
        }
        Ok(())
    }

    async fn join_cluster(&self, spoke: &Arc<Cluster>) -> Result<()> {
        let name = spoke.name();
        self.bare_cluster(name).await?;
        self.await_joined(spoke, name).await?;
        self.start_node(spoke)
            .await
            .with_context(|| format!("start the node of {name}"))?;
        self.spokes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), spoke.clone());
        Ok(())
    }

    /// Makes the hub a managed cluster of its own, where that is wanted. It has a node already.
    async fn join_itself(&self) -> Result<()> {
        if !self.local_cluster {
            return Ok(());
        }
        let labels = json!({"local-cluster": "true"});
        self.declare_cluster(ocm::LOCAL_CLUSTER, &labels).await?;
        self.await_joined(&self.hub, ocm::LOCAL_CLUSTER).await
    }

    /// Starts the agents of a managed cluster and waits until the hub sees it available.
    async fn await_joined(&self, spoke: &Cluster, name: &str) -> Result<()> {
        ocm::join(&self.hub, spoke, name, &self.register).await?;
        let client = self.hub.client().await?;
        let logs = [
            ("hub", self.hub.log("registration-controller")),
            (name, spoke.log("registration-agent")),
        ];
        Wait::new(
            &format!("ManagedCluster {name} to be available"),
            Duration::from_mins(5),
        )
        .register(&self.register)
        .dump(|| {
            std::future::ready(
                logs.iter()
                    .map(|(_, log)| files::tail(log, 30))
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        })
        .until(|| async { ocm::check_available(&client, name).await.map(Some) })
        .await?;
        self.tell(&format!("{name} is joined and available"));
        Ok(())
    }

    async fn start_node(&self, cluster: &Cluster) -> Result<()> {
        let node = Node::start(cluster, &self.register, self.node_options.clone()).await?;
        *cluster.node.lock().unwrap_or_else(PoisonError::into_inner) = Some(node);
        Ok(())
    }

    fn tell(&self, message: &str) {
        tracing::info!(after = ?self.started.elapsed(), "{message}");
        if let Some(progress) = &self.progress {
            progress(message);
        }
    }
}
