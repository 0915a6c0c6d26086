//! Mirroring between Rook clusters: profiles of `manifests/profiles`, Rook's real CRDs, and a stand-in for its operator that
//! takes a token only if it leads to the other cluster as it is now.
use std::{cell::RefCell, collections::BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Secret, rbac::v1::Role};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use peering_api::{
    names::{self, WIRED_ANNOTATION},
    peering::{PeerExport, PeerLink, condition},
};
use scenarios::{
    Scenario, Side, Witness,
    objects::bytes,
    rook::{self, CRDS, Rook, ceph::Network},
    scenario::repository,
};
use serde_json::{Value, json};

use crate::secrecy::{found, shapes};

const BOTH: [Side; 2] = [Side::East, Side::West];
const TOKEN: &str = "peer-token";
const POOL: &str = "replicapool";

/// Rook on both clusters, in the scenario's namespace.
struct Sites {
    s: Scenario,
    east: Rook,
    west: Rook,
}

impl Sites {
    async fn new(s: Scenario) -> Result<Self> {
        for profile in ["rook-rbd-mirroring", "rook-cephfs-mirroring"] {
            let path = repository(&format!("manifests/profiles/{profile}.yaml"));
            s.world.env.hub().apply_path(&path).await?;
        }
        let network = Network::default();
        let mut rooks = Vec::new();
        for side in BOTH {
            let cluster = s.world.env.spoke(side.cluster())?;
            for crd in CRDS {
                cluster.apply_crd(crd).await?;
            }
            cluster.apply_text(&daemons(&s.name)).await?;
            let ceph = network.cluster(&format!("{}-{}", s.name, side.cluster()));
            rooks.push(Rook::start(&s.client(side), &s.name, ceph).await?);
        }
        let (west, east) = (rooks.pop().context("no west")?, rooks.pop().context("no east")?);
        Ok(Self { s, east, west })
    }

    fn rook(&self, side: Side) -> &Rook {
        match side {
            Side::East => &self.east,
            Side::West => &self.west,
        }
    }

    fn pools(&self, side: Side) -> Api<DynamicObject> {
        rook::pools(&self.s.client(side), &self.s.name)
    }

    /// The token that leads to a side's Ceph now.
    fn token(&self, side: Side) -> String {
        self.rook(side).ceph.pool_token(&self.s.name)
    }

    /// Applies a pool with mirroring, as its owner does; `peers` is what stands there of peers.
    async fn pool(&self, side: Side, name: &str, peers: Option<Value>) -> Result<()> {
        let mut mirroring = json!({
            "enabled": true, "mode": "image",
            "snapshotSchedules": [{"interval": "24h", "startTime": "14:00:00-05:00"}],
        });
        if let Some(peers) = peers {
            mirroring["peers"] = peers;
        }
        self.bare_pool(side, name, &mirroring).await
    }

    async fn bare_pool(&self, side: Side, name: &str, mirroring: &Value) -> Result<()> {
        let pool = json!({
            "apiVersion": "ceph.rook.io/v1", "kind": "CephBlockPool",
            "metadata": {"name": name, "namespace": self.s.name},
            "spec": {"failureDomain": "host", "replicated": {"size": 3}, "mirroring": mirroring},
        });
        let cluster = self.s.world.env.spoke(side.cluster())?;
        cluster.apply_text(&pool.to_string()).await?;
        Ok(())
    }

    /// The Peering that `manifests/samples/rook.yaml` has for a profile, in the scenario's namespace.
    fn sample(&self, profile: &str) -> Result<Value> {
        let text = std::fs::read_to_string(repository("manifests/samples/rook.yaml"))?;
        let found = testenv::apply::parse(&text)?
            .into_iter()
            .find(|peering| peering["spec"]["profile"] == profile);
        let mut spec = found.with_context(|| format!("no sample for {profile}"))?["spec"].take();
        spec["parameters"]["namespace"] = self.s.name.clone().into();
        Ok(spec)
    }

    /// Peers a pool of both clusters, under the scenario's name.
    async fn peer(&self) -> Result<()> {
        self.s.apply_peering(self.sample("rook-rbd-mirroring")?).await
    }

    /// Two pools that mirror each other.
    async fn pair(name: &str) -> Result<Self> {
        let sites = Self::new(Scenario::shared(name).await?).await?;
        for side in BOTH {
            sites.pool(side, POOL, None).await?;
        }
        sites.peer().await?;
        sites.s.await_peering("Ready", "True", "AllLinksReady").await?;
        Ok(sites)
    }

