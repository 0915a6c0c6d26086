//! What a destination makes of what arrives: objects of any kind, texts, objects that were there before, new names.
use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use scenarios::{
    Fleet, Pools, Scenario, Side,
    fleet::ARTEFACT,
    kinds::version,
    objects::{bytes, secret},
};
use serde_json::{Value, json};

const PAIR: [&str; 2] = ["cluster1", "cluster2"];

/// A scenario that hands one Secret from cluster1 to cluster2; `deliver` is what becomes of it.
async fn handed_over(name: &str, deliver: &Value) -> Result<Fleet> {
    let fleet = Fleet::new(Scenario::shared(name).await?, &PAIR).await?;
    fleet.source("cluster1", "first").await?;
    profile(&fleet, deliver, &json!({})).await?;
    let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]);
    fleet.peer(&json!({"members": members})).await?;
    Ok(fleet)
}

/// Replaces what the scenario's profile delivers, with more fields of its artefact.
pub async fn profile(fleet: &Fleet, deliver: &Value, more: &Value) -> Result<()> {
    let mut artefact = fleet.artefact(ARTEFACT, "ToHubRole");
    artefact["deliver"] = deliver.clone();
    for (field, value) in more.as_object().into_iter().flatten() {
        artefact[field] = value.clone();
    }
    fleet.profile(&json!([artefact])).await
}

async fn await_delivered(fleet: &Fleet, status: &str, reason: &str) -> Result<String> {
    fleet
        .scenario
        .await_link(ARTEFACT, Side::West, "Delivered", status, reason)
        .await
}

#[tokio::test]
async fn another_kind_is_made_from_a_template_as_soon_as_it_is_installed() -> Result<()> {
    let name = "deliver-kind";
    let pools = Pools::of(&Scenario::shared(name).await?);
    let fleet = handed_over(
        name,
        &json!({
            "apiVersion": pools.api_version, "kind": "Pool", "namespace": name, "name": "peer-${source.cluster}",
            "template": {"spec": {"token": "${payload.token}", "from": "${source.cluster}", "to": "${destination.cluster}"}},
        }),
    )
    .await?;
    let s = &fleet.scenario;
    s.await_link_saying(
        ARTEFACT,
        Side::West,
        "Delivered",
        ("False", "ApplyFailed"),
        "expected kind Pool",
    )
    .await?;
    pools.install(s, Side::West).await?;
    await_delivered(&fleet, "True", "Delivered").await?;
    let api = pools.on(s.client(Side::West));
    let expected = |token: &str| json!({"token": token, "from": "cluster1", "to": "cluster2"});
    let await_spec = |spec: Value| {
        let api = &api;
        async move {
            s.until(&format!("the Pool to have {spec}"), || async {
                let found = api.get_opt("peer-cluster1").await?;
                Ok(found.filter(|pool| pool.data["spec"] == spec))
            })
            .await
        }
    };
    await_spec(expected("Zmlyc3Q=")).await?;
    let edit = json!({"spec": {"token": "edited"}});
    api.patch("peer-cluster1", &PatchParams::default(), &Patch::Merge(edit))
        .await?;
    await_spec(expected("Zmlyc3Q=")).await?;
    api.delete("peer-cluster1", &DeleteParams::default()).await?;
    await_spec(expected("Zmlyc3Q=")).await?;
    fleet.source("cluster1", "second").await?;
    let stands = await_spec(expected("c2Vjb25k")).await?;
    // What somebody else adds stays, and is no reason to write.
    let more = json!({"metadata": {"labels": {"theirs": "1"}}, "spec": {"weight": 5}});
    let more = api
        .patch("peer-cluster1", &PatchParams::default(), &Patch::Merge(more))
        .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    fleet.source("cluster1", "third").await?;
    let mut third = expected("dGhpcmQ=");
    third["weight"] = json!(5);
    let last = await_spec(third).await?;
    ensure!(
        last.uid() == stands.uid() && version(&last)? > version(&more)?,
        "it was made anew"
    );
    fleet.withdraw(name).await?;
    s.await_gone(&api, "peer-cluster1").await
}

