//! What is there before the product comes: on each cluster a storage cluster with an S3 server of its own, and a Rook with a
//! mirrored pool; on the hub Ramen.
use std::{fs, net::IpAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use peering_api::odf::{RAMEN_CONFIG_KEY, RAMEN_CONFIG_MAP};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testenv::Access;

use super::{NAMESPACE, POOL, RAMEN, ROOK};
use crate::{
    Side,
    odf::Odf,
    rook::{self, Rook, ceph::Network},
    s3::Endpoint,
    scenario::repository,
};

/// Tells the story where the S3 servers are.
const FILE: &str = "storage.json";
const REPLICATION_CLASSES: &str = "volumereplicationclasses.replication.storage.openshift.io";
/// What Ramen's installation writes.
const RAMEN_CONFIG: &str = "\
apiVersion: ramendr.openshift.io/v1alpha1
kind: RamenConfig
ramenControllerType: dr-hub
drClusterOperator:
  deploymentAutomationEnabled: true
";

/// URLs of the S3 servers of cluster1 and cluster2.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Addresses {
    /// By position.
    pub s3: [String; 2],
}

/// What runs until it is dropped.
pub struct Site {
    _clusters: Vec<(Odf, Rook)>,
}

impl Site {
    /// Starts it on a hub, cluster1 and cluster2, with the S3 servers on an address of this machine; what it writes down goes into
    /// the directory.
    pub async fn start(hub: &Access, spokes: &[Access; 2], address: IpAddr, directory: &Path) -> Result<Self> {
        let (mut clusters, mut urls) = (Vec::new(), Vec::new());
        let network = Network::default();
        for (side, cluster) in [Side::East, Side::West].into_iter().zip(spokes) {
            let name = side.cluster();
            let endpoint = Endpoint::on(address, name, &directory.join(format!("s3-{name}"))).await?;
            urls.push(endpoint.url());
            namespace(cluster, NAMESPACE).await?;
            cluster.apply_crd(REPLICATION_CLASSES).await?;
            let odf = Odf::on(cluster, NAMESPACE, side, Arc::new(endpoint)).await?;
            clusters.push((odf, rook(cluster, &network).await?));
        }
        namespace(hub, RAMEN).await?;
        hub.apply_path(&repository("tests/scenarios/crds/ramen.yaml")).await?;
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": RAMEN_CONFIG_MAP, "namespace": RAMEN},
            "data": {RAMEN_CONFIG_KEY: RAMEN_CONFIG}});
        hub.apply_text(&config.to_string()).await?;
        let s3: [String; 2] = urls.try_into().ok().context("two clusters")?;
        fs::write(directory.join(FILE), serde_json::to_vec(&Addresses { s3 })?)?;
        Ok(Self { _clusters: clusters })
    }
}

/// Rook with a mirrored pool, which knows of no peer yet.
async fn rook(cluster: &Access, network: &Network) -> Result<Rook> {
    for crd in rook::CRDS {
        cluster.apply_crd(crd).await?;
    }
    namespace(cluster, ROOK).await?;
    let object = |kind: &str, name: &str, spec: serde_json::Value| json!({"apiVersion": "ceph.rook.io/v1", "kind": kind, "metadata": {"name": name, "namespace": ROOK}, "spec": spec});
    let daemon = object("CephRBDMirror", "mirror", json!({"count": 1}));
    cluster.apply_text(&daemon.to_string()).await?;
    let mirroring = json!({"enabled": true, "mode": "image"});
    let pool = object(
        "CephBlockPool",
        POOL,
        json!({"replicated": {"size": 3}, "mirroring": mirroring}),
    );
    cluster.apply_text(&pool.to_string()).await?;
    Rook::start(&cluster.client().await?, ROOK, network.cluster(cluster.name())).await
}

async fn namespace(cluster: &Access, name: &str) -> Result<()> {
    let text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
    cluster.apply_text(&text).await?;
    Ok(())
}

/// Where the S3 servers of a running demo are.
pub fn addresses(directory: &Path) -> Result<Addresses> {
    let text = fs::read(directory.join(FILE))
        .context("what runs there is no storage demo: stop it with `make demo-down`, then start this one again")?;
    Ok(serde_json::from_slice(&text)?)
}
