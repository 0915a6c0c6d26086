//! Who hands over to whom: meshes and stars, members that come and go, Peerings side by side, agents that fall silent.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use futures::try_join;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use peering_api::{
    names,
    ocm::ManagedCluster,
    peering::{PeerLink, is_true, reasons},
};
use scenarios::{
    Fleet, Scenario, Witness,
    fleet::{ARTEFACT, target},
    world::AGENT_NAMESPACE,
};
use serde_json::{Value, json};
use testenv::RunningProcess;

const PAIR: [&str; 2] = ["cluster1", "cluster2"];
const THIRD: &str = "local-cluster";
const ALL: [&str; 3] = ["cluster1", "cluster2", THIRD];
const BOTH_WAYS: [(&str, &str); 2] = [("cluster1", "cluster2"), ("cluster2", "cluster1")];

fn pair() -> Value {
    json!({"members": [{"cluster": "cluster1"}, {"cluster": "cluster2"}]})
}

/// A process that hangs until this is dropped.
struct Frozen(RunningProcess);

impl Frozen {
    fn new(process: RunningProcess) -> Self {
        process.freeze();
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

/// The targets and links of a pair.
struct Pair {
    targets: Vec<Witness<Secret>>,
    links: Vec<Witness<PeerLink>>,
}

impl Pair {
    async fn watched(fleet: &Fleet) -> Result<Self> {
        let (mut targets, mut links) = (Vec::new(), Vec::new());
        for (from, to) in BOTH_WAYS {
            let name = fleet.target(ARTEFACT, from);
            targets.push(Witness::of(fleet.secrets(to)?, &name).await?);
            let id = names::link_id(&fleet.scenario.name, ARTEFACT, from, to);
            let link = names::link_name(&fleet.scenario.name, ARTEFACT, from, &id);
            links.push(Witness::of(Api::namespaced(fleet.scenario.hub.clone(), to), &link).await?);
        }
        Ok(Self { targets, links })
    }

    /// The targets were written once for each content and never made anew; the links were ready all the time.
    fn ensure_undisturbed(&self) -> Result<()> {
        for target in &self.targets {
            let versions = target.versions();
            let versions: Option<Vec<_>> = versions.into_iter().collect();
            let versions = versions.context("a target was gone for a while")?;
            let made: Vec<_> = versions.iter().map(ResourceExt::uid).collect();
            ensure!(made.windows(2).all(|pair| pair[0] == pair[1]), "made anew: {made:?}");
            let twice = versions.windows(2).find(|pair| pair[0].data == pair[1].data);
            let fields = twice.map(|pair| (pair[0].metadata.clone(), pair[1].metadata.clone()));
            ensure!(fields.is_none(), "written without new content: {fields:#?}");
        }
        for link in &self.links {
            for version in link.versions() {
                let link = version.context("a link was gone for a while")?;
                let conditions = link.status.unwrap_or_default().conditions;
                ensure!(is_true(&conditions, reasons::READY), "not ready: {conditions:#?}");
            }
        }
        Ok(())
    }
}

/// Changes the sources of the pair, one after the other, as fast as the changes arrive.
async fn load(fleet: &Fleet, stop: &AtomicBool) -> Result<usize> {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        for (from, to) in BOTH_WAYS {
            let token = format!("{from}, round {rounds}");
            fleet.source(from, &token).await?;
            fleet.await_token(from, to, &token).await?;
        }
    }
    Ok(rounds)
}

/// A third member takes part for a while, with the pair's sources changing all the time.
async fn join_and_leave(fleet: &Fleet, without: &Value, with: &Value, links: &[(&str, &str)]) -> Result<()> {
    let s = &fleet.scenario;
    for cluster in ALL {
        fleet.source(cluster, &format!("{cluster}, at first")).await?;
    }
    fleet.peer(without).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let watched = Pair::watched(fleet).await?;
    let stop = AtomicBool::new(false);
    let story = async {
        fleet.peer(with).await?;
        fleet.await_agent(THIRD).await?;
        fleet.await_links(links).await?;
        s.await_peering("Ready", "True", "AllLinksReady").await?;
        fleet.await_token(THIRD, "cluster1", "local-cluster, at first").await?;
        // What changes meanwhile arrives there too.
        let (secrets, name) = (fleet.secrets(THIRD)?, fleet.target(ARTEFACT, "cluster1"));
        let before = secrets.get(&name).await?.data;
        s.until("a change to arrive at the third member", || async {
            let now = secrets.get(&name).await?.data;
            Ok((now != before).then_some(()))
        })
        .await?;
        fleet.peer(without).await?;
        fleet.await_links(&BOTH_WAYS).await?;
        fleet.await_no_token("cluster1", THIRD).await?;
        fleet.await_no_token(THIRD, "cluster1").await?;
        s.await_peering("Ready", "True", "AllLinksReady").await?;
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (rounds, ()) = try_join!(load(fleet, &stop), story)?;
    ensure!(rounds > 1, "the sources hardly changed: {rounds} times");
    for (from, to) in BOTH_WAYS {
        fleet.await_token(from, to, &format!("{from}, round {rounds}")).await?;
    }
    watched.ensure_undisturbed()?;
    fleet.withdraw(&s.name).await
}

#[tokio::test]
async fn a_member_joins_and_leaves_a_mesh_under_load_and_disturbs_no_other_link() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-mesh").await?, &ALL).await?;
    let with = json!({"members": [{"cluster": "cluster1"}, {"cluster": "cluster2"}, {"cluster": THIRD}]});
    let links: Vec<_> = ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))).collect();
    let links: Vec<_> = links.into_iter().filter(|(from, to)| from != to).collect();
    join_and_leave(&fleet, &pair(), &with, &links).await
}

