//! A stand-in for Rook's operator, as far as mirroring goes: it makes bootstrap peer tokens, imports those of others, and
//! says so in the status. Written after Rook v1.18.8, with the odd sides that matter to whoever reads and writes its objects:
//!
//! * The status names the token's Secret in phase `Ready` only: each reconcile takes the name away and brings it back
//!   (`pkg/operator/ceph/pool/status.go`, `file/status.go`).
//! * A pool is reconciled when its spec changes, when the mons change, and when a Secret with `cluster-peer-token` in its name
//!   is made or gets another token; a filesystem in the first two cases only (`controller/predicate.go`, `mirror_peer.go`,
//!   `pool/controller.go`, `file/controller.go`). Without that nothing is imported.
//! * A Secret that is named and missing, or a token that Ceph refuses, leaves the object in phase `Progressing`.
//! * What the mirror daemons see is written down again and again, with the time (`daemon/ceph/client/mirror_health.go`,
//!   `file/health.go`), at `spec.statusCheck.mirror.interval`, here every second.
//!
//! Left out are finalizers, pools without mirroring, and everything that is not mirroring.
pub mod ceph;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{StreamExt, TryStreamExt, stream::select_all};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, ValidationDirective},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use self::ceph::Ceph;

/// The CRDs that mirroring needs.
pub const CRDS: [&str; 4] = [
    "cephblockpools.ceph.rook.io",
    "cephfilesystems.ceph.rook.io",
    "cephrbdmirrors.ceph.rook.io",
    "cephfilesystemmirrors.ceph.rook.io",
];

/// Where Rook keeps the addresses of the mons.
const MON_ENDPOINTS: &str = "rook-ceph-mon-endpoints";
/// What the name of a Secret holds whose changes Rook looks at.
const WATCHED_SECRET: &str = "cluster-peer-token";
/// Time between two looks at the mirror daemons.
const CHECK: Duration = Duration::from_secs(1);

/// A kind of Rook in a namespace.
#[must_use]
pub fn kind(client: &Client, namespace: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("ceph.rook.io", "v1", kind);
    Api::namespaced_with(
        client.clone(),
        namespace,
        &ApiResource::from_gvk_with_plural(&gvk, plural),
    )
}

/// The block pools of a namespace.
#[must_use]
pub fn pools(client: &Client, namespace: &str) -> Api<DynamicObject> {
    kind(client, namespace, "CephBlockPool", "cephblockpools")
}

/// The filesystems of a namespace.
#[must_use]
pub fn filesystems(client: &Client, namespace: &str) -> Api<DynamicObject> {
    kind(client, namespace, "CephFilesystem", "cephfilesystems")
}

/// A running operator; it ends when this is dropped.
pub struct Rook {
    /// The Ceph cluster that it works for.
    pub ceph: Ceph,
    maps: Api<ConfigMap>,
    task: JoinHandle<()>,
}

impl Drop for Rook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rook {
    /// Starts it for one Ceph cluster in a namespace. Its kinds must be served.
    pub async fn start(client: &Client, namespace: &str, ceph: Ceph) -> Result<Self> {
        let operator = Operator {
            pools: pools(client, namespace),
            filesystems: filesystems(client, namespace),
            pool_daemons: kind(client, namespace, "CephRBDMirror", "cephrbdmirrors"),
            filesystem_daemons: kind(client, namespace, "CephFilesystemMirror", "cephfilesystemmirrors"),
            secrets: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            ceph: ceph.clone(),
            seen: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        let rook = Self {
            ceph,
            maps: operator.maps.clone(),
            task: tokio::spawn(operator.run()),
        };
        rook.tell_mons().await?;
        Ok(rook)
    }

    /// All mons fail and are replaced: tokens that were handed out lead nowhere from now on.
    pub async fn fail_over(&self) -> Result<()> {
        self.ceph.fail_over();
        self.tell_mons().await
    }

    async fn tell_mons(&self) -> Result<()> {
        let endpoints = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MON_ENDPOINTS},
            "data": {"data": self.ceph.pool_token("")},
        });
        let params = PatchParams::apply("rook").force();
        self.maps
            .patch(MON_ENDPOINTS, &params, &Patch::Apply(endpoints))
            .await?;
        Ok(())
    }
}

/// What can be due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Pool(String),
    Filesystem(String),
}

/// What was seen of an object.
enum Event {
    Pool(DynamicObject),
    Filesystem(DynamicObject),
    Secret(Secret),
    Mons(ConfigMap),
    Tick,
}