#[tokio::test]
async fn texts_of_the_profile_shape_a_target() -> Result<()> {
    let name = "deliver-texts";
    let deliver = |token: &str| {
        json!({
            "kind": "Secret", "namespace": name, "name": "shaped", "type": "example.com/shaped",
            "data": {"all": "${peering.name}/${source.cluster}: ${payload.token}", "token": token},
        })
    };
    let fleet = handed_over(name, &deliver("${payload.nothing}")).await?;
    let s = &fleet.scenario;
    let message = await_delivered(&fleet, "False", "TemplateFailed").await?;
    ensure!(
        message.contains("deliver.data[token]: character 10") && !message.contains("first"),
        "{message}"
    );
    profile(&fleet, &deliver("${payload.token}"), &json!({})).await?;
    await_delivered(&fleet, "True", "Delivered").await?;
    let target = s.on::<Secret>(Side::West).get("shaped").await?;
    let expected = bytes(&[("all", b"deliver-texts/cluster1: first"), ("token", b"first")]);
    ensure!(target.data == Some(expected), "{target:?}");
    ensure!(target.type_.as_deref() == Some("example.com/shaped"), "{target:?}");
    // What was delivered stays while the profile is wrong.
    profile(&fleet, &deliver("${payload.nothing}"), &json!({})).await?;
    await_delivered(&fleet, "False", "TemplateFailed").await?;
    let stands = s.on::<Secret>(Side::West).get("shaped").await?;
    ensure!(stands.resource_version() == target.resource_version(), "{stands:?}");
    fleet.withdraw(name).await
}

