//! The hub goes away for a while, and goes back in time.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, future::try_join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event, watcher},
};
use peering_api::peering::{PeerLinkStatus, Peering};
use scenarios::{Scenario, Side, World, objects::ca};
use serde_json::json;
use tokio::task::AbortHandle;

/// How long the hub is away.
const AWAY: Duration = Duration::from_mins(1);

/// How long each thing may take once the hub is back: Open Cluster Management's agents wait up to a minute between their
/// tries (client-go's reflectors: 30 s, and up to as much again by chance).
const CATCH_UP: Duration = Duration::from_mins(6);

/// Everything that a Secret held from some time on; `None` where it was deleted.
struct History {
    seen: Arc<Mutex<Vec<Option<String>>>>,
    task: AbortHandle,
}

impl History {
    /// Begins with what the target of a side holds now.
    async fn of(s: &Scenario, side: Side) -> Result<Self> {
        let (api, name) = (s.on::<Secret>(side), s.target_name(side));
        let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let (all, config) = (
            seen.clone(),
            watcher::Config::default().fields(&format!("metadata.name={name}")),
        );
        let task = tokio::spawn(async move {
            let mut events = watcher(api, config).boxed();
            while let Some(event) = events.next().await {
                let entry = match event {
                    Ok(Event::Apply(secret) | Event::InitApply(secret)) => Some(token(&secret)),
                    Ok(Event::Delete(_)) => None,
                    Ok(Event::Init | Event::InitDone) | Err(_) => continue,
                };
                all.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            }
        });
        let history = Self {
            seen,
            task: task.abort_handle(),
        };
        s.until(&format!("the watch of {name} to begin"), || async {
            Ok((!history.values().is_empty()).then_some(()))
        })
        .await?;
        Ok(history)
    }

    /// The values, each once in a row.
    fn values(&self) -> Vec<Option<String>> {
        let mut values = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        values.dedup();
        values
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn token(secret: &Secret) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get("token"));
    bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes.0).into_owned())
}

async fn pids(world: &World) -> Result<[u32; 3]> {
    let (east, west) = (world.agent("cluster1").await?, world.agent("cluster2").await?);
    Ok([world.manager().await?.pid(), east.pid(), west.pid()])
}

async fn scenarios(world: &World, names: &[&str]) -> Result<Vec<Scenario>> {
    let mut all = try_join_all(names.iter().map(|name| Scenario::new(world.clone(), name))).await?;
    for scenario in &mut all {
        scenario.patience = CATCH_UP;
    }
    Ok(all)
}

