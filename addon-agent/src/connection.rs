//! The connection to the hub: watches that are made anew when the credentials change.
use std::{path::PathBuf, sync::Arc};

use addon_framework::{
    agent::hub::Config,
    runtime::{Clients, clients, error_chain, watch},
};
use kube::Api;
use peering_api::peering::{PeerExport, PeerLink, PeerMember};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{context::Context, hub::Hub};

/// Keeps the context's hub up to date with the credentials in `dir`. Until new ones have proved themselves by complete
/// lists, the old watches go on, and what they know stays in use: a hub outage or a bad renewal stalls nothing local.
pub async fn keep(dir: PathBuf, context: Arc<Context>, tasks: TaskTracker, token: CancellationToken) {
    let Some(mut config) = Config::wait(dir, &token).await else {
        return;
    };
    loop {
        let connected = connect(&config, &context, &tasks, &token);
        let next = async {
            connected.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = token.cancelled() => return,
            () = next => {}
            changed = config.changed() => config = changed,
        }
    }
}

async fn connect(config: &Config, context: &Arc<Context>, tasks: &TaskTracker, token: &CancellationToken) {
    let clients = match clients(config.kube.clone()) {
        Ok(clients) => clients,
        Err(error) => {
            error!(
                error = error_chain(&error),
                "the hub credentials cannot be used, waiting for others"
            );
            return;
        }
    };
    let hub = start(clients, context, tasks, token);
    hub.ready().await;
    if token.is_cancelled() {
        return;
    }
    info!(server = %config.kube.cluster_url, namespace = context.cluster, "hub objects listed");
    context.set_hub(hub);
}

/// Starts the watches; whoever is touched is put into the queues.
fn start(clients: Clients, context: &Arc<Context>, tasks: &TaskTracker, token: &CancellationToken) -> Hub {
    let namespace = context.cluster.clone();
    let client = || clients.watch.clone();
    let member = context.member.clone();
    let members = watch(
        tasks,
        token,
        "hub-peermembers",
        Api::namespaced(client(), &namespace),
        kube_runtime::watcher::Config::default(),
        move |_: &PeerMember| member.add(()),
    );
    let touched = context.clone();
    let exports = watch(
        tasks,
        token,
        "hub-peerexports",
        Api::namespaced(client(), &namespace),
        kube_runtime::watcher::Config::default(),
        move |export: &PeerExport| touched.export_touched(export),
    );
    let touched = context.clone();
    let links = watch(
        tasks,
        token,
        "hub-peerlinks",
        Api::namespaced(client(), &namespace),
        kube_runtime::watcher::Config::default(),
        move |link: &PeerLink| touched.link_touched(link),
    );
    Hub {
        clients,
        namespace,
        members,
        exports,
        links,
    }
}