#[tokio::test]
async fn a_member_joins_and_leaves_a_star_under_load_and_meets_its_centre_only() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-star").await?, &ALL).await?;
    let star = |others: &[&str]| {
        let centre = json!({"cluster": "cluster1", "role": "Hub"});
        let others = others.iter().map(|cluster| json!({"cluster": cluster}));
        let members: Vec<_> = std::iter::once(centre).chain(others).collect();
        json!({"topology": "Star", "members": members})
    };
    let links = [&BOTH_WAYS[..], &[("cluster1", THIRD), (THIRD, "cluster1")]].concat();
    join_and_leave(&fleet, &star(&["cluster2"]), &star(&["cluster2", THIRD]), &links).await
}

#[tokio::test]
async fn artefacts_flow_to_and_from_the_hub_role_and_to_the_hub_itself() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-flows").await?, &ALL).await?;
    fleet.enlist(THIRD).await?;
    let artefacts = [
        fleet.artefact("up", "ToHubRole"),
        fleet.artefact("down", "FromHubRole"),
        fleet.artefact("report", "ToHubCluster"),
    ];
    fleet.profile(&json!(artefacts)).await?;
    for cluster in PAIR {
        fleet.source(cluster, cluster).await?;
    }
    fleet
        .peer(&json!({"members": [{"cluster": "cluster1", "role": "Hub"}, {"cluster": "cluster2"}]}))
        .await?;
    fleet.scenario.await_peering("Ready", "True", "AllLinksReady").await?;
    let expected = [
        ("up", "cluster2", "cluster1"),
        ("down", "cluster1", "cluster2"),
        ("report", "cluster1", THIRD),
        ("report", "cluster2", THIRD),
    ];
    for (artefact, from, to) in expected {
        fleet.await_target(to, &fleet.target(artefact, from), from).await?;
    }
    let mut wanted = BTreeMap::<_, BTreeSet<_>>::new();
    for (artefact, from, to) in expected {
        let ends = (from.to_owned(), to.to_owned());
        wanted.entry(artefact.to_owned()).or_default().insert(ends);
    }
    // Links of the profile as it was before may still have to be withdrawn.
    fleet
        .scenario
        .until("exactly the wanted links", || async {
            let links = fleet.links(&fleet.scenario.name).await?;
            ensure!(links == wanted, "expected {wanted:?}, seen {links:?}");
            Ok(Some(()))
        })
        .await?;
    fleet.withdraw(&fleet.scenario.name).await
}

/// Sets or removes a label of a `ManagedCluster`.
async fn label(fleet: &Fleet, cluster: &str, value: Option<&str>) -> Result<()> {
    let clusters: Api<ManagedCluster> = Api::all(fleet.scenario.hub.clone());
    let labels = json!({"metadata": {"labels": {fleet.scenario.name.clone(): value}}});
    clusters
        .patch(cluster, &PatchParams::default(), &Patch::Merge(labels))
        .await?;
    Ok(())
}

