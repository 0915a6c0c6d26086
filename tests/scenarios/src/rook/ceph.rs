//! What a Ceph cluster knows of mirroring, and no data: enough to refuse a token that is out of date.
//!
//! After `librbd/api/Mirror.cc` (`peer_bootstrap_create`, `peer_bootstrap_import`) and
//! `pybind/mgr/mirroring/fs/snapshot_mirror.py` (`peer_bootstrap_create`, `peer_add`, `verify_and_set_mirror_info`) of Ceph.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// All Ceph clusters that reach each other.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<BTreeMap<String, Cluster>>>);

/// One of them.
#[derive(Clone)]
pub struct Ceph {
    network: Network,
    fsid: String,
}

#[derive(Default)]
struct Cluster {
    /// How often its mons have been replaced.
    fail_overs: u32,
    /// The peers of each pool with mirroring, by site name.
    pools: BTreeMap<String, BTreeMap<String, Remote>>,
    /// Every token that was imported for a pool.
    imported: BTreeSet<String>,
    /// The filesystems with mirroring.
    filesystems: BTreeMap<String, Filesystem>,
}

/// How a peer is reached.
#[derive(Clone)]
struct Remote {
    mon_host: String,
    key: String,
}

#[derive(Default)]
struct Filesystem {
    /// The peers: site name and filesystem.
    peers: BTreeSet<(String, String)>,
    /// Site name and filesystem of the one that mirrors into this one: the attribute `ceph.mirror.info` of its root.
    mirrored_by: Option<(String, String)>,
}

