//! The node: a stand-in for the kubelet that runs *our* images as local processes.
//!
//! It watches the Deployments of a cluster. A container whose image's last path element is our image name is run by
//! its command: the base name of the first element is looked up in a directory of binaries. What the process gets is
//! what the pod would get:
//!
//! * the environment of the container with `$(VAR)` resolved, what the options add to it ([`Options::env`]), and nothing else
//!   but `PATH`, `HOME` and `HOSTNAME`;
//! * a token of its service account, asked for through the API and renewed at 80 % of its lifetime, and a `KUBECONFIG`
//!   made of it (server, CA file, token file), so that it has exactly the rights it was given;
//! * mounted Secrets, `ConfigMap`s, projected and empty volumes as files that follow changes at once, as the kubelet
//!   replaces them. A missing Secret or `ConfigMap` that is not optional holds the start back.
//!
//! A local process has no file system and no network of its own. So every occurrence of a mount path in the command,
//! the arguments and the environment is replaced by the local directory, and for every port that the container
//! declares a free local port is taken and `:<port>` replaced by it. What is not mentioned there is not seen. A route
//! ([`Node::route`]) leads what a Deployment's process does at one address to another, by replacing the address in its
//! kubeconfig and in the files of its volumes.
//!
//! A process that ends is started again after a back-off. A change of the pod template, of the replicas to 0 or the
//! deletion of the Deployment ends it with SIGTERM, and with SIGKILL after the grace period. The node writes the
//! Deployment's status. Only one replica, one container and `httpGet` readiness probes are known.

mod plan;
mod pod;
mod rewrite;
mod volumes;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, anyhow};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt};
use kube_runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::Cluster,
    process::{Process, Register},
    wait::Wait,
};

/// The first pause before a process that ended is started again, unless the options say something else.
pub const BACK_OFF_START: Duration = Duration::from_secs(1);
/// The longest pause, unless the options say something else.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A process that ran this long starts over with the first pause.
pub const BACK_OFF_RESET: Duration = Duration::from_secs(10);
/// How long a process has after SIGTERM when the pod does not say.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The lifetime of the tokens that are asked for when the volume does not say.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// How a node runs images.
#[derive(Clone, Debug)]
pub struct Options {
    /// The last path element of the images that are run. Others are left alone.
    pub image: String,
    /// The directory of the binaries.
    pub binaries: PathBuf,
    /// The first pause before a process that ended is started again, and the longest: each is twice the one before.
    pub back_off: (Duration, Duration),
    /// What every process finds in its environment besides, unless its container says something else.
    pub env: BTreeMap<String, String>,
}

impl Default for Options {
    /// Our image, and the binaries of the build that this program belongs to. All clusters are processes of this machine, so
    /// our agents may probe loopback addresses: there is nothing else that they could reach.
    fn default() -> Self {
        Self {
            image: "multicluster-orchestrator".to_owned(),
            binaries: binaries(),
            back_off: (BACK_OFF_START, BACK_OFF_MAX),
            env: [("ALLOW_LOOPBACK_PROBES".to_owned(), "true".to_owned())].into(),
        }
    }
}

/// The directory of this build's binaries: programs are in it, tests in its `deps`, examples in its `examples`.
fn binaries() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let directory = own.parent().unwrap_or(Path::new("."));
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => directory.parent().unwrap_or(directory).to_owned(),
        _ => directory.to_owned(),
    }
}

/// What identifies a Deployment on a cluster: namespace and name.
type Key = (String, String);

/// Addresses and what stands for them.
type Routes = Vec<(String, String)>;

/// What a pod does right now.
#[derive(Clone, Debug, Default)]
struct PodState {
    process: Option<RunningProcess>,
    ready: bool,
    message: String,
}

/// A running process of a Deployment.
#[derive(Clone, Debug)]
pub struct RunningProcess {
    process: Process,
    pod: String,
    restarts: u32,
    directory: PathBuf,
    ports: BTreeMap<u16, u16>,
}

