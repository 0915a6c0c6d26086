//! Replication classes: what CSI drivers are told about the interval of a `DRPolicy`.
//!
//! A class belongs to its cluster, as its name holds only interval and pool: all policies that want it share it, whoever came first,
//! and it goes with the last of them. So there is one set per cluster, and nobody counts references.
use std::{collections::BTreeMap, fmt, sync::Arc};

use peering_api::{
    kube::ResourceExt,
    ocm::ManifestWork,
    odf::{
        CREATED_BY, CREATED_BY_LABEL, ClientInfo, DRPolicy, MirrorPeer, MirrorPeerSpec, PeerRef, Phase,
        ReplicationClass, ReplicationClassSpec, ReplicationType,
    },
    peering::condition,
};
use serde_json::{Value, json};

use crate::{
    mirrorpeer::{self, Mode, Provider, StoreKey, is_leaving},
    names, odf_info,
};

/// The work that brings a cluster its classes, in its cluster namespace.
pub const WORK: &str = "replication-classes";

/// The kind for volumes.
const VOLUME: &str = "VolumeReplicationClass";
/// The kind for groups of volumes.
const GROUP: &str = "VolumeGroupReplicationClass";
/// Label of a policy's selector and of the classes that fit it: clones are flattened before they are mirrored.
const FLATTEN: &str = "replication.storage.openshift.io/flatten-mode";
/// Label: Ramen may ask for maintenance of the storage in a fail-over. Every class needs it, flattening ones too.
const MAINTENANCE: (&str, &str) = ("ramendr.openshift.io/maintenancemodes", "Failover");
/// Annotation of the class that is taken where none is named.
const DEFAULT: &str = "replication.storage.openshift.io/is-default-class";
/// Label: the storage. Label: what is replicated.
const IDS: (&str, &str) = ("ramendr.openshift.io/storageid", "ramendr.openshift.io/replicationid");
/// The Secret with which the driver talks to Ceph, in the namespace of the storage cluster.
const SECRET: &str = "rook-csi-rbd-provisioner";
/// From this version on storage operators can replicate groups of volumes.
const GROUPS_SINCE: (u32, u32) = (4, 20);

/// A storage cluster that classes are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Its namespace, which begins the name of its driver.
    pub namespace: String,
    /// Id of the storage, once it is known.
    pub storage_id: Option<String>,
    /// Id of what it replicates with its peer, once both are known.
    pub replication_id: Option<String>,
    /// Mirrored pools whose volumes can be replicated as groups.
    pub pools: Vec<String>,
}

/// The classes that a policy wants on a storage cluster.
#[must_use]
pub fn of(policy: &DRPolicy, storage: &Storage) -> Vec<ReplicationClass> {
    let interval = policy.spec.scheduling_interval.as_str();
    if interval.is_empty() {
        return Vec::new();
    }
    let selector = policy.spec.replication_class_selector.as_ref();
    let flatten =
        selector.is_some_and(|selector| selector.match_labels.get(FLATTEN).map(String::as_str) == Some("force"));
    let volume = class(
        VOLUME,
        names::replication_class(interval, flatten),
        interval,
        flatten,
        storage,
    );
    let groups = storage.pools.iter().map(|pool| {
        let name = names::group_replication_class(interval, flatten, pool);
        let mut group = class(GROUP, name, interval, flatten, storage);
        group.spec.parameters.insert("pool".to_owned(), pool.clone());
        group
    });
    std::iter::once(volume).chain(groups).collect()
}

