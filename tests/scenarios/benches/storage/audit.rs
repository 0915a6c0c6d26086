//! What the manager wrote, as the hub's API server has it in its audit log.
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The user that the manager's pod is.
const MANAGER: &str = "system:serviceaccount:multicluster-orchestrator:addon-manager";
/// How requests of the simulated agents can be told: by their field manager.
const AGENT: &str = "fieldManager=token-exchange-agent";

/// A line of the log, as far as it matters (`audit.k8s.io/v1` `Event`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: User,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    object_ref: Option<Reference>,
    response_status: Option<Status>,
    response_object: Option<Value>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Reference {
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

/// How many writes there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// All, those without effect and those refused too.
    pub all: u32,
    /// Those after which the object was the one before.
    pub no_ops: u32,
    /// Those answered with 409.
    pub conflicts: u32,
}

impl Count {
    /// Adds more.
    pub fn add(&mut self, more: Self) {
        self.all += more.all;
        self.no_ops += more.no_ops;
        self.conflicts += more.conflicts;
    }
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// The manager's writes, by verb and resource.
    pub manager: BTreeMap<String, Count>,
    /// What the agents wrote beside it.
    pub agents: u32,
}

impl Writes {
    /// All of the manager's.
    pub fn sum(&self) -> Count {
        let mut sum = Count::default();
        for count in self.manager.values() {
            sum.add(*count);
        }
        sum
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.manager.is_empty() && self.agents == 0
    }

    /// Adds more.
    pub fn add(&mut self, more: Self) {
        self.agents += more.agents;
        for (kind, count) in more.manager {
            self.manager.entry(kind).or_default().add(count);
        }
    }
}

/// The log, read as it grows.
pub struct Audit {
    path: PathBuf,
    at: u64,
    /// The last resource version seen of an object, by resource, namespace and name.
    versions: HashMap<(String, String, String), String>,
}

impl Audit {
    /// From the beginning of a log.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            at: 0,
            versions: HashMap::new(),
        }
    }

    /// What was written since the last look.
    pub fn read(&mut self) -> Result<Writes> {
        let mut file = File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::new(file);
        let (mut writes, mut text) = (Writes::default(), String::new());
        loop {
            text.clear();
            let read = reader.read_line(&mut text)?;
            // A line without its end is still being written.
            if read == 0 || !text.ends_with('\n') {
                return Ok(writes);
            }
            self.at += u64::try_from(read)?;
            self.count(&serde_json::from_str(&text)?, &mut writes);
        }
    }

    fn count(&mut self, line: &Line, writes: &mut Writes) {
        let Some(at) = &line.object_ref else { return };
        let code = line.response_status.as_ref().map_or(0, |status| status.code);
        let metadata = line.response_object.as_ref().map(|object| &object["metadata"]);
        let text = |field: &str| Some(metadata?[field].as_str()?.to_owned());
        let mut unchanged = false;
        // What is deleted answers with a Status, or with the object as it was.
        if (200..300).contains(&code)
            && line.verb != "delete"
            && let Some(version) = text("resourceVersion")
        {
            let name = text("name").unwrap_or_else(|| at.name.clone());
            let key = (at.resource.clone(), at.namespace.clone(), name);
            unchanged = self.versions.get(&key) == Some(&version);
            self.versions.insert(key, version);
        }
        if line.user.username == MANAGER {
            let slash = if at.subresource.is_empty() { "" } else { "/" };
            let kind = format!("{} {}{slash}{}", line.verb, at.resource, at.subresource);
            writes.manager.entry(kind).or_default().add(Count {
                all: 1,
                no_ops: u32::from(unchanged),
                conflicts: u32::from(code == 409),
            });
        } else if line.request_uri.contains(AGENT) {
            writes.agents += 1;
        }
    }
}
