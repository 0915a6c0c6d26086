//! The agents of all clusters, simulated: what they read on the hub and write to it, sealing and opening included. What they
//! hand over, and what becomes of what they have opened, a benchmark decides ([`Play`]). They prove nothing: every probe of a
//! link has succeeded as soon as its content has arrived.
//!
//! One watch per kind for all of them, and one pool of tasks: an agent is what is known under the name of its cluster.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use addon_framework::runtime::{
    Clients, Outcome, Queue, RunOptions, Watch,
    conditions::{Wanted, apply_status, merge},
    run, watch,
};
use anyhow::Result;
use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use exchange::{
    content::{Content, ContentError},
    envelope::{self, EnvelopeError},
    key::{KeyError, KeyPair, PublicKey},
    revision, state,
};
use jiff::Timestamp;
use kube::{Api, ResourceExt, runtime::watcher};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{
        PeerExport, PeerExportStatus, PeerLink, PeerLinkStatus, PeerMember, PeerMemberStatus, Recipient,
        SealedEnvelope, condition, reasons,
    },
};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::lock;

/// Field manager of the agents (`addon-agent/src/spoke/write.rs`).
const MANAGER: &str = "token-exchange-agent";
/// How many agents write at once: each is a process of its own in reality.
const CONCURRENCY: usize = 64;
/// How long a write may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Namespace and name.
type Place = (String, String);