fn class(kind: &'static str, name: String, interval: &str, flatten: bool, storage: &Storage) -> ReplicationClass {
    let namespace = &storage.namespace;
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    let mut labels = owned(&[MAINTENANCE]);
    for (key, id) in [(IDS.0, &storage.storage_id), (IDS.1, &storage.replication_id)] {
        labels.extend(id.as_ref().map(|id| (key.to_owned(), id.clone())));
    }
    let mut parameters = owned(&[
        ("mirroringMode", "snapshot"),
        ("schedulingInterval", interval),
        ("replication.storage.openshift.io/replication-secret-name", SECRET),
        (
            "replication.storage.openshift.io/replication-secret-namespace",
            namespace,
        ),
    ]);
    let mut annotations = BTreeMap::new();
    if flatten {
        labels.extend(owned(&[(FLATTEN, "force")]));
        parameters.extend(owned(&[("flattenMode", "force")]));
    } else {
        annotations = owned(&[(DEFAULT, "true")]);
    }
    ReplicationClass {
        kind,
        name,
        labels,
        annotations,
        spec: ReplicationClassSpec {
            provisioner: format!("{namespace}.rbd.csi.ceph.com"),
            parameters,
        },
    }
}

/// The classes of a cluster, by kind and name. `there` says which are there already: those are not taken away because a
/// `MirrorPeer` is not ready for a while.
#[must_use]
pub fn of_cluster(
    cluster: &str,
    policies: &[Arc<DRPolicy>],
    peers: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    there: impl Fn(&ReplicationClass) -> bool,
) -> BTreeMap<(&'static str, String), ReplicationClass> {
    let mut peers: Vec<_> = peers.iter().filter(|peer| is_served(peer, clients)).collect();
    peers.sort_by_key(|peer| (peer.creation_timestamp().map(|at| at.0), peer.name_any()));
    let mut wanted = BTreeMap::new();
    for peer in peers {
        let Some((own, other)) = ends(peer, cluster) else {
            continue;
        };
        let Some(storage) = storage(&peer.spec, own, other, clients) else {
            continue;
        };
        for policy in policies.iter().filter(|policy| fits(policy, peer)) {
            for class in of(policy, &storage) {
                if is_ready(peer) || there(&class) {
                    // Two storage clusters on one cluster: the older MirrorPeer's has the name.
                    wanted.entry((class.kind, class.name.clone())).or_insert(class);
                }
            }
        }
    }
    wanted
}

/// Label of a template: what kind of class it holds.
const OBJECT_KIND: &str = "multicluster.odf.openshift.io/object-kind";

/// Whether classes are made for a policy between two clusters at all.
fn fits(policy: &DRPolicy, peer: &MirrorPeer) -> bool {
    let names = &policy.spec.dr_clusters;
    !is_leaving(policy) && names.len() == 2 && peer.spec.items.iter().all(|item| names.contains(&item.cluster_name))
}

fn is_ready(peer: &MirrorPeer) -> bool {
    let status = peer.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some(Phase::Ready.as_str())
}

/// A class of which the storage operator makes one for each client: what only it knows is left to it.
fn template(namespace: &str, mut class: ReplicationClass) -> Value {
    class
        .spec
        .parameters
        .retain(|name, _| !name.starts_with("replication.storage.openshift.io/"));
    json!({
        "apiVersion": "template.openshift.io/v1", "kind": "Template",
        "metadata": {"name": class.name, "namespace": namespace,
            "labels": {CREATED_BY_LABEL: CREATED_BY, OBJECT_KIND: class.kind}},
        "objects": [class.manifest()],
    })
}

/// The classes that a pair of clients gets from one of its providers.
#[must_use]
pub fn of_clients(
    peer: &MirrorPeer,
    provider: &Provider,
    policies: &[Arc<DRPolicy>],
    clients: &BTreeMap<String, ClientInfo>,
) -> BTreeMap<(&'static str, String), ReplicationClass> {
    let infos = peer
        .spec
        .items
        .iter()
        .filter_map(|item| Some((item, clients.get(&item_key(item))?)));
    let info = infos
        .into_iter()
        .find(|(item, info)| Provider::of(item, info).as_ref() == Some(provider));
    let info = info.map(|(_, info)| &info.provider_info);
    let grouped = info.filter(|info| odf_info::minor(&info.version) >= Some(GROUPS_SINCE));
    let pools = grouped.into_iter().flat_map(|info| &info.info_ceph_block_pools);
    let storage = Storage {
        namespace: provider.namespace.clone(),
        pools: pools
            .filter(|pool| pool.mirror_enabled)
            .map(|pool| pool.name.clone())
            .collect(),
        ..Storage::default()
    };
    let wanted = policies.iter().filter(|policy| fits(policy, peer));
    let classes = wanted.flat_map(|policy| of(policy, &storage));
    classes.map(|class| ((class.kind, class.name.clone()), class)).collect()
}

