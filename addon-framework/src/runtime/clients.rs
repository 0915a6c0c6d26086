//! The two clients of a cluster: one for watches, one for everything else.
use std::time::Duration;

use peering_api::kube::{self, Client, Config, client::ClientBuilder};
use tower::layer::layer_fn;

use super::writes::Counted;
use crate::AddonVersions;

/// How long a TCP and TLS connection may take to come up. Short: a lost API server is noticed by it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the API server may take to answer a request (its own limit for most requests is 60 s; ours are small).
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The read timeout of the watch client: longer than a watch lasts (290 s; kube's watcher gives up 5 s later), so it ends
/// only what that does not cover, a request whose connection died before the answer began.
pub const WATCH_READ_TIMEOUT: Duration = Duration::from_secs(310);

/// The clients of one cluster.
///
/// Both without kube's own retries (up to 15 tries per request, which hides overload and repeats a POST after a 504): a
/// failed reconcile is tried again by its [`super::Queue`], a failed watch by itself.
#[derive(Clone)]
pub struct Clients {
    /// For [`super::watch()`]: a quiet watch is not a broken one, so its read timeout is [`WATCH_READ_TIMEOUT`].
    pub watch: Client,
    /// For all other requests: no answer within [`READ_TIMEOUT`] is an error. Its writes are counted.
    pub request: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Makes the clients of a cluster, which speak the version of the addon kinds that it serves ([`AddonVersions`]). Needs a rustls crypto provider, installed by `main`.
pub fn clients(config: Config) -> Result<Clients, kube::Error> {
    let (watch, request) = configs(config);
    let versions = AddonVersions::default();
    Ok(Clients {
        watch: ClientBuilder::try_from(watch)?.with_layer(&versions).build(),
        request: ClientBuilder::try_from(request)?
            .with_layer(&layer_fn(Counted::new))
            .with_layer(&versions)
            .build(),
    })
}

fn configs(mut config: Config) -> (Config, Config) {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(READ_TIMEOUT);
    // Otherwise the time a pooled connection sat idle counts against the timeout of its next request.
    config.reset_reader_on_write = true;
    let mut watch = config.clone();
    watch.read_timeout = Some(WATCH_READ_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    (watch, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_their_read_timeout_and_no_retries() {
        let (watch, request) = configs(Config::new("https://hub.example:6443".parse().unwrap()));
        assert_eq!(
            (watch.read_timeout, request.read_timeout),
            (Some(WATCH_READ_TIMEOUT), Some(READ_TIMEOUT))
        );
        assert!(
            !watch.default_retry
                && !request.default_retry
                && watch.reset_reader_on_write
                && request.reset_reader_on_write
        );
    }
}
