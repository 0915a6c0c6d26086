//! Starts the watches of the hub, and says which Peerings a touched object concerns.
use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Weak},
};

use addon_framework::runtime::{Clients, Recent, Watch, watch};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt, core::PartialObjectMeta};
use kube_runtime::watcher;
use peering_api::{
    names,
    ocm::{ManagedCluster, ManagedClusterAddOn, Placement, PlacementDecision, names as ocm},
    peering::{ExchangeProfile, PeerLink, PeerMember, Peering, PlacementRef},
};
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Asked, Hub, Kind, Queues, is_colliding, label};
use crate::{
    peering::{events::Recorder, metrics::Metrics},
    touched::Key,
};

/// What every watch is started with.
pub(super) struct Starter<'a> {
    clients: &'a Clients,
    tasks: &'a TaskTracker,
    token: &'a CancellationToken,
    queues: &'a Queues,
    concerned: Concerned,
}

/// Leads from touched objects to Peerings, of those which are known by now.
#[derive(Clone)]
struct Concerned {
    hub: Weak<Hub>,
    queues: Queues,
}

impl Concerned {
    fn add(&self, peerings: impl FnOnce(&Hub) -> BTreeSet<String>) {
        if let Some(hub) = self.hub.upgrade() {
            for name in peerings(&hub) {
                self.queues.peerings.add(name);
            }
        }
    }

    /// Members of which a Peering may change by which key they are known.
    fn members_of(&self, peering: &Peering) {
        let hub = self.hub.upgrade();
        for cluster in hub.iter().flat_map(|hub| hub.doubtful(peering)) {
            self.queues.members.add(cluster);
        }
    }

    fn cluster(&self, name: String) {
        self.add(|hub| hub.peerings_of_cluster(&name));
        self.queues.storage.add(Key::Cluster(name.clone()));
        self.queues.storage.add(Key::Info);
        self.queues.members.add(name);
    }

    fn placement(&self, namespace: Option<String>, name: Option<String>) {
        let reference = Some(PlacementRef {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
        });
        self.add(|hub| hub.peerings_of(|peering| peering.spec.placement_ref == reference));
    }
}

impl<'a> Starter<'a> {
    pub(super) fn new(
        clients: &'a Clients,
        tasks: &'a TaskTracker,
        token: &'a CancellationToken,
        queues: &'a Queues,
        hub: Weak<Hub>,
    ) -> Self {
        let concerned = Concerned {
            hub,
            queues: queues.clone(),
        };
        Self {
            clients,
            tasks,
            token,
            queues,
            concerned,
        }
    }

    /// Starts everything.
    pub(super) fn start(&self) -> Hub {
        let metrics = Arc::<Metrics>::default();
        let lost = metrics.lost_events.clone();
        let (cluster, placement) = (self.concerned.clone(), self.concerned.clone());
        let (decision, addon, member) = (self.concerned.clone(), self.concerned.clone(), self.concerned.clone());
        let asked = Arc::<Asked>::default();
        let made = asked.clone();
        let (colliding, measured) = (self.concerned.clone(), metrics.clone());
        Hub {
            client: self.clients.request.clone(),
            peerings: self.peerings(),
            profiles: self.profiles(),
            clusters: self.all("managedclusters", move |touched: &ManagedCluster| {
                cluster.cluster(touched.name_any());
            }),
            placements: self.all("placements", move |touched: &PartialObjectMeta<Placement>| {
                placement.placement(touched.namespace(), Some(touched.name_any()));
            }),
            decisions: self.all("placementdecisions", move |touched: &PlacementDecision| {
                let of = touched.labels().get(ocm::PLACEMENT_LABEL).cloned();
                decision.placement(touched.namespace(), of);
            }),
            addons: self.some(
                "managedclusteraddons",
                watcher::Config::default().fields(&format!("metadata.name={}", names::ADDON)),
                move |touched: &ManagedClusterAddOn| {
                    let cluster = touched.namespace().unwrap_or_default();
                    made.over(&cluster);
                    addon.cluster(cluster);
                },
            ),
            members: self.all("peermembers", move |touched: &PeerMember| {
                member.cluster(touched.namespace().unwrap_or_default());
            }),
            exports: self.labelled("peerexports", |_| ()),
            links: self.labelled("peerlinks", move |link: &PeerLink| {
                measured.seen(link, Timestamp::now());
                // A link that goes may leave its target to a Peering that has been waiting for it.
                colliding.add(|hub| hub.peerings_of(is_colliding));
            }),
            works: self.labelled("manifestworks", |_| ()),
            events: Recorder::start(self.clients.request.clone(), self.tasks, self.token, lost),
            metrics,
            asked,
        }
    }

    fn all<K>(&self, name: &'static str, on: impl Fn(&K) + Send + Sync + 'static) -> Watch<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.some(name, watcher::Config::default(), on)
    }

    fn some<K>(&self, name: &'static str, config: watcher::Config, on: impl Fn(&K) + Send + Sync + 'static) -> Watch<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = Api::all(self.clients.watch.clone());
        watch(self.tasks, self.token, name, api, config, on)
    }

    fn peerings(&self) -> Kind<Peering> {
        let recent = Arc::new(Recent::<Peering>::default());
        let (seen, queues, concerned) = (recent.clone(), self.queues.clone(), self.concerned.clone());
        let watch = self.all("peerings", move |peering: &Peering| {
            seen.seen(peering);
            queues.peerings.add(peering.name_any());
            queues.storage.add(Key::Peering(peering.name_any()));
            concerned.members_of(peering);
        });
        Kind { watch, recent }
    }

    fn profiles(&self) -> Kind<ExchangeProfile> {
        let recent = Arc::new(Recent::<ExchangeProfile>::default());
        let (seen, queue, concerned) = (recent.clone(), self.queues.profiles.clone(), self.concerned.clone());
        let watch = self.all("profiles", move |profile: &ExchangeProfile| {
            seen.seen(profile);
            let name = profile.name_any();
            concerned.add(|hub| hub.peerings_of(|peering| peering.spec.profile == name));
            queue.add(name);
        });
        Kind { watch, recent }
    }

    /// Watches a kind whose objects carry the label of their Peering. `also` hears of each touched object too.
    fn labelled<K>(&self, name: &'static str, also: impl Fn(&K) + Send + Sync + 'static) -> Kind<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let recent = Arc::new(Recent::<K>::default());
        let (seen, queues) = (recent.clone(), self.queues.clone());
        let config = watcher::Config::default().labels(names::PEERING_LABEL);
        let watch = self.some(name, config, move |object: &K| {
            seen.seen(object);
            also(object);
            queues.leaving.add(object.namespace().unwrap_or_default());
            if let Some(peering) = label(object) {
                queues.storage.add(Key::Peering(peering.to_owned()));
                queues.peerings.add(peering.to_owned());
            }
        });
        Kind { watch, recent }
    }
}