    /// Waits until the token of a pool on the other cluster stands here.
    async fn await_token(&self, to: Side, pool: &str) -> Result<Secret> {
        let expected = bytes(&[("pool", pool.as_bytes()), ("token", self.token(to.other()).as_bytes())]);
        let (api, name) = (self.s.on::<Secret>(to), target(to, pool));
        self.s
            .until(
                &format!("Secret {name} on {} to hold the token", to.cluster()),
                || async {
                    let found = api.get_opt(&name).await?;
                    Ok(found.filter(|secret| secret.data.as_ref() == Some(&expected)))
                },
            )
            .await
    }

    async fn await_link(&self, to: Side, type_: &str, status: &str, reason: &str) -> Result<String> {
        self.s.await_link(TOKEN, to, type_, status, reason).await
    }

    /// Waits until a pool's mirroring was looked at so many more times.
    async fn await_checks(&self, side: Side, pool: &str, times: usize) -> Result<()> {
        let (api, seen) = (self.pools(side), RefCell::new(BTreeSet::new()));
        self.s
            .until(
                &format!("the mirroring of {pool} to be checked {times} times"),
                || async {
                    let pool = api.get(pool).await?;
                    let checked = pool.data["status"]["mirroringStatus"]["lastChecked"].to_string();
                    seen.borrow_mut().insert(checked);
                    Ok((seen.borrow().len() > times).then_some(()))
                },
            )
            .await
    }
}

/// The mirror daemons of a Ceph cluster.
fn daemons(namespace: &str) -> String {
    format!(
        "{{apiVersion: ceph.rook.io/v1, kind: CephRBDMirror, metadata: {{name: mirror, namespace: {namespace}}}, spec: {{count: 1}}}}\n\
         ---\n\
         {{apiVersion: ceph.rook.io/v1, kind: CephFilesystemMirror, metadata: {{name: mirror, namespace: {namespace}}}, spec: {{}}}}"
    )
}

/// Name of the Secret with the other cluster's token.
fn target(to: Side, pool: &str) -> String {
    format!("peer-{}-cluster-peer-token-{pool}", to.other().cluster())
}

/// The versions of the links and exports of both sides.
async fn told(s: &Scenario) -> Result<Vec<Option<String>>> {
    let mut versions = Vec::new();
    for side in BOTH {
        versions.push(s.link(TOKEN, side).await?.resource_version());
        versions.push(s.export(TOKEN, side).await?.resource_version());
    }
    Ok(versions)
}

fn secret_names(object: &DynamicObject) -> Value {
    object.data["spec"]["mirroring"]["peers"]["secretNames"].clone()
}

