//! What storage operators tell about themselves: `odf-info` of a managed cluster, `odf-client-info` of the hub.
//!
//! Each key stands for itself: one that cannot be read leaves the others as they are, and no field of one is taken for another's.
use std::collections::BTreeMap;

use peering_api::{
    kube::ResourceExt,
    names as ours,
    odf::{ClientInfo, MirrorPeer, MirrorPeerSpec, OdfInfo, ProviderInfo, ProviderName},
    peering::{PeerMember, ReportRequest, ReportedObjects},
};
use thiserror::Error;

use crate::names;

/// End of the keys of `odf-info` that hold a storage cluster.
const KEY_SUFFIX: &str = ".yaml";
/// Annotation of a `StorageCluster`: where its provider server is reached from other clusters. Set by hand.
const EXPORTED_ADDRESS: &str = "ocs.openshift.io/api-server-exported-address";

/// Why a key could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InfoError {
    /// The value is not what was expected.
    #[error("key {key} cannot be read: {problem}")]
    Malformed {
        /// The key.
        key: String,
        /// What the parser says.
        problem: String,
    },
    /// The claim does not name an object.
    #[error("expected <namespace>/<name>, seen {0:?}")]
    Claim(String),
}

/// Namespace and name in the claim `odfinfo.odf.openshift.io`.
pub fn claimed(value: &str) -> Result<(&str, &str), InfoError> {
    let parts = value.split_once('/').filter(|(namespace, name)| {
        let plain = |part: &str| !part.is_empty() && !part.contains('/');
        plain(namespace) && plain(name)
    });
    parts.ok_or_else(|| InfoError::Claim(value.to_owned()))
}

/// The storage clusters in `odf-info`, and what could not be read.
#[must_use]
pub fn storage_clusters(data: &BTreeMap<String, String>) -> (Vec<OdfInfo>, Vec<InfoError>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (key, text) in data.iter().filter(|(key, _)| key.ends_with(KEY_SUFFIX)) {
        match serde_saphyr::from_str::<OdfInfo>(text) {
            Ok(info) => found.push(info),
            Err(error) => errors.push(malformed(key, &error)),
        }
    }
    (found, errors)
}

/// The clients in `odf-client-info`, and what could not be read.
#[must_use]
pub fn clients(data: &BTreeMap<String, String>) -> (BTreeMap<String, ClientInfo>, Vec<InfoError>) {
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    for (key, text) in data {
        match serde_json::from_str::<ClientInfo>(text) {
            Ok(info) => drop(found.insert(key.clone(), info)),
            Err(error) => errors.push(malformed(key, &error)),
        }
    }
    (found, errors)
}

fn malformed(key: &str, error: &dyn std::fmt::Display) -> InfoError {
    InfoError::Malformed {
        key: key.to_owned(),
        problem: error.to_string(),
    }
}

/// What `odf-client-info` says of one provider: an entry per client whose cluster is managed, or one for the storage cluster
/// itself where it has no clients. `clusters` leads from cluster ids to `ManagedCluster`s. A client on a cluster that nobody
/// manages is left out, and nothing else.
#[must_use]
pub fn of_provider(cluster: &str, info: &OdfInfo, clusters: &BTreeMap<String, String>) -> BTreeMap<String, ClientInfo> {
    let storage = &info.storage_cluster;
    let exported = storage.annotations.get(EXPORTED_ADDRESS).cloned();
    let provider_info = ProviderInfo {
        version: info.version.clone(),
        deployment_type: info.deployment_type.clone(),
        provider_managed_cluster_name: cluster.to_owned(),
        namespaced_name: ProviderName {
            namespace: storage.namespaced_name.namespace.clone(),
            name: storage.namespaced_name.name.clone(),
        },
        storage_provider_endpoint: storage.storage_provider_endpoint.clone(),
        ceph_cluster_fsid: storage.ceph_cluster_fsid.clone(),
        storage_provider_public_endpoint: exported.unwrap_or_default(),
        info_ceph_block_pools: storage.info_ceph_block_pools.clone(),
    };
    if info.clients.is_empty() {
        let key = names::client_key(cluster, &storage.namespaced_name.name);
        let alone = ClientInfo {
            provider_info,
            ..ClientInfo::default()
        };
        return [(key, alone)].into();
    }
    let managed = info.clients.iter().filter_map(|client| {
        let on = clusters.get(&client.cluster_id)?;
        let entry = ClientInfo {
            cluster_id: client.cluster_id.clone(),
            name: client.name.clone(),
            client_id: client.client_id.clone(),
            client_managed_cluster_name: on.clone(),
            provider_info: provider_info.clone(),
        };
        Some((names::client_key(on, &client.name), entry))
    });
    managed.collect()
}