struct Operator {
    pools: Api<DynamicObject>,
    filesystems: Api<DynamicObject>,
    pool_daemons: Api<DynamicObject>,
    filesystem_daemons: Api<DynamicObject>,
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    namespace: String,
    ceph: Ceph,
    /// What was last seen, by kind and name: the generation, or what an object says.
    seen: BTreeMap<String, String>,
    due: BTreeSet<Key>,
}

impl Operator {
    async fn run(mut self) {
        let config = watcher::Config::default;
        let mut ticks = tokio::time::interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = futures::stream::unfold(ticks, |mut ticks| async {
            ticks.tick().await;
            Some((Ok(Event::Tick), ticks))
        });
        let mons = config().fields(&format!("metadata.name={MON_ENDPOINTS}"));
        let (pools, filesystems) = (self.pools.clone(), self.filesystems.clone());
        let (secrets, maps) = (self.secrets.clone(), self.maps.clone());
        let mut events = select_all([
            watcher(pools, config())
                .default_backoff()
                .applied_objects()
                .map_ok(Event::Pool)
                .boxed(),
            watcher(filesystems, config())
                .default_backoff()
                .applied_objects()
                .map_ok(Event::Filesystem)
                .boxed(),
            watcher(secrets, config())
                .default_backoff()
                .applied_objects()
                .map_ok(Event::Secret)
                .boxed(),
            watcher(maps, mons)
                .default_backoff()
                .applied_objects()
                .map_ok(Event::Mons)
                .boxed(),
            ticks.boxed(),
        ]);
        while let Some(event) = events.next().await {
            // A broken watch starts anew by itself.
            let Ok(event) = event else { continue };
            self.note(&event);
            // What fails stays due until the next event; there is a tick every second.
            for key in self.due.clone() {
                if self.reconcile(&key).await.is_ok() {
                    self.due.remove(&key);
                }
            }
            if matches!(event, Event::Tick) {
                // An object that goes meanwhile cannot be told of.
                let _ = self.check().await;
            }
        }
    }