#[tokio::test]
async fn a_rotation_that_the_hub_leaves_alone_for_a_minute_arrives_afterwards() -> Result<()> {
    let world = World::alone().await?;
    // Several, so that the hub goes when some are on their way, and each somewhere else.
    let all = scenarios(&world, &["away-0", "away-1", "away-2", "away-3"]).await?;
    try_join_all(all.iter().map(Scenario::ready_pair)).await?;
    let before = pids(&world).await?;
    let rotate = |token: &'static str| {
        try_join_all(
            all.iter()
                .map(move |s| async move { s.source(Side::East, &[("token", token.as_bytes())]).await }),
        )
    };
    rotate("rotated before").await?;
    all[0].await_target(Side::West, &[("token", b"rotated before")]).await?;
    world.env.hub().stop_api_server().await?;
    let outage = async {
        let start = Instant::now();
        let mut repairs = 0;
        // What is on the clusters is looked after all the time.
        while start.elapsed() < AWAY || repairs <= all.len() {
            let s = &all[repairs % all.len()];
            let (api, name) = (s.on::<Secret>(Side::West), s.target_name(Side::West));
            let held = api.get(&name).await?;
            let edit = json!({"stringData": {"token": format!("edited, number {repairs}")}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await?;
            // What was on its way when the hub went may arrive just now.
            let fits = [token(&held), "rotated before".to_owned()];
            s.until(&format!("repair number {repairs}"), || async {
                let now = api.get(&name).await?;
                Ok(fits.contains(&token(&now)).then_some(()))
            })
            .await?;
            repairs += 1;
        }
        rotate("rotated while the hub was away").await?;
        anyhow::Ok(())
    };
    let outage = outage.await;
    // Others need the hub whatever happened.
    world.env.hub().start_api_server().await?;
    outage?;
    for s in &all {
        s.await_target(Side::West, &[("token", b"rotated while the hub was away")])
            .await?;
        s.await_peering("Ready", "True", "AllLinksReady").await?;
    }
    let after = pids(&world).await?;
    ensure!(before == after, "a process did not survive: {before:?}, then {after:?}");
    for s in &all {
        s.withdraw().await?;
    }
    Ok(())
}

/// The status of the link of the Secret towards the west.
async fn link(s: &Scenario) -> Result<PeerLinkStatus> {
    s.link("peer-token", Side::West).await?.status.context("no status")
}

/// Waits until the link is delivered anew, with a revision above one that was there before.
async fn await_revision_above(s: &Scenario, before: Option<i64>) -> Result<()> {
    s.until(&format!("the link of {} to show a later revision", s.name), || async {
        let status = link(s).await?;
        ensure!(status.applied_revision > before, "{status:?}");
        Ok(Some(()))
    })
    .await?;
    s.await_link("peer-token", Side::West, "Ready", "True", "Ready").await?;
    Ok(())
}

#[tokio::test]
async fn a_hub_restored_from_a_backup_rolls_no_target_back_and_deletes_none() -> Result<()> {
    let world = World::alone().await?;
    let names = ["restore-on", "restore-back", "restore-gone", "restore-new"];
    let all = scenarios(&world, &names).await?;
    let [on, back, gone, new] = &all[..] else {
        anyhow::bail!("four scenarios")
    };
    let (_, west) = on.ready_pair().await?;
    for s in [back, gone] {
        s.ready_pair().await?;
    }
    let backup = world.env.hub().etcd_dump().await?;

    // What the backup does not know: a rotation, one that was taken back, a Peering that has gone and one that has come.
    let rotated = ca("restore-on east, next", 2042)?;
    on.source(Side::East, &[("token", b"second")]).await?;
    on.ca_source(Side::East, &rotated).await?;
    on.await_target(Side::West, &[("token", b"second")]).await?;
    on.await_bundle(Side::West, &[&rotated, &west]).await?;
    let first = format!("token of {} cluster1", back.name);
    for token in ["second", &first] {
        back.source(Side::East, &[("token", token.as_bytes())]).await?;
        back.await_target(Side::West, &[("token", token.as_bytes())]).await?;
    }
    gone.withdraw().await?;
    new.ready_pair().await?;
    for s in [on, back] {
        s.await_peering("Ready", "True", "AllLinksReady").await?;
    }
    let (revision_on, revision_back) = (link(on).await?.applied_revision, link(back).await?.applied_revision);
    let histories = try_join_all([on, back, new].map(|s| History::of(s, Side::West))).await?;

    ensure!(
        world.env.hub().restore(&backup).await? > 20,
        "the hub was not taken back"
    );
    let peerings: Api<Peering> = Api::all(on.hub.clone());
    ensure!(peerings.get_opt(&new.name).await?.is_none() && peerings.get_opt(&gone.name).await?.is_some());

    // The hub catches up with the clusters, and not the other way round.
    await_revision_above(on, revision_on).await?;
    await_revision_above(back, revision_back).await?;
    on.await_bundle(Side::West, &[&rotated, &west]).await?;
    for s in [on, back, gone] {
        s.await_peering("Ready", "True", "AllLinksReady").await?;
    }
    // What the hub does not know stays, and fits when its Peering is applied once more.
    let newest = format!("token of {} cluster1", new.name);
    new.await_target(Side::West, &[("token", newest.as_bytes())]).await?;
    new.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    new.await_peering("Ready", "True", "AllLinksReady").await?;

    for (s, revision) in [(on, revision_on), (back, revision_back)] {
        s.source(Side::East, &[("token", b"third")]).await?;
        s.await_target(Side::West, &[("token", b"third")]).await?;
        await_revision_above(s, revision).await?;
        s.await_peering("Ready", "True", "AllLinksReady").await?;
    }
    let seen: Vec<_> = histories.iter().map(History::values).collect();
    let values =
        |values: &[&str]| -> Vec<Option<String>> { values.iter().map(|value| Some((*value).to_owned())).collect() };
    ensure!(
        seen == [
            values(&["second", "third"]),
            values(&[&first, "third"]),
            values(&[&newest])
        ],
        "{seen:?}"
    );
    for s in [on, back, gone, new] {
        s.withdraw().await?;
        s.await_gone(&s.on::<Secret>(Side::West), &s.target_name(Side::West))
            .await?;
    }
    Ok(())
}
