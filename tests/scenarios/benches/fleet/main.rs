//! A fleet on one hub: meshes of clusters, changes of their sources, a restart of the manager. Prints figures, asserts nothing.
//!
//! Real are the hub's API server, OCM's controllers on it and our manager, which runs as a process. There are no managed
//! clusters: this process plays the agents of all of them ([`scenarios::bench::agents`]), on the runtime of the real ones and with the real
//! exchange code, but on secrets of its own instead of a cluster's.
//!
//! Next to the product runs the *floor* ([`floor`]): a bare loop which makes the same writes, of the same shape and size, in
//! the same order, each set off by a watch event. It takes the places of both the manager and the agents. Product and floor
//! take turns, so that both have the same of whatever else the machine does.
mod course;
mod fleet;
mod floor;
mod numbers;
mod report;
mod steps;

use std::{sync::Arc, time::Duration};

use addon_framework::{process, runtime::clients};
use anyhow::{Context, Result, ensure};
use scenarios::{
    bench::{agents::Agents, machine, setting},
    world::{self, MANAGER_NAMESPACE, SOON},
};
use testenv::{Env, Options};

use crate::{
    course::Way,
    fleet::{Fleet, Source},
    floor::Floor,
    numbers::Numbers,
    report::{Report, Restart},
    steps::{Grown, Steps},
};

/// Name of the manager's Deployment.
const MANAGER: &str = "addon-manager";
/// The metric by which the manager counts its own writes.
const OWN_WRITES: &str = "orchestrator_writes_total";
/// The pause between changes one by one: the next one meets nobody who is still busy with this one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long is waited for late writes of a manager that has been started again.
const REST: Duration = Duration::from_secs(10);

/// What can be set by the environment.
struct Settings {
    /// `FLEET_MESHES`: how many Peerings there are.
    meshes: u32,
    /// `FLEET_SIZE`: how many clusters take part in each, and in no other.
    size: u32,
    /// `FLEET_ROUNDS`: how often a tenth of the sources changes, one by one and at once.
    rounds: u32,
}

impl Settings {
    /// By default 11 meshes of 10 clusters with 90 links each: 990 links over 110 clusters.
    fn read() -> Result<Self> {
        let settings = Self {
            meshes: setting("FLEET_MESHES", 11)?,
            size: setting("FLEET_SIZE", 10)?,
            rounds: setting("FLEET_ROUNDS", 10)?,
        };
        ensure!(settings.meshes > 0, "FLEET_MESHES must be at least 1");
        ensure!(
            (2..=100).contains(&settings.size),
            "FLEET_SIZE must be between 2 and 100"
        );
        Ok(settings)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --all-targets` builds and runs benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this takes minutes and asserts nothing: run it by `make bench-exchange`");
        return Ok(());
    }
    let settings = Settings::read()?;
    process::log(process::LogFormat::Text);
    let options = Options {
        spokes: Vec::new(),
        ..Options::default()
    };
    let manager = options.node.binaries.join(MANAGER);
    ensure!(
        manager.is_file(),
        "{} is missing: run this by `make bench-exchange`",
        manager.display()
    );
    let machine = machine::describe("make bench-exchange", "FLEET_")?;
    let env = Env::start(options).await?;
    let measured = measure(&env, &settings).await;
    let log = testenv::files::tail(&env.hub().node()?.log_path(MANAGER_NAMESPACE, MANAGER), 40);
    env.stop().await?;
    let report = measured.with_context(|| format!("the end of the manager's log:\n{log}"))?;
    println!("{}", report.markdown(&machine));
    Ok(())
}

async fn measure(env: &Env, settings: &Settings) -> Result<Report> {
    let clients = clients(env.hub().config().await?)?;
    let fleet = Fleet::start(env, &clients, settings.size).await?;
    let agents = Agents::start(&clients, Arc::<Numbers>::default()).await;
    let mut steps = Steps::new(env, world::install_hub(env).await?);
    steps.idle("the manager has started").await?;

    // Two sizes, to see whether memory and time grow in step with the links.
    let half = settings.meshes.div_ceil(2);
    for meshes in [0..half, half..settings.meshes] {
        if meshes.is_empty() {
            continue;
        }
        let (clusters, links) = (fleet.clusters(meshes.end), fleet.links(meshes.end));
        let grown = Grown {
            links,
            new: links - fleet.links(meshes.start),
        };
        fleet.accept(meshes.clone()).await?;
        steps.settle().await?;
        steps
            .run(
                &format!("{clusters} agents registered"),
                fleet.install(meshes.clone(), &agents),
            )
            .await?;
        steps.run(&format!("{links} links Ready"), fleet.peer(meshes)).await?;
        steps.grown(grown);
    }

    let sources = fleet.sources(settings.meshes);
    let floor = Floor::start(&clients, &sources).await?;
    let mut report = Report::new(settings.rounds, &sources);
    change(&steps, &agents, &floor, &sources, &mut report).await?;
    steps.idle("all changes, the floor's too").await?;
    report.restart = restart(env, &mut steps).await?;
    report.steps = steps.finish();
    Ok(report)
}

/// All rounds of changes, product and floor in turns. A first round of each is not counted.
async fn change(
    steps: &Steps<'_>,
    agents: &Agents<Numbers>,
    floor: &Floor,
    sources: &[Source],
    report: &mut Report,
) -> Result<()> {
    let mut number = 1;
    for way in [agents as &dyn Way, floor] {
        one_by_one(way, sources, number).await?;
    }
    for round in 1..=report.rounds {
        let mut turns = [
            (agents as &dyn Way, &mut report.product),
            (floor as &dyn Way, &mut report.floor),
        ];
        // Neither is always first.
        if round % 2 == 0 {
            turns.reverse();
        }
        for (way, paces) in turns {
            number += 1;
            let taken = steps.count(one_by_one(way, sources, number)).await?;
            paces.one_by_one.add(taken);
            number += 1;
            let taken = steps.count(at_once(way, sources, number)).await?;
            paces.at_once.add(taken);
        }
        eprintln!("round {round} of {}", report.rounds);
    }
    Ok(())
}

/// Changes each source once the links of the one before have been reported on.
async fn one_by_one(way: &dyn Way, sources: &[Source], number: u32) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for source in sources {
        way.change(source, number);
        times.extend(way.course().finished().await?);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(times)
}

/// Changes all sources at the same moment.
async fn at_once(way: &dyn Way, sources: &[Source], number: u32) -> Result<Vec<Duration>> {
    for source in sources {
        way.change(source, number);
    }
    way.course().finished().await
}

/// Kills the manager and lets the node start it again.
async fn restart(env: &Env, steps: &mut Steps<'_>) -> Result<Restart> {
    let before = steps.manager().clone();
    let counted = steps.settle().await?;
    let written = world::metric(&before, OWN_WRITES, "").await?;
    ensure!(written > 0.0, "the manager does not count its writes as {OWN_WRITES}");
    let start = std::time::Instant::now();
    before.kill();
    let again = env
        .hub()
        .node()?
        .await_restart(MANAGER_NAMESPACE, MANAGER, &before, SOON)
        .await?;
    let ready = start.elapsed();
    tokio::time::sleep(REST).await;
    let after = steps.settle().await?;
    let own = world::metric(&again, OWN_WRITES, "").await?;
    steps.replaced(again)?;
    Ok(Restart {
        ready,
        own,
        requests: after.since(&counted),
    })
}