#[tokio::test]
async fn two_pools_learn_of_each_other_and_withdrawal_takes_back_exactly_ours() -> Result<()> {
    let sites = Sites::new(Scenario::shared("rook-pair").await?).await?;
    let s = &sites.s;
    sites.pool(Side::East, POOL, Some(Value::Null)).await?;
    // On the other one somebody has done it by hand before.
    let by_hand = scenarios::objects::secret("by-hand", &[("token", sites.token(Side::East).as_bytes())]);
    scenarios::scenario::put(&s.on(Side::West), by_hand).await?;
    sites
        .pool(Side::West, POOL, Some(json!({"secretNames": ["by-hand"]})))
        .await?;
    let mut before = Vec::new();
    for side in BOTH {
        before.push(sites.pools(side).get(POOL).await?);
    }
    sites.peer().await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    for (side, expected) in [
        (Side::East, json!([target(Side::East, POOL)])),
        (Side::West, json!(["by-hand", target(Side::West, POOL)])),
    ] {
        let delivered = sites.await_token(side, POOL).await?;
        ensure!(
            delivered.type_.as_deref() == Some("kubernetes.io/rook"),
            "{delivered:?}"
        );
        let mut pool = sites.pools(side).get(POOL).await?;
        ensure!(secret_names(&pool) == expected, "{pool:?}");
        let spec = &mut pool.data["spec"]["mirroring"];
        ensure!(
            spec["snapshotSchedules"][0]["interval"] == "24h" && spec["mode"] == "image",
            "{spec}"
        );
        // A pool without any peer is healthy too, so the link may be ready before Rook has taken the token.
        s.until("Rook to take the token", || async {
            let (peers, reached) = sites.rook(side).ceph.pool_peers(POOL);
            ensure!(reached && peers == [sites.rook(side.other()).ceph.fsid()], "{peers:?}");
            Ok(Some(()))
        })
        .await?;
        let role = s.on::<Role>(side).get(&names::role_name(&s.name)).await?;
        for rule in role.rules.unwrap_or_default() {
            let secrets = rule.resources.iter().flatten().any(|resource| resource == "secrets");
            let named = rule.resource_names.iter().flatten().count() > 0;
            ensure!(
                named || !secrets,
                "every Secret beside Ceph's keys can be read: {rule:?}"
            );
        }
        let places = found(s, &shapes(sites.token(side).as_bytes())).await?;
        ensure!(places.is_empty(), "the token of {} is in {places:#?}", side.cluster());
    }
    // Rook writes the time of its last check into the status all the time. That is no news.
    let mut links = Vec::new();
    s.quiet("what is told of the Peering", || told(s)).await?;
    for side in BOTH {
        let (link, export) = (s.link(TOKEN, side).await?, s.export(TOKEN, side).await?);
        links.push((
            Witness::of(s.hub_of::<PeerLink>(side), &link.name_any()).await?,
            Witness::of(s.hub_of::<PeerExport>(side), &export.name_any()).await?,
        ));
    }
    sites.await_checks(Side::East, POOL, 4).await?;
    sites.await_checks(Side::West, POOL, 4).await?;
    for (link, export) in &links {
        ensure!(link.versions().len() == 1, "{:?}", link.versions());
        ensure!(export.versions().len() == 1, "{:?}", export.versions());
    }
    s.withdraw().await?;
    for (side, before) in BOTH.into_iter().zip(before) {
        s.await_gone(&s.on::<Secret>(side), &target(side, POOL)).await?;
        let after = sites.pools(side).get(POOL).await?;
        let mut spec = before.data["spec"].clone();
        if let Some(mirroring) = spec["mirroring"].as_object_mut() {
            // Null is as good as nothing.
            mirroring.retain(|_, value| !value.is_null());
        }
        ensure!(after.data["spec"] == spec, "{after:?}\nbefore: {before:?}");
        ensure!(!after.annotations().contains_key(WIRED_ANNOTATION), "{after:?}");
        let source = format!("pool-peer-token-{POOL}");
        ensure!(
            s.on::<Secret>(side).get_opt(&source).await?.is_some(),
            "Rook's own Secret went"
        );
    }
    ensure!(
        s.on::<Secret>(Side::West).get_opt("by-hand").await?.is_some(),
        "a foreign Secret went"
    );
    Ok(())
}

#[tokio::test]
async fn a_mon_fail_over_is_carried_over_and_imported() -> Result<()> {
    let sites = Sites::pair("rook-mons").await?;
    let s = &sites.s;
    let old = sites.token(Side::East);
    let (link, export) = (s.link(TOKEN, Side::West).await?, s.export(TOKEN, Side::East).await?);
    let links = Witness::of(s.hub_of::<PeerLink>(Side::West), &link.name_any()).await?;
    let exports = Witness::of(s.hub_of::<PeerExport>(Side::East), &export.name_any()).await?;
    sites.east.fail_over().await?;
    ensure!(sites.token(Side::East) != old, "the token is the same");
    sites.await_token(Side::West, POOL).await?;
    s.until("Rook on cluster2 to import the new token", || async {
        Ok(sites.west.ceph.has_imported(&sites.token(Side::East)).then_some(()))
    })
    .await?;
    s.until("the link to hold the new revision", || async {
        let revision = s.export(TOKEN, Side::East).await?.status.unwrap_or_default().revision;
        let applied = s
            .link(TOKEN, Side::West)
            .await?
            .status
            .unwrap_or_default()
            .applied_revision;
        Ok((revision.is_some() && revision == applied).then_some(()))
    })
    .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    // Rook takes the Secret's name out of the status while it works: that is no reason to doubt the source.
    for export in exports.versions().into_iter().flatten() {
        let conditions = export.status.unwrap_or_default().conditions;
        let ready = condition(&conditions, "SourceReady").context("no SourceReady")?;
        ensure!(ready.status == "True", "{ready:?}");
    }
    for link in links.versions().into_iter().flatten() {
        let conditions = link.status.unwrap_or_default().conditions;
        let wired = condition(&conditions, "Wired").context("no Wired")?;
        ensure!(wired.status == "True", "{wired:?}");
    }
    s.withdraw().await
}

