//! What the figures were measured on.
use std::fs::read_to_string;

use anyhow::{Context, Result};
use jiff::Timestamp;

/// When, on what, and by which command.
pub struct Machine {
    /// The day.
    pub date: String,
    /// Cores, memory, processor and kernel.
    pub size: String,
    /// How busy it was before we began: the load of the last minute.
    pub load: String,
    /// The command.
    pub command: String,
}

/// Describes this machine, before anything is started. `command` is what people run, `prefix` that of its settings.
pub fn describe(command: &str, prefix: &str) -> Result<Machine> {
    let cores = std::thread::available_parallelism()?;
    let memory = field("/proc/meminfo", "MemTotal")?;
    let kibibytes: u32 = memory.trim_end_matches(" kB").parse().context("read MemTotal")?;
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
    let kernel = read_to_string("/proc/sys/kernel/osrelease")?;
    let load = read_to_string("/proc/loadavg")?;
    let settings = std::env::vars().filter(|(name, _)| name.starts_with(prefix));
    let mut words: Vec<String> = settings.map(|(name, value)| format!("{name}={value}")).collect();
    words.push(command.to_owned());
    Ok(Machine {
        date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
        size: format!(
            "{cores} cores ({processor}), {:.0} GiB of memory, Linux {}",
            f64::from(kibibytes) / 1024.0 / 1024.0,
            kernel.trim()
        ),
        load: load.split_whitespace().next().unwrap_or_default().to_owned(),
        command: words.join(" "),
    })
}

fn field(path: &str, name: &str) -> Result<String> {
    let text = read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_once(':'));
    Ok(value
        .with_context(|| format!("{path} has no {name}"))?
        .1
        .trim()
        .to_owned())
}
