//! Names and hashes. Those of the Go orchestrator (`legacy`) are reproduced exactly where users see them: an upgrade must find
//! the bucket, the Secrets and the classes that are there. Its joins are ambiguous (`a-b` + `c` is `a` + `b-c`), so they name
//! nothing new: our own Peerings are named by length-prefixed digests.
use md5::Md5;
use peering_api::{names as ours, odf::PeerRef};
use sha1::Sha1;
use sha2::{Digest, Sha512};

/// How much of SHA-512 the Go orchestrator takes. Its comments say 40.
const SECRET_NAME: usize = 39;
/// How much of SHA-1 it takes for a bucket.
const BUCKET: usize = 12;
/// Longest part of a cluster's or `MirrorPeer`'s name that a Peering bears, so that the whole fits into a label value.
const READABLE: usize = 36;

/// FNV-1a with 32 bits, in decimal: ends of the names of classes and works.
#[must_use]
pub fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn sha512(text: &str) -> String {
    let mut hex = ours::hex(&Sha512::digest(text.as_bytes()));
    hex.truncate(SECRET_NAME);
    hex
}

/// MD5 of a JSON array: storage ids, and the replication id over two of them.
#[must_use]
pub fn md5_json(parts: &[&str]) -> String {
    // A list of strings always serialises.
    let text = serde_json::to_string(parts).unwrap_or_default();
    ours::hex(&Md5::digest(text.as_bytes()))
}

/// Id of the storage behind a provisioner: the Ceph cluster and the RADOS namespace (RBD: none) or subvolume group
/// (`CephFS`: `csi`). `None` without a Ceph cluster, whose id is empty until it is there: nothing may be derived from that.
#[must_use]
pub fn storage_id(fsid: &str, second: &str) -> Option<String> {
    (!fsid.is_empty()).then(|| md5_json(&[fsid, second]))
}

/// Id of what two storages replicate; the same from both sides.
#[must_use]
pub fn replication_id(one: &str, other: &str) -> Option<String> {
    let mut both = [one, other];
    both.sort_unstable();
    both.iter().all(|id| !id.is_empty()).then(|| md5_json(&both))
}

/// Secret with the peer token of a storage cluster, on the clusters that receive it.
#[must_use]
pub fn peer_secret(cluster: &str, namespace: &str, storage_cluster: &str) -> String {
    sha512(&format!("{cluster}-{namespace}-{storage_cluster}"))
}

/// Secret with the credentials of a storage cluster's bucket, on the hub.
#[must_use]
pub fn s3_secret(cluster: &str, namespace: &str, storage_cluster: &str) -> String {
    sha512(&format!("s3profile-{cluster}-{namespace}-{storage_cluster}"))
}

/// The same where storage clients are paired; `first` and `second` in the order of the items.
#[must_use]
pub fn client_s3_secret(provider: &str, first: &PeerRef, second: &PeerRef) -> String {
    let key = |item: &PeerRef| client_key(&item.cluster_name, &item.storage_cluster_ref.name);
    sha512(&format!("{provider}-{}-{}", key(first), key(second)))
}

/// Key in `odf-client-info`.
#[must_use]
pub fn client_key(cluster: &str, client: &str) -> String {
    format!("{cluster}_{client}")
}

/// The bucket of two clusters, in the order of the items.
#[must_use]
pub fn bucket(first: &str, second: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(first.as_bytes());
    hash.update(second.as_bytes());
    let hex = ours::hex(&hash.finalize());
    format!("odrbucket-{}", &hex[..BUCKET])
}

/// The entry in Ramen's configuration for a storage cluster.
#[must_use]
pub fn s3_profile(cluster: &str, storage_cluster: &str) -> String {
    format!("s3profile-{cluster}-{storage_cluster}")
}

/// A `VolumeReplicationClass` for an interval.
#[must_use]
pub fn replication_class(interval: &str, flatten: bool) -> String {
    let flatten = if flatten { "flatten-" } else { "" };
    format!("rbd-{flatten}volumereplicationclass-{}", fnv(interval))
}

