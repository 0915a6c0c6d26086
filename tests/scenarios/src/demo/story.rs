//! The story, told step by step. Everything it shows is read back from the clusters.
use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams},
};
use peering_api::{
    names::LINK_LABEL,
    odf::{DRPolicy, MirrorPeer},
    peering::{Peering, condition, reasons},
};
use serde_json::json;
use storage::names;
use testenv::{Access, devenv::State, wait};

use super::{NAMESPACE, RAMEN, site, table};
use crate::{
    Side,
    odf::{self, PEER_TOKEN, STORAGE_CLUSTER},
    scenario::repository,
    world::MANAGER_NAMESPACE,
};

/// How long a single step may take.
const STEP: Duration = Duration::from_mins(3);
/// What `manifests/samples/mirrorpeer.yaml` names.
const MIRROR_PEER: &str = "east-west";
/// The Peering of `manifests/samples/rook.yaml` for block storage.
const ROOK_PEERING: &str = "block-storage";
/// Between two runs of the probe of a bucket, so that what is tried by hand shows soon.
const INTERVAL: &str = "5s";

pub(super) struct Story {
    start: Instant,
    access: Access,
    pub(super) hub: Client,
    pub(super) spokes: [Client; 2],
}

/// Plays the demo on a running environment.
pub async fn play(state: &State, directory: &Path, start: Instant) -> Result<()> {
    let addresses = site::addresses(directory)?;
    let access = state.hub()?;
    let spoke = async |side: Side| state.cluster(side.cluster())?.client().await;
    let story = Story {
        start,
        hub: access.client().await?,
        access,
        spokes: [spoke(Side::East).await?, spoke(Side::West).await?],
    };
    story.tell(
        "storage operators run on cluster1 and cluster2 (stand-ins), each with a real S3 server behind its own CA",
    );
    story.tell("Rook runs there by itself too (a stand-in), with a mirrored pool that knows of no peer");
    story.tell("Ramen's configuration and kinds are on the hub");
    story.install(&addresses.s3).await?;
    story.pair().await?;
    story.tokens().await?;
    story.buckets(&addresses.s3).await?;
    story.policy().await?;
    story.fail_over().await?;
    story.rook().await?;
    table::print(&story, MIRROR_PEER).await
}

/// The `MirrorPeer` alone, on clusters with the product; at the end everything is taken back.
pub async fn play_and_part(hub: Access, spokes: &[Access; 2], directory: &Path, start: Instant) -> Result<()> {
    let urls = site::addresses(directory)?.s3;
    odf::install_profiles(&hub, &urls, INTERVAL).await?;
    let [east, west] = spokes;
    let story = Story {
        start,
        hub: hub.client().await?,
        access: hub,
        spokes: [east.client().await?, west.client().await?],
    };
    story.pair().await?;
    story.tokens().await?;
    story.buckets(&urls).await?;
    story.policy().await?;
    story.fail_over().await?;
    story.part().await
}

impl Story {
    fn tell(&self, line: &str) {
        println!("[{:6.1} s] {line}", self.start.elapsed().as_secs_f64());
    }

    pub(super) fn secrets(&self, side: Side) -> Api<Secret> {
        Api::namespaced(self.spoke(side), NAMESPACE)
    }

    pub(super) fn spoke(&self, side: Side) -> Client {
        let [east, west] = &self.spokes;
        if side == Side::East { east } else { west }.clone()
    }

    async fn install(&self, urls: &[String; 2]) -> Result<()> {
        self.access.apply_path(&repository("manifests/hub")).await?;
        odf::install_profiles(&self.access, urls, INTERVAL).await?;
        let deployments: Api<Deployment> = Api::namespaced(self.hub.clone(), MANAGER_NAMESPACE);
        wait::until("the addon-manager to be available", STEP, || async {
            let status = deployments.get("addon-manager").await?.status.unwrap_or_default();
            Ok((status.available_replicas == Some(1)).then_some(()))
        })
        .await?;
        self.tell(
            "addon-manager and profiles installed on the hub (kubectl apply -k manifests/hub -k manifests/profiles)",
        );
        Ok(())
    }

