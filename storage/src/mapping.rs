//! `storage-client-mapping`: a provider's storage operator reads there which of its clients belongs to which of its peer's.
//!
//! One work for each cluster of a provider, from all `MirrorPeer`s at once, so that none takes an entry from another. It also
//! brings the service account for which the storage operator issues tickets.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use peering_api::{
    kube::ResourceExt,
    ocm::{
        ManifestWork,
        work::{ManifestConfig, ResourceIdentifier, UpdateStrategy},
    },
    odf::{ClientInfo, MirrorPeer},
    peering::condition,
};
use serde_json::{Value, json};

use crate::{
    classes::WorkChange,
    mirrorpeer::{Ends, Provider, ends, is_leaving},
};

/// The work, and the `ConfigMap` in it, as the Go orchestrator named them.
pub const WORK: &str = "storage-client-mapping";
/// The service account for which tickets are issued.
pub const ACCOUNT: &str = "token-exchange-onboarding";
/// Annotation of the `ConfigMap`: the `StorageClusterPeer` of the other provider.
const PEER: &str = "ocs.openshift.io/storage-cluster-peer";

/// What one storage cluster is told.
#[derive(Debug, Default)]
struct Told {
    peer: String,
    clients: BTreeMap<String, String>,
}

/// The ends of a `MirrorPeer`, seen from each of its providers: it, its own client, the other provider, the other's client.
fn views(ends: &Ends) -> [(&Provider, &String, &Provider, &String); 2] {
    let ([one, other], [own, others]) = (&ends.providers, &ends.clients);
    [(one, own, other, others), (other, others, one, own)]
}

/// What is to be written to the works of a cluster. `works` are those that were made for storage.
#[must_use]
pub fn decide(
    cluster: &str,
    peers: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    works: &[Arc<ManifestWork>],
) -> Option<WorkChange> {
    let manifests = manifests(cluster, peers, clients);
    let known = works.iter().find(|work| work.name_any() == WORK);
    match known {
        // One that is leaving is made anew once it is gone.
        Some(work) if is_leaving(work.as_ref()) => None,
        Some(work) if work.owner_references().iter().any(|owner| owner.kind == "MirrorPeer") => {
            Some(WorkChange::Disown(work.clone()))
        }
        Some(work) if manifests.is_empty() => Some(WorkChange::Delete(work.clone())),
        Some(work) if work.spec.workload.manifests == manifests => None,
        None if manifests.is_empty() => None,
        _ => Some(WorkChange::Apply(WORK, manifests)),
    }
}

fn manifests(cluster: &str, peers: &[Arc<MirrorPeer>], clients: &BTreeMap<String, ClientInfo>) -> Vec<Value> {
    let mut live: Vec<_> = peers.iter().filter(|peer| !is_leaving(peer.as_ref())).collect();
    live.sort_by_key(|peer| (peer.creation_timestamp().map(|at| at.0), peer.name_any()));
    let mut told: BTreeMap<(String, String), Told> = BTreeMap::new();
    let (mut paired, mut peered) = (BTreeSet::new(), BTreeMap::<Provider, Provider>::new());
    for ends in live.iter().filter_map(|peer| ends(&peer.spec, clients)) {
        let views = views(&ends);
        // A storage operator knows one peer, and each client has one partner: the oldest MirrorPeer says which.
        let taken = views.iter().any(|(provider, own, peer, _)| {
            paired.contains(*own) || peered.get(provider).is_some_and(|known| known != *peer)
        });
        if taken {
            continue;
        }
        for (provider, own, peer, other) in views {
            paired.insert(own.clone());
            peered.insert(provider.clone(), peer.clone());
            if provider.cluster == cluster {
                let told = told
                    .entry((provider.namespace.clone(), provider.name.clone()))
                    .or_default();
                told.peer = format!("{}-peer", peer.cluster);
                told.clients.insert(own.clone(), other.clone());
            }
        }
    }
    told.iter()
        .flat_map(|((namespace, _), told)| of_namespace(namespace, told))
        .collect()
}

fn of_namespace(namespace: &str, told: &Told) -> [Value; 4] {
    let meta = |name: &str| json!({"name": name, "namespace": namespace});
    let mut map = meta(WORK);
    map["annotations"] = json!({PEER: told.peer});
    let rbac = "rbac.authorization.k8s.io";
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": map, "data": told.clients}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(ACCOUNT)}),
        // Who may create storage clusters is issued tickets.
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta(ACCOUNT),
            "rules": [{"apiGroups": ["ocs.openshift.io"], "resources": ["storageclusters"], "verbs": ["create"]}]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": meta(ACCOUNT),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]}),
    ]
}

/// How the work agent applies a work's `ConfigMap`: each key has an owner, and those of others stay.
#[must_use]
pub fn configs(manifests: &[Value]) -> Vec<ManifestConfig> {
    let maps = manifests.iter().filter(|manifest| manifest["kind"] == "ConfigMap");
    let config = |manifest: &Value| {
        let text = |part: &str| manifest["metadata"][part].as_str().unwrap_or_default().to_owned();
        ManifestConfig {
            resource_identifier: ResourceIdentifier {
                group: String::new(),
                resource: "configmaps".to_owned(),
                namespace: text("namespace"),
                name: text("name"),
            },
            update_strategy: Some(UpdateStrategy {
                type_: "ServerSideApply".to_owned(),
                ..UpdateStrategy::default()
            }),
            ..ManifestConfig::default()
        }
    };
    maps.map(config).collect()
}

/// Whether a work tells that these clients belong to each other.
#[must_use]
pub fn says(work: &ManifestWork, own: &str, other: &str) -> bool {
    let maps = work
        .spec
        .workload
        .manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "ConfigMap");
    maps.into_iter().any(|manifest| manifest["data"][own] == other)
}

/// Whether a work has been applied as it is now.
#[must_use]
pub fn is_applied(work: &ManifestWork) -> bool {
    let conditions = work.status.as_ref().map(|status| status.conditions.as_slice());
    let applied = condition(conditions.unwrap_or_default(), "Applied");
    applied.is_some_and(|said| said.status == "True" && said.observed_generation == work.metadata.generation)
}

/// The clusters whose work still has an entry of a leaving `MirrorPeer` that no other one wants.
#[must_use]
pub fn remaining(
    peer: &MirrorPeer,
    others: &[Arc<MirrorPeer>],
    clients: &BTreeMap<String, ClientInfo>,
    works: &BTreeMap<String, Arc<ManifestWork>>,
) -> Vec<String> {
    let Some(ends) = ends(&peer.spec, clients) else {
        return Vec::new();
    };
    let remains = |(provider, own, _, other): &(&Provider, &String, &Provider, &String)| {
        let work = works.get(&provider.cluster).filter(|work| !is_leaving(work.as_ref()));
        work.is_some_and(|work| {
            let wanted = manifests(&provider.cluster, others, clients);
            let still = wanted
                .iter()
                .any(|manifest| manifest["data"][own.as_str()] == other.as_str());
            says(work, own, other) && !still
        })
    };
    let views = views(&ends);
    let left = views.iter().filter(|view| remains(view));
    left.map(|(provider, ..)| provider.cluster.clone()).collect()
}
