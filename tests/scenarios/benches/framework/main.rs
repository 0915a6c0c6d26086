//! An addon on thousands of clusters, by our framework and by the Go framework: install, change its configuration, change it while one
//! cluster's namespace refuses works, restart its manager, delete. Prints figures, asserts nothing.
//!
//! Real are the hub's API server and OCM's controllers on it. Clusters are objects only; this process plays their work agents, which
//! apply everything at once. Both managers are processes of their own, one after the other, on the same hub; then the
//! *floor* ([`floor`]) writes again what ours has written. What each asked of the API server is read from its audit log.
mod addon;
mod audit;
mod floor;
mod report;
mod site;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use addon_framework::process;
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use scenarios::bench::{machine, setting, usage};
use testenv::{
    Env, Options, controlplane, files,
    process::{Process, Spec},
};

use crate::{
    audit::{Audit, Log, Write},
    floor::Floor,
    report::{Report, Step},
    site::{Site, users},
};

/// How long a manager may ask for nothing until a step is over.
const QUIET: Duration = Duration::from_secs(3);
/// The same after a restart: some things are looked at again a little later.
const REST: Duration = Duration::from_secs(15);
/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long it may take until a manager is quiet.
const DEADLINE: Duration = Duration::from_mins(15);
/// What the agents say at first, and after each change.
const GREETINGS: [&str; 3] = ["first", "second", "third"];
/// Name of the addon of the floor, as long as that of ours.
const BARE: &str = "bench-bare";

/// Who manages an addon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This framework.
    Rust,
    /// The Go framework.
    Go,
}

impl Side {
    /// The name of its addon, which is that of its user too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "bench-rust",
            Self::Go => "bench-go",
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, name, kubeconfig] = arguments.as_slice()
        && flag == "--addon"
    {
        return addon::run(name, kubeconfig.as_ref()).await;
    }
    // `cargo test --all-targets` builds and runs benchmarks too, without this argument.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("this takes minutes and asserts nothing: run it by `make bench-framework`");
        return Ok(());
    }
    // `FRAMEWORK_CLUSTERS`: how many clusters there are, in rising order. `FRAMEWORK_GO=0` leaves the Go framework out.
    let counts: Numbers = setting("FRAMEWORK_CLUSTERS", Numbers(vec![1000, 3000]))?;
    let go = setting("FRAMEWORK_GO", 1)? != 0;
    process::log(process::LogFormat::Text);
    let machine = machine::describe("make bench-framework", "FRAMEWORK_")?;
    let sides = if go {
        vec![Side::Rust, Side::Go]
    } else {
        vec![Side::Rust]
    };
    let go = if go {
        Some(controlplane::tool("bench-framework").await?)
    } else {
        None
    };
    let env = Env::start(Options {
        spokes: Vec::new(),
        hub_crds: Vec::new(),
        ..Options::default()
    })
    .await?;
    let measured = measure(&env, &counts.0, &sides, go).await;
    let logs = sides.iter().map(|side| files::tail(&env.hub().log(side.name()), 20));
    let logs: Vec<_> = logs.collect();
    env.stop().await?;
    let reports = measured.with_context(|| format!("the ends of the managers' logs:\n{}", logs.join("\n---\n")))?;
    println!("{}", report::markdown(&reports, &machine));
    Ok(())
}

/// Numbers with commas between them.
struct Numbers(Vec<u32>);

impl std::str::FromStr for Numbers {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

async fn measure(env: &Env, counts: &[u32], sides: &[Side], go: Option<PathBuf>) -> Result<Vec<Report>> {
    ensure!(
        counts.is_sorted() && counts.first() > Some(&0),
        "FRAMEWORK_CLUSTERS must rise"
    );
    let readers: Vec<_> = sides.iter().map(|side| side.name()).collect();
    let log = env.hub().start_audit_with_reads_of(&readers).await?;
    // With their usual 20 and 50 requests a second the garbage collector and OCM's addon-manager would be all that one waits for.
    let quick = ["--kube-api-qps=1000", "--kube-api-burst=1000"].map(str::to_owned);
    for component in ["kube-controller-manager", "ocm-addon-manager"] {
        let change = |args: &mut Vec<String>| args.extend(quick.clone());
        env.hub().restart_with(component, change).await?;
    }
    let mut site = Site::start(env).await?;
    let mut audit = Audit::new(log, &[Side::Rust.name(), users::DRIVER]);
    let mut reports = Vec::new();
    for clusters in counts {
        site.grow(*clusters).await?;
        let mut report = Report::new(*clusters);
        for side in sides {
            let mut run = Run {
                env,
                site: &site,
                audit: &mut audit,
                side: *side,
                go: go.clone(),
                steps: Vec::new(),
            };
            run.all()
                .await
                .with_context(|| format!("{side:?} on {clusters} clusters"))?;
            report.sides.push((*side, run.steps));
        }
        replay(env, &site, &mut audit, &mut report).await?;
        eprintln!("{}", report.table());
        reports.push(report);
    }
    Ok(reports)
}

/// One manager through all steps.
struct Run<'a> {
    env: &'a Env,
    site: &'a Site<'a>,
    audit: &'a mut Audit,
    side: Side,
    go: Option<PathBuf>,
    steps: Vec<Step>,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<()> {
        let (addon, site) = (self.side.name(), self.site);
        let [first, second, third] = GREETINGS;
        site.configure(addon, first).await?;
        site.define(addon).await?;
        let manager = self.start()?;
        self.settle(QUIET).await?;
        self.step("install", &manager, QUIET, async {
            site.install(addon).await?;
            site.deployed(addon, first).await
        })
        .await?;
        self.step("change", &manager, QUIET, async {
            site.configure(addon, second).await?;
            site.deployed(addon, second).await
        })
        .await?;
        site.refuse().await?;
        self.step("change, one refuses", &manager, QUIET, async {
            site.configure(addon, third).await?;
            site.deployed_elsewhere(addon, third).await
        })
        .await?;
        site.accept().await?;
        site.deployed(addon, third).await?;
        self.settle(QUIET).await?;
        manager.kill().await?;
        let manager = self.start()?;
        self.step("restart", &manager, REST, async { Ok(()) }).await?;
        self.step("delete", &manager, QUIET, async {
            site.delete(addon).await?;
            site.gone(addon).await
        })
        .await?;
        manager.kill().await?;
        site.undefine(addon).await
    }

