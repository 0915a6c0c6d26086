//! What the benchmarks share: what API servers count, what a process uses, what the machine is, and figures as text.
pub mod agents;
pub mod counters;
pub mod figures;
pub mod machine;
pub mod usage;

use std::{
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};

/// A number that the environment sets, or its default.
pub fn setting<T: FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .ok()
            .with_context(|| format!("{name}={text}: expected a number")),
        Err(_) => Ok(default),
    }
}

/// A poisoned lock is taken as it is: maps of plain values are never left half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
