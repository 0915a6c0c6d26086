//! How long a changed secret takes from cluster to cluster, and what that costs. Prints figures, asserts nothing.
//!
//! `make bench` runs it on an environment of its own. Next to the product runs the *floor*: a bare loop in this process
//! which makes the same API writes, of the same shape and size, in the same order, each set off by a watch event as in the
//! product. What the product takes longer than the floor is its own; the rest is the API servers' and OCM's.
//!
//! Product and floor take turns, a block of changes each, so that both have the same of whatever else the machine does.
mod floor;
mod follow;
mod idle;
mod report;
mod route;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use scenarios::{
    Scenario, Side, World,
    bench::{
        counters::{self, Counts},
        machine, setting,
    },
    scenario::SOURCE,
};
use testenv::{Env, Options};

use crate::{
    floor::Floor,
    report::{Memory, Report},
    route::Route,
};

/// The artefact of the profile that is measured: the sealed Secret.
const ARTEFACT: &str = "peer-token";
/// Name of the Peering, and of its namespace on the managed clusters.
const PEERING: &str = "bench-product";
/// Changes in a row before the other one takes its turn. Two blocks take less than the 30 s after which a client that has
/// nothing to ask loses its connection: what a new one costs is told apart, by the first change after the idle time.
const BLOCK: u32 = 10;
/// The changes at the beginning, which are not counted.
const WARM_UP: u32 = 5;

/// What can be set by the environment, for a quick look.
struct Settings {
    /// `BENCH_CHANGES`: how many changes are measured.
    changes: u32,
    /// `BENCH_IDLE_SECONDS`: how long nothing happens while requests are counted.
    idle: Duration,
}

impl Settings {
    fn read() -> Result<Self> {
        let settings = Self {
            changes: setting("BENCH_CHANGES", 200)?,
            idle: Duration::from_secs(setting("BENCH_IDLE_SECONDS", 120)?),
        };
        ensure!(settings.changes > 0, "BENCH_CHANGES must be at least 1");
        Ok(settings)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --all-targets` builds and runs benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this takes minutes and asserts nothing: run it by `make bench`");
        return Ok(());
    }
    let settings = Settings::read()?;
    let options = Options {
        progress: Some(Arc::new(|message| eprintln!("{message}"))),
        ..Options::default()
    };
    for binary in ["addon-manager", "addon-agent"] {
        let path = options.node.binaries.join(binary);
        ensure!(
            path.is_file(),
            "{} is missing: run this by `make bench`",
            path.display()
        );
    }
    let machine = machine::describe("make bench", "BENCH_")?;
    let env: &'static Env = Box::leak(Box::new(Env::start(options).await?));
    let measured = match measure(env, &settings).await {
        Ok(report) => Ok(report),
        Err(error) => Err(error.context(env.explain().await)),
    };
    env.stop().await?;
    println!("{}", measured?.markdown(&machine));
    Ok(())
}

async fn measure(env: &'static Env, settings: &Settings) -> Result<Report> {
    idle::attribute(env).await?;
    let scenario = Scenario::new(World::on(env).await?, PEERING).await?;
    scenario.ready_pair().await?;
    let product = product(&scenario).await?;
    product.rest().await?;

    eprintln!("nothing happens for {:?}", settings.idle);
    let idle = idle::measure(env, settings.idle).await?;
    let before = memory(&scenario.world).await?;
    let first = product.change(1).await?;

    let floor = Floor::start(&scenario).await?;
    let mut report = Report::new(settings.changes, idle, first);
    for number in 2..=WARM_UP {
        for route in [&product, &floor.route] {
            route.change(number).await?;
        }
    }
    let mut next = WARM_UP + 1;
    let end = WARM_UP + settings.changes;
    while next <= end {
        let last = end.min(next + BLOCK - 1);
        let mut turns = [(&product, &mut report.product), (&floor.route, &mut report.floor)];
        // Neither is always first.
        if next / BLOCK % 2 == 1 {
            turns.reverse();
        }
        for (route, series) in turns {
            route.rest().await?;
            let counted = counters::requests(env).await?;
            for number in next..=last {
                series.times.push(route.change(number).await?);
            }
            // What follows a change, such as the work agent's second look, belongs to it.
            route.rest().await?;
            series.requests.add(&counters::requests(env).await?.since(&counted));
        }
        eprintln!("{} of {} changes", last - WARM_UP, settings.changes);
        next = last + 1;
    }
    let after = memory(&scenario.world).await?;
    report.memory = before
        .into_iter()
        .zip(after)
        .map(|((process, idle), (_, after))| Memory { process, idle, after })
        .collect();
    Ok(report)
}

/// The product's way of the Secret from east to west.
async fn product(scenario: &Scenario) -> Result<Route> {
    let (from, to) = (Side::East, Side::West);
    let link = scenario.link(ARTEFACT, to).await?;
    let link = link.metadata.name.context("a link without a name")?;
    let work = peering_api::names::work_name(PEERING, 0);
    Ok(Route::new(
        "the product",
        (scenario.on(from), SOURCE),
        (scenario.on(to), &scenario.target_name(to)),
        (scenario.hub_of(to), &link),
        (scenario.hub_of(to), &work),
    ))
}

/// Resident bytes of our processes.
async fn memory(world: &World) -> Result<Vec<(String, u64)>> {
    let mut found = vec![("manager".to_owned(), world.manager().await?)];
    for spoke in world.env.spokes() {
        found.push((format!("agent of {}", spoke.name()), world.agent(spoke.name()).await?));
    }
    found
        .into_iter()
        .map(|(name, process)| {
            let bytes = process.resident_bytes();
            bytes.map(|bytes| (name, bytes)).context("a process has gone")
        })
        .collect()
}

/// A series of changes: how long each took, and the requests meanwhile.
#[derive(Default)]
struct Series {
    times: Vec<Duration>,
    requests: Counts,
}