/// A `VolumeGroupReplicationClass` for an interval and a pool.
#[must_use]
pub fn group_replication_class(interval: &str, flatten: bool, pool: &str) -> String {
    let flatten = if flatten { "flatten-" } else { "" };
    format!(
        "rbd-{flatten}volumegroupreplicationclass-{}-{}",
        fnv(interval),
        fnv(pool)
    )
}

/// The works in which the Go orchestrator delivered the classes of a `DRPolicy`.
#[must_use]
pub fn legacy_class_works(policy: &str) -> [String; 2] {
    let hash = fnv(policy);
    [format!("vrc-{hash}"), format!("vgrc-{hash}")]
}

/// The work in which the Go orchestrator delivered a `StorageClusterPeer` to a provider, ticket and all.
#[must_use]
pub fn legacy_peer_work(cluster: &str) -> String {
    format!("storageclusterpeer-{cluster}")
}

/// A readable name that is unique by its end.
fn unique(prefix: &str, name: &str, id: &str) -> String {
    let mut readable = name.to_owned();
    readable.truncate(readable.floor_char_boundary(READABLE));
    let readable = readable.replace('.', "-");
    format!("{prefix}-{}-{}", readable.trim_end_matches('-'), &id[..10])
}

/// The Peering that hands the peer tokens of a `MirrorPeer` over.
#[must_use]
pub fn token_peering(mirror_peer: &str) -> String {
    unique(
        "mirrorpeer",
        mirror_peer,
        &ours::digest(&["mirrorpeer/v1", mirror_peer], 32),
    )
}

/// The Peering that makes a storage cluster's bucket known to the hub. All `MirrorPeer`s of the storage cluster share it.
#[must_use]
pub fn store_peering(cluster: &str, namespace: &str, storage_cluster: &str) -> String {
    let id = ours::digest(&["s3-store/v1", cluster, namespace, storage_cluster], 32);
    unique("s3-store", cluster, &id)
}

/// The Peering by which two storage clusters hand tickets to each other, the same whichever comes first. All `MirrorPeer`s
/// whose clients these two provide for share it. Each is given as cluster, namespace and name.
#[must_use]
pub fn ticket_peering(one: [&str; 3], other: [&str; 3]) -> String {
    let mut both = [one, other];
    both.sort_unstable();
    let [first, second] = both;
    let id = ours::digest(
        &[
            "odf-client/v1",
            first[0],
            first[1],
            first[2],
            second[0],
            second[1],
            second[2],
        ],
        32,
    );
    unique("odf-client", first[0], &id)
}

/// The Peering by which the storage operators of a pair of clients are told which replication classes the clients get.
#[must_use]
pub fn class_peering(mirror_peer: &str) -> String {
    unique(
        "odf-classes",
        mirror_peer,
        &ours::digest(&["odf-classes/v1", mirror_peer], 32),
    )
}

/// The Peering that makes the bucket known to the hub in which a provider keeps what Ramen says of two clusters' clients. Ramen
/// tells applications apart within a pair of clusters only, so each pair has a bucket of its own.
#[must_use]
pub fn client_store_peering(provider: [&str; 3], clusters: [&str; 2]) -> String {
    let mut both = clusters;
    both.sort_unstable();
    let [cluster, namespace, name] = provider;
    let id = ours::digest(&["s3-client-store/v1", cluster, namespace, name, both[0], both[1]], 32);
    unique("s3-store", cluster, &id)
}

#[cfg(test)]
mod tests {
    use peering_api::odf::StorageClusterRef;

    use super::*;

    #[test]
    fn vectors_that_the_go_orchestrator_asserts() {
        assert_eq!(
            (fnv("5m"), fnv("10m"), fnv("1h")),
            (1_625_360_775, 473_128_587, 1_676_385_180)
        );
        assert_eq!(bucket("cluster1", "cluster2"), "odrbucket-b1b922184baf");
        assert_eq!(bucket("cluster3", "cluster4"), "odrbucket-db0233c5db46");
        for (fsid, second, id) in [
            ("", "", "2432510f5993984b053e7d74ce53d94c"),
            ("", "csi", "793b48b9b17bdad5cd141e6daadfdd4e"),
            (
                "a0eaa723-bf87-48db-ad11-17e276edda61",
                "",
                "bb2361459436fd47121419c658d4c79b",
            ),
            (
                "a0eaa723-bf87-48db-ad11-17e276edda61",
                "csi",
                "41711cb35464e85f4446ace583adbaa1",
            ),
            (
                "30dc85db-f35f-4c03-bb43-c8592487d8b9",
                "",
                "9e4fbb3d9e52875d6393409a51927243",
            ),
            (
                "30dc85db-f35f-4c03-bb43-c8592487d8b9",
                "csi",
                "4b7e331b508946ca7165f14804c37ffc",
            ),
        ] {
            assert_eq!(md5_json(&[fsid, second]), id);
            assert_eq!(storage_id(fsid, second), (!fsid.is_empty()).then(|| id.to_owned()));
        }
    }

