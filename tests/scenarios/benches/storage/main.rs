//! A hundred `MirrorPeer`s on one hub: until all are ready, through rotations, at rest, through a restart of the manager. Prints
//! figures, asserts nothing.
//!
//! Real are the hub's API server, OCM's controllers on it and our manager, which runs as a process. There are no storage clusters:
//! this process plays the agents of all of them ([`scenarios::bench::agents`]), which hold what they are asked for at once. What
//! the manager writes is read from the API server's audit log, as it was for the Go orchestrator.
mod audit;
mod hand;
mod report;
mod site;

use std::{sync::Arc, time::Duration};

use addon_framework::{process, runtime::clients};
use anyhow::{Context, Result, ensure};
use scenarios::{
    bench::{agents::Agents, machine, setting, usage},
    world::{self, MANAGER_NAMESPACE, SOON},
};
use storage::{names, store};
use testenv::{Env, Options, RunningProcess};

use crate::{
    audit::{Audit, Writes},
    hand::Hand,
    report::{Report, Step},
    site::Site,
};

/// Name of the manager's Deployment.
const MANAGER: &str = "addon-manager";
/// How long nothing may be written until a step is over.
const QUIET: Duration = Duration::from_secs(3);
/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test --all-targets` builds and runs benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this takes minutes and asserts nothing: run it by `make bench-storage`");
        return Ok(());
    }
    // `STORAGE_PAIRS`: how many MirrorPeers there are. `STORAGE_REST`: seconds at rest.
    let (pairs, rest) = (setting("STORAGE_PAIRS", 100)?, setting("STORAGE_REST", 120)?);
    ensure!(pairs > 0, "STORAGE_PAIRS must be at least 1");
    process::log(process::LogFormat::Text);
    let options = Options {
        spokes: Vec::new(),
        ..Options::default()
    };
    let manager = options.node.binaries.join(MANAGER);
    ensure!(
        manager.is_file(),
        "{} is missing: run this by `make bench-storage`",
        manager.display()
    );
    let machine = machine::describe("make bench-storage", "STORAGE_")?;
    let env = Env::start(options).await?;
    let measured = measure(&env, pairs, Duration::from_secs(rest)).await;
    let log = testenv::files::tail(&env.hub().node()?.log_path(MANAGER_NAMESPACE, MANAGER), 40);
    env.stop().await?;
    let report = measured.with_context(|| format!("the end of the manager's log:\n{log}"))?;
    println!("{}", report.markdown(&machine));
    Ok(())
}

/// The manager, and what it has written so far.
struct Measure {
    audit: Audit,
    manager: RunningProcess,
    report: Report,
}

impl Measure {
    /// Waits until the manager writes nothing any more; tells what it has written since the last time.
    async fn settle(&mut self) -> Result<Writes> {
        let (mut sum, mut quiet) = (Writes::default(), Duration::ZERO);
        while quiet < QUIET {
            tokio::time::sleep(INTERVAL).await;
            let more = self.audit.read()?;
            quiet = if more.is_empty() {
                quiet + INTERVAL
            } else {
                Duration::ZERO
            };
            sum.add(more);
        }
        Ok(sum)
    }

    /// A step, with what came after it until all was quiet.
    async fn step(&mut self, what: &str, step: impl Future<Output = Result<Duration>>) -> Result<()> {
        let before = usage::of(self.manager.pid())?.cpu;
        let time = step.await?;
        let writes = self.settle().await?;
        let usage = usage::of(self.manager.pid())?;
        eprintln!("{what}: {time:?}, {} writes", writes.sum().all);
        self.report.steps.push(Step {
            what: what.to_owned(),
            time,
            writes,
            cpu: usage.cpu.saturating_sub(before),
            usage,
        });
        Ok(())
    }
}

/// Time that goes by.
async fn pass(time: Duration) -> Result<Duration> {
    tokio::time::sleep(time).await;
    Ok(time)
}

async fn measure(env: &Env, pairs: u32, rest: Duration) -> Result<Report> {
    let log = env.hub().start_audit().await?;
    let clients = clients(env.hub().config().await?)?;
    let site = Site::start(env, &clients, pairs).await?;
    let agents = Agents::start(&clients, Arc::<Hand>::default()).await;
    let mut measure = Measure {
        audit: Audit::new(log),
        manager: world::install_hub(env).await?,
        report: Report::new(pairs),
    };
    measure.settle().await?;
    site.accept().await?;
    measure.settle().await?;
    measure.step("all ready", site.peer()).await?;
    measure
        .step("peer tokens replaced, one a pair", async {
            for pair in 0..pairs {
                let (cluster, peering) = (site::cluster(pair, 0), names::token_peering(&site::mirror_peer(pair)));
                rotate(&agents, &cluster, &peering, "peer-token");
            }
            Ok(Duration::ZERO)
        })
        .await?;
    measure
        .step("credentials of buckets replaced, one a pair", async {
            for pair in 0..pairs {
                let cluster = site::cluster(pair, 0);
                let peering = names::store_peering(&cluster, site::NAMESPACE, site::STORAGE_CLUSTER);
                rotate(&agents, &cluster, &peering, store::CREDENTIALS);
            }
            Ok(Duration::ZERO)
        })
        .await?;
    measure.step("at rest", pass(rest)).await?;
    measure
        .step("an unrelated annotation on Ramen's configuration", async {
            site.annotate_ramen().await?;
            Ok(Duration::ZERO)
        })
        .await?;
    restart(env, &mut measure).await?;
    agents.play().hold_back(&site::cluster(pairs, 0));
    measure
        .step("one more, whose storage is not there yet", async {
            site.peer_one(pairs).await?;
            Ok(Duration::ZERO)
        })
        .await?;
    measure.step("it waits", pass(Duration::from_mins(1))).await?;
    Ok(measure.report)
}

fn rotate(agents: &Agents<Hand>, cluster: &str, peering: &str, artefact: &str) {
    agents.play().rotate(cluster, artefact);
    agents.changed(cluster, &peering_api::names::export_name(peering, artefact, cluster));
}

/// Kills the manager and lets the node start it again.
async fn restart(env: &Env, measure: &mut Measure) -> Result<()> {
    let before = measure.manager.clone();
    before.kill();
    measure.manager = env
        .hub()
        .node()?
        .await_restart(MANAGER_NAMESPACE, MANAGER, &before, SOON)
        .await?;
    measure
        .step("the manager was killed", pass(Duration::from_secs(10)))
        .await
}
