//! Wires the manager together: watches, leader election, six controllers, the addon framework, and the endpoint for probes
//! and metrics.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use addon_framework::{
    Manager,
    process::{Endpoint, LogFormat, stop_on_signals},
    runtime::{
        Clients, Outcome, Queue, RunOptions, WatchState, clients,
        leader::{Candidate, Timing, identity},
        run as run_queue,
    },
};
use anyhow::Context;
use peering_api::names;
use prometheus_client::registry::Registry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    addon::TokenExchange,
    definition, member, mirrorpeer,
    peering::{self, Hub, Queues},
    profile,
};

/// The hub side of the multicluster orchestrator. Reaches the hub by KUBECONFIG, or by the service account of its pod.
#[derive(Clone, Debug, clap::Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Image that the agents run from.
    #[arg(long, env = "AGENT_IMAGE")]
    agent_image: String,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "HEALTH_LISTEN", default_value = "0.0.0.0:8080")]
    health_listen: SocketAddr,
    /// Form of the logs: text or json.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Work only while holding the Lease addon-manager in this namespace. For more than one replica.
    #[arg(long, env = "LEADER_ELECT")]
    leader_elect: bool,
}

/// The Lease that managers compete for, in the namespace of the kubeconfig's context, which in a pod is the pod's.
const LEASE: &str = "addon-manager";

/// Runs until SIGTERM or SIGINT, or until it no longer leads.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = kube::Config::infer().await.context("find the hub's API server")?;
    let namespace = config.default_namespace.clone();
    let clients = clients(config).context("make clients of the hub")?;
    let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
    stop_on_signals(&token)?;

    let queues = Queues {
        peerings: Queue::new(),
        profiles: Queue::new(),
        members: Queue::new(),
        leaving: Queue::new(),
        storage: Queue::new(),
    };
    let hub = Hub::watch(&clients, &tasks, &token, &queues);
    let of_storage = (&queues.storage, &queues.members);
    let storage = mirrorpeer::Storage::watch(&clients, &tasks, &token, of_storage, &namespace);
    let manager = framework(&clients, &hub, args.agent_image)?;

    let mut registry = Registry::with_prefix("orchestrator");
    let looked = hub.clone();
    peering::metrics::register(&mut registry, &hub.metrics, move || looked.fleet());
    let works = Arc::new(AtomicBool::new(false));
    let readiness = {
        let (hub, manager, works) = (hub.clone(), manager.clone(), works.clone());
        // One that waits to lead is ready: an update of the Deployment goes on only then.
        Arc::new(move || not_ready(&hub, (works.load(Relaxed) || !args.leader_elect).then_some(&manager)))
    };
    // A manager that cannot serve its endpoint would look dead: it ends with it.
    let (endpoint, until) = (Endpoint::new(registry, readiness), token.clone().drop_guard());
    let serve = endpoint.serve(args.health_listen, token.clone());
    let served = tasks.spawn(async move {
        let _until = until;
        serve.await
    });

    let controllers = || async {
        works.store(true, Relaxed);
        control(hub, storage, manager, queues, &token).await;
    };
    if args.leader_elect {
        let candidate = Candidate::new(clients.request, &namespace, LEASE, identity(), Timing::default());
        // When it is lost, nothing is waited for: what still runs ends with the process.
        candidate.lead(&token, controllers).await?;
    } else {
        controllers().await;
    }
    token.cancel();
    tasks.close();
    tasks.wait().await;
    served.await?.context("serve probes and metrics")
}

/// Runs the controllers until `token` is cancelled. Each is a task of its own, so that they use all cores.
async fn control(
    hub: Arc<Hub>,
    storage: Arc<mirrorpeer::Storage>,
    manager: Manager,
    queues: Queues,
    token: &CancellationToken,
) {
    let tasks = TaskTracker::new();
    tasks.spawn(peering::control(hub.clone(), queues.peerings, token.clone()));
    tasks.spawn(mirrorpeer::control(
        hub.clone(),
        storage.clone(),
        queues.storage,
        token.clone(),
    ));
    tasks.spawn(profile::control(hub.clone(), queues.profiles, token.clone()));
    tasks.spawn(definition::control(hub.client.clone(), token.clone()));
    let of_members = (queues.members, queues.leaving.clone());
    tasks.spawn(member::control(hub.clone(), storage, of_members, token.clone()));
    tasks.spawn(wake_leaving(manager.clone(), queues.leaving, token.clone()));
    let until = token.clone();
    tasks.spawn(async move {
        // What is deployed depends on the members.
        hub.ready().await;
        manager.run(until).await;
    });
    tasks.close();
    tasks.wait().await;
}

fn framework(clients: &Clients, hub: &Arc<Hub>, image: String) -> anyhow::Result<Manager> {
    let addon = TokenExchange::new(hub.clone(), image);
    Manager::builder(clients.clone())
        .addon(Arc::new(addon))
        .build()
        .context("set up the addon framework")
}

/// Lets the framework look at a cluster's addon again when the last of its links may have gone, or when its agent has to
/// read something else.
async fn wake_leaving(manager: Manager, queue: Queue<String>, token: CancellationToken) {
    let options = RunOptions {
        name: "leaving",
        concurrency: 1,
        deadline: Duration::from_secs(1),
    };
    run_queue(queue, options, token, move |cluster: String| {
        manager.trigger(&cluster, names::ADDON);
        std::future::ready(Ok::<_, std::convert::Infallible>(Outcome::Done))
    })
    .await;
}

/// The watches that keep the manager from doing its work; without those of the framework in a manager that waits to lead.
fn not_ready(hub: &Hub, manager: Option<&Manager>) -> Vec<String> {
    let mut missing: Vec<String> = hub.broken().into_iter().map(|name| format!("watch {name}")).collect();
    let states = manager.map(Manager::watches).unwrap_or_default();
    if manager.is_some() && states.is_empty() {
        missing.push("the addon framework has not started".to_owned());
    }
    let broken = states
        .into_iter()
        .filter(|(_, state)| !matches!(state, WatchState::Synced));
    missing.extend(broken.map(|(name, _)| format!("watch {name} of the addon framework")));
    missing
}
