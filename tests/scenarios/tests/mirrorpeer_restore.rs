//! `MirrorPeer`s on a hub that goes back in time, and on a new hub that got what backups of hubs hold: the objects with the
//! backup label, under other uids and without their status.
use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::verbs,
};
use peering_api::{
    odf::{BACKUP_LABEL, BACKUP_RESOURCE, MirrorPeer},
    peering::Peering,
};
use scenarios::{
    Side, Witness,
    odf::{key_id, secret_key, texts, token},
};
use serde_json::{Value, json};
use storage::names;
use testenv::etcd::Dump;

use crate::mirrorpeer::{BOTH, RAMEN, Site};

const NAME: &str = "mirror-restore";
/// How long each thing may take once the hub is back: Open Cluster Management's agents wait up to a minute between their tries.
const CATCH_UP: Duration = Duration::from_mins(6);

/// What must not be touched on the clusters: uids and generations.
async fn standing(site: &Site, bucket: &str) -> Result<Vec<(Option<String>, Option<i64>)>> {
    let mut all = Vec::new();
    for side in BOTH {
        let odf = site.odf(side);
        let claim = odf.claims().get(bucket).await?;
        all.push((claim.uid(), claim.metadata.generation));
        let storage = odf.storage_cluster().await?;
        all.push((storage.uid(), storage.metadata.generation));
        let secret = odf.secrets().get(&site.received(side.other())).await?;
        all.push((secret.uid(), None));
    }
    Ok(all)
}

/// The values that the Secret with a token held, each once in a row; an error if it was gone.
fn tokens(witness: &Witness<Secret>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for version in witness.versions() {
        let secret = version.context("the Secret was gone")?;
        all.push(texts(&secret).remove("token").unwrap_or_default());
    }
    all.dedup();
    Ok(all)
}

/// All objects of the hub with the backup label, by kind.
async fn backed_up(hub: &Client) -> Result<BTreeSet<String>> {
    let mut kinds = BTreeSet::new();
    let labelled = ListParams::default().labels(BACKUP_LABEL);
    let discovery = kube::Discovery::new(hub.clone()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let found = Api::<DynamicObject>::all_with(hub.clone(), &resource)
                .list(&labelled)
                .await;
            // Some kinds are served and not listable, such as reviews.
            if found.is_ok_and(|found| !found.items.is_empty()) {
                kinds.insert(resource.kind);
            }
        }
    }
    Ok(kinds)
}

