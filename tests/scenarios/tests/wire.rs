//! What consumers of a target are told, and that exactly that is taken back.
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use peering_api::names::WIRED_ANNOTATION;
use scenarios::{Fleet, Pools, Scenario, Side, Witness, fleet::ARTEFACT, kinds::version, objects::config_map};
use serde_json::{Value, json};

use crate::deliver::profile;

const PAIR: [&str; 2] = ["cluster1", "cluster2"];
const LIST: &str = "spec.mirroring.peers.secretNames";

/// A scenario that hands one Secret from cluster1 to cluster2, where `Pool` is installed; the Peering comes last.
struct Wired {
    fleet: Fleet,
    pools: Pools,
}

impl Wired {
    async fn new(name: &str) -> Result<Self> {
        let fleet = Fleet::new(Scenario::shared(name).await?, &PAIR).await?;
        let pools = Pools::of(&fleet.scenario);
        pools.install(&fleet.scenario, Side::West).await?;
        fleet.source("cluster1", "first").await?;
        Ok(Self { fleet, pools })
    }

    fn name(&self) -> &str {
        &self.fleet.scenario.name
    }

    async fn profile(&self, wire: &Value) -> Result<()> {
        let deliver = json!({"kind": "Secret", "namespace": self.name(), "name": "t"});
        profile(&self.fleet, &deliver, &json!({"wire": wire})).await
    }

    async fn peer(&self) -> Result<()> {
        let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]);
        self.fleet.peer(&json!({"members": members})).await
    }

    async fn await_wired(&self, status: &str, reason: &str) -> Result<String> {
        self.fleet
            .scenario
            .await_link(ARTEFACT, Side::West, "Wired", status, reason)
            .await
    }

    fn api(&self) -> Api<DynamicObject> {
        self.pools.on(self.fleet.scenario.client(Side::West))
    }

    async fn pool(&self, name: &str, spec: &Value) -> Result<DynamicObject> {
        self.pools
            .apply(self.fleet.scenario.client(Side::West), name, spec)
            .await
    }

    /// The entry that adds the target's name to the list of a pool.
    fn listed(&self, pool: &str) -> Value {
        json!({"addToList": {"object": self.pools.reference(pool), "path": LIST, "value": "${target.name}"}})
    }

    /// Waits until the list of a pool is this.
    async fn await_names(&self, pool: &str, expected: &Value) -> Result<DynamicObject> {
        let api = self.api();
        self.fleet
            .scenario
            .until(&format!("the list of {pool} to be {expected}"), || async {
                let found = api.get_opt(pool).await?;
                Ok(found.filter(|pool| pool.data["spec"]["mirroring"]["peers"]["secretNames"] == *expected))
            })
            .await
    }
}

fn is_clean(object: &DynamicObject) -> bool {
    !object.annotations().contains_key(WIRED_ANNOTATION)
}

#[tokio::test]
async fn a_name_is_added_to_the_list_of_a_consumer_that_comes_later_and_taken_back() -> Result<()> {
    let w = Wired::new("wire-list").await?;
    let s = &w.fleet.scenario;
    w.profile(&json!([w.listed("pool")])).await?;
    w.peer().await?;
    let (said, part) = (("False", "ConsumerMissing"), "Pool wire-list/pool");
    s.await_link_saying(ARTEFACT, Side::West, "Wired", said, part).await?;
    let theirs = json!({"size": 3, "mirroring": {"peers": {"secretNames": ["theirs"]}}});
    w.pool("pool", &theirs).await?;
    w.await_names("pool", &json!(["theirs", "t"])).await?;
    w.await_wired("True", "Wired").await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    // Somebody else goes on with the list, and takes ours out: it comes back beside theirs.
    let edit = |names: &[&str]| json!({"spec": {"mirroring": {"peers": {"secretNames": names}}}});
    let patch = Patch::Merge(edit(&["theirs", "more"]));
    w.api().patch("pool", &PatchParams::default(), &patch).await?;
    w.await_names("pool", &json!(["theirs", "more", "t"])).await?;
    // The target gets another name: the consumer is told of it before the old one goes.
    let deliver = json!({"kind": "Secret", "namespace": w.name(), "name": "u"});
    profile(&w.fleet, &deliver, &json!({"wire": [w.listed("pool")]})).await?;
    let told = w.await_names("pool", &json!(["theirs", "more", "u"])).await?;
    s.await_gone(&s.on::<Secret>(Side::West), "t").await?;
    // Withdrawal breaks the reference first.
    let secrets = Witness::of(s.on::<Secret>(Side::West), "u").await?;
    let alive = secrets.versions().last().cloned().flatten().context("no target")?;
    ensure!(
        version(&alive)? < version(&told)?,
        "the consumer was told of a target that was not there"
    );
    w.fleet.withdraw(w.name()).await?;
    let left = w.await_names("pool", &json!(["theirs", "more"])).await?;
    ensure!(is_clean(&left) && left.data["spec"]["size"] == 3, "{left:?}");
    s.await_gone(&s.on::<Secret>(Side::West), "u").await
}

