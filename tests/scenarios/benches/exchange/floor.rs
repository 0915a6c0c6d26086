//! The floor: the writes of one change and nothing else. Three loops, each of which waits for a watch event and writes:
//!
//! | on a change of | the product's | writes |
//! |---|---|---|
//! | the source Secret | agent at the source (`addon-agent/src/exports.rs`) | status of the `PeerExport` |
//! | the `PeerExport` | manager (`addon-manager/src/peering`) | the `ManifestWork` |
//! | the Secret that OCM's work agent makes of it | agent at the destination (`addon-agent/src/targets.rs`) | target, then status of the `PeerLink` |
//!
//! Nothing is planned, sealed, opened or checked. The objects are copies of the product's under names of their own, so they
//! have its shape and its size; in place of a revision's content stands the revision. `PeerExport` and `PeerLink` are in a
//! hub namespace that belongs to no cluster, where nobody but the floor looks at them.
use std::fmt::Debug;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{PeerExport, PeerLink},
};
use scenarios::{Scenario, Side, scenario::SOURCE, world::AGENT_NAMESPACE};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::{ARTEFACT, PEERING, follow::Follow, route, route::Route};

/// What stands in for the name of the Peering.
const NAME: &str = "bench-floor";
/// What stands in for our API group in names of labels, annotations and finalizers, so that the product takes no notice.
const GROUP: &str = "floor.invalid";
/// Field manager in place of the addon-manager's.
const MANAGER: &str = "floor-manager";
/// Field manager in place of the agents'.
const AGENT: &str = "floor-agent";

/// The running floor.
pub struct Floor {
    /// The way from its source to its target.
    pub route: Route,
    _loops: JoinSet<()>,
}

impl Floor {
    /// Makes the floor's objects after the product's, which has delivered by now, and starts its loops.
    pub async fn start(scenario: &Scenario) -> Result<Self> {
        let (from, to) = (Side::East, Side::West);
        let export = Copied::of(&scenario.export(ARTEFACT, from).await?, NAME)?;
        let link = Copied::of(&scenario.link(ARTEFACT, to).await?, NAME)?;
        let work_name = names::work_name(PEERING, 0);
        let work: ManifestWork = scenario.hub_of(to).get(&work_name).await?;
        let work = Copied::of(&work, to.cluster())?;
        let target_name = scenario.target_name(to);
        let mut target = Copied::of(&scenario.on::<Secret>(to).get(&target_name).await?, NAME)?;
        let carrier_name = names::carrier_name(NAME, 0);

        // A client of its own for the watches and one for the writes, at each API server, as the product has them.
        let env = scenario.world.env;
        let (hub, east, west) = (env.hub(), env.spoke(from.cluster())?, env.spoke(to.cluster())?);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}).to_string();
        for cluster in [hub, &east, &west] {
            cluster.apply_text(&namespace).await?;
        }
        let exports = Api::<PeerExport>::namespaced(hub.client().await?, NAME);
        let links = Api::<PeerLink>::namespaced(hub.client().await?, NAME);
        let works = Api::<ManifestWork>::namespaced(hub.client().await?, to.cluster());
        let sources = Api::<Secret>::namespaced(east.client().await?, NAME);
        let targets = Api::<Secret>::namespaced(west.client().await?, NAME);

        let source =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SOURCE}, "data": route::data(0)});
        apply(&sources, &source, AGENT).await?;
        apply(&exports, &export.spec, MANAGER).await?;
        apply_status(&exports, &export.status, AGENT).await?;
        apply(&links, &link.spec, MANAGER).await?;
        let (managers, agents) = halves(&link.status);
        apply_status(&links, &managers, MANAGER).await?;
        apply_status(&links, &agents, AGENT).await?;
        apply(&works, &work.spec, MANAGER).await?;
        let made = apply(&targets, &target.spec, AGENT).await?;
        target.spec["metadata"]["uid"] = json!(made.metadata.uid);

        let export_name = name(&export.spec)?.to_owned();
        let link_name = name(&link.spec)?.to_owned();
        let route = Route::new(
            "the floor",
            (sources.clone(), SOURCE),
            (targets.clone(), &target_name),
            (links.clone(), &link_name),
            (works.clone(), name(&work.spec)?),
        );
        let carriers = Api::<Secret>::namespaced(west.client().await?, AGENT_NAMESPACE);
        let carrier = Follow::start(carriers, &carrier_name);
        carrier.until(|secret| secret.data.clone()).await?;
        let source = Follow::start(Api::namespaced(east.client().await?, NAME), SOURCE);
        let published = Follow::start(Api::namespaced(hub.client().await?, NAME), &export_name);

        let stamp = Stamp::new(&export.status)?;
        let id = link.spec["spec"]["id"]
            .as_str()
            .context("a link without an id")?
            .to_owned();
        let mut loops = JoinSet::new();
        loops.spawn(told("publish", publish(source, exports, export.status, stamp)));
        loops.spawn(told("carry", carry(published, works, work.spec, id.clone())));
        let report = (links, agents);
        loops.spawn(told(
            "deliver",
            deliver(carrier, (targets, target.spec), report, stamp, id),
        ));
        Ok(Self { route, _loops: loops })
    }
}