impl Network {
    /// A cluster, by the id that is its site name too.
    #[must_use]
    pub fn cluster(&self, fsid: &str) -> Ceph {
        self.lock().entry(fsid.to_owned()).or_default();
        Ceph {
            network: self.clone(),
            fsid: fsid.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cluster>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mon_host(fsid: &str, fail_overs: u32) -> String {
    format!("[v2:{fsid}-{fail_overs}.mon:3300,v1:{fsid}-{fail_overs}.mon:6789]")
}

fn key(fsid: &str) -> String {
    BASE64_STANDARD.encode(format!("the cephx key for peers of {fsid}"))
}

/// The cluster that answers at an address and takes a key.
fn reach(clusters: &BTreeMap<String, Cluster>, remote: &Remote) -> Result<String> {
    let answers = |(fsid, cluster): &(&String, &Cluster)| mon_host(fsid, cluster.fail_overs) == remote.mon_host;
    let (fsid, _) = clusters
        .iter()
        .find(answers)
        .context("failed to connect to peer cluster")?;
    ensure!(
        key(fsid) == remote.key,
        "failed to connect to peer cluster: permission denied"
    );
    Ok(fsid.clone())
}

fn decode(token: &str) -> Result<(Value, Remote)> {
    let token: Value = serde_json::from_slice(&BASE64_STANDARD.decode(token.trim())?)?;
    let text = |field: &str| {
        token[field]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {field} in the token"))
    };
    let remote = Remote {
        mon_host: text("mon_host")?,
        key: text("key")?,
    };
    Ok((token, remote))
}

fn add_peer(peers: &mut BTreeMap<String, Remote>, site: &str, remote: Remote) -> Result<()> {
    let known = peers.is_empty() || peers.contains_key(site);
    ensure!(known, "multiple peers are not currently supported");
    peers.insert(site.to_owned(), remote);
    Ok(())
}

impl Ceph {
    /// Its id.
    #[must_use]
    pub fn fsid(&self) -> &str {
        &self.fsid
    }

    /// All mons are replaced by others with other addresses, and clients of the old ones reach nobody.
    pub fn fail_over(&self) {
        self.edit(|cluster| cluster.fail_overs += 1);
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Cluster) -> T) -> T {
        edit(self.network.lock().entry(self.fsid.clone()).or_default())
    }

    fn mon_host(&self) -> String {
        self.edit(|cluster| mon_host(&self.fsid, cluster.fail_overs))
    }

    /// `rbd mirror pool enable`.
    pub fn enable_pool(&self, pool: &str) {
        self.edit(|cluster| {
            cluster.pools.entry(pool.to_owned()).or_default();
        });
    }

    /// `rbd mirror pool peer bootstrap create`, with the namespace that Rook adds.
    #[must_use]
    pub fn pool_token(&self, namespace: &str) -> String {
        let token = json!({
            "fsid": self.fsid, "client_id": "rbd-mirror-peer", "key": key(&self.fsid), "mon_host": self.mon_host(),
            "namespace": namespace,
        });
        BASE64_STANDARD.encode(token.to_string())
    }

    /// `rbd mirror pool peer bootstrap import`, both directions. A peer that is known gets the token's address and key.
    pub fn import_pool_token(&self, pool: &str, text: &str) -> Result<()> {
        let (token, remote) = decode(text)?;
        let local = Remote {
            mon_host: self.mon_host(),
            key: key(&self.fsid),
        };
        let mut clusters = self.network.lock();
        let peer = reach(&clusters, &remote)?;
        ensure!(peer != self.fsid, "cannot import token for local cluster");
        ensure!(token["fsid"] == *peer, "unexpected remote cluster fsid");
        let theirs = clusters.get_mut(&peer).and_then(|cluster| cluster.pools.get_mut(pool));
        let theirs = theirs.context("the remote pool does not exist, or is not mirrored")?;
        add_peer(theirs, &self.fsid, local)?;
        let ours = clusters.entry(self.fsid.clone()).or_default();
        add_peer(ours.pools.entry(pool.to_owned()).or_default(), &peer, remote)?;
        ours.imported.insert(text.to_owned());
        Ok(())
    }

    /// Whether a token was imported for a pool.
    #[must_use]
    pub fn has_imported(&self, token: &str) -> bool {
        self.edit(|cluster| cluster.imported.contains(token))
    }

    /// The site names of a pool's peers, and whether the mirror daemon reaches all of them.
    #[must_use]
    pub fn pool_peers(&self, pool: &str) -> (Vec<String>, bool) {
        let clusters = self.network.lock();
        let peers = clusters.get(&self.fsid).and_then(|cluster| cluster.pools.get(pool));
        let peers = peers.cloned().unwrap_or_default();
        let reached = peers
            .iter()
            .all(|(site, remote)| reach(&clusters, remote).is_ok_and(|fsid| fsid == *site));
        (peers.into_keys().collect(), reached)
    }

    /// `ceph fs snapshot mirror enable`.
    pub fn enable_filesystem(&self, filesystem: &str) {
        self.edit(|cluster| {
            cluster.filesystems.entry(filesystem.to_owned()).or_default();
        });
    }

    /// `ceph fs snapshot mirror peer_bootstrap create`.
    #[must_use]
    pub fn filesystem_token(&self, filesystem: &str) -> String {
        let token = json!({
            "fsid": self.fsid, "filesystem": filesystem, "user": "client.mirror", "site_name": self.fsid,
            "key": key(&self.fsid), "mon_host": self.mon_host(),
        });
        BASE64_STANDARD.encode(token.to_string())
    }

    /// `ceph fs snapshot mirror peer_bootstrap import`. For a peer that is known it does nothing, whatever the token says.
    pub fn import_filesystem_token(&self, filesystem: &str, token: &str) -> Result<()> {
        let (token, remote) = decode(token)?;
        let text = |field: &str| token[field].as_str().unwrap_or_default().to_owned();
        let (there, here) = (
            (text("site_name"), text("filesystem")),
            (self.fsid.clone(), filesystem.to_owned()),
        );
        let mut clusters = self.network.lock();
        let of = |clusters: &BTreeMap<String, Cluster>, (site, name): &(String, String)| {
            let found = clusters.get(site).and_then(|cluster| cluster.filesystems.get(name));
            found.map(|found| (found.peers.clone(), found.mirrored_by.clone()))
        };
        let (peers, mirrored_by) = of(&clusters, &here).context("the filesystem is not mirrored")?;
        if peers.contains(&there) {
            return Ok(());
        }
        ensure!(
            reach(&clusters, &remote)? == there.0,
            "FSID mismatch between bootstrap token and remote cluster"
        );
        if mirrored_by.as_ref() == Some(&there) {
            bail!("file system is an active peer for file system: {}", there.1);
        }
        let (_, theirs) = of(&clusters, &there).context("the remote filesystem does not exist")?;
        ensure!(
            theirs.is_none_or(|by| by == here),
            "peer mirrored by another filesystem"
        );
        for (site, name) in [&here, &there] {
            let cluster = clusters
                .get_mut(site)
                .and_then(|cluster| cluster.filesystems.get_mut(name));
            let Some(found) = cluster else { continue };
            if (site, name) == (&here.0, &here.1) {
                found.peers.insert(there.clone());
            } else {
                found.mirrored_by = Some(here.clone());
            }
        }
        Ok(())
    }

    /// Site names and filesystems of a filesystem's peers.
    #[must_use]
    pub fn filesystem_peers(&self, filesystem: &str) -> Vec<(String, String)> {
        let peers = self.edit(|cluster| {
            let found = cluster.filesystems.get(filesystem);
            found.map(|found| found.peers.clone())
        });
        peers.unwrap_or_default().into_iter().collect()
    }
}
