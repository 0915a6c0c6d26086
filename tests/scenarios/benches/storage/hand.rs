//! What the storage clusters hold: tokens and credentials that can be replaced, and buckets.
use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use exchange::content::Content;
use kube::ResourceExt;
use peering_api::peering::{PeerExport, PeerLink};
use scenarios::bench::{agents::Play, lock};
use storage::store;

/// The storage clusters.
#[derive(Default)]
pub struct Hand {
    /// How often something was replaced, by cluster and artefact.
    versions: Mutex<HashMap<(String, String), u32>>,
    /// Clusters that hold nothing yet.
    waiting: Mutex<HashSet<String>>,
}

impl Hand {
    /// Replaces what a cluster hands over.
    pub fn rotate(&self, cluster: &str, artefact: &str) {
        let key = (cluster.to_owned(), artefact.to_owned());
        *lock(&self.versions).entry(key).or_default() += 1;
    }

    /// A cluster whose storage is not there yet.
    pub fn hold_back(&self, cluster: &str) {
        lock(&self.waiting).insert(cluster.to_owned());
    }
}

impl Play for Hand {
    fn content(&self, export: &PeerExport) -> Option<Content> {
        let (cluster, artefact) = (export.namespace().unwrap_or_default(), &export.spec.artefact);
        if lock(&self.waiting).contains(&cluster) {
            return None;
        }
        let key = (cluster.clone(), artefact.clone());
        let version = lock(&self.versions).get(&key).copied().unwrap_or_default();
        // As long as real ones are.
        let secret = format!("{artefact} {version} of {cluster}, {version:0>160}");
        let data: &[(&str, String)] = match artefact.as_str() {
            store::ARTEFACT => &[
                ("s3Bucket", format!("odrbucket-{cluster}")),
                ("s3Region", "noobaa".to_owned()),
                ("s3CompatibleEndpoint", format!("https://s3.{cluster}.example.com")),
            ],
            store::CREDENTIALS => &[
                ("AWS_ACCESS_KEY_ID", format!("{version:0>20}")),
                ("AWS_SECRET_ACCESS_KEY", secret),
            ],
            _ => &[("token", secret), ("cluster", cluster)],
        };
        Some(Content {
            type_: Some("Opaque".to_owned()),
            data: data
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone().into_bytes().into()))
                .collect(),
        })
    }

    fn arrived(&self, _: &PeerLink, _: &Content) {}

    fn reported(&self, _: &PeerLink, _: &Content) {}
}
