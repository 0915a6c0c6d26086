//! The floor: the writes of a change and nothing else. Three loops, each set off by a watch event:
//!
//! | on | the product's | writes |
//! |---|---|---|
//! | a change of a source | agent at the source | status of the `PeerExport` |
//! | the `PeerExport` | manager | the `ManifestWork` of each destination, one after another |
//! | a `ManifestWork` | agent at the destination | status of the `PeerLink` |
//!
//! Nothing is planned, sealed, opened or checked. The objects are copies of the product's, in a namespace that belongs to no
//! cluster and without the label by which the product finds its own. In place of a revision's content stands its number.
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use addon_framework::runtime::{
    Clients, Outcome, Queue, RunOptions, Watch, conditions::apply_status, run, watch, write,
};
use anyhow::{Context, Result, ensure};
use kube::{Api, Client, Resource, ResourceExt, runtime::watcher};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{PeerExport, PeerLink, reasons},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    course::{Course, Way},
    fleet::{Link, Source},
};

/// The namespace of the copies.
const NAMESPACE: &str = "fleet-floor";
/// Their label.
const LABEL: &str = "floor.invalid/fleet";
/// Field manager in place of the addon-manager's.
const MANAGER: &str = "floor-manager";
/// Field manager in place of the agents'.
const AGENT: &str = "floor-agent";
/// How many Peerings the manager works on at once (`addon-manager/src/peering/mod.rs`).
const PEERINGS: usize = 8;
/// How many agents write at once, as in the simulation of the product's.
const AGENTS: usize = 64;
/// How long the writes of one key may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Digits of a revision: milliseconds since 1970 have as many until 2286.
const DIGITS: usize = 13;

/// The running floor.
pub struct Floor {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    exports: Api<PeerExport>,
    works: Api<ManifestWork>,
    links: Api<PeerLink>,
    seen: Seen,
    queues: Queues,
    routes: Vec<Route>,
    course: Course,
}

/// What the watches have brought.
struct Seen {
    exports: Watch<PeerExport>,
    works: Watch<ManifestWork>,
}

#[derive(Clone, Default)]
struct Queues {
    /// Indices of routes whose source has changed.
    changed: Queue<usize>,
    /// Names of exports.
    exports: Queue<String>,
    /// Names of works.
    works: Queue<String>,
}

/// The way of one source.
struct Route {
    source: String,
    export: PeerExport,
    status: Map<String, Value>,
    /// The revision that stands for number 0.
    base: i64,
    /// The number that the source holds.
    number: AtomicU32,
    legs: Vec<Leg>,
}

/// The way to one destination.
struct Leg {
    id: String,
    work: Value,
    link: PeerLink,
    /// The agent's half of the link's status.
    status: Map<String, Value>,
    /// The number that was last reported on.
    reported: AtomicU32,
}

impl Floor {
    /// Copies what the product has made for some sources, and starts the loops.
    pub async fn start(clients: &Clients, sources: &[Source]) -> Result<Self> {
        let client = clients.request.clone();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
        write::apply(&namespaces, NAMESPACE, MANAGER, &namespace).await?;
        let mut routes = Vec::new();
        for source in sources {
            routes.push(Route::copy(&client, source).await?);
        }
        let (tasks, token, queues) = (TaskTracker::new(), CancellationToken::new(), Queues::default());
        let seen = Seen::start(&clients.watch, &tasks, &token, &queues);
        seen.exports.ready().await;
        seen.works.ready().await;
        let shared = Arc::new(Shared {
            exports: Api::namespaced(client.clone(), NAMESPACE),
            works: Api::namespaced(client.clone(), NAMESPACE),
            links: Api::namespaced(client, NAMESPACE),
            seen,
            queues: queues.clone(),
            routes,
            course: Course::default(),
        });
        let options = |name, concurrency| RunOptions {
            name,
            concurrency,
            deadline: DEADLINE,
        };
        let by_export = shared.routes.iter().enumerate();
        let by_export: Arc<HashMap<_, _>> = Arc::new(
            by_export
                .map(|(index, route)| (route.export.name_any(), index))
                .collect(),
        );
        let by_work: Arc<HashMap<_, _>> = Arc::new(shared.legs().collect());
        let of = shared.clone();
        let publish = move |route| of.clone().publish(route);
        tasks.spawn(run(
            queues.changed,
            options("floor-publish", AGENTS),
            token.clone(),
            publish,
        ));
        let of = shared.clone();
        let carry = move |export| of.clone().carry(by_export.get(&export).copied());
        tasks.spawn(run(
            queues.exports,
            options("floor-carry", PEERINGS),
            token.clone(),
            carry,
        ));
        let of = shared.clone();
        let deliver = move |work| of.clone().deliver(by_work.get(&work).copied(), work);
        tasks.spawn(run(
            queues.works,
            options("floor-deliver", AGENTS),
            token.clone(),
            deliver,
        ));
        Ok(Self {
            shared,
            _stop: token.drop_guard(),
        })
    }
}

