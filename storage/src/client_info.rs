//! `odf-client-info` on the hub: which storage clients there are and who provides for them, for the console and its wizard.
//!
//! The keys that we have written are noted down in an annotation. All others are somebody else's: they stay, and are read where
//! no cluster reports the same.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    k8s_openapi::api::core::v1::ConfigMap,
    kube::ResourceExt,
    odf::{BACKUP_LABEL, ClientInfo},
};

use crate::odf_info;

/// Its name.
pub const NAME: &str = "odf-client-info";
/// Annotation: the keys that are ours, as a JSON list.
pub const KEYS_ANNOTATION: &str = "multicluster.odf.openshift.io/keys";
/// Most bytes that are written: an object has room for 1 MiB.
const LIMIT: usize = 900 * 1024;

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Exactly these keys are ours, with these values.
    Apply(BTreeMap<String, String>),
    /// Nothing is left in it.
    Delete,
}

/// The keys of a `ConfigMap` that we have written.
fn ours(map: &ConfigMap) -> BTreeSet<String> {
    let text = map.annotations().get(KEYS_ANNOTATION);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// What the annotation says.
#[must_use]
pub fn keys<'k>(keys: impl IntoIterator<Item = &'k String>) -> String {
    let keys: BTreeSet<_> = keys.into_iter().collect();
    // A set of strings always serialises.
    serde_json::to_string(&keys).unwrap_or_default()
}

/// What others say in a `ConfigMap`. What cannot be read is left out.
#[must_use]
pub fn foreign(map: &ConfigMap) -> BTreeMap<String, ClientInfo> {
    let ours = ours(map);
    let data = map.data.clone().unwrap_or_default();
    let others = data.into_iter().filter(|(key, _)| !ours.contains(key)).collect();
    odf_info::clients(&others).0
}

/// Decides what to write; the error is the number of bytes that there is no room for.
pub fn decide(reported: &BTreeMap<String, ClientInfo>, map: Option<&ConfigMap>) -> Result<Option<Change>, usize> {
    // Plain structs always serialise.
    let text = |info: &ClientInfo| serde_json::to_string(info).unwrap_or_default();
    let wanted: BTreeMap<_, _> = reported.iter().map(|(key, info)| (key.clone(), text(info))).collect();
    let size: usize = wanted.iter().map(|(key, text)| key.len() + text.len()).sum();
    if size > LIMIT {
        return Err(size);
    }
    let Some(map) = map else {
        return Ok((!wanted.is_empty()).then_some(Change::Apply(wanted)));
    };
    let (ours, empty) = (ours(map), BTreeMap::new());
    let data = map.data.as_ref().unwrap_or(&empty);
    if wanted.is_empty() {
        let foreign = data.keys().any(|key| !ours.contains(key));
        return Ok(match (ours.is_empty(), foreign) {
            (true, _) => None,
            (false, true) => Some(Change::Apply(wanted)),
            (false, false) => Some(Change::Delete),
        });
    }
    let stands = wanted.iter().all(|(key, text)| data.get(key) == Some(text))
        && ours.iter().eq(wanted.keys())
        && map.labels().contains_key(BACKUP_LABEL);
    Ok((!stands).then_some(Change::Apply(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str) -> ClientInfo {
        ClientInfo {
            client_id: id.to_owned(),
            ..ClientInfo::default()
        }
    }

    fn reported(keys: &[&str]) -> BTreeMap<String, ClientInfo> {
        keys.iter().map(|key| ((*key).to_owned(), info(key))).collect()
    }

    fn written(change: Option<Change>, others: &[&str]) -> ConfigMap {
        let Some(Change::Apply(data)) = change else {
            panic!("{change:?}")
        };
        let mut map = ConfigMap::default();
        map.labels_mut().insert(BACKUP_LABEL.to_owned(), String::new());
        map.annotations_mut()
            .insert(KEYS_ANNOTATION.to_owned(), keys(data.keys()));
        let others = others
            .iter()
            .map(|key| ((*key).to_owned(), serde_json::to_string(&info("other")).unwrap()));
        map.data = Some(data.into_iter().chain(others).collect());
        map
    }

    #[test]
    fn our_keys_come_and_go_and_those_of_others_stay() {
        assert_eq!(decide(&reported(&[]), None), Ok(None));
        let map = written(decide(&reported(&["a", "b"]), None).unwrap(), &["z"]);
        assert_eq!(decide(&reported(&["a", "b"]), Some(&map)), Ok(None), "at rest");
        assert_eq!(foreign(&map).keys().collect::<Vec<_>>(), ["z"]);
        let fewer = decide(&reported(&["a"]), Some(&map)).unwrap();
        assert!(matches!(&fewer, Some(Change::Apply(data)) if data.keys().eq(["a"])));
        assert_eq!(
            decide(&reported(&[]), Some(&map)),
            Ok(Some(Change::Apply(BTreeMap::new())))
        );
        let alone = written(fewer, &[]);
        assert_eq!(decide(&reported(&[]), Some(&alone)), Ok(Some(Change::Delete)));
        let mut edited = alone.clone();
        edited.data.as_mut().unwrap().insert("a".to_owned(), "{}".to_owned());
        assert!(decide(&reported(&["a"]), Some(&edited)).unwrap().is_some());
        let theirs = ConfigMap {
            data: alone.data,
            ..ConfigMap::default()
        };
        assert_eq!(
            decide(&reported(&[]), Some(&theirs)),
            Ok(None),
            "somebody else keeps it"
        );
    }

    #[test]
    fn what_no_object_has_room_for_is_not_written() {
        let long = "x".repeat(LIMIT);
        let huge = BTreeMap::from([("a".to_owned(), info(&long))]);
        assert!(decide(&huge, None).unwrap_err() > LIMIT);
    }

    #[test]
    fn the_console_finds_the_fields_that_it_reads() {
        let text = serde_json::to_value(info("id")).unwrap();
        let fields: Vec<_> = text.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            fields,
            [
                "clientId",
                "clientManagedClusterName",
                "clusterId",
                "name",
                "providerInfo"
            ]
        );
        let provider: Vec<_> = text["providerInfo"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            provider,
            [
                "cephClusterFSID",
                "deploymentType",
                "infoCephBlockPools",
                "namespacedName",
                "providerManagedClusterName",
                "storageProviderEndpoint",
                "storageProviderPublicEndpoint",
                "version",
            ]
        );
        let name: Vec<_> = text["providerInfo"]["namespacedName"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(name, ["Name", "Namespace"]);
    }
}
