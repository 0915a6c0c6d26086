//! Carries out one change: one request to the hub's API server.
use addon_framework::runtime::{
    conditions::{self, Status as Truth, Wanted},
    write as request,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use peering_api::{
    names::{FORCE_LOCAL_ANNOTATION, WITHDRAW_FINALIZER},
    ocm::{
        ManifestWork,
        work::{ManifestWorkSpec, Workload},
    },
    odf::{
        BACKUP_LABEL, BACKUP_RESOURCE, CREATED_BY, CREATED_BY_LABEL, DRCluster, FINALIZER, MirrorPeer,
        RAMEN_CONFIG_KEY, SPOKE_FINALIZER_SUFFIX,
    },
    peering::Peering,
};
use serde_json::{Map, Value, json};
use storage::{
    classes::WorkChange,
    mapping,
    mirrorpeer::{Change, RamenDecision, Status},
    odf_info,
    ramen::Record,
};

use super::watches::Storage;
use crate::peering::Hub;

/// Field manager of everything that this controller applies.
pub(super) const MANAGER: &str = "mirrorpeer-manager";

/// Carries out one change for a `MirrorPeer`.
pub(super) async fn change(hub: &Hub, storage: &Storage, peer: &MirrorPeer, change: Change) -> Result<(), kube::Error> {
    let client = hub.client.clone();
    let peers = Api::<MirrorPeer>::all(client.clone());
    let peerings = Api::<Peering>::all(client.clone());
    let clusters = Api::<DRCluster>::all(client);
    match change {
        Change::Adopt => {
            let patched = json_patch(&peers, peer, adoption(peer)).await?;
            storage.peers.recent.wrote(patched);
        }
        Change::OrphanWork(work) => {
            let api = Api::<ManifestWork>::namespaced(hub.client.clone(), &work.namespace().unwrap_or_default());
            let body =
                json!({"metadata": {"uid": work.uid()}, "spec": {"deleteOption": {"propagationPolicy": "Orphan"}}});
            let params = PatchParams::default();
            let orphaning = api.patch(&work.name_any(), &params, &Patch::Merge(body)).await?;
            request::delete(&api, &orphaning).await?;
        }
        Change::Record(text) => {
            let body = json!({"metadata": {"uid": peer.uid(), "annotations": {odf_info::RECORD_ANNOTATION: text}}});
            let patched = peers
                .patch(&peer.name_any(), &PatchParams::default(), &Patch::Merge(body))
                .await?;
            storage.peers.recent.wrote(patched);
        }
        Change::Release => drop(request::finalizer(&peers, peer, FINALIZER, false).await?),
        Change::ApplyPeering(name, spec) => {
            // What else users set, such as `paused` or `trust`, is theirs: it is not stated here.
            let body = json!({
                "apiVersion": Peering::api_version(&()), "kind": Peering::kind(&()),
                // The controller of Peerings would add its finalizer next.
                "metadata": {"name": name, "finalizers": [WITHDRAW_FINALIZER],
                    "labels": {CREATED_BY_LABEL: CREATED_BY, BACKUP_LABEL: BACKUP_RESOURCE}},
                "spec": {"profile": spec.profile, "members": spec.members, "parameters": spec.parameters},
            });
            let written = request::apply(&peerings, &name, MANAGER, &body).await?;
            hub.peerings.recent.wrote(written);
        }
        Change::DeletePeering(peering) => drop(request::delete(&peerings, peering.as_ref()).await?),
        Change::ForcePeering(peering) => {
            let body = json!({"metadata": {"uid": peering.uid(), "annotations": {FORCE_LOCAL_ANNOTATION: "true"}}});
            let name = peering.name_any();
            let written = peerings
                .patch(&name, &PatchParams::default(), &Patch::Merge(body))
                .await?;
            hub.peerings.recent.wrote(written);
        }
        Change::ApplyDRCluster(name, profile) => {
            let body = json!({
                "apiVersion": DRCluster::api_version(&()), "kind": DRCluster::kind(&()),
                "metadata": {"name": name, "labels": {CREATED_BY_LABEL: CREATED_BY}},
                "spec": {"s3ProfileName": profile},
            });
            let written = request::apply(&clusters, &name, MANAGER, &body).await?;
            storage.dr_clusters.recent.wrote(written);
        }
        Change::DisownDRCluster(cluster) => {
            let patched = json_patch(&clusters, cluster.as_ref(), disowning(&cluster)).await?;
            storage.dr_clusters.recent.wrote(patched);
        }
        Change::DeleteDRCluster(cluster) => drop(request::delete(&clusters, cluster.as_ref()).await?),
    }
    Ok(())
}

/// Carries out one change of a cluster's works.
pub(super) async fn work(hub: &Hub, storage: &Storage, cluster: &str, change: WorkChange) -> Result<(), kube::Error> {
    let api = Api::<ManifestWork>::namespaced(hub.client.clone(), cluster);
    match change {
        WorkChange::Apply(name, manifests) => {
            let spec = ManifestWorkSpec {
                manifest_configs: mapping::configs(&manifests),
                workload: Workload { manifests },
                ..ManifestWorkSpec::default()
            };
            let mut work = ManifestWork::new(name, spec);
            work.metadata.labels = Some([(CREATED_BY_LABEL.to_owned(), CREATED_BY.to_owned())].into());
            let written = request::apply(&api, name, MANAGER, &work).await?;
            storage.works.recent.wrote(written);
        }
        WorkChange::Disown(work) => {
            let body = json!({"metadata": {"uid": work.uid(), "ownerReferences": null}});
            let written = api
                .patch(&work.name_any(), &PatchParams::default(), &Patch::Merge(body))
                .await?;
            storage.works.recent.wrote(written);
        }
        WorkChange::Delete(work) => drop(request::delete(&api, work.as_ref()).await?),
    }
    Ok(())
}

async fn json_patch<K>(api: &Api<K>, object: &K, operations: Value) -> Result<K, kube::Error>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let patch = Patch::Json::<()>(patch);
    api.patch(&object.name_any(), &PatchParams::default(), &patch).await
}

