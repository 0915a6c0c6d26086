//! A hub in memory: it carries changes out as the manager would, and plays the agents and Ramen.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time},
    kube::ResourceExt,
    ocm::{
        ManifestWork,
        work::{ManifestWorkSpec, ManifestWorkStatus, Workload},
    },
    odf::{
        BACKUP_LABEL, BACKUP_RESOURCE, CREATED_BY, CREATED_BY_LABEL, ClientInfo, DRCluster, DRPolicy, FINALIZER,
        MirrorPeer, SPOKE_FINALIZER_SUFFIX,
    },
    peering::{Peering, PeeringSpec, PeeringStatus},
};
use serde_json::json;

use super::*;
use crate::{classes::WorkChange, mapping, ramen::Record, store::Store};

/// The hub's objects.
pub(super) struct Hub {
    pub(super) peers: BTreeMap<String, Arc<MirrorPeer>>,
    pub(super) peerings: BTreeMap<String, Arc<Peering>>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) itself: Option<String>,
    pub(super) clients: BTreeMap<String, ClientInfo>,
    pub(super) vanished: BTreeSet<String>,
    pub(super) consumers: BTreeMap<String, String>,
    pub(super) legacy: Vec<Arc<ManifestWork>>,
    /// Works of mappings, by cluster.
    pub(super) mappings: BTreeMap<String, Arc<ManifestWork>>,
    pub(super) ramen: Option<(String, Record)>,
    pub(super) dr_clusters: Foreign<BTreeMap<String, Arc<DRCluster>>>,
    pub(super) dr_policies: Foreign<Vec<Arc<DRPolicy>>>,
    /// Whether the agents do their work.
    pub(super) agents: bool,
    /// Everything that was written.
    pub(super) written: Vec<String>,
    /// The last status of each.
    pub(super) told: BTreeMap<String, Status>,
    clock: i64,
}

impl Hub {
    pub(super) fn new(clusters: &[&str]) -> Self {
        let managed = |name: &&str| {
            let cluster = Cluster {
                managed: true,
                agent: Agent::Installed,
                odf_info: None,
            };
            ((*name).to_owned(), cluster)
        };
        Self {
            peers: BTreeMap::new(),
            peerings: BTreeMap::new(),
            clusters: clusters.iter().map(managed).collect(),
            itself: Some("local-cluster".to_owned()),
            clients: BTreeMap::new(),
            vanished: BTreeSet::new(),
            consumers: BTreeMap::new(),
            legacy: Vec::new(),
            mappings: BTreeMap::new(),
            ramen: Some(("kind: RamenConfig\n".to_owned(), Record::default())),
            dr_clusters: Foreign::Known(BTreeMap::new()),
            dr_policies: Foreign::Known(Vec::new()),
            agents: true,
            written: Vec::new(),
            told: BTreeMap::new(),
            clock: 0,
        }
    }

    /// A user applies a `MirrorPeer` of `StorageCluster`s `sc` in namespaces `ns`.
    pub(super) fn peer(&mut self, name: &str, clusters: [&str; 2], manage_s3: bool) {
        let items = clusters
            .map(|cluster| json!({"clusterName": cluster, "storageClusterRef": {"name": "sc", "namespace": "ns"}}));
        self.apply(name, json!({"items": items, "manageS3": manage_s3}));
    }

    /// A user applies a `MirrorPeer`.
    pub(super) fn apply(&mut self, name: &str, spec: serde_json::Value) {
        let spec = serde_json::from_value(spec).unwrap();
        if let Some(known) = self.peers.get_mut(name) {
            Arc::make_mut(known).spec = spec;
            return;
        }
        self.clock += 1;
        let mut peer = MirrorPeer::new(name, spec);
        peer.metadata.creation_timestamp = Some(at(self.clock));
        self.peers.insert(name.to_owned(), Arc::new(peer));
    }