impl Way for Floor {
    fn change(&self, source: &Source, number: u32) {
        let mut routes = self.shared.routes.iter().enumerate();
        let Some((index, route)) = routes.find(|(_, route)| route.source == source.cluster) else {
            return;
        };
        self.shared.course.begin(source, number);
        route.number.store(number, Ordering::SeqCst);
        self.shared.queues.changed.add(index);
    }

    fn course(&self) -> &Course {
        &self.shared.course
    }
}

impl Seen {
    fn start(client: &Client, tasks: &TaskTracker, token: &CancellationToken, queues: &Queues) -> Self {
        let copies = || watcher::Config::default().labels(LABEL);
        let (exports, works) = (queues.exports.clone(), queues.works.clone());
        let client = || client.clone();
        Self {
            exports: watch(
                tasks,
                token,
                "floor-peerexports",
                Api::all(client()),
                copies(),
                move |export: &PeerExport| exports.add(export.name_any()),
            ),
            works: watch(
                tasks,
                token,
                "floor-manifestworks",
                Api::all(client()),
                copies(),
                move |work: &ManifestWork| works.add(work.name_any()),
            ),
        }
    }
}

impl Shared {
    /// Where each work belongs, by its name.
    fn legs(&self) -> impl Iterator<Item = (String, (usize, usize))> {
        let routes = self.routes.iter().enumerate();
        routes.flat_map(|(index, route)| {
            let legs = route.legs.iter().enumerate();
            legs.map(move |(leg, Leg { id, .. })| (work_name(id), (index, leg)))
        })
    }

    /// The source has changed: the status of the export, with an envelope for each destination.
    async fn publish(self: Arc<Self>, route: usize) -> Result<Outcome, kube::Error> {
        let Some(route) = self.routes.get(route) else {
            return Ok(Outcome::Done);
        };
        let revision = route.base + i64::from(route.number.load(Ordering::SeqCst));
        let mut status = route.status.clone();
        status.insert("revision".to_owned(), revision.into());
        stamp(&mut status, "contentHash", revision);
        let envelopes = status.get_mut("envelopes").and_then(Value::as_array_mut);
        for envelope in envelopes.into_iter().flatten().filter_map(Value::as_object_mut) {
            stamp(envelope, "data", revision);
        }
        apply_status(&self.exports, &route.export, AGENT, &status).await?;
        Ok(Outcome::Done)
    }

    /// The export has changed: its envelopes into the works.
    async fn carry(self: Arc<Self>, route: Option<usize>) -> Result<Outcome, kube::Error> {
        let Some(route) = route.and_then(|route| self.routes.get(route)) else {
            return Ok(Outcome::Done);
        };
        let seen = self.seen.exports.get(Some(NAMESPACE), &route.export.name_any());
        let status = seen.and_then(|export| export.status.clone()).unwrap_or_default();
        // The copy itself is seen too.
        if status.revision <= Some(route.base) {
            return Ok(Outcome::Done);
        }
        for leg in &route.legs {
            let Some(envelope) = status.envelopes.iter().find(|envelope| envelope.link == leg.id) else {
                continue;
            };
            let mut work = leg.work.clone();
            if let Some(slot) = envelope_in(&mut work, &leg.id) {
                *slot = json!(envelope.data);
            }
            write::apply(&self.works, &work_name(&leg.id), MANAGER, &work).await?;
        }
        Ok(Outcome::Done)
    }

    /// A work has changed: the status of the link.
    async fn deliver(self: Arc<Self>, leg: Option<(usize, usize)>, work: String) -> Result<Outcome, kube::Error> {
        let route = leg.and_then(|(route, leg)| Some((self.routes.get(route)?, leg)));
        let Some((route, leg)) = route.and_then(|(route, leg)| Some((route, route.legs.get(leg)?))) else {
            return Ok(Outcome::Done);
        };
        let work = self.seen.works.get(Some(NAMESPACE), &work);
        let Some(number) = work.and_then(|work| route.number_in(&work, &leg.id)) else {
            return Ok(Outcome::Done);
        };
        if leg.reported.load(Ordering::SeqCst) >= number {
            return Ok(Outcome::Done);
        }
        self.course.arrived(&route.source, number, &leg.id);
        let revision = route.base + i64::from(number);
        let mut status = leg.status.clone();
        status.insert("appliedRevision".to_owned(), revision.into());
        stamp(&mut status, "appliedHash", revision);
        let said = status
            .get_mut("conditions")
            .and_then(|said| said.get_mut(0)?.as_object_mut());
        if let Some(said) = said {
            stamp(said, "message", revision);
        }
        apply_status(&self.links, &leg.link, AGENT, &status).await?;
        leg.reported.store(number, Ordering::SeqCst);
        self.course.reported(&route.source, number);
        Ok(Outcome::Done)
    }
}