#[tokio::test]
async fn an_entry_that_leaves_the_profile_is_taken_back_and_the_right_with_it() -> Result<()> {
    let w = Wired::new("wire-unwire").await?;
    let s = &w.fleet.scenario;
    for pool in ["one", "two"] {
        w.pool(pool, &json!({"size": 1})).await?;
    }
    let applied = json!({"apply": {"template": {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside", "namespace": w.name()},
        "data": {"secret": "${target.name}"},
    }}});
    w.profile(&json!([w.listed("one"), w.listed("two"), applied])).await?;
    w.peer().await?;
    w.await_wired("True", "Wired").await?;
    for pool in ["one", "two"] {
        w.await_names(pool, &json!(["t"])).await?;
    }
    let maps = s.on::<ConfigMap>(Side::West);
    ensure!(
        maps.get("beside").await?.data.unwrap_or_default()["secret"] == "t",
        "not filled"
    );
    w.profile(&json!([w.listed("two")])).await?;
    let one = w.await_names("one", &Value::Null).await?;
    ensure!(
        is_clean(&one) && one.data["spec"] == json!({"size": 1}),
        "what was made on the way stays: {one:?}"
    );
    s.await_gone(&maps, "beside").await?;
    s.until("the link to forget who is clean", || async {
        let link = s.link(ARTEFACT, Side::West).await?;
        let wired = link.status.unwrap_or_default().wired;
        Ok((link.spec.unwire.is_empty() && wired.len() == 1).then_some(()))
    })
    .await?;
    w.await_names("two", &json!(["t"])).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    w.profile(&json!([])).await?;
    let two = w.await_names("two", &Value::Null).await?;
    ensure!(is_clean(&two), "{two:?}");
    w.fleet.withdraw(w.name()).await
}