/// Why an agent could not do its work. It tries again.
#[derive(Debug, Error)]
enum AgentError {
    /// Sealing or opening failed.
    #[error("an envelope cannot be sealed or opened")]
    Envelope(#[from] EnvelopeError),
    /// The envelope is not base64.
    #[error("an envelope is not base64")]
    Base64(#[from] DecodeError),
    /// A key cannot be read.
    #[error("a public key cannot be read")]
    Key(#[from] KeyError),
    /// The content is none of ours.
    #[error("the content cannot be read")]
    Content(#[from] ContentError),
    /// The hub refused, or did not answer.
    #[error("a status cannot be written")]
    Status(#[from] kube::Error),
}

/// What the clusters hold, and what becomes of what they are sent.
pub trait Play: Send + Sync + 'static {
    /// What the source of an export holds. Nothing is published as long as it holds nothing.
    fn content(&self, export: &PeerExport) -> Option<Content>;
    /// The destination of a link has opened something new.
    fn arrived(&self, link: &PeerLink, content: &Content);
    /// The destination of a link has written its status.
    fn reported(&self, link: &PeerLink, content: &Content);
}

/// All agents.
pub struct Agents<P> {
    shared: Arc<Shared<P>>,
    _stop: DropGuard,
}

struct Shared<P> {
    play: Arc<P>,
    client: kube::Client,
    members: Watch<PeerMember>,
    exports: Watch<PeerExport>,
    links: Watch<PeerLink>,
    works: Watch<ManifestWork>,
    queues: Queues,
    memory: Arc<Memory>,
}

#[derive(Clone, Default)]
struct Queues {
    members: Queue<Place>,
    exports: Queue<Place>,
    /// By id.
    links: Queue<String>,
}

/// What the agents know besides what the hub tells them.
#[derive(Default)]
struct Memory {
    /// By cluster.
    keys: Mutex<HashMap<String, Arc<KeyPair>>>,
    /// What was last written to an export.
    published: Mutex<HashMap<Place, PeerExportStatus>>,
    /// Where the link of an id is.
    places: Mutex<HashMap<String, Place>>,
    /// What has arrived for a link.
    envelopes: Mutex<HashMap<String, String>>,
    /// The revision that a link's agent has reported.
    applied: Mutex<HashMap<String, i64>>,
}

impl Memory {
    /// The key pair of a cluster's agent, made when it is first asked for.
    fn key(&self, cluster: &str) -> Arc<KeyPair> {
        let mut keys = lock(&self.keys);
        let made = || Arc::new(KeyPair::generate(&mut rand::rng()));
        keys.entry(cluster.to_owned()).or_insert_with(made).clone()
    }

    /// Takes what a work brings out of it; returns the links for which it is something new.
    fn unpack(&self, work: &ManifestWork) -> Vec<String> {
        let manifests = work.spec.workload.manifests.iter();
        let data = manifests.filter_map(|carrier| match carrier["kind"].as_str() {
            Some("Secret") => carrier["data"].as_object(),
            Some("ConfigMap") => carrier["binaryData"].as_object(),
            _ => None,
        });
        let data = data.flatten();
        let mut envelopes = lock(&self.envelopes);
        let mut new = Vec::new();
        for (link, envelope) in data.filter_map(|(link, envelope)| Some((link, envelope.as_str()?))) {
            if envelopes.get(link).is_none_or(|known| known != envelope) {
                envelopes.insert(link.clone(), envelope.to_owned());
                new.push(link.clone());
            }
        }
        new
    }
}

impl<P: Play> Agents<P> {
    /// Starts all agents there will ever be.
    pub async fn start(clients: &Clients, play: Arc<P>) -> Self {
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let (queues, memory) = (Queues::default(), Arc::<Memory>::default());
        let shared = Arc::new(Shared::watch(play, clients, &tasks, &token, queues, memory));
        shared.ready().await;
        let options = |name| RunOptions {
            name,
            concurrency: CONCURRENCY,
            deadline: DEADLINE,
        };
        let queues = &shared.queues;
        let of = shared.clone();
        let report = move |place| of.clone().report(place);
        tasks.spawn(run(queues.members.clone(), options("members"), token.clone(), report));
        let of = shared.clone();
        let publish = move |place| of.clone().publish(place);
        tasks.spawn(run(queues.exports.clone(), options("exports"), token.clone(), publish));
        let of = shared.clone();
        let deliver = move |link| of.clone().deliver(link);
        tasks.spawn(run(queues.links.clone(), options("links"), token.clone(), deliver));
        Self {
            shared,
            _stop: token.drop_guard(),
        }
    }

    /// What they play.
    #[must_use]
    pub fn play(&self) -> &P {
        &self.shared.play
    }

    /// Whether the agent of a cluster has published its key.
    #[must_use]
    pub fn is_registered(&self, cluster: &str) -> bool {
        let member = self.shared.members.get(Some(cluster), cluster);
        member.is_some_and(|member| {
            let status = member.status.as_ref();
            status.is_some_and(|status| status.public_key.is_some())
        })
    }

    /// The source of an export holds something else.
    pub fn changed(&self, cluster: &str, export: &str) {
        let at = (cluster.to_owned(), export.to_owned());
        self.shared.queues.exports.add(at);
    }
}

impl<P: Play> Shared<P> {
    fn watch(
        play: Arc<P>,
        clients: &Clients,
        tasks: &TaskTracker,
        token: &CancellationToken,
        queues: Queues,
        memory: Arc<Memory>,
    ) -> Self {
        // What the floor has made is not ours: it has another label.
        let ours = || watcher::Config::default().labels(names::PEERING_LABEL);
        let (members, exports, links, carried) = (queues.clone(), queues.clone(), queues.clone(), queues.links.clone());
        let (places, envelopes) = (memory.clone(), memory.clone());
        let client = &clients.watch;
        let everywhere = watcher::Config::default();
        Self {
            members: watch(
                tasks,
                token,
                "peermembers",
                Api::all(client.clone()),
                everywhere,
                move |member| members.members.add(place(member)),
            ),
            exports: watch(
                tasks,
                token,
                "peerexports",
                Api::all(client.clone()),
                ours(),
                move |export| exports.exports.add(place(export)),
            ),
            links: watch(
                tasks,
                token,
                "peerlinks",
                Api::all(client.clone()),
                ours(),
                move |link: &PeerLink| {
                    lock(&places.places).insert(link.spec.id.clone(), place(link));
                    links.links.add(link.spec.id.clone());
                },
            ),
            works: watch(
                tasks,
                token,
                "manifestworks",
                Api::all(client.clone()),
                ours(),
                move |work| {
                    for link in envelopes.unpack(work) {
                        carried.add(link);
                    }
                },
            ),
            play,
            client: clients.request.clone(),
            queues,
            memory,
        }
    }

    async fn ready(&self) {
        self.members.ready().await;
        self.exports.ready().await;
        self.links.ready().await;
        self.works.ready().await;
    }

    /// Publishes the key of an agent.
    async fn report(self: Arc<Self>, (namespace, name): Place) -> Result<Outcome, AgentError> {
        let Some(member) = self.members.get(Some(&namespace), &name) else {
            return Ok(Outcome::Done);
        };
        let before = member.status.clone().unwrap_or_default();
        let key = self.memory.key(&namespace).public().clone();
        if before.public_key.is_some() {
            return Ok(Outcome::Done);
        }
        let running = reasons::MemberReady::AgentRunning.as_str();
        let ready = Wanted::new(
            reasons::READY,
            true,
            running,
            "the agent runs and has published its key",
        );
        let status = PeerMemberStatus {
            public_key: Some(key.to_base64()),
            fingerprint: Some(key.fingerprint()),
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            conditions: vec![merge(
                &before.conditions,
                &ready.at(member.metadata.generation),
                Timestamp::now(),
            )],
            ..PeerMemberStatus::default()
        };
        let api = Api::<PeerMember>::namespaced(self.client.clone(), &namespace);
        apply_status(&api, member.as_ref(), MANAGER, &body(&status)).await?;
        Ok(Outcome::Done)
    }

    /// Seals what a source holds to all whose keys are known.
    async fn publish(self: Arc<Self>, at: Place) -> Result<Outcome, AgentError> {
        let Some(export) = self.exports.get(Some(&at.0), &at.1) else {
            return Ok(Outcome::Done);
        };
        let before = lock(&self.memory.published).get(&at).cloned().unwrap_or_default();
        let Some(content) = self.play.content(&export) else {
            return Ok(Outcome::Done);
        };
        let wanted = sealed(&export, &before, &content, &self.memory.key(&at.0))?;
        if wanted == before {
            return Ok(Outcome::Done);
        }
        let api = Api::<PeerExport>::namespaced(self.client.clone(), &at.0);
        apply_status(&api, export.as_ref(), MANAGER, &body(&wanted)).await?;
        lock(&self.memory.published).insert(at, wanted);
        Ok(Outcome::Done)
    }

    /// Opens what has arrived for a link, and reports on it.
    async fn deliver(self: Arc<Self>, id: String) -> Result<Outcome, AgentError> {
        let place = lock(&self.memory.places).get(&id).cloned();
        let link = place.and_then(|(namespace, name)| self.links.get(Some(&namespace), &name));
        let envelope = lock(&self.memory.envelopes).get(&id).cloned();
        let (Some(link), Some(envelope)) = (link, envelope) else {
            return Ok(Outcome::Done);
        };
        let cluster = link.namespace().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(envelope)?;
        let opened = if link.spec.confidential {
            let Some(sender) = &link.spec.from.public_key else {
                return Ok(Outcome::Done);
            };
            envelope::open(
                &bytes,
                &id,
                &PublicKey::from_base64(sender)?,
                &self.memory.key(&cluster),
            )?
        } else {
            envelope::open_plain(&bytes)?
        };
        let known = lock(&self.memory.applied).get(&id).copied();
        if known >= Some(opened.revision) {
            return Ok(Outcome::Done);
        }
        let content = Content::decode(opened.content.expose())?;
        self.play.arrived(&link, &content);
        let status = delivered(&link, opened.revision, opened.hash);
        let api = Api::<PeerLink>::namespaced(self.client.clone(), &cluster);
        apply_status(&api, link.as_ref(), MANAGER, &body(&status)).await?;
        lock(&self.memory.applied).insert(id, opened.revision);
        self.play.reported(&link, &content);
        Ok(Outcome::Done)
    }
}

/// What an agent says of an export (`addon-agent/src/decide/export.rs`).
fn sealed(
    export: &PeerExport,
    before: &PeerExportStatus,
    content: &Content,
    keys: &KeyPair,
) -> Result<PeerExportStatus, AgentError> {
    let (now, content) = (Timestamp::now(), content.encode());
    let hash = keys.content_hash(content.expose());
    let kept = before.revision.filter(|_| before.content_hash.as_ref() == Some(&hash));
    let revision = kept.unwrap_or_else(|| revision::next(before.revision, now));
    let public = || envelope::plain(revision, &hash, &content).map(|plain| BASE64_STANDARD.encode(plain));
    let public_envelope = (!export.spec.confidential).then(public).transpose()?;
    let mut envelopes = Vec::new();
    for Recipient { link, public_key, .. } in &export.spec.recipients {
        if !export.spec.confidential {
            break;
        }
        let Some(key) = public_key.as_deref().map(PublicKey::from_base64).transpose()? else {
            continue;
        };
        let old = before.envelopes.iter().find(|old| kept.is_some() && old.link == *link);
        if let Some(old) = old {
            envelopes.push(old.clone());
            continue;
        }
        let sealed = envelope::seal(link, revision, &hash, &content, keys, &key, &mut rand::rng())?;
        envelopes.push(SealedEnvelope {
            link: link.clone(),
            recipient_fingerprint: key.fingerprint(),
            data: BASE64_STANDARD.encode(sealed),
            ..SealedEnvelope::default()
        });
    }
    let published = reasons::SourceReady::Published.as_str();
    let ready = Wanted::new(reasons::SOURCE_READY, true, published, "Secret source is handed over");
    Ok(PeerExportStatus {
        revision: Some(revision),
        content_hash: Some(hash),
        public_envelope,
        envelopes,
        conditions: vec![merge(&before.conditions, &ready.at(export.metadata.generation), now)],
        ..PeerExportStatus::default()
    })
}

/// What an agent says of a link whose content is where it belongs (`addon-agent/src/decide/link.rs`).
fn delivered(link: &PeerLink, revision: i64, hash: String) -> PeerLinkStatus {
    let before = link.status.clone().unwrap_or_default();
    let target = &link.spec.target.object;
    let message = format!(
        "revision {revision} stands in {} {}/{}",
        target.kind,
        target.namespace.as_deref().unwrap_or_default(),
        target.name
    );
    let say = |type_: &'static str| {
        // A condition that is true has its own name as its reason, in all lists of reasons.
        let said = Wanted::new(type_, true, type_, message.clone()).at(link.metadata.generation);
        let known = condition(&before.conditions, type_);
        merge(
            known.map(std::slice::from_ref).unwrap_or_default(),
            &said,
            Timestamp::now(),
        )
    };
    PeerLinkStatus {
        applied_revision: Some(revision),
        applied_hash: Some(hash),
        conditions: state::required(&link.spec).into_iter().map(say).collect(),
        ..PeerLinkStatus::default()
    }
}

fn place<K: kube::Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// A status as the body of an apply.
fn body(status: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        // Our statuses are structs of strings, numbers and times: they always serialise to an object.
        _ => Map::new(),
    }
}