/// Name of the report in which a cluster shows its `odf-info`.
pub const REPORT: &str = "odf-info";
/// Annotation of a `MirrorPeer`: who its storage clients are, as it was last known.
pub const RECORD_ANNOTATION: &str = "multicluster.odf.openshift.io/clients";

/// What an agent is asked to report, where the claim of its cluster names an object.
#[must_use]
pub fn request(claim: &str) -> Option<ReportRequest> {
    let (namespace, name) = claimed(claim).ok()?;
    Some(ReportRequest {
        name: REPORT.to_owned(),
        namespace: namespace.to_owned(),
        config_map: Some(name.to_owned()),
        objects: None,
    })
}

/// Start of the names of reports that show which `StorageConsumer` stands for which client.
const CONSUMERS: &str = "storage-consumers";

fn consumer_report(namespace: &str) -> String {
    format!("{CONSUMERS}-{}", ours::digest(&["storage-consumers/v1", namespace], 10))
}

/// What an agent is asked to report of the clients in a namespace with a storage cluster.
#[must_use]
pub fn consumer_request(namespace: &str) -> ReportRequest {
    ReportRequest {
        name: consumer_report(namespace),
        namespace: namespace.to_owned(),
        config_map: None,
        objects: Some(ReportedObjects {
            api_version: "ocs.openshift.io/v1alpha1".to_owned(),
            kind: "StorageConsumer".to_owned(),
            resource: "storageconsumers".to_owned(),
            value: "${self.status.client.id}".to_owned(),
        }),
    }
}

/// The `StorageConsumer` that stands for a client, as the agent of its provider's cluster reports it.
#[must_use]
pub fn consumer(member: &PeerMember, namespace: &str, client: &str) -> Option<String> {
    let name = consumer_report(namespace);
    let report = member
        .status
        .as_ref()?
        .reports
        .iter()
        .find(|report| report.name == name)?;
    report
        .data
        .iter()
        .find(|(_, id)| *id == client)
        .map(|(name, _)| name.clone())
}

/// What all clusters report, by key of `odf-client-info`, and what could not be read. `clusters` leads from cluster ids to
/// `ManagedCluster`s.
#[must_use]
pub fn reported<'m>(
    members: impl IntoIterator<Item = &'m PeerMember>,
    clusters: &BTreeMap<String, String>,
) -> (BTreeMap<String, ClientInfo>, Vec<(String, InfoError)>) {
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    for member in members {
        let cluster = &member.spec.cluster;
        let reports = member.status.iter().flat_map(|status| &status.reports);
        for report in reports.filter(|report| report.name == REPORT) {
            let (infos, bad) = storage_clusters(&report.data);
            errors.extend(bad.into_iter().map(|error| (cluster.clone(), error)));
            for info in infos {
                for (key, client) in of_provider(cluster, &info, clusters) {
                    found.entry(key).or_insert(client);
                }
            }
        }
    }
    (found, errors)
}

