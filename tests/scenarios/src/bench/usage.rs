//! What a process uses, as Linux tells it.
use std::{fs::read_to_string, time::Duration};

use anyhow::{Context, Result};

/// Clock ticks in a second, `USER_HZ`: 100 wherever Linux runs (proc(5)).
const TICKS: u64 = 100;

/// Memory and CPU time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes.
    pub resident: u64,
    /// The most resident bytes so far.
    pub peak: u64,
    /// CPU time so far, in user space and in the kernel.
    pub cpu: Duration,
}

/// What a process uses now and has used so far.
pub fn of(pid: u32) -> Result<Usage> {
    let (status, stat) = (format!("/proc/{pid}/status"), format!("/proc/{pid}/stat"));
    parse(&read_to_string(status)?, &read_to_string(stat)?)
}

fn parse(status: &str, stat: &str) -> Result<Usage> {
    let bytes = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes
            .map(|kibibytes| kibibytes * 1024)
            .with_context(|| format!("the status of a process has no {name}"))
    };
    // The second field is the command in parentheses, which may hold anything; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("the stat of a process has no command")?;
    let ticks = |field: usize| fields.split_whitespace().nth(field - 3)?.parse::<u64>().ok();
    let ticks = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    let ticks = ticks.context("the stat of a process has no CPU time")?;
    Ok(Usage {
        resident: bytes("VmRSS")?,
        peak: bytes("VmHWM")?,
        cpu: Duration::from_millis(ticks * 1000 / TICKS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_an_ugly_command() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 3 4 20 0 5 0 100 9 9";
        let expected = Usage {
            resident: 1 << 20,
            peak: 2 << 20,
            cpu: Duration::from_secs(3),
        };
        assert_eq!(parse(status, stat).unwrap(), expected);
        assert!(parse("", stat).is_err() && parse(status, "7 (a) S").is_err());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = of(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.peak >= usage.resident);
    }
}