    pub(super) fn delete(&mut self, name: &str) {
        let peer = Arc::make_mut(self.peers.get_mut(name).unwrap());
        peer.metadata.deletion_timestamp = Some(at(100));
        if peer.finalizers().is_empty() {
            self.peers.remove(name);
        }
    }

    pub(super) fn policy(&mut self, name: &str, clusters: &[&str]) {
        let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": name},
            "spec": {"drClusters": clusters, "schedulingInterval": "5m"}});
        let mut all = self.dr_policies.known().cloned().unwrap_or_default();
        all.push(Arc::new(serde_json::from_value(policy).unwrap()));
        self.dr_policies = Foreign::Known(all);
    }

    pub(super) fn dr_cluster(&mut self, text: serde_json::Value) {
        let cluster: DRCluster = serde_json::from_value(text).unwrap();
        let mut all = self.dr_clusters.known().cloned().unwrap_or_default();
        all.insert(cluster.name_any(), Arc::new(cluster));
        self.dr_clusters = Foreign::Known(all);
    }

    pub(super) fn profile_of(&self, cluster: &str) -> Option<String> {
        let known = self.dr_clusters.known()?.get(cluster)?;
        Some(known.spec.s3_profile_name.clone())
    }

    fn seen_ramen(&self) -> Ramen {
        self.ramen
            .as_ref()
            .map_or(Ramen::Missing, |(text, record)| Ramen::Known {
                namespace: "ramen".to_owned(),
                text: Some(text.clone()),
                record: record.clone(),
            })
    }

    fn store(spec: &PeeringSpec) -> Store {
        Store {
            bucket: spec.parameters["bucket"].clone(),
            region: "noobaa".to_owned(),
            endpoint: format!("https://s3.{}.example.com", spec.members[0].cluster),
            ca: None,
        }
    }

    /// The Peerings of stores whose agents have done their work.
    fn stores(&self) -> BTreeMap<String, Store> {
        let stores = self
            .peerings
            .iter()
            .filter(|(_, peering)| peering.spec.profile == S3_PROFILE);
        let done = stores.filter(|(_, peering)| peering.status.is_some());
        done.map(|(name, peering)| (name.clone(), Self::store(&peering.spec)))
            .collect()
    }

    pub(super) fn seen(&self, name: &str) -> Observed {
        let others = self.peers.iter().filter(|(other, _)| *other != name);
        Observed {
            others: others.map(|(_, peer)| peer.clone()).collect(),
            clusters: self.clusters.clone(),
            hub: self.itself.clone(),
            clients: self.clients.clone(),
            vanished: self.vanished.clone(),
            consumers: self.consumers.clone(),
            legacy: self.legacy.clone(),
            mappings: self.mappings.clone(),
            peerings: self.peerings.clone(),
            stores: self
                .stores()
                .into_iter()
                .map(|(name, store)| (name, Ok(store)))
                .collect(),
            ramen: self.seen_ramen(),
            dr_clusters: self.dr_clusters.clone(),
            dr_policies: self.dr_policies.clone(),
            ..Observed::new(self.peers[name].clone())
        }
    }

    /// Passes until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..50 {
            let before = self.written.len();
            self.pass();
            if self.written.len() == before {
                return;
            }
        }
        panic!("it never settles: {:#?}", self.written);
    }

    fn pass(&mut self) {
        for name in self.peers.keys().cloned().collect::<Vec<_>>() {
            let decision = decide(&self.seen(&name));
            for change in decision.changes {
                self.written.push(change.to_string());
                self.write(&name, change);
            }
            if let Some(status) = decision.status {
                self.told.insert(name, status);
            }
        }
        self.pass_ramen();
        self.pass_mappings();
        if self.agents {
            self.play_agents();
        }
    }

    fn pass_ramen(&mut self) {
        let stores = self.stores().into_iter().map(|(name, store)| {
            let spec = &self.peerings[&name].spec;
            let secrets = spec
                .members
                .iter()
                .filter_map(|member| Some((member.cluster.clone(), stated_secret(spec, &member.cluster)?)));
            let seen = StoreSeen {
                store: Some(store),
                delivered: true,
                secrets: secrets.collect(),
            };
            (name, seen)
        });
        let peers: Vec<_> = self.peers.values().cloned().collect();
        let decision = decide_ramen(
            &self.seen_ramen(),
            &peers,
            &self.clients,
            &stores.collect(),
            &self.dr_clusters,
        );
        if let Some(decision) = decision.unwrap() {
            self.written.push("edit Ramen's configuration".to_owned());
            self.ramen = Some((decision.after.text, decision.after.record));
        }
    }

    /// The works of mappings; the work agents apply them at once.
    fn pass_mappings(&mut self) {
        let peers: Vec<_> = self.peers.values().cloned().collect();
        for cluster in self.clusters.keys() {
            let known: Vec<_> = self.mappings.get(cluster).cloned().into_iter().collect();
            let Some(change) = mapping::decide(cluster, &peers, &self.clients, &known) else {
                continue;
            };
            self.written.push(format!("{change} on {cluster}"));
            match change {
                WorkChange::Delete(_) => drop(self.mappings.remove(cluster)),
                WorkChange::Disown(work) => {
                    let work = Arc::make_mut(self.mappings.entry(cluster.clone()).or_insert(work));
                    work.metadata.owner_references = None;
                }
                WorkChange::Apply(name, manifests) => {
                    let spec = ManifestWorkSpec {
                        workload: Workload { manifests },
                        ..ManifestWorkSpec::default()
                    };
                    let mut work = ManifestWork::new(name, spec);
                    let mut applied = standing(&[("Applied", "True")]).conditions;
                    applied.truncate(1);
                    work.status = Some(ManifestWorkStatus {
                        conditions: applied,
                        ..ManifestWorkStatus::default()
                    });
                    self.mappings.insert(cluster.clone(), Arc::new(work));
                }
            }
        }
    }

    /// What a cluster's storage operator reads about its clients.
    pub(super) fn mapped(&self, cluster: &str) -> serde_json::Value {
        let work = self.mappings.get(cluster);
        let manifests = work
            .map(|work| work.spec.workload.manifests.as_slice())
            .unwrap_or_default();
        let map = manifests.iter().find(|manifest| manifest["kind"] == "ConfigMap");
        map.map_or(serde_json::Value::Null, |map| map["data"].clone())
    }

    /// A provider tells of a client.
    pub(super) fn client(&mut self, at: &str, name: &str, id: &str, provider: &str) {
        let info = json!({"clusterId": format!("id of {at}"), "name": name, "clientId": id, "clientManagedClusterName": at,
            "providerInfo": {"version": "4.19.2", "deploymentType": "internal", "providerManagedClusterName": provider,
                "namespacedName": {"Namespace": "openshift-storage", "Name": "sc"},
                "storageProviderEndpoint": format!("{provider}:50051")}});
        let key = crate::names::client_key(at, name);
        self.clients.insert(key, serde_json::from_value(info).unwrap());
    }

    /// A user pairs two clients, each given as cluster and name.
    pub(super) fn clients(&mut self, name: &str, clients: [[&str; 2]; 2], manage_s3: bool) {
        let items = clients.map(|[cluster, name]| json!({"clusterName": cluster, "storageClusterRef": {"name": name}}));
        self.apply(name, json!({"items": items, "manageS3": manage_s3}));
    }

    fn play_agents(&mut self) {
        for (name, peering) in &mut self.peerings {
            if peering.status.is_none() && peering.metadata.deletion_timestamp.is_none() {
                self.written.push(format!("agents serve {name}"));
                Arc::make_mut(peering).status = Some(standing(&[("Accepted", "True"), ("Ready", "True")]));
            }
        }
        let before = self.peerings.len();
        self.peerings
            .retain(|_, peering| peering.metadata.deletion_timestamp.is_none());
        if self.peerings.len() < before {
            self.written.push("agents withdraw".to_owned());
        }
    }

    fn write(&mut self, name: &str, change: Change) {
        match change {
            Change::Adopt => {
                let peer = Arc::make_mut(self.peers.get_mut(name).unwrap());
                peer.labels_mut()
                    .insert(BACKUP_LABEL.to_owned(), BACKUP_RESOURCE.to_owned());
                let finalizers = peer.finalizers_mut();
                finalizers.retain(|known| !known.ends_with(SPOKE_FINALIZER_SUFFIX) && known != FINALIZER);
                finalizers.push(FINALIZER.to_owned());
            }
            Change::Release => drop(self.peers.remove(name)),
            Change::OrphanWork(work) => self.legacy.retain(|known| known.name_any() != work.name_any()),
            Change::Record(text) => {
                let peer = Arc::make_mut(self.peers.get_mut(name).unwrap());
                peer.annotations_mut()
                    .insert(crate::odf_info::RECORD_ANNOTATION.to_owned(), text);
            }
            Change::ApplyPeering(name, spec) => {
                let mut peering = Peering::new(&name, *spec);
                peering
                    .labels_mut()
                    .insert(CREATED_BY_LABEL.to_owned(), CREATED_BY.to_owned());
                self.peerings.insert(name, Arc::new(peering));
            }
            Change::DeletePeering(peering) => {
                let known = Arc::make_mut(self.peerings.get_mut(&peering.name_any()).unwrap());
                known.metadata.deletion_timestamp = Some(at(100));
            }
            Change::ForcePeering(peering) => drop(self.peerings.remove(&peering.name_any())),
            Change::ApplyDRCluster(name, profile) => {
                let mut known = self.dr_clusters.known().cloned().unwrap();
                let cluster = known.entry(name.clone()).or_default();
                let cluster = Arc::make_mut(cluster);
                cluster.metadata.name = Some(name);
                cluster.spec.s3_profile_name = profile;
                cluster
                    .labels_mut()
                    .insert(CREATED_BY_LABEL.to_owned(), CREATED_BY.to_owned());
                self.dr_clusters = Foreign::Known(known);
            }
            Change::DisownDRCluster(cluster) => {
                let mut known = self.dr_clusters.known().cloned().unwrap();
                let cluster = Arc::make_mut(known.get_mut(&cluster.name_any()).unwrap());
                cluster
                    .owner_references_mut()
                    .retain(|owner| owner.kind != "MirrorPeer");
                self.dr_clusters = Foreign::Known(known);
            }
            Change::DeleteDRCluster(cluster) => {
                let mut known = self.dr_clusters.known().cloned().unwrap();
                known.remove(&cluster.name_any());
                self.dr_clusters = Foreign::Known(known);
            }
        }
    }

    /// The phase, the message, and the reason and message of the condition that matters.
    pub(super) fn says(&self, name: &str) -> (&'static str, &'static str, String, String) {
        let status = &self.told[name];
        let mut conditions = status.conditions.iter();
        let said = conditions
            .find(|said| {
                matches!(
                    (status.phase, said.type_),
                    (Phase::Failed, "Validated") | (Phase::Deleting, "Deleted") | (_, "Configured")
                )
            })
            .unwrap();
        (
            status.phase.as_str(),
            status.message,
            said.reason.clone(),
            said.message.clone(),
        )
    }

    /// The writes since the last call, each kind once.
    pub(super) fn news(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.written).into_iter().collect()
    }
}

pub(super) use peering_api::odf::Phase;

pub(super) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// A status of a Peering with these conditions.
pub(super) fn standing(conditions: &[(&str, &str)]) -> PeeringStatus {
    let condition = |(type_, status): &(&str, &str)| Condition {
        type_: (*type_).to_owned(),
        status: (*status).to_owned(),
        reason: "Accepted".to_owned(),
        message: "as the test says".to_owned(),
        observed_generation: None,
        last_transition_time: at(0),
    };
    PeeringStatus {
        conditions: conditions.iter().map(condition).collect(),
        ..PeeringStatus::default()
    }
}
