//! Every process killed in turn, at points that a seed decides, while twenty Peerings change: in the end all links are
//! ready, targets equal sources, and nothing is left over.
//!
//! Every process is: etcd, each API server and controller manager, every component of Open Cluster Management, the
//! addon-manager and the agents. The seed is printed; `CHAOS_SEED=<number>` tells the same story again: the same changes
//! in the same order, and the kills after the same changes. What is going on inside the processes then is up to them.
use std::{
    fmt::{Debug, Display},
    future::Future,
    io::Write as _,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use peering_api::names;
use scenarios::{
    Scenario, Side, World, end,
    objects::ca,
    world::{AGENT_NAMESPACE, MANAGER_NAMESPACE},
};
use serde_json::json;
use tokio::sync::watch;

/// How many Peerings there are.
const PEERINGS: usize = 20;
/// How many changes are made around each kill.
const CHANGES: usize = 6;
/// How long one change, or the way to the end, may take: several processes may be on their way back.
const PATIENCE: Duration = Duration::from_mins(6);
/// Between certificates of this number the CAs change.
const CAS: usize = 4;

/// `SplitMix64`: small, and the same for all time, so that a seed means something after the next update too.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap_or(1).max(1)).unwrap_or_default()
    }

    fn side(&mut self) -> Side {
        [Side::East, Side::West][self.below(2)]
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            all.swap(end, self.below(end + 1));
        }
    }
}

/// What somebody does to a Peering.
#[derive(Clone, Debug)]
enum Change {
    /// The source Secret of a side gets another token.
    Token(Side, u64),
    /// The CA of a side becomes another one.
    Ca(Side, usize),
    /// The Peering is deleted, or applied once more when it is gone.
    Turn,
    /// Somebody deletes the Secret that a side received.
    DeleteTarget(Side),
    /// Somebody edits it.
    EditTarget(Side),
}

impl Change {
    fn any(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 | 1 => Self::Token(dice.side(), dice.next()),
            2 => Self::Ca(dice.side(), dice.below(CAS)),
            3 => Self::Turn,
            4 => Self::DeleteTarget(dice.side()),
            _ => Self::EditTarget(dice.side()),
        }
    }
}

/// A process that can be killed.
#[derive(Clone, Debug)]
enum Victim {
    Etcd,
    /// A component of a cluster, by its log's name.
    Component(String, String),
    /// The process of a Deployment of the product: cluster, namespace, name.
    Workload(String, &'static str, &'static str),
}

impl Display for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Etcd => f.write_str("etcd"),
            Self::Component(cluster, name) => write!(f, "{cluster}/{name}"),
            Self::Workload(cluster, _, name) => write!(f, "{cluster}/{name}"),
        }
    }
}

fn cluster(world: &World, name: &str) -> Result<std::sync::Arc<testenv::Cluster>> {
    if name == "hub" {
        Ok(world.env.hub().clone())
    } else {
        world.env.spoke(name)
    }
}

fn victims(world: &World) -> Result<Vec<Victim>> {
    let mut victims = vec![
        Victim::Etcd,
        Victim::Workload("hub".to_owned(), MANAGER_NAMESPACE, "addon-manager"),
    ];
    for name in ["hub", "cluster1", "cluster2"] {
        let components = cluster(world, name)?.component_names();
        victims.extend(
            components
                .into_iter()
                .map(|component| Victim::Component(name.to_owned(), component)),
        );
        if name != "hub" {
            victims.push(Victim::Workload(name.to_owned(), AGENT_NAMESPACE, names::AGENT));
        }
    }
    Ok(victims)
}

async fn kill(world: &World, victim: &Victim) -> Result<()> {
    match victim {
        Victim::Etcd => world.env.crash_etcd().await,
        Victim::Component(at, component) => cluster(world, at)?.crash(component).await,
        Victim::Workload(at, namespace, name) => {
            let node = cluster(world, at)?.node()?;
            let process = node.await_ready(namespace, name, PATIENCE).await?;
            process.kill();
            node.await_restart(namespace, name, &process, PATIENCE).await.map(drop)
        }
    }
}

