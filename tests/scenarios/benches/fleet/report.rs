//! The figures as Markdown, to be pasted into `docs/performance.md`.
use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    time::Duration,
};

use scenarios::bench::{
    counters::{Call, Counts, Kind},
    figures::{compared, mebibytes, percentiles},
    machine::Machine,
};

use crate::{
    fleet::Source,
    steps::{Step, Taken, is_ours},
};

/// For so many links the goal for the manager's memory is stated.
const GOAL: u64 = 10_000;

/// A series of changes.
#[derive(Default)]
pub struct Series {
    times: Vec<Duration>,
    requests: Counts,
    cpu: Duration,
}

impl Series {
    /// Adds a round.
    pub fn add(&mut self, taken: Taken) {
        self.times.extend(taken.times);
        self.requests.add(&taken.requests);
        self.cpu += taken.cpu;
    }

    /// How often a link has changed.
    fn links(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX).max(1)
    }

    fn per_link(&self, holds: impl Fn(&Call) -> bool) -> String {
        format!("{:.2}", self.requests.sum(holds) / f64::from(self.links()))
    }
}

/// The changes of the product, or of the floor.
#[derive(Default)]
pub struct Paces {
    /// Each after the one before.
    pub one_by_one: Series,
    /// All at the same moment.
    pub at_once: Series,
}

/// The manager was killed.
#[derive(Default)]
pub struct Restart {
    /// How long it took until it was ready again.
    pub ready: Duration,
    /// Its own writes since, as it counts them itself.
    pub own: f64,
    /// The hub's requests meanwhile.
    pub requests: Counts,
}

/// Everything that was measured.
pub struct Report {
    /// How many rounds of changes.
    pub rounds: u32,
    changed: (usize, usize),
    /// The steps, the changes left out.
    pub steps: Vec<Step>,
    /// Changes through the product.
    pub product: Paces,
    /// Changes through the bare loop.
    pub floor: Paces,
    /// The manager's restart.
    pub restart: Restart,
}

impl Report {
    /// A report in which all figures are still missing.
    pub fn new(rounds: u32, sources: &[Source]) -> Self {
        let links = sources.iter().map(|source| source.links.len()).sum();
        Self {
            rounds,
            changed: (sources.len(), links),
            steps: Vec::new(),
            product: Paces::default(),
            floor: Paces::default(),
            restart: Restart::default(),
        }
    }