#[tokio::test]
async fn a_value_of_somebody_else_is_a_conflict_until_it_goes() -> Result<()> {
    let w = Wired::new("wire-conflict").await?;
    let s = &w.fleet.scenario;
    let theirs = w.pool("pool", &json!({"size": 3, "peer": "theirs"})).await?;
    let field =
        json!({"setField": {"object": w.pools.reference("pool"), "path": "spec.peer", "value": "${source.cluster}"}});
    w.profile(&json!([field])).await?;
    w.peer().await?;
    let message = w.await_wired("False", "WireConflict").await?;
    ensure!(
        message.contains("spec.peer") && !message.contains("theirs"),
        "{message}"
    );
    let seen = w.api().get("pool").await?;
    ensure!(seen.resource_version() == theirs.resource_version(), "it was touched");
    ensure!(
        s.on::<Secret>(Side::West).get_opt("t").await?.is_some(),
        "the target does not wait for its consumers"
    );
    w.pool("pool", &json!({"size": 3})).await?;
    w.await_wired("True", "Wired").await?;
    let wired = w.api().get("pool").await?;
    ensure!(wired.data["spec"]["peer"] == "cluster1", "{wired:?}");
    w.fleet.withdraw(w.name()).await?;
    let left = w.api().get("pool").await?;
    ensure!(is_clean(&left) && left.data["spec"].get("peer").is_none(), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn a_workload_starts_anew_with_new_content_and_a_restart_of_the_agent_writes_nothing() -> Result<()> {
    let s = Scenario::alone("wire-annotate").await?;
    let fleet = Fleet::new(s, &PAIR).await?;
    let w = Wired {
        pools: Pools::of(&fleet.scenario),
        fleet,
    };
    let s = &w.fleet.scenario;
    w.fleet.source("cluster1", "first").await?;
    let api = s.on::<Deployment>(Side::West);
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "app"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "example.com/a"}]}},
        },
    }))?;
    api.create(&PostParams::default(), &deployment).await?;
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": w.name(), "name": "app"});
    let hash = json!({"annotate": {"object": object, "key": "example.io/content", "podTemplate": true}});
    w.profile(&json!([hash])).await?;
    w.peer().await?;
    w.await_wired("True", "Wired").await?;
    let hash_of = |deployment: &Deployment| {
        let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.clone());
        template
            .unwrap_or_default()
            .annotations
            .unwrap_or_default()
            .remove("example.io/content")
    };
    let first = hash_of(&api.get("app").await?).context("no annotation")?;
    w.fleet.source("cluster1", "second").await?;
    w.fleet.await_target("cluster2", "t", "second").await?;
    s.until("the workload to have another hash", || async {
        let now = hash_of(&api.get("app").await?);
        Ok(now.filter(|now| *now != first))
    })
    .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let (link, app) = (s.link(ARTEFACT, Side::West).await?, api.get("app").await?);
    let agent = s.world.agent("cluster2").await?;
    agent.kill();
    agent.wait().await?;
    s.world.agent("cluster2").await?;
    // The next content passes through the new agent: by then it has looked at everything.
    w.fleet.source("cluster1", "third").await?;
    w.fleet.await_target("cluster2", "t", "third").await?;
    s.until("the workload to have the third hash", || async {
        let seen = api.get("app").await?;
        let writes = seen.metadata.generation.unwrap_or_default() - app.metadata.generation.unwrap_or_default();
        Ok((writes > 0).then_some(writes))
    })
    .await
    .and_then(|writes| {
        ensure!(writes == 1, "{writes} writes for one change");
        Ok(())
    })?;
    let now = s.link(ARTEFACT, Side::West).await?;
    ensure!(now.metadata.uid == link.metadata.uid, "the link was made anew");
    w.fleet.withdraw(w.name()).await?;
    let left = api.get("app").await?;
    ensure!(hash_of(&left).is_none(), "{left:?}");
    ensure!(!left.annotations().contains_key(WIRED_ANNOTATION), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn the_consumer_of_a_bundle_is_told_once_for_all_members() -> Result<()> {
    let s = Scenario::shared("wire-bundle").await?;
    s.sources().await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": s.name, "name": "consumer"});
    let profile = json!({
        "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "ExchangeProfile", "metadata": {"name": s.name},
        "spec": {
            "parameters": [{"name": "namespace"}],
            "artefacts": [{
                "name": "ca", "kind": "CABundle", "confidential": false,
                "inputs": [{"as": "ca", "apiVersion": "v1", "kind": "ConfigMap", "namespace": s.name, "name": "storage-ca"}],
                "deliver": {"kind": "ConfigMap", "namespace": s.name, "name": "bundle"},
                "wire": [
                    {"setField": {"object": object, "path": "data.bundle", "value": "${target.name}"}},
                    {"annotate": {"object": object, "key": "example.io/content"}},
                ],
            }],
        },
    });
    s.world.env.hub().apply_text(&profile.to_string()).await?;
    let maps = s.on::<ConfigMap>(Side::West);
    let before = maps
        .create(&PostParams::default(), &config_map("consumer", &[("theirs", "1")]))
        .await?;
    s.on::<ConfigMap>(Side::East)
        .create(&PostParams::default(), &config_map("consumer", &[("theirs", "1")]))
        .await?;
    s.peer(&s.name, &["cluster1", "cluster2"]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let wired = maps.get("consumer").await?;
    ensure!(
        wired.data.clone().unwrap_or_default()["bundle"] == "bundle",
        "{wired:?}"
    );
    let first = wired
        .annotations()
        .get("example.io/content")
        .cloned()
        .context("no hash")?;
    s.ca_source(Side::East, &scenarios::objects::ca("wire-bundle east, next", 2042)?)
        .await?;
    s.until("the hash of the bundle to change", || async {
        let now = maps
            .get("consumer")
            .await?
            .annotations()
            .get("example.io/content")
            .cloned();
        Ok(now.filter(|now| *now != first))
    })
    .await?;
    s.withdraw().await?;
    let left = maps.get("consumer").await?;
    ensure!(left.data == before.data && left.annotations().is_empty(), "{left:?}");
    Ok(())
}
