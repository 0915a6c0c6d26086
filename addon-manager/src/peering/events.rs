//! Events: one for each transition of `Ready`, `Accepted` or what a `MirrorPeer` has in their place, and none for anything else. They are a courtesy: sending them
//! neither delays nor fails a pass, and one that cannot be sent is counted and lost.
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use kube_runtime::events::{EventType, Reporter};
use peering_api::{
    names,
    peering::{
        condition,
        reasons::{
            self, Configured, Connected, Deleted, Delivered, LinkReady, PeeringReady, SourceReady, Validated, Wired,
        },
    },
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// `reportingController` of our events.
const REPORTER: &str = "multicluster-orchestrator";

/// Where the events of cluster-scoped objects belong; the API server admits no other namespace.
const CLUSTER_SCOPED: &str = "default";

/// The longest `note` that the API server admits (validation of `events.k8s.io/v1`).
const MAX_NOTE: usize = 1024;

/// The longest `reportingInstance` that the API server admits.
const MAX_INSTANCE: usize = 128;

/// Events that wait to be sent; more are lost. Enough for a thousand links that fail at once.
const WAITING: usize = 1024;

/// Conditions whose transitions are told.
const TOLD: [&str; 5] = [
    reasons::READY,
    reasons::ACCEPTED,
    reasons::VALIDATED,
    reasons::CONFIGURED,
    reasons::DELETED,
];

/// Reasons of an object that is still being set up. Nothing is told of the way from one to the next: with ten thousand links
/// these would be tens of thousands of writes to say that all goes well.
const SETTING_UP: [&str; 16] = [
    LinkReady::WaitingForAgent.as_str(),
    LinkReady::WaitingForDestination.as_str(),
    SourceReady::WaitingForSource.as_str(),
    SourceReady::WaitingForRequest.as_str(),
    SourceReady::NotReadyYet.as_str(),
    SourceReady::EndpointPending.as_str(),
    Delivered::WaitingForEnvelope.as_str(),
    Wired::WaitingForDelivery.as_str(),
    Connected::ProbePending.as_str(),
    PeeringReady::LinksNotReady.as_str(),
    Validated::MirrorPeerValid.as_str(),
    Configured::ConfigurationInProgress.as_str(),
    Configured::PeeringInProgress.as_str(),
    Configured::S3ConfigurationInProgress.as_str(),
    Configured::DRClusterConfigurationInProgress.as_str(),
    Deleted::DeletionInProgress.as_str(),
];

/// A transition that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    type_: EventType,
    condition: String,
    reason: String,
    message: String,
}

/// The transitions from what stood in an object to what was written: a change of status or reason. Another message alone is
/// none.
pub(crate) fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Note> {
    let told = after.iter().filter(|new| TOLD.contains(&new.type_.as_str()));
    told.filter_map(|new| {
        let old = condition(before, &new.type_);
        note(old, new)
    })
    .collect()
}

fn note(old: Option<&Condition>, new: &Condition) -> Option<Note> {
    let setting_up = |condition: &Condition| SETTING_UP.contains(&condition.reason.as_str());
    let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
    let on_its_way = setting_up(new) && old.is_none_or(setting_up);
    if same || on_its_way {
        return None;
    }
    let good = new.status == "True";
    Some(Note {
        type_: if good { EventType::Normal } else { EventType::Warning },
        condition: new.type_.clone(),
        reason: new.reason.clone(),
        message: new.message.clone(),
    })
}

/// The event for a note about an object as it was before the transition.
///
/// Its name follows from that very version of the object: a pass that is repeated on what it has already seen, also after a
/// restart, makes the same event, which is there already.
fn event(object: &(ObjectReference, String), note: Note, instance: &str, now: Timestamp) -> Event {
    let (reference, version) = object;
    let namespace = reference.namespace.as_deref().unwrap_or(CLUSTER_SCOPED);
    let uid = reference.uid.as_deref().unwrap_or_default();
    let name = reference.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(names::event_name(name, uid, version, &note.condition)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(format!("{}Changed", note.condition)),
        event_time: Some(MicroTime(now)),
        note: Some(cut(&note.message, MAX_NOTE).to_owned()),
        reason: Some(note.reason),
        regarding: Some(reference.clone()),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(cut(instance, MAX_INSTANCE).to_owned()),
        type_: Some(format!("{:?}", note.type_)),
        ..Event::default()
    }
}

/// At most so many bytes, whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Takes events; a task of its own sends them.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Event>,
    instance: String,
    lost: Counter,
}

impl Recorder {
    /// Starts the task that sends. `lost` counts the events that were not.
    pub(crate) fn start(client: Client, tasks: &TaskTracker, token: &CancellationToken, lost: Counter) -> Self {
        let (queue, events) = mpsc::channel(WAITING);
        let (sending, token) = (send(client, events, lost.clone()), token.clone());
        tasks.spawn(async move { token.run_until_cancelled(sending).await });
        let instance = Reporter::from(REPORTER).instance;
        Self {
            queue,
            instance: instance.unwrap_or_else(|| REPORTER.to_owned()),
            lost,
        }
    }

    /// Tells the transitions of an object: from the conditions that it had when it was read to those that were written.
    pub(crate) fn changed<K>(&self, object: &K, before: &[Condition], after: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let regarding = (object.object_ref(&()), object.resource_version().unwrap_or_default());
        for note in transitions(before, after) {
            let event = event(&regarding, note, &self.instance, Timestamp::now());
            if self.queue.try_send(event).is_err() {
                self.lost.inc();
            }
        }
    }
}

async fn send(client: Client, mut events: mpsc::Receiver<Event>, lost: Counter) {
    while let Some(event) = events.recv().await {
        let namespace = event.metadata.namespace.as_deref().unwrap_or(CLUSTER_SCOPED);
        let api = Api::<Event>::namespaced(client.clone(), namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // Told already, by the same pass before it was repeated.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => {
                lost.inc();
                let error = addon_framework::runtime::error_chain(&error);
                tracing::warn!(name = event.name_any(), error, "event lost");
            }
        }
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
