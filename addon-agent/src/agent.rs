//! Puts the parts together and runs them until the process is told to stop.
use std::{future::Future, io, sync::Arc, time::Duration};

use addon_framework::{
    agent::lease,
    process::{Endpoint, stop_on_signals},
    runtime::{Queue, RunOptions, clients, run},
};
use kube::config::InferConfigError;
use peering_api::names;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    args::Args,
    connection,
    context::Context,
    exports, identity, member,
    metrics::Metrics,
    probe::{Loopback, runner::Runner},
    spoke::{Pool, pool::Queues},
    targets,
};

/// How many exports, and how many targets, are worked on at once.
const CONCURRENCY: usize = 8;

/// How long one of them may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// How long tasks may take to end once they were told to.
const GRACE: Duration = Duration::from_secs(15);

/// Why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    /// No way to this cluster's API server was found.
    #[error("there is neither a service account nor a kubeconfig for this cluster")]
    Config(#[from] InferConfigError),
    /// The clients cannot be made.
    #[error("the clients for this cluster cannot be made")]
    Clients(#[source] kube::Error),
    /// Signals cannot be handled.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// The endpoint for probes and metrics broke.
    #[error("cannot serve probes and metrics")]
    Serve(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run_agent(args: Args) -> Result<(), AgentError> {
    let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
    stop_on_signals(&token).map_err(AgentError::Signals)?;
    let config = kube::Config::infer().await?;
    let context = context(&args, config, &tasks, &token)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster = args.cluster_name,
        namespace = args.namespace,
        "starting"
    );
    let serve = serve(&args, &context, &token);
    start(args, &context, &tasks, &token);
    let served = serve.await.map_err(AgentError::Serve);
    token.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        warn!(tasks = tasks.len(), "not everything stopped in time");
    }
    served
}

fn context(
    args: &Args,
    config: kube::Config,
    tasks: &TaskTracker,
    token: &CancellationToken,
) -> Result<Arc<Context>, AgentError> {
    let spoke = clients(config).map_err(AgentError::Clients)?;
    let queues = Queues {
        exports: Queue::new(),
        targets: Queue::new(),
        member: Queue::new(),
    };
    let pool = Pool::new(spoke.watch.clone(), tasks.clone(), token.clone(), queues.clone());
    let loopback = if args.allow_loopback_probes {
        warn!("probes may connect to loopback addresses: this is for test environments");
        Loopback::Allow
    } else {
        Loopback::Refuse
    };
    let metrics = Metrics::default();
    let probes = Runner::new(tasks.clone(), token.clone(), metrics.clone(), loopback);
    let (cluster, namespace) = (args.cluster_name.clone(), args.namespace.clone());
    Ok(Arc::new(Context::new(
        cluster,
        namespace,
        spoke,
        (pool, queues),
        metrics,
        probes,
    )))
}

fn serve(
    args: &Args,
    context: &Arc<Context>,
    token: &CancellationToken,
) -> impl Future<Output = io::Result<()>> + use<> {
    let mut registry = Registry::with_prefix("orchestrator");
    context.metrics.register(&mut registry);
    let ready = context.clone();
    Endpoint::new(registry, Arc::new(move || ready.missing())).serve(args.health_listen, token.clone())
}

/// Starts everything. Nothing waits for anything else: each part looks again when what it needs has come.
fn start(args: Args, context: &Arc<Context>, tasks: &TaskTracker, token: &CancellationToken) {
    let lease = {
        let (client, namespace, token) = (context.spoke.request.clone(), args.namespace, token.clone());
        async move { lease::keep(client, &namespace, names::ADDON, || true, token).await }
    };
    tasks.spawn(lease);
    tasks.spawn(identity::provide(context.clone(), token.clone()));
    tasks.spawn(member::discover(context.clone(), token.clone()));
    let dir = args.hub_kubeconfig_dir;
    tasks.spawn(connection::keep(dir, context.clone(), tasks.clone(), token.clone()));

    let shared = context.clone();
    let report = move |()| member::reconcile(shared.clone());
    tasks.spawn(run(context.member.clone(), options("member", 1), token.clone(), report));
    let shared = context.clone();
    let export = move |name| exports::reconcile(shared.clone(), name);
    let queue = context.queues.exports.clone();
    tasks.spawn(run(queue, options("exports", CONCURRENCY), token.clone(), export));
    let shared = context.clone();
    let target = move |place| targets::reconcile(shared.clone(), place);
    let queue = context.queues.targets.clone();
    tasks.spawn(run(queue, options("targets", CONCURRENCY), token.clone(), target));
}

fn options(name: &'static str, concurrency: usize) -> RunOptions {
    RunOptions {
        name,
        concurrency,
        deadline: DEADLINE,
    }
}
