//! What is left when something goes: nothing of ours, everything of others.
use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use peering_api::{
    names,
    ocm::{ManagedCluster, ManagedClusterAddOn, ManifestWork, names as ocm},
    peering::{PeerExport, PeerLink, PeerMember},
};
use scenarios::{Scenario, Side, objects::secret, scenario::put, world};
use serde_json::json;

#[tokio::test]
async fn a_deleted_peering_leaves_nothing_of_ours_and_everything_of_others() -> Result<()> {
    let s = Scenario::shared("removal-peering").await?;
    s.ready_pair().await?;
    let foreign = s.on::<Secret>(Side::West);
    put(&foreign, secret("foreign", &[("a", b"b")])).await?;
    let before = foreign.get("foreign").await?;
    s.withdraw().await?;
    let ours = ListParams::default().labels(&format!("{}={}", names::PEERING_LABEL, s.name));
    for side in [Side::East, Side::West] {
        s.await_gone(&s.on::<Secret>(side), &s.target_name(side)).await?;
        s.await_gone(&s.on::<ConfigMap>(side), &s.bundle_name()).await?;
        let links = s.hub_of::<PeerLink>(side).list_metadata(&ours).await?.items;
        let exports = s.hub_of::<PeerExport>(side).list_metadata(&ours).await?.items;
        ensure!(
            links.is_empty() && exports.is_empty(),
            "left on the hub: {links:?} {exports:?}"
        );
        s.await_gone(&s.on::<Role>(side), &names::role_name(&s.name)).await?;
        s.await_gone(&s.on::<RoleBinding>(side), &names::role_name(&s.name))
            .await?;
        let carriers: Api<Secret> = Api::namespaced(s.client(side), world::AGENT_NAMESPACE);
        s.await_gone(&carriers, &names::carrier_name(&s.name, 0)).await?;
        ensure!(
            s.on::<Secret>(side)
                .get_opt(scenarios::scenario::SOURCE)
                .await?
                .is_some(),
            "a source went"
        );
    }
    ensure!(foreign.get("foreign").await? == before, "a foreign Secret was touched");
    Ok(())
}

#[tokio::test]
async fn a_target_that_moves_leaves_nothing_at_its_old_place() -> Result<()> {
    let s = Scenario::shared("removal-moved").await?;
    s.ready_pair().await?;
    for side in [Side::East, Side::West] {
        put(&s.on(side), secret("other-token", &[("token", b"other")])).await?;
    }
    let parameters = json!({"spec": {"parameters": {"secretName": "other-token"}}});
    s.peerings()
        .patch(&s.name, &PatchParams::default(), &Patch::Merge(parameters))
        .await?;
    for side in [Side::East, Side::West] {
        let moved = format!("peer-{}-other-token", side.other().cluster());
        let secrets = s.on::<Secret>(side);
        s.until("the target at its new place", || async {
            secrets.get_opt(&moved).await.map_err(Into::into)
        })
        .await?;
        s.await_gone(&secrets, &s.target_name(side)).await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_deleted_addon_takes_its_agent_along_and_leaves_nothing_on_the_hub() -> Result<()> {
    let s = Scenario::shared("removal-addon").await?;
    let env = s.world.env;
    let third = env.join("cluster3").await?;
    third
        .apply_text("{apiVersion: v1, kind: Namespace, metadata: {name: removal-addon}}")
        .await?;
    world::install_addon(env, "cluster3").await?;
    world::await_member(env, "cluster3").await?;
    s.sources().await?;
    let there = third.client().await?;
    let (secrets, maps) = (
        Api::<Secret>::namespaced(there.clone(), &s.name),
        Api::<ConfigMap>::namespaced(there.clone(), &s.name),
    );
    put(&secrets, secret(scenarios::scenario::SOURCE, &[("token", b"third")])).await?;
    put(
        &maps,
        scenarios::objects::config_map(
            scenarios::scenario::CA_SOURCE,
            &[("ca.crt", &scenarios::objects::ca("third", 2045)?)],
        ),
    )
    .await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster3"]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let target = "peer-cluster1-storage-peer-token";
    ensure!(
        secrets.get_opt(target).await?.is_some(),
        "nothing was delivered to cluster3"
    );

    // Otherwise the Peering would ask for the addon at once again.
    let clusters: Api<ManagedCluster> = Api::all(s.hub.clone());
    let opt_out = json!({"metadata": {"annotations": {ocm::DISABLE_INSTALL_ANNOTATION: "true"}}});
    clusters
        .patch("cluster3", &PatchParams::default(), &Patch::Merge(opt_out))
        .await?;
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(s.hub.clone(), "cluster3");
    addons.delete(names::ADDON, &DeleteParams::default()).await?;

    s.await_gone(&addons, names::ADDON).await?;
    third
        .node()?
        .await_gone(world::AGENT_NAMESPACE, names::AGENT, world::SOON)
        .await?;
    s.await_gone(&secrets, target).await?;
    s.await_gone(&maps, &s.bundle_name()).await?;
    s.await_peering("Accepted", "False", "AddOnNotInstalled").await?;
    s.await_gone(&Api::<PeerMember>::namespaced(s.hub.clone(), "cluster3"), "cluster3")
        .await?;
    s.until("cluster3's namespace on the hub to hold nothing of ours", || async {
        let all = ListParams::default();
        let exports = Api::<PeerExport>::namespaced(s.hub.clone(), "cluster3")
            .list_metadata(&all)
            .await?
            .items
            .len();
        let links = Api::<PeerLink>::namespaced(s.hub.clone(), "cluster3")
            .list_metadata(&all)
            .await?
            .items
            .len();
        let works = Api::<ManifestWork>::namespaced(s.hub.clone(), "cluster3")
            .list_metadata(&all)
            .await?
            .items
            .len();
        let addon = ListParams::default().labels(&format!("{}={}", ocm::ADDON_NAME_LABEL, names::ADDON));
        let roles = Api::<Role>::namespaced(s.hub.clone(), "cluster3")
            .list_metadata(&addon)
            .await?
            .items
            .len();
        Ok((exports + links + works + roles == 0).then_some(()))
    })
    .await?;
    let roles = Api::<Role>::namespaced(there, world::AGENT_NAMESPACE);
    s.until("cluster3 to have no right of the agent left", || async {
        let mut left = roles.list_metadata(&ListParams::default()).await?.items;
        left.retain(|role| role.name_any().starts_with(names::AGENT));
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await?;
    s.await_gone(&s.on::<Secret>(Side::East), "peer-cluster3-storage-peer-token")
        .await?;
    s.withdraw().await
}