fn item_key(item: &PeerRef) -> String {
    names::client_key(&item.cluster_name, &item.storage_cluster_ref.name)
}

/// The templates of a cluster that provides for clients.
fn templates(
    cluster: &str,
    policies: &[Arc<DRPolicy>],
    peers: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    there: impl Fn(&ReplicationClass) -> bool,
) -> Vec<Value> {
    let mut wanted = BTreeMap::new();
    for peer in peers.iter().filter(|peer| !is_leaving(peer.as_ref())) {
        for provider in mirrorpeer::ends(&peer.spec, clients)
            .into_iter()
            .flat_map(|ends| ends.providers)
        {
            if provider.cluster != cluster {
                continue;
            }
            for (key, class) in of_clients(peer, &provider, policies, clients) {
                if is_ready(peer) || there(&class) {
                    wanted.entry((provider.namespace.clone(), key)).or_insert(class);
                }
            }
        }
    }
    let wanted = wanted.into_iter();
    wanted
        .map(|((namespace, _), class)| template(&namespace, class))
        .collect()
}

/// One write to the works of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkChange {
    /// The work of this name is made or brought into shape.
    Apply(&'static str, Vec<Value>),
    /// A work of the Go orchestrator, which is ours now, would go with one `MirrorPeer` although others need it.
    Disown(Arc<ManifestWork>),
    /// A work goes: ours, or one of the Go orchestrator whose classes are in ours.
    Delete(Arc<ManifestWork>),
}

impl fmt::Display for WorkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(name, _) => write!(f, "apply ManifestWork {name}"),
            Self::Disown(work) => write!(f, "disown ManifestWork {}", work.name_any()),
            Self::Delete(work) => write!(f, "delete ManifestWork {}", work.name_any()),
        }
    }
}

/// What is to be written to the works of a cluster. `works` are those that were made for storage.
#[must_use]
pub fn decide_works(
    cluster: &str,
    policies: &[Arc<DRPolicy>],
    peers: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    works: &[Arc<ManifestWork>],
) -> Vec<WorkChange> {
    let ours = works.iter().find(|work| work.name_any() == WORK);
    let known = works.iter().flat_map(|work| &work.spec.workload.manifests);
    let known: Vec<&Value> = known.collect();
    let there = |class: &ReplicationClass| {
        let same = |manifest: &&&Value| {
            let kind = [&manifest["kind"], &manifest["objects"][0]["kind"]];
            kind.iter().any(|kind| **kind == class.kind) && manifest["metadata"]["name"] == class.name.as_str()
        };
        known.iter().any(|manifest| same(&manifest))
    };
    let wanted = of_cluster(cluster, policies, peers, clients, there);
    let mut manifests: Vec<_> = wanted.values().map(ReplicationClass::manifest).collect();
    manifests.extend(templates(cluster, policies, peers, clients, there));
    match ours {
        // One that is leaving is made anew once it is gone.
        Some(work) if is_leaving(work.as_ref()) => Vec::new(),
        Some(work) if manifests.is_empty() => vec![WorkChange::Delete(work.clone())],
        Some(work) if work.spec.workload.manifests == manifests => superfluous(work, policies, works),
        None if manifests.is_empty() => Vec::new(),
        _ => vec![WorkChange::Apply(WORK, manifests)],
    }
}