#[tokio::test]
async fn what_was_there_before_is_taken_over_only_if_that_is_wished() -> Result<()> {
    let name = "deliver-adopt";
    let deliver =
        |on_conflict: &str| json!({"kind": "Secret", "namespace": name, "name": "theirs", "onConflict": on_conflict});
    let s = Scenario::shared(name).await?;
    let api = s.on::<Secret>(Side::West);
    let mut theirs = secret("theirs", &[("old", b"1")]);
    theirs.metadata.labels = Some([("theirs".to_owned(), "1".to_owned())].into());
    let theirs = api.create(&PostParams::default(), &theirs).await?;
    drop(s);
    let fleet = handed_over(name, &deliver("Refuse")).await?;
    let s = &fleet.scenario;
    await_delivered(&fleet, "False", "TargetConflict").await?;
    let seen = api.get("theirs").await?;
    ensure!(
        seen.resource_version() == theirs.resource_version(),
        "it was touched: {seen:?}"
    );
    profile(&fleet, &deliver("Adopt"), &json!({})).await?;
    await_delivered(&fleet, "True", "Delivered").await?;
    let adopted = api.get("theirs").await?;
    ensure!(adopted.uid() == theirs.uid(), "it was made anew");
    ensure!(adopted.data == Some(bytes(&[("token", b"first")])), "{adopted:?}");
    ensure!(adopted.labels().contains_key("theirs"), "{adopted:?}");
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    fleet.withdraw(name).await?;
    s.await_gone(&api, "theirs").await?;
    // One of another type would have to be deleted first.
    let mut other = secret("theirs", &[("old", b"1")]);
    other.type_ = Some("example.com/other".to_owned());
    api.create(&PostParams::default(), &other).await?;
    fleet
        .peer(&json!({"members": [{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]}))
        .await?;
    let (said, part) = (("False", "TargetConflict"), "would have to be deleted first");
    s.await_link_saying(ARTEFACT, Side::West, "Delivered", said, part)
        .await?;
    fleet.withdraw(name).await?;
    ensure!(
        api.get("theirs").await?.data == Some(bytes(&[("old", b"1")])),
        "the withdrawal touched it"
    );
    Ok(())
}

/// The names of the Secrets of a namespace after each change, with etcd's revision, in the order of the changes.
async fn history(api: Api<Secret>) -> Result<tokio::task::JoinHandle<Result<Vec<Vec<String>>>>> {
    let mut events = Box::pin(watcher(api, watcher::Config::default()));
    let mut now = BTreeSet::new();
    loop {
        match events.next().await.context("the watch has ended")?? {
            watcher::Event::InitApply(seen) => drop(now.insert(seen.name_any())),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    Ok(tokio::spawn(async move {
        let mut history = Vec::new();
        loop {
            match events.next().await.context("the watch has ended")?? {
                watcher::Event::Apply(seen) => drop(now.insert(seen.name_any())),
                watcher::Event::Delete(seen) => drop(now.remove(&seen.name_any())),
                _ => anyhow::bail!("the watch had to list again, so it may have missed a change"),
            }
            let names: Vec<_> = now.iter().cloned().collect();
            let last = names.iter().any(|name| name == "end");
            history.push(names);
            if last {
                return Ok(history);
            }
        }
    }))
}

#[tokio::test]
async fn a_new_name_is_made_before_the_old_one_goes() -> Result<()> {
    let name = "deliver-move";
    let deliver = |target: &str| json!({"kind": "Secret", "namespace": name, "name": target});
    let fleet = handed_over(name, &deliver("one")).await?;
    let (s, api) = (&fleet.scenario, fleet.secrets("cluster2")?);
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let watched = history(api.clone()).await?;
    for (target, before) in [("two", "one"), ("three", "two")] {
        profile(&fleet, &deliver(target), &json!({})).await?;
        fleet.await_target("cluster2", target, "first").await?;
        s.await_gone(&api, before).await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    api.create(&PostParams::default(), &secret("end", &[])).await?;
    let history = watched.await??;
    let ours = |names: &Vec<String>| {
        names
            .iter()
            .filter(|name| ["one", "two", "three"].contains(&name.as_str()))
            .count()
    };
    let counts: Vec<_> = history.iter().map(ours).collect();
    ensure!(
        counts.iter().all(|count| *count >= 1),
        "for a moment there was none: {history:?}"
    );
    ensure!(counts.contains(&2), "both never stood side by side: {history:?}");
    fleet.withdraw(name).await?;
    s.await_gone(&api, "three").await
}

#[tokio::test]
async fn a_new_kind_is_made_before_the_old_one_goes() -> Result<()> {
    let name = "deliver-other-kind";
    let pools = Pools::of(&Scenario::shared(name).await?);
    let fleet = handed_over(name, &json!({"kind": "Secret", "namespace": name, "name": "t"})).await?;
    let (s, secrets) = (&fleet.scenario, fleet.secrets("cluster2")?);
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let mut deletions = Box::pin(watcher(
        secrets.clone(),
        watcher::Config::default().fields("metadata.name=t"),
    ));
    while !matches!(deletions.next().await.context("no watch")??, watcher::Event::InitDone) {}
    let template = json!({"spec": {"token": "${payload.token}"}});
    let deliver =
        json!({"apiVersion": pools.api_version, "kind": "Pool", "namespace": name, "name": "t", "template": template});
    profile(&fleet, &deliver, &json!({})).await?;
    await_delivered(&fleet, "False", "ApplyFailed").await?;
    ensure!(
        secrets.get_opt("t").await?.is_some(),
        "the old one went before the new one stood"
    );
    pools.install(s, Side::West).await?;
    let deleted = loop {
        if let watcher::Event::Delete(gone) = deletions.next().await.context("no watch")?? {
            break gone;
        }
    };
    let pool = pools.on(s.client(Side::West)).get("t").await?;
    let made = pool.metadata.managed_fields.clone().unwrap_or_default();
    ensure!(version(&deleted)? > version(&pool)?, "the old one went first: {made:?}");
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    // And back again, to a public ConfigMap of somebody's choice.
    let public = json!({"kind": "ConfigMap", "namespace": name, "name": "t", "data": {"from": "${source.cluster}"}});
    ensure!(
        profile(&fleet, &public, &json!({})).await.is_err(),
        "a secret must not become readable by a typing error"
    );
    fleet.withdraw(name).await?;
    s.await_gone(&pools.on(s.client(Side::West)), "t").await?;
    ensure!(
        s.on::<ConfigMap>(Side::West).get_opt("t").await?.is_none(),
        "a ConfigMap was made"
    );
    Ok(())
}
