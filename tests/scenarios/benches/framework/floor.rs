//! The floor: what an addon's manager wrote, and who made the addons, written again by a bare loop for an addon of another name.
//!
//! One chain of requests a cluster, in the order in which they were; as many chains at once as the framework has
//! reconciles. The writes into what OCM's addon-manager makes come when that is done, and the wait for it does not count.
use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use scenarios::bench::lock;
use serde_json::Value;

use crate::audit::Write;

/// As many reconciles at once as one controller of the framework has.
pub const CONCURRENCY: usize = 16;

/// The loop.
pub struct Floor {
    client: Client,
    /// The name that stands in the requests, and the one to be put there.
    names: (String, String),
    /// By namespace: the uid of the addon that was, and that of the one that took its place.
    uids: Mutex<HashMap<String, (String, String)>>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replayed {
    /// How long it took.
    pub time: Duration,
    /// How long OCM's addon-manager was waited for, besides.
    pub waited: Duration,
    /// How many requests there were.
    pub requests: usize,
    /// How many of them were refused.
    pub refused: usize,
}

impl Floor {
    /// A loop that has written nothing yet. Names have the same length, so that requests have the same size.
    pub fn new(client: Client, from: &str, to: &str) -> Self {
        Self {
            client,
            names: (from.to_owned(), to.to_owned()),
            uids: Mutex::default(),
        }
    }

    /// Writes all that; from the first write into the status of an addon on, when `configured` is over.
    pub async fn replay(&self, writes: &[Write], configured: impl Future<Output = Result<()>>) -> Result<Replayed> {
        let mut chains = BTreeMap::<&str, Vec<&Write>>::new();
        for write in writes {
            chains.entry(&write.namespace).or_default().push(write);
        }
        let told = |write: &&Write| write.uri.contains("/managedclusteraddons/") && write.uri.contains("/status");
        let stages: (Vec<_>, Vec<_>) = chains
            .values()
            .map(|chain| chain.split_at(chain.iter().position(told).unwrap_or(chain.len())))
            .unzip();
        let (before, refused) = self.stage(stages.0).await?;
        let start = Instant::now();
        configured.await?;
        let waited = start.elapsed();
        let (after, more) = self.stage(stages.1).await?;
        Ok(Replayed {
            time: before + after,
            waited,
            requests: writes.len(),
            refused: refused + more,
        })
    }

    async fn stage(&self, chains: Vec<&[&Write]>) -> Result<(Duration, usize)> {
        let start = Instant::now();
        let chains = chains.into_iter().map(|chain| self.chain(chain));
        let refused: Vec<usize> = stream::iter(chains).buffer_unordered(CONCURRENCY).try_collect().await?;
        Ok((start.elapsed(), refused.into_iter().sum()))
    }

    async fn chain(&self, chain: &[&Write]) -> Result<usize> {
        let mut refused = 0;
        for write in chain {
            match self.client.request::<Value>(self.request(write)?).await {
                Ok(answer) => {
                    if let (Some(old), Some(new)) = (&write.addon, answer["metadata"]["uid"].as_str()) {
                        lock(&self.uids).insert(write.namespace.clone(), (old.clone(), new.to_owned()));
                    }
                }
                Err(kube::Error::Api(status)) => {
                    eprintln!("{} {}: {}", write.verb, write.uri, status.message);
                    refused += 1;
                }
                Err(error) => return Err(error).context("replay a write"),
            }
        }
        Ok(refused)
    }

    fn request(&self, write: &Write) -> Result<http::Request<Vec<u8>>> {
        let (from, to) = &self.names;
        let mut body = write.body.clone();
        match &mut body {
            // Versions were those of other objects.
            Some(Value::Array(operations)) => {
                operations.retain(|operation| operation["path"] != "/metadata/resourceVersion");
            }
            Some(object) => {
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("resourceVersion");
                }
            }
            None => {}
        }
        let mut body = body.map(|body| body.to_string()).unwrap_or_default().replace(from, to);
        if let Some((old, new)) = lock(&self.uids).get(&write.namespace) {
            body = body.replace(old, new);
        }
        let (method, kind) = match (write.verb.as_str(), &write.body) {
            ("create", _) => ("POST", "application/json"),
            ("update", _) => ("PUT", "application/json"),
            ("delete", _) => ("DELETE", "application/json"),
            ("patch", Some(Value::Array(_))) => ("PATCH", "application/json-patch+json"),
            // Only an apply says whether it takes over fields.
            ("patch", _) if write.uri.contains("force=") => ("PATCH", "application/apply-patch+yaml"),
            ("patch", _) => ("PATCH", "application/merge-patch+json"),
            (verb, _) => bail!("{verb} {} cannot be written again", write.uri),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(write.uri.replace(from, to))
            .header("Content-Type", kind);
        Ok(request.body(body.into_bytes())?)
    }
}