/// Puts our finalizer on and takes those of the Go orchestrator's agents off, in one request that tests the list which it was
/// computed from; and sets the label for backups.
fn adoption(peer: &MirrorPeer) -> Value {
    let mut finalizers = peer.finalizers().to_vec();
    finalizers.retain(|known| !known.ends_with(SPOKE_FINALIZER_SUFFIX));
    if !finalizers.iter().any(|known| known == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let before = (!peer.finalizers().is_empty()).then(|| json!(peer.finalizers()));
    let labels = match &peer.metadata.labels {
        // A key with a slash is escaped in a JSON pointer.
        Some(_) => {
            json!({"op": "add", "path": format!("/metadata/labels/{}", escaped(BACKUP_LABEL)), "value": BACKUP_RESOURCE})
        }
        None => json!({"op": "add", "path": "/metadata/labels", "value": {BACKUP_LABEL: BACKUP_RESOURCE}}),
    };
    json!([
        {"op": "test", "path": "/metadata/uid", "value": peer.uid()},
        {"op": "test", "path": "/metadata/finalizers", "value": before},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        {"op": "test", "path": "/metadata/labels", "value": peer.metadata.labels},
        labels,
    ])
}

fn disowning(cluster: &DRCluster) -> Value {
    let owners = cluster.owner_references();
    let others: Vec<_> = owners.iter().filter(|owner| owner.kind != "MirrorPeer").collect();
    json!([
        {"op": "test", "path": "/metadata/uid", "value": cluster.uid()},
        {"op": "test", "path": "/metadata/ownerReferences", "value": owners},
        {"op": "replace", "path": "/metadata/ownerReferences", "value": others},
    ])
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Writes an edit of Ramen's configuration and of what is ours in it, unless the text has changed meanwhile.
pub(super) async fn ramen(hub: &Hub, storage: &Storage, decision: &RamenDecision) -> Result<(), kube::Error> {
    let maps = storage.ramen();
    let mut maps = maps.known().into_iter().flatten();
    let Some(map) = maps.find(|map| map.namespace().as_deref() == Some(&decision.namespace)) else {
        return Ok(());
    };
    let api = Api::<ConfigMap>::namespaced(hub.client.clone(), &decision.namespace);
    let patched = json_patch(&api, map.as_ref(), ramen_patch(map, decision)).await?;
    storage.ramen.recent.wrote(patched);
    Ok(())
}

fn ramen_patch(map: &ConfigMap, decision: &RamenDecision) -> Value {
    let text = format!("/data/{}", escaped(RAMEN_CONFIG_KEY));
    let record = format!("/metadata/annotations/{}", escaped(Record::ANNOTATION));
    let known = map.metadata.annotations.as_ref();
    let beside = match (known, decision.after.record.write()) {
        (None, Some(ours)) => vec![
            json!({"op": "test", "path": "/metadata/annotations", "value": null}),
            json!({"op": "add", "path": "/metadata/annotations", "value": {Record::ANNOTATION: ours}}),
        ],
        (Some(_), Some(ours)) => vec![json!({"op": "add", "path": record, "value": ours})],
        (Some(known), None) if known.contains_key(Record::ANNOTATION) => {
            vec![json!({"op": "remove", "path": record})]
        }
        (_, None) => Vec::new(),
    };
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": map.uid()}),
        json!({"op": "test", "path": text, "value": decision.before}),
        json!({"op": "replace", "path": text, "value": decision.after.text}),
    ];
    operations.extend(beside);
    Value::Array(operations)
}

/// Writes what users are told, if that is something new; returns whether it wrote.
pub(super) async fn status(
    hub: &Hub,
    storage: &Storage,
    peer: &MirrorPeer,
    told: &Status,
) -> Result<bool, kube::Error> {
    let known = peer.status.clone().unwrap_or_default();
    let after = merged(peer, &known.conditions, told);
    let same_conditions = after.len() == known.conditions.len()
        && after
            .iter()
            .all(|new| conditions::find(&known.conditions, &new.type_).is_some_and(|old| conditions::same(old, new)));
    let (phase, message) = (Some(told.phase.as_str()), Some(told.message));
    let same = known.phase.as_deref() == phase
        && known.message.as_deref() == message
        && known.links.as_ref() == Some(&told.links)
        && same_conditions;
    if same {
        return Ok(false);
    }
    let fields = Map::from_iter([
        ("phase".to_owned(), json!(phase)),
        ("message".to_owned(), json!(message)),
        ("links".to_owned(), json!(told.links)),
        ("conditions".to_owned(), json!(after)),
    ]);
    let api = Api::<MirrorPeer>::all(hub.client.clone());
    match conditions::apply_status(&api, peer, MANAGER, &fields).await {
        Ok(written) => {
            storage.peers.recent.wrote(written);
            hub.events.changed(peer, &known.conditions, &after);
            Ok(true)
        }
        // It has gone meanwhile: the watch tells the rest.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// All conditions: those that are told anew, and the others as they are.
fn merged(peer: &MirrorPeer, known: &[Condition], told: &Status) -> Vec<Condition> {
    let now = Timestamp::now();
    let mut all = known.to_vec();
    for verdict in &told.conditions {
        let status = verdict.status.map_or(Truth::Unknown, Truth::from);
        let wanted = Wanted::new(verdict.type_, status, &verdict.reason, &verdict.message).at(peer.metadata.generation);
        let new = conditions::merge(known, &wanted, now);
        match all.iter_mut().find(|old| old.type_ == new.type_) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use peering_api::odf::RAMEN_CONFIG_MAP;

    use super::*;

    fn peer(metadata: Value) -> MirrorPeer {
        let mut metadata = metadata;
        metadata["name"] = "mp".into();
        metadata["uid"] = "u".into();
        let object = json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer", "metadata": metadata,
            "spec": {"items": []}});
        serde_json::from_value(object).unwrap()
    }

    /// What a patch makes of an object's metadata, if it may.
    fn patched(object: &impl serde::Serialize, operations: Value) -> Option<Value> {
        let mut object = serde_json::to_value(object).unwrap();
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        // The API server's library takes a test for null as true when the path is missing; json-patch does not.
        let operations: Vec<_> = patch
            .0
            .into_iter()
            .filter(|operation| !matches!(operation, json_patch::PatchOperation::Test(test) if test.value.is_null()))
            .collect();
        json_patch::patch(&mut object, &operations).ok()?;
        Some(object["metadata"].clone())
    }

    #[test]
    fn a_mirror_peer_is_taken_over_in_one_request() {
        let bare = peer(json!({}));
        let after = patched(&bare, adoption(&bare)).unwrap();
        assert_eq!(after["finalizers"], json!([FINALIZER]));
        assert_eq!(after["labels"], json!({BACKUP_LABEL: "resource"}));

        let old = peer(
            json!({"labels": {"a": "b"}, "finalizers": ["x", FINALIZER, "c1.spoke.multicluster.odf.openshift.io"]}),
        );
        let after = patched(&old, adoption(&old)).unwrap();
        assert_eq!(after["finalizers"], json!(["x", FINALIZER]));
        assert_eq!(after["labels"], json!({"a": "b", BACKUP_LABEL: "resource"}));
        let changed = peer(json!({"labels": {"a": "b"}, "finalizers": ["x"]}));
        assert_eq!(patched(&changed, adoption(&old)), None, "computed from another list");
    }

    #[test]
    fn a_dr_cluster_keeps_its_other_owners() {
        let owner = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "name": "n", "uid": kind});
        let cluster: DRCluster = serde_json::from_value(json!({
            "apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster",
            "metadata": {"name": "c1", "uid": "u", "ownerReferences": [owner("MirrorPeer"), owner("Other")]},
        }))
        .unwrap();
        let after = patched(&cluster, disowning(&cluster)).unwrap();
        assert_eq!(after["ownerReferences"], json!([owner("Other")]));
    }

    #[test]
    fn ramens_configuration_changes_with_its_record_or_not_at_all() {
        let map = |annotations: Value| -> ConfigMap {
            let object = json!({"metadata": {"name": RAMEN_CONFIG_MAP, "uid": "u", "annotations": annotations},
                "data": {RAMEN_CONFIG_KEY: "before", "other": "x"}});
            serde_json::from_value(object).unwrap()
        };
        let decision = |ours: bool| {
            let mut record = Record::default();
            if ours {
                record.profiles.insert("p".to_owned(), storage::ramen::Entry::default());
            }
            RamenDecision {
                namespace: "ramen".to_owned(),
                before: "before".to_owned(),
                after: storage::ramen::Edited {
                    text: "after".to_owned(),
                    record,
                },
            }
        };
        let ours = "{\"profiles\":{\"p\":{}}}";
        for (annotations, recorded, expected) in [
            (Value::Null, true, json!({Record::ANNOTATION: ours})),
            (json!({"a": "b"}), true, json!({"a": "b", Record::ANNOTATION: ours})),
            (json!({"a": "b", Record::ANNOTATION: "old"}), false, json!({"a": "b"})),
            (json!({"a": "b"}), false, json!({"a": "b"})),
        ] {
            let map = map(annotations);
            let metadata = patched(&map, ramen_patch(&map, &decision(recorded))).unwrap();
            assert_eq!(metadata["annotations"], expected);
        }
        let mut changed = map(json!({"a": "b"}));
        changed
            .data
            .as_mut()
            .unwrap()
            .insert(RAMEN_CONFIG_KEY.to_owned(), "meanwhile".to_owned());
        assert_eq!(patched(&changed, ramen_patch(&changed, &decision(true))), None);
    }

    #[test]
    fn conditions_of_others_and_of_before_stay() {
        let known = peer(json!({"generation": 2}));
        let condition = |type_: &str, status: &str| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: "R".to_owned(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
        };
        let before = [condition("Configured", "True"), condition("Validated", "True")];
        let told = Status {
            phase: peering_api::odf::Phase::Failed,
            message: "Validation failed",
            links: peering_api::odf::MirrorLinks::default(),
            conditions: vec![exchange::state::Verdict::new(
                "Validated",
                Some(false),
                "ValidationFailed",
                "why",
            )],
        };
        let after = merged(&known, &before, &told);
        assert_eq!(after[0], before[0]);
        assert_eq!(
            (after[1].status.as_str(), after[1].observed_generation),
            ("False", Some(2))
        );
        assert_eq!(after.len(), 2);
    }
}