/// Works of the Go orchestrator, once ours has been applied: the classes have had two owners then, and stay.
fn superfluous(ours: &ManifestWork, policies: &[Arc<DRPolicy>], works: &[Arc<ManifestWork>]) -> Vec<WorkChange> {
    let conditions = ours.status.as_ref().map(|status| status.conditions.as_slice());
    let applied = condition(conditions.unwrap_or_default(), "Applied");
    let is_applied = applied
        .is_some_and(|applied| applied.status == "True" && applied.observed_generation == ours.metadata.generation);
    let legacy: Vec<_> = policies
        .iter()
        .flat_map(|policy| names::legacy_class_works(&policy.name_any()))
        .collect();
    let old = works
        .iter()
        .filter(|work| !is_leaving(work.as_ref()) && legacy.contains(&work.name_any()));
    old.filter(|_| is_applied)
        .map(|work| WorkChange::Delete(work.clone()))
        .collect()
}

/// Whether classes are made for a `MirrorPeer` at all.
fn is_served(peer: &Arc<MirrorPeer>, clients: &BTreeMap<String, ClientInfo>) -> bool {
    let info = |item: &PeerRef| {
        clients
            .get(&names::client_key(&item.cluster_name, &item.storage_cluster_ref.name))
            .cloned()
    };
    let mode = mirrorpeer::mode(&peer.spec, info, |_| Vec::new());
    !is_leaving(peer.as_ref())
        && peer.spec.type_ == ReplicationType::Async
        && mode.is_ok_and(|mode| mode != Mode::Client)
}

/// The item on a cluster, and the other one.
fn ends<'p>(peer: &'p MirrorPeer, cluster: &str) -> Option<(&'p PeerRef, &'p PeerRef)> {
    match peer.spec.items.as_slice() {
        [own, other] | [other, own] if own.cluster_name == cluster => Some((own, other)),
        _ => None,
    }
}

