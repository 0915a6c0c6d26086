//! Crash after every write: whatever goes wrong at whichever write or watch event, the end is always the same.
//!
//! Two stories are told: an agent is installed and removed, and a Peering is applied, gets ready, sees a rotation and is
//! removed. Each part of the product stands behind a proxy of its own ([`components`]). Told undisturbed first, a story
//! gives the number N of writes and of watch events of each part; then each n in 1..=N meets each fault: the process is
//! killed after the write and before the answer, the answer is lost, the write is refused with 409, 429 or 500; the event
//! is lost (and the watch ends with 410 Gone), comes twice, or the watch breaks in the middle of it.
//!
//! *How it stays affordable.* That is more than a thousand points, and one life of a Peering takes two seconds that nothing
//! shortens: API servers and work agents are busy with it. So each life has several faults, about a dozen, all of *one*
//! part and close together ([`points::lives`]): the part of the story before them is as it was when it was counted. Lives
//! do not run side by side, with one exception: three lanes, whose parts are different ones. One lane faults the manager
//! and one the agents in exchanges, a third one the installation of the hub's own agent. Faults count by names that only
//! the life itself has, so each hits what it is meant for. Only a killed manager is felt by all three, and that every life
//! has to bear.
//!
//! *How a failure is found.* A life that ends in another way says which faults it had and what each one hit.
//! `CRASH_ONLY=<text>` tries only the points whose name contains the text, each in a life of its own.
//!
//! *The end* is compared with that of the undisturbed story: targets equal sources, bundles hold the same certificates, and
//! every condition has the same status and reason; after the removal nothing is left, and after everything each listable
//! kind on all API servers is searched for our labels and names.
mod components;
mod exchange;
mod install;
mod points;
mod table;

use std::{
    cell::RefCell,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use scenarios::{
    World,
    end::{self, Picture},
    world::SOON,
};
use testenv::{
    Env, Options, node,
    ocm::LOCAL_CLUSTER,
    proxy::{Armed, Effect, Fault},
};

use crate::{
    components::{Component, Proxies},
    exchange::Cas,
    points::{Counts, Part, Point, Story},
    table::{Outcome, Table},
};

/// After so many lives that ended in another way a lane gives up: each takes minutes, and they will have one reason.
const ENOUGH: usize = 3;

/// The parts that write during an exchange.
const EXCHANGE: [Component; 5] = [
    Component::Manager,
    Component::AgentAtHub("cluster1"),
    Component::AgentAtHub("cluster2"),
    Component::AgentAtHome("cluster1"),
    Component::AgentAtHome("cluster2"),
];

/// The parts that write during an installation. Of the hub's agent, hub and home are one API server.
const INSTALL: [Component; 2] = [Component::Manager, Component::AgentAtHub(LOCAL_CLUSTER)];

#[tokio::test]
async fn whatever_goes_wrong_at_whichever_write_the_end_is_the_same() -> Result<()> {
    let start = Instant::now();
    let env = start_environment().await?;
    let crash = Crash::new(env).await?;
    let only = std::env::var("CRASH_ONLY").ok();
    let lives = |parts: &[Part]| -> Vec<Vec<Point>> {
        let table = crash.table.borrow();
        let all = parts.iter().flat_map(|part| points::lives(*part, table.counts(*part)));
        match &only {
            None => all.collect(),
            Some(text) => all
                .flatten()
                .filter(|point| point.to_string().contains(text))
                .map(|point| vec![point])
                .collect(),
        }
    };
    let exchange = parts(Story::Exchange, &EXCHANGE);
    futures::join!(
        crash.lane("m", lives(&exchange[..1])),
        crash.lane("a", lives(&exchange[1..])),
        crash.lane("i", lives(&parts(Story::Install, &INSTALL))),
    );
    crash.end(start, only.is_some()).await?;
    env.stop().await
}

/// An environment of its own: every part has to be led to its proxy before it is installed. Killed processes come back at
/// once, as nothing is learnt from waiting for them.
async fn start_environment() -> Result<&'static Arc<Env>> {
    let pause = Duration::from_millis(100);
    let options = Options {
        local_cluster: true,
        node: node::Options {
            back_off: (pause, pause),
            ..node::Options::default()
        },
        ..Options::default()
    };
    Ok(Box::leak(Box::new(Env::start(options).await?)))
}

fn parts(story: Story, components: &[Component]) -> Vec<Part> {
    components
        .iter()
        .map(|component| Part {
            story,
            component: *component,
        })
        .collect()
}

/// Everything that lives need, and what became of them.
struct Crash {
    world: World,
    proxies: Proxies,
    cas: Cas,
    exchange: Picture,
    install: Picture,
    table: RefCell<Table>,
    failures: RefCell<Vec<String>>,
}

impl Crash {
    /// Installs the product behind proxies and tells both stories undisturbed.
    async fn new(env: &'static Env) -> Result<Self> {
        let proxies = Proxies::start(env).await?;
        let mut crash = Self {
            world: World::on(env).await?,
            proxies,
            cas: Cas::new()?,
            exchange: Picture::new(),
            install: Picture::new(),
            table: RefCell::default(),
            failures: RefCell::default(),
        };
        crash.exchange = exchange::live(&crash.world, "crash-first", &crash.cas, None).await?;
        crash.install = install::live(&crash.world, None).await?;
        // The first ones are not counted: processes and caches were new.
        for story in [Story::Exchange, Story::Install] {
            let name = "crash-counted";
            let parts = parts(story, if story == Story::Exchange { &EXCHANGE } else { &INSTALL });
            let counters: Vec<_> = parts.iter().map(|part| crash.counters(*part, name)).collect();
            crash.live(story, name).await?;
            for (part, [writes, events]) in parts.iter().zip(counters) {
                let counts = Counts {
                    writes: writes.seen(),
                    events: events.seen(),
                };
                ensure!(
                    counts.writes > 0 && counts.events > 0,
                    "{part} does not go through its proxy: {counts:?}"
                );
                crash.table.borrow_mut().part(*part, counts);
            }
        }
        Ok(crash)
    }

