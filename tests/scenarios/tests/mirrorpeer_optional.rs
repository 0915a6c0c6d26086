//! What a `MirrorPeer` builds on may be uninstalled while the pair stands: that is told, what was handed over stays, and all is
//! taken up again when it comes back.
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};
use peering_api::{
    names::PEERING_LABEL,
    peering::{PeerLink, condition},
};
use scenarios::{
    Scenario, Side,
    odf::{Odf, STORAGE_CLUSTER, token},
    scenario::repository,
};
use storage::names;

use crate::mirrorpeer::{BOTH, RAMEN, Site};

const CLAIMS: &str = "objectbucketclaims.objectbucket.io";
const STORAGE_CLUSTERS: &str = "storageclusters.ocs.openshift.io";

/// Waits until a link of a Peering says something of a kind that is gone.
async fn await_told(s: &Scenario, peering: &str, type_: &str, reason: &str) -> Result<()> {
    let ours = ListParams::default().labels(&format!("{PEERING_LABEL}={peering}"));
    let what = format!("a link of {peering} to say {type_} {reason}");
    s.until(&what, || async {
        let links = Api::<PeerLink>::all(s.hub.clone()).list(&ours).await?;
        let says = |link: &PeerLink| {
            let conditions = link.status.as_ref().map(|status| status.conditions.as_slice());
            let said = conditions.and_then(|conditions| condition(conditions, type_));
            said.is_some_and(|said| said.status == "False" && said.reason == reason)
        };
        Ok(links.iter().any(says).then_some(()))
    })
    .await
}

/// The process ids of the manager and the agents.
async fn processes(s: &Scenario) -> Result<Vec<u32>> {
    let mut ids = vec![s.world.manager().await?.pid()];
    for side in BOTH {
        ids.push(s.world.agent(side.cluster()).await?.pid());
    }
    Ok(ids)
}

#[tokio::test]
async fn what_is_uninstalled_is_told_and_taken_up_again_when_it_comes_back() -> Result<()> {
    let mut site = Site::new("mirror-optional").await?;
    let hub_secrets: Api<Secret> = Api::namespaced(site.s.hub.clone(), RAMEN);
    site.apply("mirror-optional", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    site.await_ready("mirror-optional").await?;
    let before = processes(&site.s).await?;
    let east = site.s.world.env.spoke("cluster1")?;
    let west = site.s.world.env.spoke("cluster2")?;

    // The operator of buckets goes from one cluster, the storage operator from the other.
    let kept = hub_secrets.get(&site.credentials(Side::East)).await?;
    let stores = names::store_peering("cluster1", &site.s.name, STORAGE_CLUSTER);
    east.delete_crd(CLAIMS).await?;
    await_told(&site.s, &stores, "SourceReady", "KindNotFound").await?;
    let tokens = names::token_peering("mirror-optional");
    west.delete_crd(STORAGE_CLUSTERS).await?;
    await_told(&site.s, &tokens, "Wired", "ConsumerMissing").await?;
    site.await_phase("mirror-optional", "Configuring", "Peering of managedclusters failed")
        .await?;
    let now = hub_secrets.get(&site.credentials(Side::East)).await?;
    ensure!(
        now.data == kept.data && now.uid() == kept.uid(),
        "the credentials on the hub have changed"
    );
    site.await_data(
        &site.west.secrets(),
        &site.received(Side::East),
        "token",
        &token(Side::East, 1),
    )
    .await?;

    // Both come back.
    east.apply_crd(CLAIMS).await?;
    west.apply_path(&repository("tests/scenarios/crds/ocs.yaml")).await?;
    site.west = Odf::start(&site.s, Side::West).await?;
    site.await_ready("mirror-optional").await?;
    ensure!(processes(&site.s).await? == before, "a process was started again");
    site.delete("mirror-optional").await?;
    site.ensure_nothing_left().await
}
