//! What each user asked of the hub's API server, as its audit log has it.
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// How OCM's addon-manager, which shares its user with others, can be told.
const ADDON_MANAGER: &str = "addon/";

/// A line of the log, as far as it matters (`audit.k8s.io/v1` `Event`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    object_ref: Option<Reference>,
    response_status: Option<Status>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// How many requests there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// All, those without effect and those refused too.
    pub all: u32,
    /// Writes after which the object was the one before.
    pub no_ops: u32,
    /// Those answered with 409.
    pub conflicts: u32,
    /// Those answered with anything else but success.
    pub failed: u32,
}

impl Count {
    fn add(&mut self, more: Self) {
        self.all += more.all;
        self.no_ops += more.no_ops;
        self.conflicts += more.conflicts;
        self.failed += more.failed;
    }
}

/// A write that succeeded.
#[derive(Clone, Debug)]
pub struct Write {
    /// Namespace of the object; empty where it has none.
    pub namespace: String,
    /// The verb, as the log has it.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// What was sent.
    pub body: Option<Value>,
    /// The uid of the `ManagedClusterAddOn` that came out of it.
    pub addon: Option<String>,
}

/// What one user did.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    /// Counted by verb and resource.
    pub counts: BTreeMap<(String, String), Count>,
    /// The last answer.
    pub last: Option<Timestamp>,
    /// What was written, in order.
    pub writes: Vec<Write>,
}

/// Whether a verb only reads.
pub fn reads(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

impl Deeds {
    /// The sum over verbs and resources for which something holds.
    pub fn sum(&self, holds: impl Fn(&str, &str) -> bool) -> Count {
        let mut sum = Count::default();
        for ((verb, resource), count) in &self.counts {
            if holds(verb, resource) {
                sum.add(*count);
            }
        }
        sum
    }
}

/// Everybody's, by user.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What each user did.
    pub users: BTreeMap<String, Deeds>,
    /// When OCM's addon-manager last wrote.
    pub addon_manager: Option<Timestamp>,
}

/// The log, read as it grows.
pub struct Audit {
    path: PathBuf,
    at: u64,
    /// The users whose writes are kept.
    kept: Vec<String>,
    /// The last resource version seen of an object, by resource, namespace and name.
    versions: HashMap<(String, String, String), String>,
}

impl Audit {
    /// From the beginning of a log. The writes of some users are kept.
    pub fn new(path: PathBuf, kept: &[&str]) -> Self {
        Self {
            path,
            at: 0,
            kept: kept.iter().map(|user| (*user).to_owned()).collect(),
            versions: HashMap::new(),
        }
    }

    /// Adds what was done since the last look.
    pub fn read(&mut self, log: &mut Log) -> Result<()> {
        let mut file = File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::new(file);
        let mut text = String::new();
        loop {
            text.clear();
            let read = reader.read_line(&mut text)?;
            // A line without its end is still being written.
            if read == 0 || !text.ends_with('\n') {
                return Ok(());
            }
            self.at += u64::try_from(read)?;
            self.count(serde_json::from_str(&text)?, log);
        }
    }

    fn count(&mut self, line: Line, log: &mut Log) {
        let Some(at) = &line.object_ref else { return };
        // A watch is told when it begins and when it ends; all others only when they end.
        if (line.verb == "watch") != (line.stage == "ResponseStarted") {
            return;
        }
        let code = line.response_status.as_ref().map_or(0, |status| status.code);
        let success = (200..300).contains(&code);
        let metadata = line.response_object.as_ref().map(|object| &object["metadata"]);
        let text = |field: &str| Some(metadata?[field].as_str()?.to_owned());
        let mut unchanged = false;
        // What is deleted answers with a Status, or with the object as it was.
        if success
            && line.verb != "delete"
            && let Some(version) = text("resourceVersion")
        {
            let name = text("name").unwrap_or_else(|| at.name.clone());
            let key = (at.resource.clone(), at.namespace.clone(), name);
            unchanged = self.versions.get(&key) == Some(&version);
            self.versions.insert(key, version);
        }
        if line.user_agent.starts_with(ADDON_MANAGER) && !reads(&line.verb) {
            log.addon_manager = log.addon_manager.max(Some(line.stage_timestamp));
        }
        let slash = if at.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", at.resource, at.subresource);
        let addon = (resource == "managedclusteraddons").then(|| text("uid")).flatten();
        let deeds = log.users.entry(line.user.username.clone()).or_default();
        deeds.last = deeds.last.max(Some(line.stage_timestamp));
        deeds
            .counts
            .entry((line.verb.clone(), resource))
            .or_default()
            .add(Count {
                all: 1,
                no_ops: u32::from(unchanged),
                conflicts: u32::from(code == 409),
                failed: u32::from(!success && code != 409 && code != 0),
            });
        if success && !reads(&line.verb) && self.kept.contains(&line.user.username) {
            deeds.writes.push(Write {
                namespace: at.namespace.clone(),
                verb: line.verb,
                uri: line.uri,
                body: line.request_object,
                addon,
            });
        }
    }
}
