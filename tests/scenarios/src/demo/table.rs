//! The tables at the end of the storage demo.
use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};
use peering_api::{
    odf::{DRCluster, MirrorPeer, RAMEN_CONFIG_KEY, RAMEN_CONFIG_MAP},
    peering::{PeerLink, PeerMember, condition, is_true, reasons},
};
use storage::{names, ramen};

use super::{NAMESPACE, POOL, RAMEN, ROOK, story::Story};
use crate::{
    Side,
    odf::{STORAGE_CLUSTER, kind},
    rook,
    scenario::fingerprints,
};

/// Prints all of them, and checks that everything is well.
pub(super) async fn print(story: &Story, mirror_peer: &str) -> Result<()> {
    let links: Api<PeerLink> = Api::all(story.hub.clone());
    let links = links.list(&ListParams::default()).await?.items;
    print_links(&links);
    print_ramen(story).await?;
    print_peers(story).await?;
    let peers: Api<MirrorPeer> = Api::all(story.hub.clone());
    let status = peers.get(mirror_peer).await?.status.unwrap_or_default();
    let counted = status.links.context("the MirrorPeer tells no links")?;
    println!(
        "MIRRORPEER {mirror_peer}: {} ({}), {} of {} links ready\n",
        status.phase.unwrap_or_default(),
        status.message.unwrap_or_default(),
        counted.ready,
        counted.total
    );
    let ready = |link: &PeerLink| {
        let status = link.status.as_ref();
        status.is_some_and(|status| is_true(&status.conditions, reasons::READY))
    };
    ensure!(counted.total > 0 && links.iter().all(ready), "not every link is ready");
    Ok(())
}

fn print_links(links: &[PeerLink]) {
    println!(
        "\n{:<10} {:<14} {:<19} {:<12} {:<7} {:<10} {:<6} {:<8} {:<10} {:<6} REASON",
        "FROM", "TO", "PROFILE", "ARTEFACT", "SOURCE", "DELIVERED", "WIRED", "TRUSTED", "CONNECTED", "READY"
    );
    for link in links {
        let conditions = link.status.clone().unwrap_or_default().conditions;
        let said = |type_: &str| {
            condition(&conditions, type_)
                .map_or("-", |found| &found.status)
                .to_owned()
        };
        println!(
            "{:<10} {:<14} {:<19} {:<12} {:<7} {:<10} {:<6} {:<8} {:<10} {:<6} {}",
            link.spec.from.cluster,
            link.spec.to.cluster,
            link.spec.profile,
            link.spec.artefact,
            said(reasons::SOURCE_READY),
            said(reasons::DELIVERED),
            said(reasons::WIRED),
            said(reasons::TRUSTED),
            said(reasons::CONNECTED),
            said(reasons::READY),
            condition(&conditions, reasons::READY).map_or("-", |ready| &ready.reason),
        );
    }
    println!();
}

async fn print_ramen(story: &Story) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(story.hub.clone(), RAMEN);
    let clusters: Api<DRCluster> = Api::all(story.hub.clone());
    let map = maps.get(RAMEN_CONFIG_MAP).await?;
    let text = map
        .data
        .context("no data")?
        .remove(RAMEN_CONFIG_KEY)
        .context("no key")?;
    println!(
        "{:<40} {:<23} {:<24} {:<8} {:<4} DRCLUSTER",
        "RAMEN S3 PROFILE", "BUCKET", "ENDPOINT", "REGION", "CAS"
    );
    for side in [Side::East, Side::West] {
        let name = names::s3_profile(side.cluster(), STORAGE_CLUSTER);
        let entry = ramen::profile(&text, &name)?.with_context(|| format!("Ramen has no profile {name}"))?;
        let cas = BASE64_STANDARD.decode(entry.ca_certificates.unwrap_or_default())?;
        let cluster = clusters.get(side.cluster()).await?;
        ensure!(
            cluster.spec.s3_profile_name == name,
            "DRCluster {} uses another profile",
            side.cluster()
        );
        println!(
            "{name:<40} {:<23} {:<24} {:<8} {:<4} {}",
            entry.s3_bucket,
            entry.s3_compatible_endpoint,
            entry.s3_region,
            fingerprints(&String::from_utf8_lossy(&cas)).len(),
            cluster.name_any()
        );
    }
    println!();
    Ok(())
}

async fn print_peers(story: &Story) -> Result<()> {
    println!(
        "{:<10} {:<35} {:<8} {:<7} PEER SECRETS",
        "CLUSTER", "MIRRORED", "ENABLED", "HEALTH"
    );
    for side in [Side::East, Side::West] {
        let client = story.spoke(side);
        let storage = kind(&client, NAMESPACE, "ocs.openshift.io/v1", "StorageCluster");
        let storage = storage.get(STORAGE_CLUSTER).await?;
        let pool = rook::pools(&client, NAMESPACE);
        let pool = pool.get(&format!("{STORAGE_CLUSTER}-cephblockpool")).await?;
        let alone = rook::pools(&client, ROOK).get(POOL).await?;
        let of_storage = &storage.data["spec"]["mirroring"];
        let of_alone = &alone.data["spec"]["mirroring"];
        for (what, mirroring, peers, pool) in [
            (
                format!("StorageCluster {STORAGE_CLUSTER}"),
                of_storage,
                &of_storage["peerSecretNames"],
                &pool,
            ),
            (
                format!("CephBlockPool {POOL}"),
                of_alone,
                &of_alone["peers"]["secretNames"],
                &alone,
            ),
        ] {
            let health = &pool.data["status"]["mirroringStatus"]["summary"]["daemon_health"];
            let peers: Vec<_> = peers
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str())
                .collect();
            println!(
                "{:<10} {what:<35} {:<8} {:<7} {}",
                side.cluster(),
                mirroring["enabled"].to_string(),
                health.as_str().unwrap_or("-"),
                peers.join(", ")
            );
        }
    }
    println!();
    for cluster in ["cluster1", "cluster2", "local-cluster"] {
        let members: Api<PeerMember> = Api::namespaced(story.hub.clone(), cluster);
        let status = members.get(cluster).await?.status.unwrap_or_default();
        let key = status.fingerprint.context("an agent has published no key")?;
        println!("agent of {cluster}: key {key}");
    }
    println!();
    Ok(())
}
