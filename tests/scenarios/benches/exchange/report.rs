//! The figures as Markdown, to be pasted into `docs/performance.md`.
use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    time::Duration,
};

use scenarios::bench::{
    counters::{Call, KINDS, Kind},
    figures::{compared, mebibytes, percentiles},
    machine::Machine,
};

use crate::{Series, idle::Idle};

/// The resident bytes of a process.
pub struct Memory {
    /// Which.
    pub process: String,
    /// After the idle time.
    pub idle: u64,
    /// After the changes.
    pub after: u64,
}

/// Everything that was measured.
pub struct Report {
    changes: u32,
    idle: Idle,
    /// The first change after the idle time, through the product.
    first: Duration,
    /// Changes through the product.
    pub product: Series,
    /// Changes through the bare loop.
    pub floor: Series,
    /// Our processes.
    pub memory: Vec<Memory>,
}

impl Report {
    /// A report in which the changes and the memory are still missing.
    pub fn new(changes: u32, idle: Idle, first: Duration) -> Self {
        Self {
            changes,
            idle,
            first,
            product: Series::default(),
            floor: Series::default(),
            memory: Vec::new(),
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
        self.write_times(text)?;
        self.write_writes(text)?;
        self.write_memory(text)?;
        self.write_idle(text)?;
        self.write_idle_calls(text)
    }

    fn write_times(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "### Source secret changed → target changed, {} changes\n",
            self.changes
        )?;
        writeln!(text, "| ms | p50 | p90 | p99 | max |\n|---|---:|---:|---:|---:|")?;
        let [product, floor, ratio] = compared(percentiles(&self.product.times), percentiles(&self.floor.times));
        writeln!(text, "| product | {product} |")?;
        writeln!(text, "| floor: the same API writes by a bare loop | {floor} |")?;
        writeln!(text, "| ratio | {ratio} |\n")?;
        writeln!(
            text,
            "The product's first change after {} idle seconds, when connections have to be made anew, took {:.1} ms.\n",
            self.idle.time.as_secs(),
            self.first.as_secs_f64() * 1000.0
        )
    }

    fn write_writes(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "### Writes per change, and reads, without Leases and Events\n")?;
        writeln!(
            text,
            "| API server | verb | resource | product | floor |\n|---|---|---|---:|---:|"
        )?;
        let is_write = |call: &Call| call.kind() == Some(Kind::Write);
        let rows: BTreeSet<_> = [&self.product, &self.floor]
            .into_iter()
            .flat_map(|series| series.requests.0.keys())
            .filter(|call| is_write(call))
            .map(|call| (&call.cluster, &call.verb, &call.resource))
            .collect();
        for row in rows {
            let holds = |call: &Call| (&call.cluster, &call.verb, &call.resource) == row;
            let (cluster, verb, resource) = row;
            writeln!(text, "| {cluster} | {verb} | {resource} | {} |", self.per_change(holds))?;
        }
        let clusters: BTreeSet<_> = self.product.requests.0.keys().map(|call| &call.cluster).collect();
        for cluster in clusters {
            let all = self.per_change(|call| is_write(call) && call.cluster == *cluster);
            writeln!(text, "| **{cluster}** | all | | {all} |")?;
            let refused = self.per_change(|call| is_write(call) && call.cluster == *cluster && call.code == "409");
            writeln!(text, "| {cluster} | of these 409 | | {refused} |")?;
            let reads = self.per_change(|call| call.kind() == Some(Kind::Read) && call.cluster == *cluster);
            writeln!(text, "| {cluster} | reads | | {reads} |")?;
        }
        writeln!(text)
    }

    /// The cells of product and floor.
    fn per_change(&self, holds: impl Fn(&Call) -> bool) -> String {
        let cell = |series: &Series| format!("{:.2}", series.requests.sum(&holds) / f64::from(self.changes));
        format!("{} | {}", cell(&self.product), cell(&self.floor))
    }

    fn write_memory(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "### Resident memory\n")?;
        writeln!(text, "| MiB | idle | after {} changes |\n|---|---:|---:|", self.changes)?;
        for Memory { process, idle, after } in &self.memory {
            writeln!(text, "| {process} | {} | {} |", mebibytes(*idle), mebibytes(*after))?;
        }
        writeln!(text)
    }

    fn write_idle(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "### Requests in {} idle seconds\n", self.idle.time.as_secs())?;
        writeln!(
            text,
            "| API server | client | Leases | watches | reads | other writes |\n|---|---|---:|---:|---:|---:|"
        )?;
        let clients: BTreeSet<_> = self.idle.ours.keys().map(|(client, _)| client).collect();
        for client in &clients {
            let cell = |kind| {
                self.idle
                    .ours
                    .get(&((*client).clone(), kind))
                    .copied()
                    .unwrap_or_default()
            };
            writeln!(text, "| {} | {} | {} |", client.cluster, client.name, cells(cell))?;
        }
        let clusters: BTreeSet<_> = clients.iter().map(|client| &client.cluster).collect();
        for cluster in clusters {
            let cell = |kind| {
                self.idle
                    .all
                    .sum(|call| call.cluster == *cluster && call.kind() == Some(kind))
            };
            writeln!(
                text,
                "| {cluster} | everybody, OCM and Kubernetes included | {} |",
                cells(cell)
            )?;
        }
        writeln!(text)
    }

    /// What the last table sums up, to find out who asks where it is not as it should be.
    fn write_idle_calls(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "<details><summary>everybody's requests in the idle time</summary>\n"
        )?;
        writeln!(
            text,
            "| API server | verb | resource | code | requests |\n|---|---|---|---|---:|"
        )?;
        for (call, count) in self.idle.all.0.iter().filter(|(call, _)| call.kind().is_some()) {
            let Call {
                cluster,
                verb,
                resource,
                code,
            } = call;
            writeln!(text, "| {cluster} | {verb} | {resource} | {code} | {count} |")?;
        }
        writeln!(text, "\n</details>")
    }
}

fn cells(cell: impl Fn(Kind) -> f64) -> String {
    KINDS.map(|kind| cell(kind).to_string()).join(" | ")
}