impl RunningProcess {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The pod's name: a change of the template makes a new one, a restart does not.
    #[must_use]
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// How often the process was started again in this pod.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The pod's directory; its volumes are in `volumes/<name>`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The local port that stands for a port of the container.
    #[must_use]
    pub fn local_port(&self, container_port: u16) -> Option<u16> {
        self.ports.get(&container_port).copied()
    }

    /// All declared ports of the container and the local ports that stand for them.
    #[must_use]
    pub fn ports(&self) -> &BTreeMap<u16, u16> {
        &self.ports
    }

    /// The log of the Deployment, which is appended to over restarts.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// The log's text.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.process.resident_bytes()
    }

    /// Kills it with SIGKILL, as the kernel does when memory is short. The node will start it again.
    pub fn kill(&self) {
        self.process.signal(libc::SIGKILL);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Freezes it with SIGSTOP, as a machine does that hangs. Nobody starts it again; it goes on after [`Self::thaw`].
    pub fn freeze(&self) {
        self.process.signal(libc::SIGSTOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.process.signal(libc::SIGCONT);
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<std::process::ExitStatus> {
        self.process.wait().await
    }
}

/// A running node. Clones are handles of the same node.
#[derive(Clone, Debug)]
pub struct Node(Arc<Context>);

/// What all parts of a node share.
#[derive(Debug)]
struct Context {
    cluster: String,
    server: String,
    ca: PathBuf,
    directory: PathBuf,
    options: Options,
    register: Register,
    pods: Mutex<BTreeMap<Key, watch::Receiver<PodState>>>,
    routes: Mutex<BTreeMap<Key, Routes>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    /// Starts the node of a cluster. It lives on a runtime of its own, so it goes on when a test ends.
    pub async fn start(cluster: &Cluster, register: &Register, options: Options) -> Result<Self> {
        let directory = cluster.directory().join("node");
        tokio::fs::create_dir_all(directory.join("logs")).await?;
        let config = cluster.config().await?;
        let node = Self(Arc::new(Context {
            cluster: cluster.name().to_owned(),
            server: cluster.url(),
            ca: cluster.pki().path("ca.crt"),
            directory,
            options,
            register: register.clone(),
            pods: Mutex::default(),
            routes: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        let context = node.0.clone();
        let runtime = crate::runtime::handle()?;
        node.0.tasks.spawn_on(
            async move {
                // Made here and not by the caller: a client belongs to the runtime that it is made on.
                match Client::try_from(config) {
                    Ok(client) => watch_deployments(context, client).await,
                    Err(error) => context
                        .register
                        .fault(format!("the node of {}: {error}", context.cluster)),
                }
            },
            &runtime,
        );
        Ok(node)
    }

    /// Leads what the process of a Deployment does at one address (`https://host:port`) to another. It counts for pods
    /// that start from now on, so it can be done before there is such a Deployment.
    pub fn route(&self, namespace: &str, deployment: &str, from: &str, to: &str) {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = routes.entry((namespace.to_owned(), deployment.to_owned())).or_default();
        routes.push((from.to_owned(), to.to_owned()));
    }

    /// The process of a Deployment, while it runs.
    #[must_use]
    pub fn process(&self, namespace: &str, deployment: &str) -> Option<RunningProcess> {
        let state = self.state(namespace, deployment)?;
        state.process.filter(|running| running.process.exited().is_none())
    }

    /// Waits until a Deployment's process runs and is ready.
    pub async fn await_ready(&self, namespace: &str, deployment: &str, deadline: Duration) -> Result<RunningProcess> {
        self.await_process(namespace, deployment, deadline, |_| true).await
    }

    /// Waits until a Deployment has another process than `before`, and it is ready.
    pub async fn await_restart(
        &self,
        namespace: &str,
        deployment: &str,
        before: &RunningProcess,
        deadline: Duration,
    ) -> Result<RunningProcess> {
        self.await_process(namespace, deployment, deadline, |process| process.pid() != before.pid())
            .await
    }

    /// Waits until a Deployment has no process and no pod any more.
    pub async fn await_gone(&self, namespace: &str, deployment: &str, deadline: Duration) -> Result<()> {
        let what = format!("the pod of {namespace}/{deployment} on {} to be gone", self.0.cluster);
        Wait::new(&what, deadline)
            .until(|| std::future::ready(Ok(self.state(namespace, deployment).is_none().then_some(()))))
            .await
    }

    /// The log of a Deployment, whether it runs or not.
    #[must_use]
    pub fn log_path(&self, namespace: &str, deployment: &str) -> PathBuf {
        self.0.log_path(namespace, deployment)
    }

    /// The logs of everything that ran here.
    #[must_use]
    pub fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.directory.join("logs"))
            .into_iter()
            .flatten()
            .flatten();
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        logs.sort();
        logs
    }

    /// Ends all processes, as a node that is shut down does, and stops watching.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn state(&self, namespace: &str, deployment: &str) -> Option<PodState> {
        let pods = self.0.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.get(&(namespace.to_owned(), deployment.to_owned()))
            .map(|state| state.borrow().clone())
    }

    async fn await_process(
        &self,
        namespace: &str,
        deployment: &str,
        deadline: Duration,
        accept: impl Fn(&RunningProcess) -> bool,
    ) -> Result<RunningProcess> {
        let log = self.log_path(namespace, deployment);
        Wait::new(
            &format!("the process of {namespace}/{deployment} on {}", self.0.cluster),
            deadline,
        )
        .register(&self.0.register)
        .dump(|| std::future::ready(crate::files::tail(&log, 40)))
        .until(|| {
            let state = self
                .state(namespace, deployment)
                .ok_or_else(|| anyhow!("there is no such pod"));
            std::future::ready(state.and_then(|state| match state.process {
                Some(process) if state.ready && process.process.exited().is_none() && accept(&process) => {
                    Ok(Some(process))
                }
                _ => Err(anyhow!("{}", state.message)),
            }))
        })
        .await
    }
}

impl Context {
    fn routes(&self, namespace: &str, deployment: &str) -> Routes {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), deployment.to_owned());
        routes.get(&key).cloned().unwrap_or_default()
    }

    fn log_path(&self, namespace: &str, deployment: &str) -> PathBuf {
        self.directory
            .join("logs")
            .join(format!("{namespace}_{deployment}.log"))
    }
}