/// Says why a loop has ended: the changes that wait for it will only say that they have waited.
async fn told(name: &str, run: impl Future<Output = Result<()>>) {
    if let Err(error) = run.await {
        eprintln!("the floor's loop {name} has ended: {error:#}");
    }
}

/// The source has changed: the status of the export, with an envelope.
async fn publish(source: Follow<Secret>, exports: Api<PeerExport>, mut status: Value, stamp: Stamp) -> Result<()> {
    let mut last = 0;
    loop {
        let (_, number) = source
            .next(|secret| route::number(secret).filter(|seen| *seen > last))
            .await?;
        let revision = stamp.revision(number);
        let fields = &mut status["status"];
        fields["revision"] = json!(revision);
        fields["contentHash"] = stamped(&fields["contentHash"], revision);
        let envelope = &mut fields["envelopes"][0]["data"];
        *envelope = stamped_base64(envelope, revision)?;
        apply_status(&exports, &status, AGENT).await?;
        last = number;
    }
}

/// The export has changed: its envelope into the work.
async fn carry(export: Follow<PeerExport>, works: Api<ManifestWork>, mut work: Value, id: String) -> Result<()> {
    let mut last = None;
    loop {
        let newer = |export: &PeerExport| {
            let status = export.status.as_ref()?;
            let envelope = status.envelopes.first()?.data.clone();
            (status.revision > last).then_some((status.revision, envelope))
        };
        let (_, (revision, envelope)) = export.next(newer).await?;
        let manifests = work["spec"]["workload"]["manifests"].as_array_mut();
        let carrier = manifests
            .into_iter()
            .flatten()
            .find(|manifest| manifest["kind"] == "Secret");
        carrier.context("a work without a carrier")?["data"][&id] = json!(envelope);
        apply(&works, &work, MANAGER).await?;
        last = revision;
    }
}

/// The carrier has changed: the target, and then the status of the link.
async fn deliver(
    carrier: Follow<Secret>,
    (targets, mut target): (Api<Secret>, Value),
    (links, mut status): (Api<PeerLink>, Value),
    stamp: Stamp,
    id: String,
) -> Result<()> {
    let mut last = stamp.base;
    loop {
        let newer = |secret: &Secret| {
            let bytes = &secret.data.as_ref()?.get(&id)?.0;
            let text = std::str::from_utf8(bytes.get(..DIGITS)?).ok()?;
            text.parse().ok().filter(|revision: &i64| *revision > last)
        };
        let (_, revision) = carrier.next(newer).await?;
        target["data"] = route::data(stamp.number(revision)?);
        let annotations = target["metadata"]["annotations"].as_object_mut();
        for (_, value) in annotations.into_iter().flatten() {
            *value = json!({&id: revision}).to_string().into();
        }
        apply(&targets, &target, AGENT).await?;

        let fields = &mut status["status"];
        let message = fields["conditions"][0]["message"].as_str().unwrap_or_default();
        let message = message.replace(&fields["appliedRevision"].to_string(), &revision.to_string());
        fields["conditions"][0]["message"] = json!(message);
        fields["appliedRevision"] = json!(revision);
        fields["appliedHash"] = stamped(&fields["appliedHash"], revision);
        apply_status(&links, &status, AGENT).await?;
        last = revision;
    }
}

/// Digits of a revision: milliseconds since 1970 have as many until 2286.
const DIGITS: usize = 13;

