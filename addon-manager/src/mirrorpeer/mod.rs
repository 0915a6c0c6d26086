//! `MirrorPeer`s: the façade for users of the Go orchestrator. Each becomes Peerings, which the peering controller serves, and
//! what only the hub has to do with storage. Read top to bottom: [`watches`] (of kinds that may be missing), [`info`] (what
//! storage operators tell), [`pace`] (how often what is looked at), [`observe`] (snapshots), the crate `storage` (decides,
//! pure), [`mod@write`] (one request per change).
mod info;
mod known;
mod legacy;
mod observe;
mod pace;
mod watches;
mod write;

use std::{sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, Queue, RunOptions, run};
use kube::ResourceExt;
use peering_api::{odf::MirrorPeer, peering::ReportRequest};
use storage::{
    classes::decide_works,
    mapping,
    mirrorpeer::{Foreign, concerned, decide, decide_ramen, is_leaving, peerings, provided_by, provider_clusters},
    ramen::RamenError,
};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
pub(crate) use self::watches::Storage;
use crate::{peering::Hub, touched::Key};

/// Takes in what is known of storage clients by now.
pub(crate) fn prepare(hub: &Hub, storage: &Storage) {
    info::refresh(hub, storage);
}

/// What the agent of a cluster is asked to report.
pub(crate) fn reports(hub: &Hub, storage: &Storage, cluster: &str) -> Vec<ReportRequest> {
    info::wanted(hub, storage, cluster)
}

/// How many keys are worked on at once.
const CONCURRENCY: usize = 4;

/// How long until a work of the Go orchestrator that goes is looked for again.
const LEGACY: Duration = Duration::from_secs(2);