#[tokio::test]
async fn members_follow_the_decisions_of_a_placement() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-placement").await?, &ALL).await?;
    let (s, name) = (&fleet.scenario, &fleet.scenario.name);
    for cluster in PAIR {
        fleet.source(cluster, cluster).await?;
        label(&fleet, cluster, Some("chosen")).await?;
    }
    fleet
        .peer(&json!({"placementRef": {"namespace": name, "name": "chosen"}}))
        .await?;
    s.await_peering("Accepted", "False", "PlacementNotFound").await?;

    let binding = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": name}, "spec": {"clusterSet": "global"},
    });
    let selector = json!({"labelSelector": {"matchLabels": {name.clone(): "chosen"}}});
    let placement = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": {"name": "chosen", "namespace": name},
        "spec": {"predicates": [{"requiredClusterSelector": selector}]},
    });
    let hub = s.world.env.hub();
    for object in [&binding, &placement] {
        hub.apply_text(&object.to_string()).await?;
    }
    fleet.await_links(&BOTH_WAYS).await?;
    s.await_peering("Accepted", "True", "Accepted").await?;
    fleet.await_token("cluster1", "cluster2", "cluster1").await?;

    label(&fleet, "cluster2", None).await?;
    fleet.await_links(&[]).await?;
    fleet.await_no_token("cluster1", "cluster2").await?;
    s.await_peering("Ready", "False", "NoLinks").await?;
    label(&fleet, "cluster2", Some("chosen")).await?;
    fleet.await_token("cluster1", "cluster2", "cluster1").await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;

    // A decision that vanishes is no decision for nobody, nor is one that OCM makes anew before it says what it holds.
    let watched = Pair::watched(&fleet).await?;
    let decisions: Api<peering_api::ocm::PlacementDecision> = Api::namespaced(s.hub.clone(), name);
    let decision = decisions
        .list(&ListParams::default())
        .await?
        .items
        .pop()
        .context("no decision")?;
    decisions.delete(&decision.name_any(), &DeleteParams::default()).await?;
    s.until("OCM to decide anew", || async {
        let next = decisions.get_opt(&decision.name_any()).await?;
        let next = next.filter(|next| next.uid() != decision.uid());
        let decided = next.and_then(|next| next.status).unwrap_or_default().decisions;
        Ok((decided.len() == PAIR.len()).then_some(()))
    })
    .await?;
    // A Placement that vanishes decides nothing: what is in use stays.
    let placements: Api<peering_api::ocm::Placement> = Api::namespaced(s.hub.clone(), name);
    placements.delete("chosen", &DeleteParams::default()).await?;
    s.await_peering("Accepted", "False", "PlacementNotFound").await?;
    fleet.await_links(&BOTH_WAYS).await?;
    watched.ensure_undisturbed()?;
    fleet.withdraw(name).await?;
    for cluster in PAIR {
        label(&fleet, cluster, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_paused_peering_changes_nothing_and_can_be_deleted() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-paused").await?, &PAIR).await?;
    let s = &fleet.scenario;
    let other = "topology-paused-not";
    for cluster in PAIR {
        fleet.source(cluster, "first").await?;
    }
    let spec = |paused: bool| {
        let mut spec = pair();
        spec["paused"] = paused.into();
        spec
    };
    fleet.peer(&spec(false)).await?;
    fleet.peer_as(other, &spec(false)).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    fleet.peer(&spec(true)).await?;
    s.await_peering("Accepted", "True", "Paused").await?;
    let held = Witness::of(fleet.secrets("cluster2")?, &fleet.target(ARTEFACT, "cluster1")).await?;
    // The other Peering hands the same source over and is not paused: its change arrives, and nothing else does.
    fleet.source("cluster1", "second").await?;
    fleet
        .await_target("cluster2", &target(other, ARTEFACT, "cluster1"), "second")
        .await?;
    ensure!(
        held.versions().len() == 1,
        "written while paused: {:#?}",
        held.versions()
    );
    fleet.peer(&spec(false)).await?;
    fleet.await_token("cluster1", "cluster2", "second").await?;
    s.await_peering("Accepted", "True", "Accepted").await?;

    fleet.peer(&spec(true)).await?;
    s.await_peering("Accepted", "True", "Paused").await?;
    fleet.withdraw(&s.name).await?;
    fleet.await_no_token("cluster1", "cluster2").await?;
    fleet.withdraw(other).await
}

#[tokio::test]
async fn of_two_peerings_with_one_target_the_later_waits_and_takes_over() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-collision").await?, &PAIR).await?;
    let (s, later) = (&fleet.scenario, "topology-collision-later");
    let mut artefact = fleet.artefact(ARTEFACT, "Both");
    artefact["deliver"]["name"] = "of-${source.cluster}".into();
    fleet.profile(&json!([artefact])).await?;
    for cluster in PAIR {
        fleet.source(cluster, cluster).await?;
    }
    fleet.peer(&pair()).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let secrets = fleet.secrets("cluster2")?;
    let owner = |secret: &Secret| secret.labels().get(names::PEERING_LABEL).cloned();
    let watched = Witness::of(secrets.clone(), "of-cluster1").await?;

    fleet.peer_as(later, &pair()).await?;
    let message = fleet
        .await_condition(later, "Accepted", "False", "DuplicateTarget")
        .await?;
    ensure!(
        message.contains("of-cluster1") && message.contains(&format!("{:?}", s.name)),
        "{message}"
    );
    fleet.await_condition(later, "Ready", "False", "NoLinks").await?;
    s.await_peering("Accepted", "True", "Accepted").await?;
    ensure!(watched.versions().len() == 1, "disturbed: {:#?}", watched.versions());

    s.peerings().delete(&s.name, &DeleteParams::default()).await?;
    fleet.await_condition(later, "Accepted", "True", "Accepted").await?;
    fleet.await_condition(later, "Ready", "True", "AllLinksReady").await?;
    let taken = fleet.await_target("cluster2", "of-cluster1", "cluster1").await?;
    ensure!(owner(&taken).as_deref() == Some(later), "of {:?}", owner(&taken));
    fleet.await_nothing_left(&s.name).await?;
    fleet.withdraw(later).await?;
    s.await_gone(&secrets, "of-cluster1").await
}

