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
use futures::{StreamExt, TryStreamExt, stream};

/// How many requests of a benchmark are made at once.
const CONCURRENCY: usize = 16;

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

/// Makes a request for each of some things.
pub async fn each<'t, T, F>(things: &'t [T], request: impl Fn(&'t T) -> F) -> Result<()>
where
    F: Future<Output = Result<(), kube::Error>>,
{
    let requests = stream::iter(things.iter().map(request)).buffer_unordered(CONCURRENCY);
    Ok(requests.try_collect().await?)
}