    fn start(&self) -> Result<Process> {
        let (hub, name) = (self.env.hub(), self.side.name());
        let kubeconfig = hub.user_kubeconfig(name, Some("system:masters"))?;
        let kubeconfig = kubeconfig.display().to_string();
        let (program, args) = match (self.side, &self.go) {
            (Side::Go, Some(program)) => (
                program.clone(),
                vec![format!("--name={name}"), format!("--kubeconfig={kubeconfig}")],
            ),
            _ => (
                std::env::current_exe()?,
                vec!["--addon".to_owned(), name.to_owned(), kubeconfig],
            ),
        };
        Process::spawn(&Spec {
            name: name.to_owned(),
            program,
            args,
            env: None,
            log: hub.log(name),
            revive: false,
        })
    }

    /// Waits until the manager has asked for nothing for a while.
    async fn settle(&mut self, quiet: Duration) -> Result<Log> {
        let mut log = Log::default();
        let (start, mut since, mut before) = (Instant::now(), Instant::now(), 0);
        while since.elapsed() < quiet {
            ensure!(
                start.elapsed() < DEADLINE,
                "{} was not quiet for {quiet:?} within {DEADLINE:?}",
                self.side.name()
            );
            tokio::time::sleep(INTERVAL).await;
            self.audit.read(&mut log)?;
            let all = log
                .users
                .get(self.side.name())
                .map_or(0, |deeds| deeds.sum(|_, _| true).all);
            if all != before {
                (since, before) = (Instant::now(), all);
            }
        }
        Ok(log)
    }

    /// A step, with what came after it until all was quiet.
    async fn step(
        &mut self,
        what: &'static str,
        manager: &Process,
        quiet: Duration,
        step: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let cpu = usage::of(manager.pid())?.cpu;
        let (began, start) = (Timestamp::now(), Instant::now());
        step.await?;
        let time = start.elapsed();
        let mut log = self.settle(quiet).await?;
        manager.check()?;
        let usage = usage::of(manager.pid())?;
        let after = |at: Option<Timestamp>| {
            at.map(|at| Duration::try_from(at.duration_since(began)).unwrap_or_default())
                .unwrap_or_default()
        };
        let mut take = |user: &str| log.users.remove(user).unwrap_or_default();
        let (deeds, driver) = (take(self.side.name()), take(users::DRIVER));
        eprintln!(
            "{:?} {what}: {time:?}, {:?}, {:?}",
            self.side,
            deeds.sum(|_, _| true),
            usage.cpu.saturating_sub(cpu)
        );
        self.steps.push(Step {
            what,
            time,
            last: after(deeds.last),
            addon_manager: after(log.addon_manager),
            cpu: usage.cpu.saturating_sub(cpu),
            usage,
            deeds,
            driver: driver.writes,
        });
        Ok(())
    }
}

/// What the manager wrote when the addon was installed and when its configuration changed, by a bare loop.
async fn replay(env: &Env, site: &Site<'_>, audit: &mut Audit, report: &mut Report) -> Result<()> {
    let Some((_, steps)) = report.sides.iter_mut().find(|(side, _)| *side == Side::Rust) else {
        return Ok(());
    };
    let user = env.hub().user_kubeconfig(users::FLOOR, Some("system:masters"))?;
    let floor = Floor::new(site::client(&user).await?, Side::Rust.name(), BARE);
    let [first, second, _] = GREETINGS;
    site.configure(BARE, first).await?;
    site.define(BARE).await?;
    for (what, greeting) in [("install", first), ("change", second)] {
        let Some(step) = steps.iter_mut().find(|step| step.what == what) else {
            continue;
        };
        let mut writes: Vec<Write> = std::mem::take(&mut step.driver);
        writes.append(&mut step.deeds.writes);
        report
            .floor
            .push((what, floor.replay(&writes, site.configured(BARE)).await?));
        site.deployed(BARE, greeting).await?;
    }
    site.delete(BARE).await?;
    site.gone(BARE).await?;
    site.undefine(BARE).await?;
    audit.read(&mut Log::default())
}