/// The pause between attempts to watch: short, as nobody else suffers from it and tests wait.
#[derive(Clone, Debug)]
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(500))
    }
}

impl kube_runtime::utils::Backoff for Steady {
    fn reset(&mut self) {}
}

/// Gives each Deployment a worker, and each worker the newest state of its Deployment.
async fn watch_deployments(context: Arc<Context>, client: Client) {
    let mut workers: BTreeMap<Key, watch::Sender<Option<Arc<Deployment>>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let stream = watcher(Api::<Deployment>::all(client.clone()), watcher::Config::default()).backoff(Steady);
    let mut stream = std::pin::pin!(stream);
    loop {
        let event = tokio::select! {
            () = context.stop.cancelled() => return,
            event = stream.try_next() => event,
        };
        match event {
            Ok(Some(watcher::Event::Init)) => seen.clear(),
            Ok(Some(watcher::Event::InitApply(deployment) | watcher::Event::Apply(deployment))) => {
                let key = key(&deployment);
                seen.insert(key.clone());
                let worker = workers.entry(key.clone()).or_insert_with(|| {
                    let (sender, receiver) = watch::channel(None);
                    context
                        .tasks
                        .spawn(worker::run(context.clone(), client.clone(), key, receiver));
                    sender
                });
                worker.send_replace(Some(Arc::new(deployment)));
            }
            Ok(Some(watcher::Event::Delete(deployment))) => {
                if let Some(worker) = workers.get(&key(&deployment)) {
                    worker.send_replace(None);
                }
            }
            // What the new list does not hold was deleted while nobody watched.
            Ok(Some(watcher::Event::InitDone)) => {
                for (_, worker) in workers.iter().filter(|(key, _)| !seen.contains(*key)) {
                    worker.send_replace(None);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::debug!(cluster = context.cluster, %error, "cannot watch Deployments"),
        }
    }
}

fn key(deployment: &Deployment) -> Key {
    (deployment.namespace().unwrap_or_default(), deployment.name_any())
}