impl Route {
    /// Copies what the product has made for a source.
    async fn copy(client: &Client, source: &Source) -> Result<Self> {
        let of = Api::<PeerExport>::namespaced(client.clone(), &source.cluster);
        let (spec, status) = copy(&of.get(&source.export).await?, &source.export)?;
        let base = status.get("revision").and_then(Value::as_i64).unwrap_or_default();
        ensure!(
            base.to_string().len() == DIGITS,
            "revision {base} is not a time in milliseconds"
        );
        let api = Api::namespaced(client.clone(), NAMESPACE);
        let export = write::apply(&api, &source.export, MANAGER, &spec).await?;
        apply_status(&api, &export, AGENT, &status).await?;
        let mut legs = Vec::new();
        for link in &source.links {
            legs.push(Leg::copy(client, &source.peering, link).await?);
        }
        Ok(Self {
            source: source.cluster.clone(),
            export,
            status,
            base,
            number: AtomicU32::new(0),
            legs,
        })
    }

    /// The number whose envelope a work holds.
    fn number_in(&self, work: &ManifestWork, link: &str) -> Option<u32> {
        let manifests = work.spec.workload.manifests.iter();
        let mut carriers = manifests.filter(|manifest| manifest["kind"] == "Secret");
        let envelope = carriers.find_map(|carrier| carrier["data"].get(link)?.as_str())?;
        let revision = envelope.get(..DIGITS)?.parse::<i64>().ok()?;
        u32::try_from(revision - self.base).ok()
    }
}

impl Leg {
    async fn copy(client: &Client, peering: &str, link: &Link) -> Result<Self> {
        let of = Api::<PeerLink>::namespaced(client.clone(), &link.cluster);
        let (spec, status) = copy(&of.get(&link.name).await?, &link.name)?;
        let (managers, agents) = halves(&status);
        let api = Api::namespaced(client.clone(), NAMESPACE);
        let copied = write::apply(&api, &link.name, MANAGER, &spec).await?;
        apply_status(&api, &copied, MANAGER, &managers).await?;
        apply_status(&api, &copied, AGENT, &agents).await?;

        let of = Api::<ManifestWork>::namespaced(client.clone(), &link.cluster);
        let name = work_name(&link.id);
        let (mut work, _) = copy(&of.get(&names::work_name(peering, 0)).await?, &name)?;
        envelope_in(&mut work, &link.id).context("a work without an envelope")?;
        let api = Api::<ManifestWork>::namespaced(client.clone(), NAMESPACE);
        write::apply(&api, &name, MANAGER, &work).await?;
        Ok(Self {
            id: link.id.clone(),
            work,
            link: copied,
            status: agents,
            reported: AtomicU32::new(0),
        })
    }
}

/// Name of a copied work: those of one source stand in one namespace here.
fn work_name(link: &str) -> String {
    format!("floor-{link}")
}

/// A copy of an object under another name: everything but the status, and the status.
fn copy<K: Resource<DynamicType = ()> + Serialize>(object: &K, name: &str) -> Result<(Value, Map<String, Value>)> {
    let mut spec = serde_json::to_value(object)?;
    let status = spec.get_mut("status").map(Value::take).unwrap_or_default();
    let fields = spec.as_object_mut().context("not an object")?;
    fields.remove("status");
    let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": {LABEL: "true"}});
    fields.insert("metadata".to_owned(), metadata);
    fields.insert("apiVersion".to_owned(), K::api_version(&()).into());
    fields.insert("kind".to_owned(), K::kind(&()).into());
    let status = status.as_object().cloned().unwrap_or_default();
    Ok((spec, status))
}

/// The manager's and the agent's halves of a link's status: `Delivered` and all fields are the agent's.
fn halves(status: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let conditions = status.get("conditions").and_then(Value::as_array).cloned();
    let (delivered, others): (Vec<Value>, Vec<Value>) = conditions
        .unwrap_or_default()
        .into_iter()
        .partition(|condition| condition["type"] == reasons::DELIVERED);
    let mut agents = status.clone();
    agents.insert("conditions".to_owned(), delivered.into());
    (Map::from_iter([("conditions".to_owned(), others.into())]), agents)
}

/// Where the envelope of a link stands in a work.
fn envelope_in<'w>(work: &'w mut Value, link: &str) -> Option<&'w mut Value> {
    let manifests = work.pointer_mut("/spec/workload/manifests")?.as_array_mut()?;
    let carrier = manifests.iter_mut().find(|manifest| manifest["kind"] == "Secret")?;
    carrier.get_mut("data")?.get_mut(link)
}

/// Lets a text begin with the revision; it stays as long as it is.
fn stamp(fields: &mut Map<String, Value>, field: &str, revision: i64) {
    if let Some(Value::String(text)) = fields.get_mut(field) {
        let rest = text.get(DIGITS..).unwrap_or_default();
        *text = format!("{revision}{rest}");
    }
}
