//! Processes that die and API servers that go away.
use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::{
    api::{
        core::v1::Secret,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use peering_api::{
    names,
    ocm::{ManagedClusterAddOn, ManifestWork},
    peering::{ExchangeProfile, PeerExport, PeerLink, PeerMember, Peering},
};
use scenarios::{
    Scenario, Side,
    world::{AGENT_NAMESPACE, MANAGER_NAMESPACE, SOON, metric},
};
use serde_json::json;

/// Kind, namespace and name to uid and version of everything that the product owns on the hub.
type Versions = BTreeMap<(String, String, String), (String, String)>;

/// Kinds whose status OCM writes too, at times of its own: a work agent tells that the agent's Deployment was unready for a moment, a
/// registration agent that its Lease is renewed.
const SHARED: [&str; 2] = ["ManifestWork", "ManagedClusterAddOn"];

/// Changes with every write of ours.
fn version(kind: &str, meta: &ObjectMeta) -> Result<String> {
    if !SHARED.contains(&kind) {
        return Ok(meta.resource_version.clone().unwrap_or_default());
    }
    let mut meta = meta.clone();
    meta.resource_version = None;
    if let Some(writers) = &mut meta.managed_fields {
        let ours = |writer: &ManagedFieldsEntry| {
            let name = writer.manager.as_deref().unwrap_or_default();
            name.starts_with("addon-framework-") || name == "peering-manager"
        };
        writers.retain(ours);
        ensure!(!writers.is_empty(), "nothing of ours in a {kind}");
    }
    Ok(serde_json::to_string(&meta)?)
}

async fn collect<K>(client: &Client, all: &mut Versions, ours: impl Fn(&ObjectMeta) -> bool) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = Api::<K>::all(client.clone())
        .list_metadata(&ListParams::default())
        .await?;
    for item in list
        .items
        .into_iter()
        .filter(|item: &PartialObjectMeta<K>| ours(&item.metadata))
    {
        let key = (
            K::kind(&()).into_owned(),
            item.namespace().unwrap_or_default(),
            item.name_any(),
        );
        let version = version(&key.0, &item.metadata)?;
        all.insert(key, (item.uid().unwrap_or_default(), version));
    }
    Ok(())
}

async fn versions(client: &Client) -> Result<Versions> {
    let mut all = Versions::new();
    let labelled = |meta: &ObjectMeta| {
        let labels = meta.labels.clone().unwrap_or_default();
        labels.contains_key(names::PEERING_LABEL) || labels.values().any(|value| value == names::ADDON)
    };
    collect::<Peering>(client, &mut all, |_| true).await?;
    collect::<ExchangeProfile>(client, &mut all, |_| true).await?;
    collect::<PeerMember>(client, &mut all, |_| true).await?;
    collect::<PeerExport>(client, &mut all, |_| true).await?;
    collect::<PeerLink>(client, &mut all, |_| true).await?;
    collect::<ManifestWork>(client, &mut all, labelled).await?;
    collect::<Role>(client, &mut all, labelled).await?;
    collect::<RoleBinding>(client, &mut all, labelled).await?;
    collect::<ManagedClusterAddOn>(client, &mut all, |meta| meta.name.as_deref() == Some(names::ADDON)).await?;
    Ok(all)
}

/// Waits until nothing is written any more.
async fn settled(s: &Scenario) -> Result<Versions> {
    s.quiet("the hub", || versions(&s.hub)).await
}

/// Kills the agents of both sides, and waits until those that follow have looked at their links.
async fn restart_agents(s: &Scenario) -> Result<()> {
    for side in [Side::East, Side::West] {
        let agent = s.world.agent(side.cluster()).await?;
        agent.kill();
        let node = s.world.env.spoke(side.cluster())?.node()?;
        let agent = node.await_restart(AGENT_NAMESPACE, names::AGENT, &agent, SOON).await?;
        s.until("the new agent to have looked at its links", || async {
            Ok((metric(&agent, "reconciles_total", "").await? >= 4.0).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_manager_and_agents_that_restart_write_nothing_when_nothing_changed() -> Result<()> {
    let s = Scenario::alone("fault-restart").await?;
    s.ready_pair().await?;
    // Other scenarios have installed kinds since the agents started: they tell of those now.
    restart_agents(&s).await?;
    let before = settled(&s).await?;
    ensure!(
        before.keys().any(|(kind, ..)| kind == "ManifestWork"),
        "nothing to compare: {before:?}"
    );
    let peerings = s.peerings().list_metadata(&ListParams::default()).await?.items.len();
    let peerings = u32::try_from(peerings)?;

    let manager = s.world.manager().await?;
    manager.kill();
    let node = s.world.env.hub().node()?;
    let manager = node
        .await_restart(MANAGER_NAMESPACE, "addon-manager", &manager, SOON)
        .await?;
    s.until("the new manager to have looked at every Peering and addon", || async {
        let passes = metric(&manager, "reconciles_total", "peering").await?;
        let addons = metric(&manager, "reconciles_total", "deploy").await?;
        Ok((passes >= f64::from(peerings) && addons >= 2.0).then_some(()))
    })
    .await?;
    restart_agents(&s).await?;
    let after = settled(&s).await?;
    let changed: Vec<_> = after
        .iter()
        .filter(|(key, version)| before.get(*key) != Some(*version))
        .collect();
    ensure!(
        changed.is_empty() && after.len() == before.len(),
        "written at a restart: {changed:#?}"
    );
    s.withdraw().await
}

#[tokio::test]
async fn agents_that_are_killed_in_the_middle_of_an_exchange_finish_it() -> Result<()> {
    let s = Scenario::alone("fault-agents").await?;
    s.ready_pair().await?;
    for round in 0..4 {
        let token = format!("token of round {round}");
        s.source(Side::East, &[("token", token.as_bytes())]).await?;
        let victim = if round % 2 == 0 { Side::East } else { Side::West };
        let agent = s.world.agent(victim.cluster()).await?;
        if round >= 2 {
            // Later rounds let the exchange get under way first.
            let revision = s
                .export("peer-token", Side::East)
                .await?
                .status
                .unwrap_or_default()
                .revision;
            s.until("the exchange to get under way", || async {
                let now = s
                    .export("peer-token", Side::East)
                    .await?
                    .status
                    .unwrap_or_default()
                    .revision;
                let arrived = s.on::<Secret>(Side::West).get(&s.target_name(Side::West)).await?;
                let there = arrived
                    .data
                    .is_some_and(|data| data.values().any(|value| value.0 == token.as_bytes()));
                Ok((now != revision || there).then_some(()))
            })
            .await?;
        }
        agent.kill();
        s.await_target(Side::West, &[("token", token.as_bytes())]).await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_manager_that_is_killed_in_the_middle_of_an_exchange_finishes_it() -> Result<()> {
    let s = Scenario::alone("fault-manager").await?;
    s.sources().await?;
    let manager = s.world.manager().await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    manager.kill();
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.await_target(Side::West, &[("token", b"token of fault-manager cluster1")])
        .await?;
    let manager = s.world.manager().await?;
    s.peerings()
        .delete(&s.name, &kube::api::DeleteParams::default())
        .await?;
    manager.kill();
    s.await_gone(&s.peerings(), &s.name).await?;
    s.await_gone(&s.on::<Secret>(Side::West), &s.target_name(Side::West))
        .await
}

#[tokio::test]
async fn an_outage_of_the_hub_stalls_no_local_repair_and_is_caught_up_with() -> Result<()> {
    let s = Scenario::alone("fault-hub").await?;
    s.ready_pair().await?;
    let old: &[(&str, &[u8])] = &[("token", b"token of fault-hub cluster1")];
    s.await_target(Side::West, old).await?;
    let pids = (
        s.world.manager().await?.pid(),
        s.world.agent("cluster1").await?.pid(),
        s.world.agent("cluster2").await?.pid(),
    );
    s.world.env.hub().stop_api_server().await?;
    let outage = async {
        let (api, name) = (s.on::<Secret>(Side::West), s.target_name(Side::West));
        let edit = json!({"stringData": {"token": "edited while the hub was away"}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await?;
        s.source(Side::East, &[("token", b"changed while the hub was away")])
            .await?;
        s.await_target(Side::West, old).await
    };
    let outage = outage.await;
    // Others need the hub whatever happened.
    s.world.env.hub().start_api_server().await?;
    outage?;
    s.await_target(Side::West, &[("token", b"changed while the hub was away")])
        .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let after = (
        s.world.manager().await?.pid(),
        s.world.agent("cluster1").await?.pid(),
        s.world.agent("cluster2").await?.pid(),
    );
    ensure!(
        pids == after,
        "a process did not survive the outage: {pids:?}, then {after:?}"
    );
    s.withdraw().await
}