#[tokio::test]
async fn two_peerings_share_clusters_and_sources_and_one_goes_without_the_other() -> Result<()> {
    let fleet = Fleet::new(Scenario::shared("topology-shared").await?, &PAIR).await?;
    let (s, other) = (&fleet.scenario, "topology-shared-other");
    for cluster in PAIR {
        fleet.source(cluster, "first").await?;
    }
    fleet.peer(&pair()).await?;
    fleet.peer_as(other, &pair()).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    fleet.await_condition(other, "Ready", "True", "AllLinksReady").await?;
    let watched = Pair::watched(&fleet).await?;
    fleet.withdraw(other).await?;
    let theirs = target(other, ARTEFACT, "cluster1");
    s.await_gone(&fleet.secrets("cluster2")?, &theirs).await?;
    // The rights of the one that stays are its own.
    fleet.source("cluster1", "second").await?;
    fleet.await_token("cluster1", "cluster2", "second").await?;
    watched.ensure_undisturbed()?;
    fleet.withdraw(&s.name).await
}

#[tokio::test]
async fn a_peering_goes_without_a_member_that_hangs_and_its_agent_cleans_up_when_it_is_back() -> Result<()> {
    let fleet = Fleet::new(Scenario::alone("topology-force").await?, &PAIR).await?;
    let s = &fleet.scenario;
    for cluster in PAIR {
        fleet.source(cluster, cluster).await?;
    }
    fleet.peer(&pair()).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let frozen = Frozen::new(s.world.agent("cluster2").await?);
    s.peerings().delete(&s.name, &DeleteParams::default()).await?;
    // The member that runs is not kept waiting; the Peering is.
    fleet.await_no_token("cluster2", "cluster1").await?;
    let waiting = s.peerings().get(&s.name).await?;
    ensure!(waiting.metadata.deletion_timestamp.is_some(), "{waiting:?}");

    let force = json!({"metadata": {"annotations": {names::FORCE_LOCAL_ANNOTATION: "true"}}});
    let params = PatchParams::default();
    s.peerings().patch(&s.name, &params, &Patch::Merge(force)).await?;
    s.await_gone(&s.peerings(), &s.name).await?;
    // The Peering was told to wait for nobody, so the other link may go after it.
    fleet.await_links(&[("cluster1", "cluster2")]).await?;
    fleet.await_token("cluster1", "cluster2", "cluster1").await?;

    drop(frozen);
    fleet.await_no_token("cluster1", "cluster2").await?;
    fleet.await_nothing_left(&s.name).await
}

#[tokio::test]
async fn what_a_silent_agent_said_last_is_not_taken_for_the_truth() -> Result<()> {
    let fleet = Fleet::new(Scenario::alone("topology-silent").await?, &PAIR).await?;
    let s = &fleet.scenario;
    for cluster in PAIR {
        fleet.source(cluster, cluster).await?;
    }
    fleet.peer(&pair()).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let agent = s.world.agent("cluster2").await?;
    let frozen = Frozen::new(agent.clone());
    // OCM gives a Lease five minutes; this one was renewed long ago.
    let leases: Api<Lease> = Api::namespaced(s.world.env.spoke("cluster2")?.client().await?, AGENT_NAMESPACE);
    let stale = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    let params = PatchParams::default();
    leases.patch(names::ADDON, &params, &Patch::Merge(stale)).await?;
    for to in [scenarios::Side::East, scenarios::Side::West] {
        let message = s
            .await_link(ARTEFACT, to, "Ready", "Unknown", "AgentUnreachable")
            .await?;
        ensure!(
            message.contains("cluster2") && message.contains("what was delivered stays"),
            "{message}"
        );
    }
    s.await_peering("Degraded", "True", "LinksFailing").await?;
    fleet.await_token("cluster1", "cluster2", "cluster1").await?;

    // It starts anew, renews its Lease, and all is well.
    agent.kill();
    drop(frozen);
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.await_peering("Degraded", "False", "AllHealthy").await?;
    fleet.withdraw(&s.name).await
}
