//! The figures as Markdown, to be pasted into `docs/performance.md`.
use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    time::Duration,
};

use scenarios::bench::{figures::mebibytes, machine::Machine, usage::Usage};

use crate::{
    Side,
    audit::{Deeds, Write, reads},
    floor::Replayed,
};

/// One step of one manager.
pub struct Step {
    /// What was done.
    pub what: &'static str,
    /// How long it took until all clusters were as wanted.
    pub time: Duration,
    /// When the manager's last request was answered.
    pub last: Duration,
    /// When OCM's addon-manager made its last write, on which the manager's follow.
    pub addon_manager: Duration,
    /// The manager's CPU time, until it was quiet.
    pub cpu: Duration,
    /// The manager afterwards.
    pub usage: Usage,
    /// What the manager asked for.
    pub deeds: Deeds,
    /// What the benchmark wrote to set it off.
    pub driver: Vec<Write>,
}

/// Everything measured with so many clusters.
pub struct Report {
    clusters: u32,
    /// The steps of each side.
    pub sides: Vec<(Side, Vec<Step>)>,
    /// The floor of some steps.
    pub floor: Vec<(&'static str, Replayed)>,
}

impl Report {
    /// A report in which all figures are still missing.
    pub fn new(clusters: u32) -> Self {
        Self {
            clusters,
            sides: Vec::new(),
            floor: Vec::new(),
        }
    }

    /// The text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = self.write(&mut text).and_then(|()| self.write_requests(&mut text));
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "### {} clusters\n\n\
             | step | by | s | last request s | OCM's addon-manager s | writes | status writes an addon | no-op writes | 409 | other errors | GETs | \
             lists and watches | CPU s | peak MiB |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
            self.clusters
        )?;
        let mut steps = BTreeSet::new();
        let all = self.sides.iter().flat_map(|(_, steps)| steps.iter().enumerate());
        steps.extend(all.map(|(index, step)| (index, step.what)));
        for (index, what) in steps {
            for (side, steps) in &self.sides {
                if let Some(step) = steps.get(index) {
                    self.write_step(text, *side, step)?;
                }
            }
            for (_, replayed) in self.floor.iter().filter(|(step, _)| *step == what) {
                let Replayed {
                    time,
                    waited,
                    requests,
                    refused,
                } = replayed;
                let (time, waited) = (time.as_secs_f64(), waited.as_secs_f64());
                writeln!(
                    text,
                    "| {what} | floor | {time:.1} | | +{waited:.1} | {requests} | | | | {refused} | | | | |"
                )?;
            }
        }
        writeln!(text)
    }

    fn write_step(&self, text: &mut String, side: Side, step: &Step) -> fmt::Result {
        let deeds = &step.deeds;
        let writes = deeds.sum(|verb, _| !reads(verb));
        let status = deeds.sum(|verb, resource| !reads(verb) && resource == "managedclusteraddons/status");
        let gets = deeds.sum(|verb, _| verb == "get").all;
        let others = deeds.sum(|verb, _| matches!(verb, "list" | "watch")).all;
        let [time, last, addon_manager, cpu] =
            [step.time, step.last, step.addon_manager, step.cpu].map(|time| time.as_secs_f64());
        let each = f64::from(status.all) / f64::from(self.clusters.max(1));
        writeln!(
            text,
            "| {} | {side:?} | {time:.1} | {last:.1} | {addon_manager:.1} | {} | {each:.2} | {} | {} | {} | {gets} | {others} | {cpu:.2} | {} |",
            step.what,
            writes.all,
            writes.no_ops,
            writes.conflicts,
            writes.failed,
            mebibytes(step.usage.peak)
        )
    }

    fn write_requests(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "Requests by verb and resource, all and of these answered with 409:\n\n| step | by | requests |\n|---|---|---|"
        )?;
        for (side, steps) in &self.sides {
            for step in steps {
                let counts = step.deeds.counts.iter().map(|((verb, resource), count)| {
                    let conflicts = match count.conflicts {
                        0 => String::new(),
                        conflicts => format!(" ({conflicts})"),
                    };
                    format!("{verb} {resource} {}{conflicts}", count.all)
                });
                let counts: Vec<_> = counts.collect();
                writeln!(text, "| {} | {side:?} | {} |", step.what, counts.join(", "))?;
            }
        }
        writeln!(text)
    }
}

/// All reports.
pub fn markdown(reports: &[Report], machine: &Machine) -> String {
    let tables: Vec<_> = reports.iter().map(Report::table).collect();
    format!(
        "Printed by `{}` on {}. Machine: {}; load before: {}.\n\n{}",
        machine.command,
        machine.date,
        machine.size,
        machine.load,
        tables.join("\n")
    )
}
