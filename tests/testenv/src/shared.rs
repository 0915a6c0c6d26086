//! The environment that all scenarios of a test binary share.

use std::sync::{Arc, OnceLock, mpsc};

use anyhow::{Result, anyhow};

use crate::env::{Env, Options};

static SHARED: OnceLock<Result<Arc<Env>, String>> = OnceLock::new();

/// The environment of this test binary, started by whoever asks first: a hub, which also manages itself, and two managed
/// clusters. It lives on a runtime of its own and ends with
/// the process. Each scenario uses a namespace, or a cluster name, of its own.
///
/// # Panics
///
/// When it cannot be started: no test can go on then.
#[expect(clippy::panic, reason = "only tests call this, and a test has nothing else to do")]
pub fn shared() -> &'static Env {
    match SHARED.get_or_init(|| start().map_err(|error| format!("{error:?}"))) {
        Ok(env) => env,
        Err(error) => panic!("the test environment cannot be started: {error}"),
    }
}

/// Starts the environment on the long-lived runtime and blocks for it. `block_on` would not do: the caller is inside
/// the runtime of its test.
fn start() -> Result<Arc<Env>> {
    let (sender, receiver) = mpsc::channel();
    crate::runtime::handle()?.spawn(async move {
        let options = Options {
            local_cluster: true,
            ..Options::default()
        };
        let _ = sender.send(Env::start(options).await);
    });
    receiver
        .recv()
        .map_err(|_| anyhow!("the start ended without a result"))?
}
