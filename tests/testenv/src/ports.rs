//! Free local ports that stay ours.
//!
//! A port from the kernel's ephemeral range can be taken by any outgoing connection while a stopped API server is away,
//! so ports come from below that range. A lock on a file per port keeps environments of other processes off; the
//! kernel drops it when this process dies.

use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

/// Where ports are taken from. Linux hands out 32768 and above by itself.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// The locks of the ports that this process has taken, which it holds until its end.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Takes a free port on 127.0.0.1 for the rest of this process' life.
pub fn take() -> Result<u16> {
    let directory = lock_directory();
    std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Starting at a place that differs between processes keeps them from trying the same ports one after the other.
    let span = RANGE.end - RANGE.start;
    let offset = u16::try_from((std::process::id() * 97) % u32::from(span)).unwrap_or_default();
    for step in 0..span {
        let port = RANGE.start + (offset + step) % span;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(port.to_string()))?;
        if lock.try_lock().is_err() || TcpListener::bind(("127.0.0.1", port)).is_err() {
            continue;
        }
        taken.push(lock);
        return Ok(port);
    }
    bail!("no free port between {} and {}", RANGE.start, RANGE.end)
}

fn lock_directory() -> PathBuf {
    // SAFETY: getuid has no preconditions and cannot fail.
    let user = unsafe { libc::getuid() };
    std::env::temp_dir().join(format!("multicluster-orchestrator-ports-{user}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_distinct_and_below_the_ephemeral_range() {
        let ports: BTreeSet<u16> = (0..20).map(|_| super::take().unwrap()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| super::RANGE.contains(port)));
    }
}