/// Revisions made of the numbers of changes, as large as the product's.
#[derive(Clone, Copy)]
struct Stamp {
    base: i64,
}

impl Stamp {
    fn new(export: &Value) -> Result<Self> {
        let base = export["status"]["revision"].as_i64().unwrap_or_default();
        ensure!(
            base.to_string().len() == DIGITS,
            "revision {base} is not a time in milliseconds"
        );
        Ok(Self { base })
    }

    fn revision(self, number: u32) -> i64 {
        self.base + i64::from(number)
    }

    fn number(self, revision: i64) -> Result<u32> {
        Ok(u32::try_from(revision - self.base)?)
    }
}

/// A text that begins with the revision, as long as before.
fn stamped(text: &Value, revision: i64) -> Value {
    let rest = text.as_str().and_then(|text| text.get(DIGITS..)).unwrap_or_default();
    format!("{revision}{rest}").into()
}

/// As [`stamped`], for what the text is the base64 form of.
fn stamped_base64(text: &Value, revision: i64) -> Result<Value> {
    let mut bytes = BASE64_STANDARD.decode(text.as_str().context("an export without an envelope")?)?;
    let start = bytes.get_mut(..DIGITS).context("a very short envelope")?;
    start.copy_from_slice(revision.to_string().as_bytes());
    Ok(BASE64_STANDARD.encode(bytes).into())
}

/// An object of the product under the floor's names.
struct Copied {
    /// What is applied to the object: everything but the status.
    spec: Value,
    /// What is applied to its status.
    status: Value,
}

impl Copied {
    fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K, namespace: &str) -> Result<Self> {
        let Value::Object(mut spec) = renamed(serde_json::to_value(object)?) else {
            anyhow::bail!("not an object");
        };
        let status = spec.remove("status").unwrap_or_default();
        let mut metadata = Map::new();
        for field in ["name", "labels", "annotations", "finalizers"] {
            // The finalizer on a work is the work agent's: it puts its own there again.
            if field != "finalizers" || K::kind(&()) == PeerLink::kind(&()) {
                let value = spec.get_mut("metadata").and_then(|metadata| metadata.get_mut(field));
                metadata.extend(value.map(|value| (field.to_owned(), value.take())));
            }
        }
        metadata.insert("namespace".to_owned(), namespace.into());
        let place = json!({"name": metadata["name"], "namespace": namespace});
        let types = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&())});
        let mut status = json!({"metadata": place, "status": status});
        spec.insert("metadata".to_owned(), metadata.into());
        for field in ["apiVersion", "kind"] {
            spec.insert(field.to_owned(), types[field].clone());
            status[field] = types[field].clone();
        }
        Ok(Self {
            spec: spec.into(),
            status,
        })
    }
}

/// Replaces names wherever they stand.
fn renamed(value: Value) -> Value {
    let text = |text: &str| text.replace(PEERING, NAME).replace(names::GROUP, GROUP);
    match value {
        Value::String(found) => text(&found).into(),
        Value::Array(items) => items.into_iter().map(renamed).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (text(&key), renamed(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// The manager's and the agent's halves of a link's status: `Delivered` and all fields are the agent's.
fn halves(status: &Value) -> (Value, Value) {
    let (mut managers, mut agents) = (status.clone(), status.clone());
    let conditions = status["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let (delivered, others): (Vec<Value>, Vec<Value>) = conditions
        .into_iter()
        .partition(|condition| condition["type"] == peering_api::peering::reasons::DELIVERED);
    managers["status"] = json!({"conditions": others});
    agents["status"]["conditions"] = json!(delivered);
    (managers, agents)
}

fn name(body: &Value) -> Result<&str> {
    body["metadata"]["name"].as_str().context("an object without a name")
}

/// Server-side apply, as the product does it.
async fn apply<K>(api: &Api<K>, body: &Value, manager: &str) -> Result<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let params = PatchParams::apply(manager).force();
    Ok(api.patch(name(body)?, &params, &Patch::Apply(body)).await?)
}

async fn apply_status<K>(api: &Api<K>, body: &Value, manager: &str) -> Result<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let params = PatchParams::apply(manager).force();
    Ok(api.patch_status(name(body)?, &params, &Patch::Apply(body)).await?)
}