    #[test]
    fn vectors_that_were_computed_from_its_algorithms() {
        assert_eq!(bucket("cluster2", "cluster1"), "odrbucket-dba0a30fd7bb");
        let (cluster, namespace, name) = ("cluster1", "openshift-storage", "ocs-storagecluster");
        assert_eq!(
            peer_secret(cluster, namespace, name),
            "271080886d225db56027eda82b520e9b2c019e1"
        );
        assert_eq!(
            s3_secret(cluster, namespace, name),
            "a6bd33b0ff333553dce289cbbbb56976a789b8f"
        );
        let item = |cluster: &str| PeerRef {
            cluster_name: cluster.to_owned(),
            storage_cluster_ref: StorageClusterRef {
                name: name.to_owned(),
                namespace: None,
            },
        };
        assert_eq!(
            client_s3_secret(cluster, &item("cluster1"), &item("cluster2")),
            "3b1a324135f428c96f6054487077ca68d9ce53b"
        );
        assert_eq!(fnv("ocs-storagecluster-cephblockpool"), 1_602_718_344);
        assert_eq!((fnv("test-dr-policy"), fnv("")), (1_685_893_063, 2_166_136_261));
    }

    #[test]
    fn names_that_are_made_of_them() {
        assert_eq!(s3_profile("cluster1", "sc"), "s3profile-cluster1-sc");
        assert_eq!(replication_class("5m", false), "rbd-volumereplicationclass-1625360775");
        assert_eq!(
            replication_class("5m", true),
            "rbd-flatten-volumereplicationclass-1625360775"
        );
        assert_eq!(
            group_replication_class("5m", false, "ocs-storagecluster-cephblockpool"),
            "rbd-volumegroupreplicationclass-1625360775-1602718344"
        );
        assert_eq!(
            legacy_class_works("test-dr-policy"),
            ["vrc-1685893063", "vgrc-1685893063"]
        );
    }

    #[test]
    fn a_replication_id_is_the_same_from_both_sides_and_needs_both() {
        assert_eq!(replication_id("a", "b"), replication_id("b", "a"));
        assert_ne!(replication_id("a", "b"), replication_id("a", "c"));
        assert_eq!(replication_id("a", ""), None);
    }

    #[test]
    fn peerings_have_names_of_their_own() {
        assert_eq!(token_peering("mirrorpeer-1"), "mirrorpeer-mirrorpeer-1-c859589993");
        assert_eq!(store_peering("cluster1", "ns", "sc"), "s3-store-cluster1-9c4a7dfe48");
        let long = "x.".repeat(120);
        let names = [
            token_peering(&long),
            store_peering(&long, "a", "b"),
            store_peering(&long, "ab", ""),
        ];
        for name in &names {
            assert!(name.len() <= ours::MAX_PEERING_NAME && !name.contains('.'), "{name}");
        }
        assert_ne!(names[1], names[2], "fields are not joined");
        let (one, other) = (["c1", "ns", "sc"], ["c2", "ns", "sc"]);
        assert_eq!(ticket_peering(one, other), ticket_peering(other, one));
        assert_ne!(ticket_peering(one, other), ticket_peering(one, ["c2", "n", "ssc"]));
        assert_eq!(ticket_peering(one, other), "odf-client-c1-0fc495068d");
        assert_eq!(
            client_store_peering(one, ["c3", "c4"]),
            client_store_peering(one, ["c4", "c3"])
        );
        assert_eq!(client_store_peering(one, ["c3", "c4"]), "s3-store-c1-95322dcd44");
    }
}
