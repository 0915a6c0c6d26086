//! The figures as Markdown, to be pasted into `docs/performance.md`.
use std::{
    fmt::{self, Write},
    time::Duration,
};

use scenarios::bench::{figures::mebibytes, machine::Machine, usage::Usage};

use crate::audit::Writes;

/// How many kinds of writes are told one by one.
const TOLD: usize = 20;

/// One step.
pub struct Step {
    /// What was done.
    pub what: String,
    /// How long it took.
    pub time: Duration,
    /// What the manager wrote.
    pub writes: Writes,
    /// Its CPU time.
    pub cpu: Duration,
    /// What it used afterwards.
    pub usage: Usage,
}

/// All figures.
pub struct Report {
    pairs: u32,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Report {
    /// A report without steps.
    pub fn new(pairs: u32) -> Self {
        Self {
            pairs,
            steps: Vec::new(),
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
            "Printed by `{}` on {}. Machine: {}; load before: {}. {} MirrorPeers, {} clusters.\n",
            machine.command,
            machine.date,
            machine.size,
            machine.load,
            self.pairs,
            2 * self.pairs
        )?;
        writeln!(
            text,
            "| step | time | manager's writes | per MirrorPeer | no-op | 409 | agents' writes per MirrorPeer | CPU | resident (peak) |\n|---|---|---|---|---|---|---|---|---|"
        )?;
        for step in &self.steps {
            let sum = step.writes.sum();
            let per_peer = |count: u32| format!("{:.2}", f64::from(count) / f64::from(self.pairs));
            writeln!(
                text,
                "| {} | {:.1} s | {} | {} | {} | {} | {} | {:.2} s | {} ({}) MiB |",
                step.what,
                step.time.as_secs_f64(),
                sum.all,
                per_peer(sum.all),
                sum.no_ops,
                sum.conflicts,
                per_peer(step.writes.agents),
                step.cpu.as_secs_f64(),
                mebibytes(step.usage.resident),
                mebibytes(step.usage.peak),
            )?;
        }
        if let Some(first) = self.steps.first() {
            writeln!(text, "\nThe manager's writes until all were ready:\n")?;
            writeln!(text, "| write | per MirrorPeer | no-op | 409 |\n|---|---|---|---|")?;
            let mut kinds: Vec<_> = first.writes.manager.iter().collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(count.all));
            for (kind, count) in kinds.into_iter().take(TOLD) {
                let per_peer = f64::from(count.all) / f64::from(self.pairs);
                writeln!(
                    text,
                    "| {kind} | {per_peer:.2} | {} | {} |",
                    count.no_ops, count.conflicts
                )?;
            }
        }
        Ok(())
    }
}