    /// Applies the sample and tells its phases.
    async fn pair(&self) -> Result<()> {
        self.access
            .apply_path(&repository("manifests/samples/mirrorpeer.yaml"))
            .await?;
        self.tell(&format!(
            "MirrorPeer {MIRROR_PEER} applied (manifests/samples/mirrorpeer.yaml)"
        ));
        let peers: Api<MirrorPeer> = Api::all(self.hub.clone());
        let told = std::cell::RefCell::new(String::new());
        wait::until("the MirrorPeer to be ready", STEP, || async {
            let status = peers.get(MIRROR_PEER).await?.status.unwrap_or_default();
            let phase = status.phase.unwrap_or_default();
            let now = format!("{phase}: {}", status.message.unwrap_or_default());
            if !phase.is_empty() && told.replace(now.clone()) != now {
                self.tell(&format!("MirrorPeer {MIRROR_PEER} {now}"));
            }
            Ok((phase == "Ready").then_some(()))
        })
        .await
    }

    /// Each storage cluster holds the other's token.
    async fn tokens(&self) -> Result<()> {
        for side in [Side::East, Side::West] {
            self.arrival(side).await?;
            let (from, to) = (side.cluster(), side.other().cluster());
            self.tell(&format!(
                "Ceph's peer token of {from} arrived on {to} byte for byte, and its StorageCluster names it"
            ));
        }
        Ok(())
    }

    async fn arrival(&self, from: Side) -> Result<()> {
        let name = names::peer_secret(from.cluster(), NAMESPACE, STORAGE_CLUSTER);
        let (source, target) = (self.secrets(from), self.secrets(from.other()));
        wait::until("the token to arrive", STEP, || async {
            let sent = source.get(PEER_TOKEN).await?.data.context("the source is empty")?;
            let arrived = target.get_opt(&name).await?.and_then(|secret| secret.data);
            Ok((arrived == Some(sent)).then_some(()))
        })
        .await
    }

    /// The hub holds the keys of each bucket.
    async fn buckets(&self, urls: &[String; 2]) -> Result<()> {
        let bucket = names::bucket("cluster1", "cluster2");
        for (side, url) in [Side::East, Side::West].into_iter().zip(urls) {
            let keys = self.secrets(side).get(&bucket).await?.data;
            let name = names::s3_secret(side.cluster(), NAMESPACE, STORAGE_CLUSTER);
            let secrets: Api<Secret> = Api::namespaced(self.hub.clone(), RAMEN);
            ensure!(
                secrets.get(&name).await?.data == keys,
                "the hub has other keys for {bucket}"
            );
            self.tell(&format!(
                "{}: bucket {bucket} made at {url}; its keys were sealed to the hub, which has listed it with them over TLS",
                side.cluster()
            ));
        }
        Ok(())
    }