    /// Faults that never happen: they count.
    fn counters(&self, part: Part, name: &str) -> [Armed; 2] {
        [Effect::KillAfter, Effect::SkipEvent].map(|effect| {
            self.arm(
                Point {
                    part,
                    effect,
                    at: usize::MAX,
                },
                name,
            )
        })
    }

    fn arm(&self, point: Point, name: &str) -> Armed {
        // What only this life has: its name. Of installations there is one at a time, and its agent does nothing else.
        let scope = match (point.part.story, point.part.component) {
            (Story::Exchange, _) => name,
            (Story::Install, Component::Manager) => LOCAL_CLUSTER,
            (Story::Install, _) => "",
        };
        let fault = Fault {
            scope: scope.to_owned(),
            at: point.at,
            effect: point.effect,
        };
        self.proxies.of(point.part.component).arm(fault)
    }

    async fn live(&self, story: Story, name: &str) -> Result<()> {
        match story {
            Story::Exchange => exchange::live(&self.world, name, &self.cas, Some(&self.exchange)).await,
            Story::Install => install::live(&self.world, Some(&self.install)).await,
        }
        .map(drop)
    }

    /// Lives one life after the other; what was not reached is tried again in the end.
    async fn lane(&self, title: &str, lives: Vec<Vec<Point>>) {
        let (mut failed, mut missed) = (0, Vec::new());
        for (number, points) in lives.iter().enumerate() {
            match self.faulted(&format!("crash-{title}-{number:03}"), points).await {
                Ok(not_reached) => missed.extend(not_reached),
                Err(()) => failed += 1,
            }
            if failed == ENOUGH {
                return;
            }
        }
        println!(
            "lane {title}: {} points were not reached at first: {}",
            missed.len(),
            list(&missed)
        );
        for (number, points) in points::again(&missed).iter().enumerate() {
            // What became of them stands in the table.
            let _ = self.faulted(&format!("crash-{title}-again-{number:03}"), points).await;
        }
    }

    /// One life with faults. Gives those that did not happen.
    async fn faulted(&self, name: &str, points: &[Point]) -> Result<Vec<Point>, ()> {
        let Some(story) = points.first().map(|point| point.part.story) else {
            return Ok(Vec::new());
        };
        let start = Instant::now();
        let armed: Vec<_> = points.iter().map(|point| (*point, self.arm(*point, name))).collect();
        let result = self.live(story, name).await;
        let outcome = if result.is_ok() {
            Outcome::Same
        } else {
            Outcome::Different
        };
        let mut missed = Vec::new();
        for (point, armed) in &armed {
            let hit = armed.hit().is_some();
            missed.extend((!hit).then_some(*point));
            self.table
                .borrow_mut()
                .record(*point, if hit { outcome } else { Outcome::NotReached });
        }
        println!(
            "{name}: {outcome:?} after {:.1?}, {} of {} points",
            start.elapsed(),
            points.len() - missed.len(),
            points.len()
        );
        match result {
            Ok(()) => Ok(missed),
            Err(error) => {
                let faults: Vec<_> = armed
                    .iter()
                    .map(|(point, armed)| format!("  {point}: {}", armed.hit().unwrap_or_default()))
                    .collect();
                self.failures.borrow_mut().push(format!(
                    "{name} ended in another way, with the faults\n{}\n{error:#}",
                    faults.join("\n")
                ));
                Err(())
            }
        }
    }

    /// Prints the table, and fails when something ended in another way, was left over, or was hardly tried.
    async fn end(self, start: Instant, only: bool) -> Result<()> {
        let table = self.table.into_inner();
        let starts = self.world.manager().await?.restarts() + 1;
        let text = format!(
            "{}; {:.0?}; the addon-manager was started {starts} times",
            table.render(),
            start.elapsed()
        );
        // Past the test harness, which shows what was printed only when a test has failed.
        writeln!(std::io::stdout(), "\n{text}\n").context("print the table")?;
        let failures = self.failures.into_inner();
        ensure!(failures.is_empty(), "{text}\n{}", failures.join("\n\n"));
        self.world.env.check()?;
        // The last to go is what work agents keep about works that came and went too quickly for them.
        let nothing_left = || async {
            let left = end::leftovers(self.world.env, "crash-").await?;
            ensure!(left.is_empty(), "left over: {left:#?}");
            Ok(Some(()))
        };
        self.world
            .env
            .until("nothing to be left over", SOON, nothing_left)
            .await?;
        ensure!(only || starts > 1, "no kill has killed");
        let (tried, missed) = (table.tried(None), table.count(None, Outcome::NotReached));
        ensure!(
            only || missed * 10 <= tried,
            "{missed} points were not reached, {tried} were tried"
        );
        Ok(())
    }
}

fn list(points: &[Point]) -> String {
    points.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