    /// The text.
    pub fn markdown(&self, machine: &Machine) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = self.write(&mut text, machine);
        text
    }

    fn write(&self, text: &mut String, machine: &Machine) -> fmt::Result {
        writeln!(
            text,
            "Printed by `{}` on {}. Machine: {}; load before: {}.\n",
            machine.command, machine.date, machine.size, machine.load
        )?;
        self.write_steps(text)?;
        self.write_memory(text)?;
        self.write_growth(text)?;
        self.write_times(text)?;
        self.write_writes(text)?;
        self.write_restart(text)
    }

    fn write_steps(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "### The manager, step by step\n\n\
             | step | s | manager's CPU s | hub's writes of ours | manager's MiB | peak |\n|---|---:|---:|---:|---:|---:|"
        )?;
        for step in &self.steps {
            let time = step.time.map(|time| format!("{:.1}", time.as_secs_f64()));
            let writes = step.requests.sum(is_ours);
            let (resident, peak) = (mebibytes(step.usage.resident), mebibytes(step.usage.peak));
            let (time, cpu) = (time.unwrap_or_default(), step.cpu.as_secs_f64());
            writeln!(
                text,
                "| {} | {time} | {cpu:.2} | {writes} | {resident} | {peak} |",
                step.what
            )?;
        }
        writeln!(text)
    }

    /// What another link costs, with its share of a cluster and of a Peering.
    fn write_memory(&self, text: &mut String) -> fmt::Result {
        let Some(first) = self.steps.first() else {
            return Ok(());
        };
        writeln!(
            text,
            "### The manager's memory by links\n\n\
             | links | MiB | KiB a link since the row above | MiB at {GOAL} links, if it goes on like that |\n\
             |---:|---:|---:|---:|"
        )?;
        let mut above = first.usage.resident;
        writeln!(text, "| 0 | {} | | |", mebibytes(above))?;
        let grown = self.steps.iter().filter_map(|step| Some((step.grown?, step.usage)));
        for (grown, usage) in grown {
            let (links, resident) = (u64::from(grown.links), usage.resident);
            let each = resident.saturating_sub(above) / u64::from(grown.new.max(1));
            let goal = resident + each * GOAL.saturating_sub(links);
            writeln!(
                text,
                "| {links} | {} | {} | {} |",
                mebibytes(resident),
                each / 1024,
                mebibytes(goal)
            )?;
            above = resident;
        }
        writeln!(text)
    }

    /// Who writes what until new links are Ready.
    fn write_growth(&self, text: &mut String) -> fmt::Result {
        let mut grown = self.steps.iter().filter_map(|step| Some((step.grown?, step)));
        let Some((grown, step)) = grown.next_back() else {
            return Ok(());
        };
        writeln!(
            text,
            "### The hub's writes until the last {} links were Ready\n\n| verb and resource | writes | a link |\n|---|---:|---:|",
            grown.new
        )?;
        for (verb, resource) in rows([&step.requests]) {
            let same = |call: &Call| (call.verb.as_str(), call.resource.as_str()) == (verb, resource);
            let writes = step.requests.sum(same);
            writeln!(
                text,
                "| {verb} {resource} | {writes} | {:.2} |",
                writes / f64::from(grown.new.max(1))
            )?;
        }
        writeln!(text)
    }

    fn paces(&self) -> [(&'static str, &Series, &Series); 2] {
        [
            ("one by one", &self.product.one_by_one, &self.floor.one_by_one),
            ("at once", &self.product.at_once, &self.floor.at_once),
        ]
    }

    fn write_times(&self, text: &mut String) -> fmt::Result {
        let (sources, links) = self.changed;
        writeln!(
            text,
            "### Source changed → content opened at the destination\n\n\
             {sources} sources with {links} links change, {} times.\n\n\
             | ms | p50 | p90 | p99 | max |\n|---|---:|---:|---:|---:|",
            self.rounds
        )?;
        for (pace, product, floor) in self.paces() {
            let [product, floor, ratio] = compared(percentiles(&product.times), percentiles(&floor.times));
            writeln!(text, "| {pace}: product | {product} |")?;
            writeln!(text, "| {pace}: floor | {floor} |")?;
            writeln!(text, "| {pace}: ratio | {ratio} |")?;
        }
        writeln!(text)
    }

    fn write_writes(&self, text: &mut String) -> fmt::Result {
        let paces = self.paces();
        let series: Vec<_> = paces
            .iter()
            .flat_map(|(_, product, floor)| [*product, *floor])
            .collect();
        let row = |text: &mut String, what: &str, holds: &dyn Fn(&Call) -> bool| {
            let cells: Vec<_> = series.iter().map(|series| series.per_link(holds)).collect();
            writeln!(text, "| {what} | {} |", cells.join(" | "))
        };
        writeln!(
            text,
            "### The hub's writes per changed link, without Leases and Events\n\n\
             | verb and resource | one by one: product | floor | at once: product | floor |\n|---|---:|---:|---:|---:|"
        )?;
        for (verb, resource) in rows(series.iter().map(|series| &series.requests)) {
            let same = |call: &Call| (call.verb.as_str(), call.resource.as_str()) == (verb, resource);
            row(text, &format!("{verb} {resource}"), &same)?;
        }
        row(text, "**all of ours**", &is_ours)?;
        row(text, "of these not 2xx", &|call| {
            is_ours(call) && !call.code.starts_with('2')
        })?;
        let others = |call: &Call| call.kind() == Some(Kind::Write) && !is_ours(call);
        row(text, "others' (OCM, Kubernetes, the benchmark's counting)", &others)?;
        row(text, "everybody's reads", &|call| call.kind() == Some(Kind::Read))?;
        let cpu: Vec<_> = series
            .iter()
            .map(|series| format!("{:.2}", (series.cpu / series.links()).as_secs_f64() * 1000.0))
            .collect();
        writeln!(text, "| manager's CPU ms | {} |\n", cpu.join(" | "))
    }

    fn write_restart(&self, text: &mut String) -> fmt::Result {
        let Restart { ready, own, requests } = &self.restart;
        writeln!(
            text,
            "### Restart\n\nThe manager was killed, and was ready again after {:.1} s (the node waits 1 s before it starts it). \
             Its writes since, by its own count: {own}. The hub's writes of ours meanwhile: {}.\n",
            ready.as_secs_f64(),
            requests.sum(is_ours)
        )?;
        let rows = requests.0.iter().filter(|(call, _)| is_ours(call));
        for (call, count) in rows {
            writeln!(text, "* {} {} {}: {count}", call.verb, call.resource, call.code)?;
        }
        Ok(())
    }
}

/// Verbs and resources of all writes that are ours.
fn rows<'c>(counts: impl IntoIterator<Item = &'c Counts>) -> BTreeSet<(&'c str, &'c str)> {
    let calls = counts.into_iter().flat_map(|counts| counts.0.keys());
    calls
        .filter(|call| is_ours(call))
        .map(|call| (call.verb.as_str(), call.resource.as_str()))
        .collect()
}
