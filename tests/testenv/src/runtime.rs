//! The thread pool that owns what outlives one test: the nodes' watches and the shared environment.
//!
//! Each `#[tokio::test]` has a runtime of its own which dies with the test, and tasks die with their runtime. Whatever
//! has to go on belongs here.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use tokio::runtime::{Handle, Runtime};

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The runtime of the environments of this process. It is started at the first call and never stops.
pub fn handle() -> Result<Handle> {
    let runtime = RUNTIME.get_or_init(|| {
        // Only fails when a provider is already installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("testenv")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start the runtime of the test environment: {error}"))
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => Err(anyhow!("{error}")),
    }
}