/// One of the Peerings, and how it should be.
struct Party {
    s: Scenario,
    applied: bool,
    tokens: [u64; 2],
    cas: [usize; 2],
}

impl Party {
    async fn new(world: &World, number: usize, dice: &mut Dice) -> Result<Self> {
        Ok(Self {
            s: Scenario::new(world.clone(), &format!("chaos-{number:02}")).await?,
            applied: number.is_multiple_of(2),
            tokens: [dice.next(), dice.next()],
            cas: [dice.below(CAS), dice.below(CAS)],
        })
    }

    fn token(&self, side: Side) -> String {
        format!("token {:x}", self.tokens[usize::from(side == Side::West)])
    }

    /// Brings about on both clusters and the hub how the Peering should be.
    async fn begin(&self, cas: &[String]) -> Result<()> {
        for side in [Side::East, Side::West] {
            self.put_source(side).await?;
            self.put_ca(side, cas).await?;
        }
        if self.applied { self.apply().await } else { Ok(()) }
    }

    async fn put_source(&self, side: Side) -> Result<()> {
        self.s.source(side, &[("token", self.token(side).as_bytes())]).await
    }

    async fn put_ca(&self, side: Side, cas: &[String]) -> Result<()> {
        self.s
            .ca_source(side, &cas[self.cas[usize::from(side == Side::West)]])
            .await
    }

    async fn apply(&self) -> Result<()> {
        self.s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await
    }