/// What a `MirrorPeer` notes down of its clients: what names and modes are made from, and nothing that changes from day to day.
#[must_use]
pub fn record(spec: &MirrorPeerSpec, clients: &BTreeMap<String, ClientInfo>) -> String {
    let keys = spec
        .items
        .iter()
        .map(|item| names::client_key(&item.cluster_name, &item.storage_cluster_ref.name));
    let noted = keys.filter_map(|key| {
        let known = clients.get(&key)?;
        let noted = ClientInfo {
            provider_info: ProviderInfo {
                storage_provider_endpoint: String::new(),
                ceph_cluster_fsid: String::new(),
                storage_provider_public_endpoint: String::new(),
                info_ceph_block_pools: Vec::new(),
                ..known.provider_info.clone()
            },
            ..known.clone()
        };
        Some((key, noted))
    });
    // Plain structs always serialise.
    serde_json::to_string(&noted.collect::<BTreeMap<_, _>>()).unwrap_or_default()
}

/// What a `MirrorPeer` has noted down.
#[must_use]
pub fn recorded(peer: &MirrorPeer) -> BTreeMap<String, ClientInfo> {
    let text = peer.annotations().get(RECORD_ANNOTATION);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Major and minor of a version such as `4.18.2-rhodf` or `v4.19`; `None` where it is none.
#[must_use]
pub fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let digits: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "
version: 4.19.3
deploymentType: internal
clients:
- {name: client1, clusterId: id1, clientId: c1}
- {name: hosted, clusterId: nobody, clientId: c2}
storageCluster:
  namespacedName: {name: sc, namespace: openshift-storage}
  storageProviderEndpoint: 172.30.1.1:50051
  cephClusterFSID: fsid-1
  storageClusterUID: uid-1
  annotations: {ocs.openshift.io/api-server-exported-address: 'c1.example.com:50051'}
  infoCephBlockPools: [{name: pool, mirrorEnabled: true}]
  something: new
";

    fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        pairs.collect()
    }

    #[test]
    fn one_bad_key_leaves_the_others_and_no_field_leaks() {
        let map = data(&[
            ("a_sc.config.yaml", ONE),
            ("b_sc.config.yaml", "version: [4, 19]"),
            ("c_sc.config.yaml", "version: 4.20.0"),
            ("note", "not a storage cluster"),
        ]);
        let (found, errors) = storage_clusters(&map);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].storage_cluster.ceph_cluster_fsid, "fsid-1");
        assert_eq!(
            found[1].storage_cluster,
            peering_api::odf::InfoStorageCluster::default()
        );
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().starts_with("key b_sc.config.yaml cannot be read"));
        assert_eq!(storage_clusters(&BTreeMap::new()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_unmanaged_client_does_not_hide_the_others() {
        let (found, _) = storage_clusters(&data(&[("a.yaml", ONE)]));
        let clusters = data(&[("id1", "east")]);
        let seen = of_provider("east", &found[0], &clusters);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["east_client1"]);
        let provider = &seen["east_client1"].provider_info;
        assert_eq!(provider.storage_provider_public_endpoint, "c1.example.com:50051");
        assert!(provider.info_ceph_block_pools[0].mirror_enabled);
        let (read, errors) = clients(&data(&[
            ("east_client1", &serde_json::to_string(&seen["east_client1"]).unwrap()),
            ("bad", "{"),
        ]));
        assert_eq!((read, errors.len()), (seen, 1));
        let alone = OdfInfo {
            clients: Vec::new(),
            ..found[0].clone()
        };
        assert_eq!(
            of_provider("east", &alone, &clusters).keys().collect::<Vec<_>>(),
            ["east_sc"]
        );
    }

    #[test]
    fn claims_name_an_object_or_nothing() {
        assert_eq!(
            claimed("openshift-storage/odf-info"),
            Ok(("openshift-storage", "odf-info"))
        );
        for bad in ["", "odf-info", "/odf-info", "ns/", "a/b/c"] {
            assert_eq!(claimed(bad), Err(InfoError::Claim(bad.to_owned())));
        }
    }

    #[test]
    fn versions_are_parsed_and_not_searched() {
        for (version, expected) in [
            ("4.19.0", Some((4, 19))),
            ("v4.18.2-rhodf", Some((4, 18))),
            ("4.19-pre", Some((4, 19))),
            ("5.0", Some((5, 0))),
            ("14.15.0", Some((14, 15))),
            ("4", None),
            ("", None),
            ("four.one", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
        assert!(minor("4.9.1") < minor("4.18.0"));
    }
}