/// How long one pass may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// Why a pass failed. It is tried again with a growing delay.
#[derive(Debug, Error)]
pub(crate) enum MirrorPeerError {
    /// Something could not be written.
    #[error("{change} of MirrorPeer {name} could not be written")]
    Write {
        /// Name of the `MirrorPeer`.
        name: String,
        /// What.
        change: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It is not known what of Ramen, or of the Go orchestrator, there is.
    #[error("the hub could not be asked what there is")]
    Unconfirmed(#[source] Box<kube::Error>),
    /// Rights that the Go orchestrator has left could not be taken away.
    #[error("rights that the Go orchestrator has left on the hub could not be taken away")]
    Legacy(#[source] Box<kube::Error>),
    /// Ramen's configuration could not be written.
    #[error("Ramen's configuration could not be written")]
    Ramen(#[source] Box<kube::Error>),
    /// What the console reads of storage clients could not be written.
    #[error("odf-client-info could not be written")]
    Info(#[source] Box<kube::Error>),
    /// An agent could not be installed.
    #[error("the addon of cluster {cluster} could not be made")]
    Addon {
        /// The cluster.
        cluster: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// A work of a cluster could not be written.
    #[error("{change} of cluster {cluster} could not be written")]
    Classes {
        /// The cluster.
        cluster: String,
        /// What.
        change: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Runs the controller until the token is cancelled.
pub(crate) async fn control(hub: Arc<Hub>, storage: Arc<Storage>, queue: Queue<Key>, token: CancellationToken) {
    hub.ready().await;
    storage.ready().await;
    info::refresh(&hub, &storage);
    queue.add(Key::Info);
    let options = RunOptions {
        name: "mirrorpeer",
        concurrency: CONCURRENCY,
        deadline: DEADLINE,
    };
    // Once: whoever runs both orchestrators must not see them fight.
    queue.add(Key::Legacy);
    let (keys, pace) = (queue.clone(), Arc::<Pace>::default());
    run(queue, options, token, move |key: Key| {
        let (hub, storage, keys, pace) = (hub.clone(), storage.clone(), keys.clone(), pace.clone());
        async move {
            match pace.wait(&key, Instant::now()) {
                Some(wait) => Ok(Outcome::RequeueAfter(wait)),
                None => pass(&hub, &storage, &keys, key).await,
            }
        }
    })
    .await;
}

async fn pass(hub: &Hub, storage: &Storage, keys: &Queue<Key>, key: Key) -> Result<Outcome, MirrorPeerError> {
    // What becomes known is looked at then, all of it.
    if !storage.is_known() && key != Key::Legacy {
        return Ok(Outcome::Done);
    }
    match key {
        Key::Peer(name) => {
            if let Some(peer) = storage.peer(&name) {
                // One that goes may leave an entry behind.
                for cluster in provider_clusters(&peer.spec, &storage.clients()) {
                    keys.add(Key::Classes(cluster));
                }
            }
            return peer(hub, storage, &name).await;
        }
        Key::Info => info::pass(hub, storage, keys).await?,
        Key::Ramen => ramen(hub, storage).await?,
        Key::Classes(cluster) => classes(hub, storage, &cluster).await?,
        Key::Peering(peering) => {
            for name in storage.names(|_, peer| peerings(&observe::named(storage, peer)).contains(&peering)) {
                keys.add(Key::Peer(name));
            }
            keys.add(Key::Ramen);
        }
        Key::Cluster(cluster) => {
            let clients = storage.clients();
            let concerns = |peer: &MirrorPeer| concerned(peer, &cluster) || provided_by(peer, &cluster, &clients);
            for name in storage.names(|_, peer| concerns(peer)) {
                keys.add(Key::Peer(name));
            }
            keys.add(Key::Ramen);
            keys.add(Key::Classes(cluster));
        }
        Key::Legacy => {
            let cleared = legacy::clear(&hub.client).await;
            cleared.map_err(|source| MirrorPeerError::Legacy(Box::new(source)))?;
        }
        Key::All => {
            for name in storage.names(|_, _| true) {
                keys.add(Key::Peer(name));
            }
            for cluster in storage.clusters() {
                keys.add(Key::Classes(cluster));
            }
            keys.add(Key::Ramen);
        }
    }
    Ok(Outcome::Done)
}

/// One pass over one `MirrorPeer`: observe, decide, write.
async fn peer(hub: &Hub, storage: &Storage, name: &str) -> Result<Outcome, MirrorPeerError> {
    let Some(peer) = storage.peer(name) else {
        return Ok(Outcome::Done);
    };
    let mut seen = observe::of(hub, storage, &peer);
    if is_leaving(peer.as_ref()) {
        let confirmed = observe::confirm(hub, &mut seen).await;
        confirmed.map_err(|source| MirrorPeerError::Unconfirmed(Box::new(source)))?;
    } else {
        let looked = observe::legacy(hub, storage, &mut seen).await;
        looked.map_err(|source| MirrorPeerError::Unconfirmed(Box::new(source)))?;
    }
    // No watch tells of it.
    let outcome = if seen.legacy.is_empty() {
        Outcome::Done
    } else {
        Outcome::RequeueAfter(LEGACY)
    };
    let decision = decide(&seen);
    for change in decision.changes {
        let text = change.to_string();
        let failed = |source| MirrorPeerError::Write {
            name: name.to_owned(),
            change: text.clone(),
            source: Box::new(source),
        };
        write::change(hub, storage, &peer, change).await.map_err(failed)?;
        tracing::info!(mirrorpeer = name, change = text, "wrote");
    }
    let Some(status) = decision.status else {
        return Ok(outcome);
    };
    // What was written just now may be newer than what was seen: the status belongs to what was seen.
    let peer = storage.peer(name).filter(|now| now.uid() == peer.uid());
    let Some(peer) = peer else {
        return Ok(Outcome::Done);
    };
    let written = write::status(hub, storage, &peer, &status).await;
    written.map(|_| outcome).map_err(|source| MirrorPeerError::Write {
        name: name.to_owned(),
        change: "status".to_owned(),
        source: Box::new(source),
    })
}

/// One pass over Ramen's configuration, for all `MirrorPeer`s.
async fn ramen(hub: &Hub, storage: &Storage) -> Result<(), MirrorPeerError> {
    let (seen, stores) = (observe::ramen(storage), observe::stores(hub));
    let decision = decide_ramen(
        &seen,
        &storage.all_peers(),
        &storage.clients(),
        &stores,
        &storage.dr_clusters(),
    );
    let decision: Result<_, RamenError> = decision;
    match decision {
        Ok(None) => Ok(()),
        Ok(Some(decision)) => {
            let written = write::ramen(hub, storage, &decision).await;
            written.map_err(|source| MirrorPeerError::Ramen(Box::new(source)))?;
            tracing::info!(namespace = decision.namespace, "wrote Ramen's configuration");
            Ok(())
        }
        Err(error) => {
            // The MirrorPeers tell it in their conditions; who corrects the text is seen by the watch.
            tracing::warn!(error = error.to_string(), "Ramen's configuration is left as it is");
            Ok(())
        }
    }
}

/// One pass over the replication classes of a cluster: one work for all policies.
async fn classes(hub: &Hub, storage: &Storage, cluster: &str) -> Result<(), MirrorPeerError> {
    // Before it is known which policies there are, nothing is known to be superfluous.
    let policies = storage.dr_policies();
    if policies == Foreign::Pending || !hub.cluster(cluster).managed {
        return Ok(());
    }
    let works = storage.works(cluster);
    let policies = policies.known().cloned().unwrap_or_default();
    let (peers, clients) = (storage.all_peers(), storage.clients());
    let mut changes = decide_works(cluster, &policies, &peers, &clients, &works);
    changes.extend(mapping::decide(cluster, &peers, &clients, &works));
    for change in changes {
        let text = change.to_string();
        let failed = |source| MirrorPeerError::Classes {
            cluster: cluster.to_owned(),
            change: text.clone(),
            source: Box::new(source),
        };
        write::work(hub, storage, cluster, change).await.map_err(failed)?;
        tracing::info!(cluster, change = text, "wrote");
    }
    Ok(())
}