fn storage(
    spec: &MirrorPeerSpec,
    own: &PeerRef,
    other: &PeerRef,
    clients: &BTreeMap<String, ClientInfo>,
) -> Option<Storage> {
    let key = StoreKey::of(spec, own, clients)?;
    let info = |item: &PeerRef| clients.get(&names::client_key(&item.cluster_name, &item.storage_cluster_ref.name));
    let id = |item: &PeerRef| names::storage_id(&info(item)?.provider_info.ceph_cluster_fsid, "");
    let (storage_id, others) = (id(own), id(other));
    let replication_id = storage_id.as_ref().zip(others.as_ref());
    let provider = info(own).map(|info| &info.provider_info);
    let grouped = provider.filter(|provider| odf_info::minor(&provider.version) >= Some(GROUPS_SINCE));
    let pools = grouped.into_iter().flat_map(|provider| &provider.info_ceph_block_pools);
    Some(Storage {
        namespace: key.namespace,
        replication_id: replication_id.and_then(|(own, other)| names::replication_id(own, other)),
        storage_id,
        pools: pools
            .filter(|pool| pool.mirror_enabled)
            .map(|pool| pool.name.clone())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, interval: &str, clusters: &[&str], labels: &Value) -> Arc<DRPolicy> {
        let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": name},
            "spec": {"drClusters": clusters, "schedulingInterval": interval, "replicationClassSelector": {"matchLabels": labels}}});
        Arc::new(serde_json::from_value(policy).unwrap())
    }

    fn peer(name: &str, clusters: [&str; 2], phase: &str) -> Arc<MirrorPeer> {
        let items = clusters.map(|cluster| json!({"clusterName": cluster, "storageClusterRef": {"name": "sc", "namespace": format!("ns-{cluster}")}}));
        let peer = json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer", "metadata": {"name": name},
            "spec": {"items": items}, "status": {"phase": phase}});
        Arc::new(serde_json::from_value(peer).unwrap())
    }

    fn info(version: &str, kind: &str, fsid: &str) -> ClientInfo {
        let text = json!({"providerInfo": {"version": version, "deploymentType": kind, "cephClusterFSID": fsid,
            "namespacedName": {"Namespace": "ns", "Name": "sc"},
            "infoCephBlockPools": [{"name": "pool", "mirrorEnabled": true}, {"name": "other", "mirrorEnabled": false}]}});
        serde_json::from_value(text).unwrap()
    }

    fn all(
        cluster: &str,
        policies: &[Arc<DRPolicy>],
        peers: &[Arc<MirrorPeer>],
        clients: &BTreeMap<String, ClientInfo>,
    ) -> Vec<String> {
        let found = of_cluster(cluster, policies, peers, clients, |_| false);
        found.into_keys().map(|(_, name)| name).collect()
    }

    #[test]
    fn a_class_says_what_the_driver_of_its_storage_needs() {
        let storage = Storage {
            namespace: "ceph-east".to_owned(),
            ..Storage::default()
        };
        let plain = of(&policy("p", "5m", &["c1", "c2"], &json!({})), &storage);
        assert_eq!(
            plain[0].manifest(),
            json!({
                "apiVersion": "replication.storage.openshift.io/v1alpha1", "kind": "VolumeReplicationClass",
                "metadata": {
                    "name": "rbd-volumereplicationclass-1625360775",
                    "labels": {"ramendr.openshift.io/maintenancemodes": "Failover"},
                    "annotations": {"replication.storage.openshift.io/is-default-class": "true"},
                },
                "spec": {
                    "provisioner": "ceph-east.rbd.csi.ceph.com",
                    "parameters": {
                        "mirroringMode": "snapshot", "schedulingInterval": "5m",
                        "replication.storage.openshift.io/replication-secret-name": "rook-csi-rbd-provisioner",
                        "replication.storage.openshift.io/replication-secret-namespace": "ceph-east",
                    },
                },
            })
        );
        let flat = of(&policy("p", "5m", &["c1", "c2"], &json!({FLATTEN: "force"})), &storage);
        assert_eq!((plain.len(), flat.len()), (1, 1));
        let flat = flat[0].manifest();
        assert_eq!(
            flat["metadata"]["name"],
            "rbd-flatten-volumereplicationclass-1625360775"
        );
        assert_eq!(flat["metadata"]["annotations"], Value::Null, "never the default");
        assert_eq!(flat["metadata"]["labels"][MAINTENANCE.0], "Failover");
        assert_eq!(flat["metadata"]["labels"][FLATTEN], "force");
        assert_eq!(flat["spec"]["parameters"]["flattenMode"], "force");
        assert_eq!(of(&policy("p", "", &["c1", "c2"], &json!({})), &storage), []);
    }

    #[test]
    fn policies_share_classes_whoever_came_first() {
        let peers = [peer("mp", ["c1", "c2"], "Ready")];
        let five = |name: &str, clusters: &[&str]| policy(name, "5m", clusters, &json!({}));
        let (one, two) = (five("a", &["c1", "c2"]), five("b", &["c2", "c1"]));
        let ten = policy("c", "10m", &["c1", "c2"], &json!({}));
        let none = BTreeMap::new();
        let class = ["rbd-volumereplicationclass-1625360775".to_owned()];
        for policies in [
            vec![one.clone()],
            vec![one.clone(), two.clone()],
            vec![two.clone(), one.clone()],
            vec![two],
        ] {
            assert_eq!(all("c1", &policies, &peers, &none), class);
            assert_eq!(all("c2", &policies, &peers, &none), class);
        }
        assert_eq!(all("c1", &[one, ten], &peers, &none).len(), 2);
        assert_eq!(all("c1", &[], &peers, &none), [""; 0]);
        // One that names other clusters, or too few, concerns nobody.
        for clusters in [&["c1", "c3"][..], &["c1"], &[], &["c1", "c2", "c3"]] {
            assert_eq!(
                all("c1", &[five("p", clusters)], &peers, &none),
                [""; 0],
                "{clusters:?}"
            );
        }
    }

    #[test]
    fn classes_come_when_the_pair_is_ready_and_stay_when_it_is_not_for_a_while() {
        let policies = [policy("p", "5m", &["c1", "c2"], &json!({}))];
        let none = BTreeMap::new();
        for (phase, there, expected) in [("Ready", false, 1), ("Configuring", false, 0), ("Configuring", true, 1)] {
            let found = of_cluster("c1", &policies, &[peer("mp", ["c1", "c2"], phase)], &none, |_| there);
            assert_eq!(found.len(), expected, "{phase} {there}");
        }
    }

    #[test]
    fn works_of_the_go_orchestrator_go_when_ours_has_been_applied() {
        let policies = [policy("p", "5m", &["c1", "c2"], &json!({}))];
        let peers = [peer("mp", ["c1", "c2"], "Configuring")];
        let decide = |works: &[Arc<ManifestWork>]| decide_works("c1", &policies, &peers, &BTreeMap::new(), works);
        let work = |name: &str, manifests: &[Value], applied: &str| -> Arc<ManifestWork> {
            let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
                "metadata": {"name": name, "generation": 2}, "spec": {"workload": {"manifests": manifests}},
                "status": {"conditions": [{"type": "Applied", "status": applied, "reason": "R", "message": "",
                    "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
            Arc::new(serde_json::from_value(work).unwrap())
        };
        assert_eq!(decide(&[]), [], "not ready");
        // What is there already is not made again from nothing.
        let [old, _] = names::legacy_class_works("p");
        let class = of(
            &policies[0],
            &Storage {
                namespace: "ns-c1".to_owned(),
                ..Storage::default()
            },
        )[0]
        .manifest();
        let old = work(&old, std::slice::from_ref(&class), "True");
        let foreign = work("vrc-1", &[], "True");
        let expected = [WorkChange::Apply(WORK, vec![class.clone()])];
        assert_eq!(decide(&[old.clone(), foreign.clone()]), expected);
        for (applied, expected) in [("False", vec![]), ("True", vec![WorkChange::Delete(old.clone())])] {
            let ours = work(WORK, std::slice::from_ref(&class), applied);
            assert_eq!(decide(&[old.clone(), ours, foreign.clone()]), expected);
        }
        let ours = work(WORK, std::slice::from_ref(&class), "True");
        let gone = decide_works("c1", &[], &peers, &BTreeMap::new(), std::slice::from_ref(&ours));
        assert_eq!(gone, [WorkChange::Delete(ours)]);
    }

    #[test]
    fn ids_need_both_storages_and_groups_need_a_version() {
        let policies = [policy("p", "5m", &["c1", "c2"], &json!({}))];
        let peers = [peer("mp", ["c1", "c2"], "Ready")];
        let clients = |first: ClientInfo, second: ClientInfo| -> BTreeMap<String, ClientInfo> {
            [("c1_sc".to_owned(), first), ("c2_sc".to_owned(), second)].into()
        };
        let labels = |cluster: &str, clients: &BTreeMap<String, ClientInfo>| {
            let found = of_cluster(cluster, &policies, &peers, clients, |_| false);
            found.into_values().next().unwrap().labels
        };
        let known = clients(info("4.18.0", "internal", "f1"), info("4.18.0", "internal", "f2"));
        let (east, west) = (labels("c1", &known), labels("c2", &known));
        assert_eq!(east[IDS.1], west[IDS.1], "the same from both sides");
        assert_ne!(east[IDS.0], west[IDS.0]);
        let half = clients(info("4.18.0", "internal", "f1"), info("4.18.0", "internal", ""));
        assert!(labels("c1", &half).contains_key(IDS.0) && !labels("c1", &half).contains_key(IDS.1));
        assert_eq!(all("c1", &policies, &peers, &known).len(), 1);
        let newer = clients(info("4.20.1", "external", "f1"), info("4.20.1", "external", "f2"));
        let names = all("c1", &policies, &peers, &newer);
        assert_eq!(names.len(), 2, "one mirrored pool: {names:?}");
        let tickets = clients(info("4.20.1", "internal", "f1"), info("4.20.1", "internal", "f2"));
        assert_eq!(all("c1", &policies, &peers, &tickets), [""; 0], "not served yet");
    }
}