/// What a new hub holds after a restore: of our kinds those with the backup label, as new objects; what was delivered to the
/// hub and what the manager has made there is gone.
fn only_backed_up(dump: &Dump) -> Dump {
    let ours = [
        "/peering.open-cluster-management.io/",
        "/multicluster.odf.openshift.io/",
        "/ramendr.openshift.io/",
        "/work.open-cluster-management.io/manifestworks/",
    ];
    let deploys = |key: &str| key.contains("/manifestworks/") && key.contains("/addon-");
    let delivered = |key: &str| {
        let parts: Vec<_> = key.split('/').collect();
        matches!(parts[..], [.., "secrets" | "configmaps", namespace, name] if namespace == RAMEN && name.len() == 39)
    };
    let mut restored = Vec::new();
    for (key, value) in dump {
        let name = String::from_utf8_lossy(key);
        if delivered(&name) {
            continue;
        }
        if !ours.iter().any(|part| name.contains(part)) || deploys(&name) {
            restored.push((key.clone(), value.clone()));
            continue;
        }
        // Custom resources are stored as JSON.
        let Ok(mut object) = serde_json::from_slice::<Value>(value) else {
            continue;
        };
        if object["metadata"]["labels"][BACKUP_LABEL] != BACKUP_RESOURCE {
            continue;
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        // Another one, which is as unique.
        object["metadata"]["uid"] = json!(
            uid.chars()
                .rev()
                .map(|c| if c == '-' { c } else { swap(c) })
                .collect::<String>()
        );
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        restored.push((key.clone(), object.to_string().into_bytes()));
    }
    restored
}

fn swap(c: char) -> char {
    c.to_digit(16)
        .and_then(|digit| char::from_digit(15 - digit, 16))
        .unwrap_or(c)
}

#[tokio::test]
async fn a_restored_hub_finds_its_storage_clusters_as_they_are() -> Result<()> {
    let mut site = Site::new(NAME).await?;
    site.s.patience = CATCH_UP;
    let (s, hub) = (&site.s, site.s.world.env.hub());
    let bucket = names::bucket("cluster1", "cluster2");
    site.apply(NAME, &site.spec(["cluster1", "cluster2"], true)).await?;
    site.await_ready(NAME).await?;
    let kinds = backed_up(&s.hub).await?;
    let expected = ["ExchangeProfile", "MirrorPeer", "Peering"].map(str::to_owned);
    ensure!(kinds == BTreeSet::from(expected), "backed up: {kinds:?}");

    // A hub from before a mon fail-over and a rotation.
    let backup = hub.etcd_dump().await?;
    let hub_secrets: Api<Secret> = Api::namespaced(s.hub.clone(), RAMEN);
    let witness = Witness::of(site.west.secrets(), &site.received(Side::East)).await?;
    site.east.fail_over(Side::East).await?;
    site.east.rotate(&bucket).await?;
    let arrived = async || {
        let second = token(Side::East, 2);
        site.await_data(&site.west.secrets(), &site.received(Side::East), "token", &second)
            .await?;
        let (name, rotated) = (site.credentials(Side::East), secret_key(&bucket, 2));
        site.await_data(&hub_secrets, &name, "AWS_SECRET_ACCESS_KEY", &rotated)
            .await
    };
    arrived().await?;
    site.await_ready(NAME).await?;
    let before = standing(&site, &bucket).await?;
    ensure!(hub.restore(&backup).await? > 5, "the hub was not taken back");
    arrived().await?;
    site.await_ready(NAME).await?;
    site.await_entries(&bucket).await?;
    ensure!(
        standing(&site, &bucket).await? == before,
        "something was touched on the clusters"
    );

    // A new hub, with what has the label and nothing else.
    let uid = site.peers().get(NAME).await?.uid();
    let restored = only_backed_up(&hub.etcd_dump().await?);
    hub.restore(&restored).await?;
    site.reset_ramen().await?;
    let again: MirrorPeer = site.peers().get(NAME).await?;
    ensure!(again.uid() != uid, "the MirrorPeer is the same object");
    site.await_ready(NAME).await?;
    arrived().await?;
    site.await_entries(&bucket).await?;
    for side in BOTH {
        ensure!(
            site.clusters().get_opt(side.cluster()).await?.is_some(),
            "no DRCluster of {side:?}"
        );
        let credentials = hub_secrets.get(&site.credentials(side)).await?;
        ensure!(texts(&credentials)["AWS_ACCESS_KEY_ID"] == key_id(&bucket), "{side:?}");
    }
    ensure!(
        standing(&site, &bucket).await? == before,
        "something was touched on the clusters"
    );
    let peerings: Api<Peering> = Api::all(s.hub.clone());
    ensure!(
        peerings.list(&ListParams::default()).await?.items.len() == 3,
        "Peerings were made anew beside the old"
    );
    ensure!(
        tokens(&witness)? == [1, 2].map(|version| token(Side::East, version)),
        "the token was rolled back"
    );

    // What changes arrives, and all of it can be taken back.
    site.west.fail_over(Side::West).await?;
    let second = token(Side::West, 2);
    site.await_data(&site.east.secrets(), &site.received(Side::West), "token", &second)
        .await?;
    site.await_ready(NAME).await?;
    site.delete(NAME).await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.hub.clone(), RAMEN);
    s.await_gone(&maps, &site.credentials(Side::East)).await?;
    site.ensure_nothing_left().await
}