    /// Makes a change, however often an API server is away meanwhile.
    async fn change(&mut self, change: &Change, cas: &[String]) -> Result<()> {
        match change {
            Change::Token(side, token) => self.tokens[usize::from(*side == Side::West)] = *token,
            Change::Ca(side, number) => self.cas[usize::from(*side == Side::West)] = *number,
            Change::Turn => self.applied = !self.applied,
            Change::DeleteTarget(_) | Change::EditTarget(_) => {}
        }
        let what = format!("{change:?} on {}", self.s.name);
        insist(&self.s.world, &what, || async {
            match change {
                Change::Token(side, _) => self.put_source(*side).await?,
                Change::Ca(side, _) => self.put_ca(*side, cas).await?,
                Change::Turn if self.applied => {
                    // While the one before is going, its name is taken. One that stays is what an attempt before has made
                    // without hearing of it.
                    let there = self.s.peerings().get_opt(&self.s.name).await?;
                    ensure!(
                        there.is_none_or(|there| there.metadata.deletion_timestamp.is_none()),
                        "it is still going"
                    );
                    self.apply().await?;
                }
                Change::Turn => gone(self.s.peerings().delete(&self.s.name, &DeleteParams::default()).await)?,
                Change::DeleteTarget(side) => {
                    let targets = self.s.on::<Secret>(*side);
                    gone(
                        targets
                            .delete(&self.s.target_name(*side), &DeleteParams::default())
                            .await,
                    )?;
                }
                Change::EditTarget(side) => {
                    let edit = json!({"stringData": {"token": "edited"}});
                    let (targets, params) = (self.s.on::<Secret>(*side), PatchParams::default());
                    gone(
                        targets
                            .patch(&self.s.target_name(*side), &params, &Patch::Merge(edit))
                            .await,
                    )?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until everything is as it should be.
    async fn await_end(&self, cas: &[String]) -> Result<()> {
        let s = &self.s;
        let what = format!("{} to be as it should, applied: {}", s.name, self.applied);
        s.world
            .env
            .until(&what, PATIENCE, || async {
                if !self.applied {
                    let left = end::left(s).await?;
                    ensure!(left.is_empty(), "left: {left:?}");
                    return Ok(Some(()));
                }
                let picture = end::picture(s).await?;
                let ready = picture
                    .iter()
                    .filter_map(|(place, told)| Some((place, told.get("Ready")?)));
                let not: Vec<_> = ready.filter(|(_, (status, _))| status != "True").collect();
                ensure!(
                    not.is_empty() && picture.len() == 9,
                    "not ready: {not:?} of {}",
                    picture.len()
                );
                for side in [Side::East, Side::West] {
                    let target = s.on::<Secret>(side).get(&s.target_name(side)).await?;
                    let sent = scenarios::objects::bytes(&[("token", self.token(side.other()).as_bytes())]);
                    ensure!(
                        target.data == Some(sent),
                        "the target on {} is not the source",
                        side.cluster()
                    );
                    let bundle = s.on::<ConfigMap>(side).get(&s.bundle_name()).await?;
                    let held = scenarios::scenario::fingerprints(&scenarios::scenario::bundle_text(&bundle));
                    let mut wanted =
                        scenarios::scenario::fingerprints(&self.cas.map(|number| cas[number].clone()).concat());
                    wanted.dedup();
                    ensure!(
                        held == wanted,
                        "the bundle on {} holds {held:?}, not {wanted:?}",
                        side.cluster()
                    );
                }
                Ok(Some(()))
            })
            .await
    }
}

/// Gone already is as good.
fn gone<T>(result: kube::Result<T>) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Tries until it works.
async fn insist<F, Fut>(world: &World, what: &str, mut attempt: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let attempt = || {
        let attempt = attempt();
        async { attempt.await.map(Some) }
    };
    world.env.until(what, PATIENCE, attempt).await
}

fn seed() -> Result<u64> {
    match std::env::var("CHAOS_SEED") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("CHAOS_SEED={text}: expected a number")),
        Err(_) => Ok(u64::from(
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos(),
        )),
    }
}

#[tokio::test]
async fn every_process_killed_in_turn_while_peerings_change_leaves_all_as_it_should_be() -> Result<()> {
    let seed = seed()?;
    // Past the test harness, which shows what was printed only when a test has failed.
    writeln!(std::io::stdout(), "chaos: CHAOS_SEED={seed}")?;
    story(&mut Dice(seed))
        .await
        .with_context(|| format!("CHAOS_SEED={seed}"))
}

async fn story(dice: &mut Dice) -> Result<()> {
    let world = World::alone().await?;
    let cas = (0..CAS)
        .map(|number| ca(&format!("chaos {number}"), 2040))
        .collect::<Result<Vec<_>>>()?;
    let mut parties = Vec::new();
    for number in 0..PEERINGS {
        parties.push(Party::new(&world, number, dice).await?);
    }
    try_join_all(parties.iter().map(|party| party.begin(&cas))).await?;
    let mut victims = victims(&world)?;
    dice.shuffle(&mut victims);
    println!(
        "killed in this order: {}",
        victims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    );
    for victim in &victims {
        let changes: Vec<_> = (0..CHANGES)
            .map(|_| (dice.below(PEERINGS), Change::any(dice)))
            .collect();
        let after = dice.below(CHANGES);
        let (made, mut reached) = watch::channel(0);
        let changing = async {
            for (index, (number, change)) in changes.iter().enumerate() {
                made.send_replace(index);
                parties[*number].change(change, &cas).await?;
            }
            anyhow::Ok(())
        };
        let killing = async {
            reached.wait_for(|made| *made >= after).await?;
            kill(&world, victim).await.with_context(|| format!("kill {victim}"))
        };
        futures::try_join!(changing, killing)?;
        println!("{victim} was killed during change {after} of {changes:?}");
    }
    try_join_all(parties.iter().map(|party| party.await_end(&cas))).await?;
    // Everything that was killed stays alive, and nothing stays behind.
    world.env.check()?;
    for party in &mut parties {
        party.applied = false;
        gone(party.s.peerings().delete(&party.s.name, &DeleteParams::default()).await)?;
    }
    try_join_all(parties.iter().map(|party| party.await_end(&cas))).await?;
    // The last to go is what work agents keep about works that came and went while one of their API servers was away.
    insist(&world, "nothing to be left over", || async {
        let left = end::leftovers(world.env, "chaos-").await?;
        ensure!(left.is_empty(), "left over: {left:#?}");
        Ok(())
    })
    .await
}