    /// Decides what is due, as Rook's predicates do.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Pool(pool) => {
                let name = pool.name_any();
                if self.is_news(format!("pool/{name}"), &generation(pool)) {
                    self.due.insert(Key::Pool(name));
                }
            }
            Event::Filesystem(filesystem) => {
                let name = filesystem.name_any();
                if self.is_news(format!("filesystem/{name}"), &generation(filesystem)) {
                    self.due.insert(Key::Filesystem(name));
                }
            }
            Event::Secret(secret) if secret.name_any().contains(WATCHED_SECRET) => {
                let token = text(secret, "token").unwrap_or_default();
                if self.is_news(format!("secret/{}", secret.name_any()), &token) {
                    self.due.extend(self.known("pool/", Key::Pool));
                }
            }
            Event::Mons(mons) => {
                if self.is_news("mons".to_owned(), &format!("{:?}", mons.data)) {
                    self.due.extend(self.known("pool/", Key::Pool));
                    self.due.extend(self.known("filesystem/", Key::Filesystem));
                }
            }
            Event::Secret(_) | Event::Tick => {}
        }
    }

    fn is_news(&mut self, of: String, now: &str) -> bool {
        self.seen.insert(of, now.to_owned()).as_deref() != Some(now)
    }

    fn known(&self, prefix: &str, key: fn(String) -> Key) -> Vec<Key> {
        let names = self.seen.keys().filter_map(|known| known.strip_prefix(prefix));
        names.map(|name| key(name.to_owned())).collect()
    }

    async fn reconcile(&self, key: &Key) -> Result<()> {
        let (api, name) = match key {
            Key::Pool(name) => (&self.pools, name),
            Key::Filesystem(name) => (&self.filesystems, name),
        };
        let Some(object) = api.get_opt(name).await? else {
            return Ok(());
        };
        let mirroring = &object.data["spec"]["mirroring"];
        let secret_names = names_in(&mirroring["peers"]["secretNames"]);
        match key {
            Key::Pool(name) => {
                let info =
                    json!({"type": "Replicated", "failureDomain": "host", "rbdMirrorBootstrapPeerSecretName": null});
                status(api, name, &json!({"phase": "Progressing", "info": info})).await?;
                let mut ready = json!({"phase": "Ready", "observedGeneration": object.metadata.generation});
                if mirroring["enabled"] == true {
                    self.ceph.enable_pool(name);
                    let secret = format!("pool-peer-token-{name}");
                    self.put_token(&object, &secret, &self.ceph.pool_token(&self.namespace), "pool")
                        .await?;
                    for peer in secret_names {
                        self.ceph.import_pool_token(name, &self.token(&peer).await?)?;
                    }
                    ready["info"] = json!({"rbdMirrorBootstrapPeerSecretName": secret});
                }
                status(api, name, &ready).await
            }
            Key::Filesystem(name) => {
                status(api, name, &json!({"phase": "Progressing", "info": null})).await?;
                let mut ready = json!({"phase": "Ready", "observedGeneration": object.metadata.generation});
                if mirroring["enabled"] == true {
                    self.ceph.enable_filesystem(name);
                    let secret = format!("fs-peer-token-{name}");
                    self.put_token(&object, &secret, &self.ceph.filesystem_token(name), "fs")
                        .await?;
                    for peer in secret_names {
                        self.ceph.import_filesystem_token(name, &self.token(&peer).await?)?;
                    }
                    ready["info"] = json!({"fsMirrorBootstrapPeerSecretName": secret});
                }
                status(api, name, &ready).await
            }
        }
    }

    async fn token(&self, secret: &str) -> Result<String> {
        let secret = self.secrets.get(secret).await?;
        text(&secret, "token").context("failed to lookup \"token\" key in secret bootstrap peer")
    }

    /// The token's Secret, which goes with its object. It is written only if it differs, as an equal update changes nothing.
    async fn put_token(&self, owner: &DynamicObject, name: &str, token: &str, entity: &str) -> Result<()> {
        let kind = owner.types.as_ref().map(|types| types.kind.clone());
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/rook",
            "metadata": {"name": name, "ownerReferences": [{
                "apiVersion": "ceph.rook.io/v1", "kind": kind, "name": owner.name_any(), "uid": owner.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }]},
            "data": {"token": BASE64_STANDARD.encode(token), entity: BASE64_STANDARD.encode(owner.name_any())},
        });
        let params = PatchParams::apply("rook").force();
        self.secrets.patch(name, &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// Writes down what the mirror daemons see.
    async fn check(&self) -> Result<()> {
        let now = jiff::Timestamp::now().to_string();
        let any = |daemons: Vec<DynamicObject>| !daemons.is_empty();
        let daemon = any(self.pool_daemons.list(&ListParams::default()).await?.items);
        for pool in self.pools.list(&ListParams::default()).await? {
            if pool.data["spec"]["mirroring"]["enabled"] == true {
                let (peers, reached) = self.ceph.pool_peers(&pool.name_any());
                let daemon_health = match (daemon, reached) {
                    (false, _) => "UNKNOWN",
                    (true, false) => "ERROR",
                    (true, true) => "OK",
                };
                let peer = |site: &String| {
                    json!({
                        "uuid": format!("peer-of-{site}"), "direction": "rx-tx", "site_name": site,
                        "client_name": "client.rbd-mirror-peer", "mirror_uuid": "",
                    })
                };
                let peers: Vec<_> = peers.iter().map(peer).collect();
                let seen = json!({
                    "mirroringStatus": {"lastChecked": now, "summary": {
                        "daemon_health": daemon_health, "health": daemon_health, "image_health": "OK", "states": {},
                    }},
                    "mirroringInfo": {"lastChecked": now, "mode": "image", "site_name": self.ceph.fsid(), "peers": peers},
                });
                status(&self.pools, &pool.name_any(), &seen).await?;
            }
        }
        let daemon = any(self.filesystem_daemons.list(&ListParams::default()).await?.items);
        for filesystem in self.filesystems.list(&ListParams::default()).await? {
            if filesystem.data["spec"]["mirroring"]["enabled"] == true {
                let name = filesystem.name_any();
                let peer = |(site, there): &(String, String)| {
                    json!({
                        "uuid": format!("peer-of-{site}"), "stats": {"failure_count": 0, "recovery_count": 0},
                        "remote": {"client_name": "client.mirror", "cluster_name": site, "fs_name": there},
                    })
                };
                let peers: Vec<_> = self.ceph.filesystem_peers(&name).iter().map(peer).collect();
                let mirrored = json!({"filesystem_id": 1, "name": name, "directory_count": 0, "peers": peers});
                let daemons = if daemon {
                    json!([{"daemon_id": 4, "filesystems": [mirrored]}])
                } else {
                    Value::Null
                };
                let seen = json!({"mirroringStatus": {"lastChecked": now, "daemonsStatus": daemons}});
                status(&self.filesystems, &name, &seen).await?;
            }
        }
        Ok(())
    }
}

fn generation(object: &DynamicObject) -> String {
    format!("{:?} {:?}", object.uid(), object.metadata.generation)
}

fn names_in(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?.0.clone();
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// Merges into the status, which the real CRD must know in every field.
async fn status(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<()> {
    let params = PatchParams {
        field_manager: Some("rook".to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    api.patch_status(name, &params, &Patch::Merge(json!({"status": status})))
        .await?;
    Ok(())
}