#[tokio::test]
async fn without_a_mirror_daemon_the_link_is_not_connected() -> Result<()> {
    let sites = Sites::pair("rook-daemon").await?;
    let s = &sites.s;
    let daemons_of = rook::kind(&s.client(Side::West), &s.name, "CephRBDMirror", "cephrbdmirrors");
    daemons_of.delete("mirror", &DeleteParams::default()).await?;
    let said = ("False", "NotSynced");
    let message = s
        .await_link_saying(TOKEN, Side::West, "Connected", said, "daemon_health")
        .await?;
    ensure!(message.contains(POOL), "{message}");
    s.await_peering("Ready", "False", "LinksNotReady").await?;
    let east = s.link(TOKEN, Side::East).await?.status.unwrap_or_default();
    let ready = condition(&east.conditions, "Connected").context("no Connected")?;
    ensure!(ready.status == "True", "the other cluster has its daemon: {ready:?}");
    s.world.env.spoke("cluster2")?.apply_text(&daemons(&s.name)).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn what_is_missing_is_told_and_picked_up_when_it_comes() -> Result<()> {
    let s = Scenario::alone("rook-missing").await?;
    let west = s.world.env.spoke("cluster2")?;
    west.apply_crd(CRDS[0]).await?;
    west.delete_crd(CRDS[0]).await?;
    let path = repository("manifests/profiles/rook-rbd-mirroring.yaml");
    s.world.env.hub().apply_path(&path).await?;
    let parameters = json!({"namespace": s.name, "pool": POOL});
    let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2"}]);
    s.apply_peering(json!({"profile": "rook-rbd-mirroring", "parameters": parameters, "members": members}))
        .await?;
    // No Rook at all.
    s.await_link_saying(
        TOKEN,
        Side::East,
        "SourceReady",
        ("False", "KindNotFound"),
        "CephBlockPool",
    )
    .await?;
    // Rook is installed, there is no pool yet.
    let sites = Sites::new(s).await?;
    let s = &sites.s;
    let (said, part) = (("False", "SourceNotFound"), format!("CephBlockPool {}/{POOL}", s.name));
    s.await_link_saying(TOKEN, Side::East, "SourceReady", said, &part)
        .await?;
    // One pool mirrors, the other one does not.
    sites.pool(Side::East, POOL, None).await?;
    sites.bare_pool(Side::West, POOL, &json!({"enabled": false})).await?;
    s.until("the missing token of cluster2 to be told", || async {
        let link = s.link(TOKEN, Side::East).await?.status.unwrap_or_default();
        let ready = condition(&link.conditions, "SourceReady").cloned();
        Ok(ready.filter(|ready| ready.message.contains(&format!("pool-peer-token-{POOL}"))))
    })
    .await?;
    sites.pool(Side::West, POOL, None).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    // A pool goes: what it has handed over stays, and its own part is taken up again when it comes back.
    sites.pools(Side::West).delete(POOL, &DeleteParams::default()).await?;
    sites
        .await_link(Side::West, "Wired", "False", "ConsumerMissing")
        .await?;
    sites
        .await_link(Side::East, "SourceReady", "False", "SourceNotFound")
        .await?;
    sites.await_token(Side::East, POOL).await?;
    // So that what is awaited below is told anew.
    s.await_peering("Ready", "False", "LinksNotReady").await?;
    sites.pool(Side::West, POOL, None).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let pool = sites.pools(Side::West).get(POOL).await?;
    ensure!(secret_names(&pool) == json!([target(Side::West, POOL)]), "{pool:?}");
    // Rook is uninstalled while a Peering stands: told, and no hindrance to a withdrawal.
    for crd in CRDS {
        s.world.env.spoke("cluster2")?.delete_crd(crd).await?;
    }
    sites
        .await_link(Side::West, "Wired", "False", "ConsumerMissing")
        .await?;
    s.withdraw().await?;
    s.await_gone(&s.on::<Secret>(Side::West), &target(Side::West, POOL))
        .await
}

#[tokio::test]
async fn two_peerings_for_two_pools_of_the_same_clusters_do_not_disturb_each_other() -> Result<()> {
    let sites = Sites::pair("rook-two").await?;
    let s = &sites.s;
    let (first, second) = (POOL, "silver");
    for side in BOTH {
        sites.pool(side, second, None).await?;
    }
    let other = format!("{}-silver", s.name);
    let peering = json!({
        "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "Peering", "metadata": {"name": other},
        "spec": {
            "profile": "rook-rbd-mirroring", "parameters": {"namespace": s.name, "pool": second},
            "members": [{"cluster": "cluster1"}, {"cluster": "cluster2"}],
        },
    });
    s.world.env.hub().apply_text(&peering.to_string()).await?;
    s.until("both Peerings to be ready", || async {
        for name in [&s.name, &other] {
            let status = s.peerings().get(name).await?.status.unwrap_or_default();
            if condition(&status.conditions, "Ready").is_none_or(|ready| ready.status != "True") {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let mut specs = Vec::new();
    for side in BOTH {
        sites.await_token(side, first).await?;
        sites.await_token(side, second).await?;
        let pool = sites.pools(side).get(second).await?;
        ensure!(secret_names(&pool) == json!([target(side, second)]), "{pool:?}");
        specs.push(pool);
    }
    s.withdraw().await?;
    for (side, before) in BOTH.into_iter().zip(specs) {
        s.await_gone(&s.on::<Secret>(side), &target(side, first)).await?;
        ensure!(
            secret_names(&sites.pools(side).get(first).await?).is_null(),
            "the first pool is still told"
        );
        let pool = sites.pools(side).get(second).await?;
        ensure!(
            pool.metadata.generation == before.metadata.generation,
            "the second pool was touched: {pool:?}"
        );
        sites.await_token(side, second).await?;
    }
    s.peerings().delete(&other, &DeleteParams::default()).await?;
    s.await_gone(&s.peerings(), &other).await
}

#[tokio::test]
async fn snapshots_of_a_filesystem_go_one_way() -> Result<()> {
    let sites = Sites::new(Scenario::shared("rook-fs").await?).await?;
    let s = &sites.s;
    let api = |side: Side| rook::filesystems(&s.client(side), &s.name);
    let mut before = Vec::new();
    for (side, name) in [(Side::East, "home"), (Side::West, "standby")] {
        let filesystem = json!({
            "apiVersion": "ceph.rook.io/v1", "kind": "CephFilesystem",
            "metadata": {"name": name, "namespace": s.name},
            "spec": {
                "metadataPool": {"replicated": {"size": 3}},
                "dataPools": [{"name": "replicated", "replicated": {"size": 3}}],
                "metadataServer": {"activeCount": 1, "activeStandby": true},
                "mirroring": {
                    "enabled": true,
                    "snapshotSchedules": [{"path": "/", "interval": "24h"}],
                    "snapshotRetention": [{"path": "/", "duration": "h 24"}],
                },
            },
        });
        let cluster = s.world.env.spoke(side.cluster())?;
        cluster.apply_text(&filesystem.to_string()).await?;
        before.push(api(side).get(name).await?);
    }
    let mut spec = sites.sample("rook-cephfs-mirroring")?;
    spec["parameters"]["filesystem"] = json!("home");
    spec["members"][1]["parameters"] = json!({"filesystem": "standby"});
    s.apply_peering(spec).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let name = "peer-cluster2-fs-peer-token-home";
    let delivered = s.on::<Secret>(Side::East).get(name).await?;
    let token = sites.west.ceph.filesystem_token("standby");
    ensure!(
        delivered.data == Some(bytes(&[("token", token.as_bytes())])),
        "{delivered:?}"
    );
    ensure!(
        secret_names(&api(Side::East).get("home").await?) == json!([name]),
        "the filesystem is not told"
    );
    s.until("Rook to take the token", || async {
        let peers = sites.east.ceph.filesystem_peers("home");
        ensure!(
            peers == [(sites.west.ceph.fsid().to_owned(), "standby".to_owned())],
            "{peers:?}"
        );
        Ok(Some(()))
    })
    .await?;
    let standby = api(Side::West).get("standby").await?;
    ensure!(
        standby.metadata.generation == before[1].metadata.generation,
        "the standby was told of a peer: {standby:?}"
    );
    // The token follows the mons. (Ceph keeps to the peer that it has.)
    sites.west.fail_over().await?;
    let token = sites.west.ceph.filesystem_token("standby");
    s.until("the new token to stand on cluster1", || async {
        let secret = s.on::<Secret>(Side::East).get(name).await?;
        Ok((secret.data == Some(bytes(&[("token", token.as_bytes())]))).then_some(()))
    })
    .await?;
    // Somebody adds a peer of his own; it stays.
    let theirs = json!({"spec": {"mirroring": {"peers": {"secretNames": [name, "theirs"]}}}});
    api(Side::East)
        .patch("home", &PatchParams::default(), &Patch::Merge(theirs))
        .await?;
    s.withdraw().await?;
    s.await_gone(&s.on::<Secret>(Side::East), name).await?;
    let primary = api(Side::East).get("home").await?;
    ensure!(secret_names(&primary) == json!(["theirs"]), "{primary:?}");
    let (now, then) = (&primary.data["spec"]["mirroring"], &before[0].data["spec"]["mirroring"]);
    for field in ["enabled", "snapshotSchedules", "snapshotRetention"] {
        ensure!(now[field] == then[field], "{field}: {now}");
    }
    Ok(())
}