    /// A policy gets its replication class on both clusters.
    async fn policy(&self) -> Result<()> {
        let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "every-5m"},
            "spec": {"drClusters": ["cluster1", "cluster2"], "schedulingInterval": "5m", "replicationClassSelector": {}}});
        self.access.apply_text(&policy.to_string()).await?;
        let name = names::replication_class("5m", false);
        let kind = GroupVersionKind::gvk("replication.storage.openshift.io", "v1alpha1", "VolumeReplicationClass");
        let kind = ApiResource::from_gvk_with_plural(&kind, "volumereplicationclasses");
        for side in [Side::East, Side::West] {
            let classes: Api<DynamicObject> = Api::all_with(self.spoke(side), &kind);
            wait::until("the replication class", STEP, || async {
                Ok(classes.get_opt(&name).await?)
            })
            .await?;
        }
        self.tell(&format!(
            "DRPolicy every-5m: VolumeReplicationClass {name} on both clusters"
        ));
        Ok(())
    }

    /// Policy and pair go; what was there before is as it was.
    async fn part(&self) -> Result<()> {
        let params = DeleteParams::default();
        let policies: Api<DRPolicy> = Api::all(self.hub.clone());
        policies.delete("every-5m", &params).await?;
        let peers: Api<MirrorPeer> = Api::all(self.hub.clone());
        peers.delete(MIRROR_PEER, &params).await?;
        wait::until("the MirrorPeer to be gone", STEP, || async {
            Ok(peers.get_opt(MIRROR_PEER).await?.is_none().then_some(()))
        })
        .await?;
        let links = ListParams::default().labels(LINK_LABEL);
        let on_hub: Api<Secret> = Api::namespaced(self.hub.clone(), RAMEN);
        for secrets in [on_hub, self.secrets(Side::East), self.secrets(Side::West)] {
            ensure!(
                secrets.list(&links).await?.items.is_empty(),
                "a delivered Secret is left"
            );
        }
        for side in [Side::East, Side::West] {
            let storage = odf::kind(&self.spoke(side), NAMESPACE, "ocs.openshift.io/v1", "StorageCluster");
            let storage = storage.get(STORAGE_CLUSTER).await?;
            let mirroring = &storage.data["spec"]["mirroring"];
            ensure!(
                *mirroring == json!({"peerSecretNames": ["by-hand"]}),
                "mirroring of {}: {mirroring}",
                side.cluster()
            );
        }
        self.tell(&format!(
            "MirrorPeer {MIRROR_PEER} deleted: the StorageClusters are as they were, and nothing delivered is left"
        ));
        Ok(())
    }

    /// Two Rook clusters without Data Foundation: a Peering on a profile is all that they need.
    async fn rook(&self) -> Result<()> {
        self.access
            .apply_path(&repository("manifests/profiles/rook-rbd-mirroring.yaml"))
            .await?;
        let text = std::fs::read_to_string(repository("manifests/samples/rook.yaml"))?;
        let samples = testenv::apply::parse(&text)?;
        let sample = samples.iter().find(|sample| sample["metadata"]["name"] == ROOK_PEERING);
        let sample = sample.with_context(|| format!("no sample is called {ROOK_PEERING}"))?;
        self.access.apply_text(&sample.to_string()).await?;
        let peerings: Api<Peering> = Api::all(self.hub.clone());
        let message = wait::until("the pools to be mirrored", STEP, || async {
            let conditions = peerings.get(ROOK_PEERING).await?.status.unwrap_or_default().conditions;
            let ready = condition(&conditions, reasons::READY).filter(|ready| ready.status == "True");
            Ok(ready.map(|ready| ready.message.clone()))
        })
        .await?;
        self.tell(&format!(
            "Peering {ROOK_PEERING} of the Rook clusters applied (manifests/samples/rook.yaml): {message}"
        ));
        Ok(())
    }

    /// Ceph's mons fail over: there is a new token.
    async fn fail_over(&self) -> Result<()> {
        odf::replace_token(&self.secrets(Side::East), &odf::token(Side::East, 2)).await?;
        let changed = Instant::now();
        self.arrival(Side::East).await?;
        let after = changed.elapsed().as_millis();
        self.tell(&format!(
            "the mons of cluster1 failed over; cluster2 had the new token after {after} ms"
        ));
        Ok(())
    }
}

/// Prints how to go on by hand.
pub fn print_next_steps(state: &State) {
    println!("Everything goes on running. Try:");
    println!("  alias kubectl={}", state.binaries.join("kubectl").display());
    for cluster in &state.clusters {
        println!(
            "  export {}={}",
            cluster.name.to_uppercase(),
            cluster.kubeconfig.display()
        );
    }
    let bucket = names::bucket("cluster1", "cluster2");
    println!("  kubectl --kubeconfig $HUB get mirrorpeers,peerings,peerlinks -A");
    println!("  kubectl --kubeconfig $HUB -n {RAMEN} get configmap ramen-hub-operator-config -o yaml");
    println!(
        "  # a key that the server does not take: the link says so in seconds, and is ready again with the right one"
    );
    for key in ["wrong", &odf::secret_key(&bucket, 1)] {
        let patch = format!("'{{\"stringData\":{{\"AWS_SECRET_ACCESS_KEY\":\"{key}\"}}}}'");
        println!("  kubectl --kubeconfig $CLUSTER1 -n {NAMESPACE} patch secret {bucket} -p {patch}");
    }
    println!(
        "  kubectl --kubeconfig $HUB delete drpolicy every-5m && kubectl --kubeconfig $HUB delete mirrorpeer {MIRROR_PEER}"
    );
    println!("  make demo-status, make demo-down");
}
