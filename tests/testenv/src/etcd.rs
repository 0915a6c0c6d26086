//! etcd: one process for all control planes of an environment, and reading and restoring it past the API servers.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    plain_http, ports,
    process::{Process, Register, Spec},
    wait,
};

/// Keys per request when everything is read.
const PAGE: usize = 100;

/// How long it may take to serve.
const READY: Duration = Duration::from_mins(2);

/// A running etcd. Clusters are told apart by the prefix of their keys. Clones are handles of the same etcd.
#[derive(Clone, Debug)]
pub struct Etcd {
    port: u16,
    spec: Arc<Spec>,
    register: Register,
    process: Arc<Mutex<Process>>,
}

/// Keys and their values.
pub type Dump = Vec<(Vec<u8>, Vec<u8>)>;

impl Etcd {
    /// Starts etcd and waits until it serves.
    pub async fn start(register: &Register, binary: &Path, directory: &Path, log: &Path) -> Result<Self> {
        let (port, peer_port) = (ports::take()?, ports::take()?);
        let (client, peer) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peer_port}"),
        );
        let spec = Spec {
            name: "etcd".to_owned(),
            program: binary.to_owned(),
            args: vec![
                format!("--data-dir={}", directory.display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // Nothing here outlives a crash of the machine, so nothing has to wait for its disk.
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
            env: None,
            log: log.to_owned(),
            revive: false,
        };
        let process = register.spawn(&spec)?;
        let etcd = Self {
            port,
            spec: Arc::new(spec),
            register: register.clone(),
            process: Arc::new(Mutex::new(process)),
        };
        etcd.await_ready().await?;
        Ok(etcd)
    }

    async fn await_ready(&self) -> Result<()> {
        wait::until("etcd to serve", READY, || async {
            self.process().check()?;
            Ok(plain_http::get(self.port, "/readyz", Duration::from_secs(2))
                .await
                .is_ok_and(|r| r.status == 200)
                .then_some(()))
        })
        .await
    }

    /// Kills it with SIGKILL and starts it again. What it had confirmed is in the kernel's file cache.
    pub async fn crash(&self) -> Result<()> {
        self.process().kill().await?;
        let process = self.register.spawn(&self.spec)?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
        self.await_ready().await
    }

    /// The address for API servers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All keys with a prefix and their values, read at one revision.
    pub async fn dump(&self, prefix: &str) -> Result<Dump> {
        let end = range_end(prefix.as_bytes());
        let mut key = prefix.as_bytes().to_vec();
        let mut revision = Value::Null;
        let mut all = Vec::new();
        loop {
            let mut body = json!({"key": STANDARD.encode(&key), "range_end": STANDARD.encode(&end), "limit": PAGE});
            if !revision.is_null() {
                body["revision"] = revision.clone();
            }
            let page = self.ask("range", &body).await?;
            revision = page["header"]["revision"].clone();
            let items = page["kvs"].as_array().cloned().unwrap_or_default();
            for item in &items {
                all.push((decode(&item["key"])?, decode(&item["value"])?));
            }
            if page["more"] != json!(true) || items.is_empty() {
                return Ok(all);
            }
            // The next page starts at the smallest key that is larger than the last one.
            key = all
                .last()
                .map(|(last, _)| [last.as_slice(), &[0]].concat())
                .unwrap_or_default();
        }
    }

    /// Makes the keys with a prefix what they were in a dump: what differs is written, what came later is deleted. Gives
    /// how many keys that were. etcd's revision goes on growing.
    pub async fn restore(&self, prefix: &str, dump: &Dump) -> Result<usize> {
        let now: BTreeMap<_, _> = self.dump(prefix).await?.into_iter().collect();
        let then: BTreeMap<_, _> = dump.iter().cloned().collect();
        let mut changed = 0;
        for (key, value) in then.iter().filter(|(key, value)| now.get(*key) != Some(*value)) {
            let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
            self.ask("put", &body).await?;
            changed += 1;
        }
        for key in now.keys().filter(|key| !then.contains_key(*key)) {
            self.ask("deleterange", &json!({"key": STANDARD.encode(key)})).await?;
            changed += 1;
        }
        Ok(changed)
    }

    async fn ask(&self, what: &str, body: &Value) -> Result<Value> {
        let path = format!("/v3/kv/{what}");
        let answer = plain_http::post_json(self.port, &path, &body.to_string(), Duration::from_secs(30)).await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "etcd answered {}: {text}", answer.status);
        serde_json::from_slice(&answer.body).context("parse etcd's answer")
    }
}

/// The smallest key that is larger than all keys with a prefix; `\0` stands for "to the end".
fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Bytes are base64 in etcd's JSON, and absent when empty.
fn decode(value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => STANDARD.decode(text).context("parse etcd's answer"),
        other => Err(anyhow!("etcd answered {other} where bytes belong")),
    }
}

#[cfg(test)]
mod tests {
    use super::range_end;

    #[test]
    fn the_end_of_a_prefix_is_its_successor() {
        assert_eq!(range_end(b"/hub/"), b"/hub0");
        assert_eq!(range_end(b"a\xff"), b"b");
        assert_eq!(range_end(b""), b"\0");
    }
}
