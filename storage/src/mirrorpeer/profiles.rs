//! The profiles that Peerings of `MirrorPeer`s are on, which stand in `manifests/profiles/`, and their parameters.
use std::collections::BTreeMap;

/// The profile that hands Ceph's tokens over.
pub const CONVERGED_PROFILE: &str = "odf-converged";
/// The profile that makes a bucket and hands its credentials over to the hub.
pub const S3_PROFILE: &str = "odf-s3";
/// The profile that hands tickets over.
pub const CLIENT_PROFILE: &str = "odf-client";
/// The profile that tells storage operators which replication classes their clients get.
pub const CLASSES_PROFILE: &str = "odf-client-classes";

/// Parameters as a Peering takes them.
pub(super) fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

/// Names of Secrets by the cluster that they come from, as profiles take them.
pub(super) fn by_cluster<'n>(names: impl IntoIterator<Item = (&'n str, String)>) -> String {
    let map: BTreeMap<_, _> = names.into_iter().collect();
    // A map of strings always serialises.
    serde_json::to_string(&map).unwrap_or_default()
}
