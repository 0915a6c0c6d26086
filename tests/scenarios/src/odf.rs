//! A stand-in for a storage cluster of `OpenShift` Data Foundation in converged mode, as far as `MirrorPeer`s see it. What it
//! does is what the feature map of the Go orchestrator says of the operators (sections in brackets):
//!
//! * Rook makes Secret `cluster-peer-token-<storage cluster>-cephcluster` of type `kubernetes.io/rook`, owned by the
//!   `CephCluster`, which the `StorageCluster` owns (4.1).
//! * ocs-operator starts mirroring where `spec.mirroring.enabled` is set, which shows in the health of the pool (4.3).
//! * `NooBaa` binds an `ObjectBucketClaim`: a Secret and a `ConfigMap` of its name, then phase `Bound` (4.4).
//! * The bucket's endpoint refuses who is not known, over TLS with a certificate of the cluster's own ingress CA (4.7).
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream::select};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use testenv::runtime;
use tokio::{sync::OnceCell, task::JoinHandle};

use crate::{
    Scenario, Side, objects,
    scenario::{put, repository},
    tls::{Ca, TlsServer},
};

/// Name of the `StorageCluster`.
pub const STORAGE_CLUSTER: &str = "ocs-storagecluster";
/// The Secret with its peer token.
pub const PEER_TOKEN: &str = "cluster-peer-token-ocs-storagecluster-cephcluster";
/// Real CRDs that it needs.
const CRDS: [&str; 3] = [
    "cephblockpools.ceph.rook.io",
    "cephclusters.ceph.rook.io",
    "objectbucketclaims.objectbucket.io",
];
/// Where `OpenShift` keeps the certificates of its ingress.
const INGRESS: (&str, &str) = ("openshift-config-managed", "default-ingress-cert");

/// An endpoint of buckets, with the CA of its cluster.
pub struct Endpoint {
    /// The CA.
    pub ca: Ca,
    /// The server.
    pub server: TlsServer,
}

static ENDPOINTS: OnceCell<[Endpoint; 2]> = OnceCell::const_new();

/// The endpoints of both clusters, which outlive the scenarios, as their addresses stand in a profile.
pub async fn endpoints() -> Result<&'static [Endpoint; 2]> {
    let start = |name: &'static str| async move {
        let ca = Ca::new(name)?;
        let server = TlsServer::refusing(&ca).await?;
        Ok::<_, anyhow::Error>(Endpoint { ca, server })
    };
    ENDPOINTS
        .get_or_try_init(|| async {
            let both = async move { Ok([start("ingress of cluster1").await?, start("ingress of cluster2").await?]) };
            runtime::handle()?.spawn(both).await?
        })
        .await
}

/// URL of the endpoint of a side.
pub async fn url(side: Side) -> Result<String> {
    let [east, west] = endpoints().await?;
    let endpoint = if side == Side::East { east } else { west };
    Ok(format!("https://{}", endpoint.server.address()))
}

/// Installs the profiles of Data Foundation. The Route stands for port 443, which tests cannot listen on: the endpoints of the
/// stand-ins take its place, nothing else differs.
pub async fn profiles(s: &Scenario) -> Result<()> {
    let hub = s.world.env.hub();
    hub.apply_path(&repository("manifests/profiles/odf-converged.yaml"))
        .await?;
    let text = std::fs::read_to_string(repository("manifests/profiles/odf-s3.yaml"))?;
    let route = "        route:\n          namespace: ${params.namespace}\n          name: s3\n";
    let (east, west) = (url(Side::East).await?, url(Side::West).await?);
    let fixed = format!("        static: \"${{source.cluster == 'cluster1' ? '{east}' : '{west}'}}\"\n");
    let profile = text.replacen(route, &fixed, 1);
    anyhow::ensure!(profile != text, "odf-s3.yaml does not read its endpoint from a Route");
    hub.apply_text(&profile).await?;
    Ok(())
}

/// A storage cluster on a side; its operators end when this is dropped.
pub struct Odf {
    /// Its administrator.
    pub client: Client,
    namespace: String,
    task: JoinHandle<()>,
}

impl Drop for Odf {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kind(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk))
}

impl Odf {
    /// Makes one in the scenario's namespace, which mirrors nothing yet.
    pub async fn start(s: &Scenario, side: Side) -> Result<Self> {
        let cluster = s.world.env.spoke(side.cluster())?;
        cluster.apply_path(&repository("tests/scenarios/crds/ocs.yaml")).await?;
        for name in CRDS {
            cluster.apply_crd(name).await?;
        }
        let client = s.client(side);
        let odf = Self {
            client: client.clone(),
            namespace: s.name.clone(),
            task: tokio::spawn(run(client, s.name.clone())),
        };
        odf.ingress(side).await?;
        odf.objects(side).await?;
        Ok(odf)
    }

    /// Where its ingress CA stands.
    async fn ingress(&self, side: Side) -> Result<()> {
        let (namespace, name) = INGRESS;
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.to_owned());
        let params = PatchParams::apply("openshift").force();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.patch(namespace, &params, &Patch::Apply(&object)).await?;
        let [east, west] = endpoints().await?;
        let ca = if side == Side::East { &east.ca } else { &west.ca };
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        put(&maps, objects::config_map(name, &[("ca-bundle.crt", &ca.pem())])).await
    }

    async fn objects(&self, side: Side) -> Result<()> {
        // A list that somebody else has an entry in, such as a peer that was set up by hand.
        let storage = json!({"manageNodes": false, "mirroring": {"peerSecretNames": ["by-hand"]}});
        let storage = self
            .apply(
                "ocs.openshift.io/v1",
                "StorageCluster",
                STORAGE_CLUSTER,
                &storage,
                &json!([]),
            )
            .await?;
        let owner = owner("ocs.openshift.io/v1", "StorageCluster", &storage);
        let name = format!("{STORAGE_CLUSTER}-cephcluster");
        let spec = json!({"dataDirHostPath": "/var/lib/rook"});
        let ceph = self
            .apply("ceph.rook.io/v1", "CephCluster", &name, &spec, &json!([owner]))
            .await?;
        let pool = format!("{STORAGE_CLUSTER}-cephblockpool");
        let spec = json!({"replicated": {"size": 3}});
        self.apply("ceph.rook.io/v1", "CephBlockPool", &pool, &spec, &json!([owner]))
            .await?;
        let mut secret = objects::secret(
            PEER_TOKEN,
            &[
                ("token", token(side, 1).as_bytes()),
                ("cluster", side.cluster().as_bytes()),
            ],
        );
        secret.type_ = Some("kubernetes.io/rook".to_owned());
        let owners = json!([self::owner("ceph.rook.io/v1", "CephCluster", &ceph)]);
        secret.metadata.owner_references = Some(serde_json::from_value(owners)?);
        put(&self.secrets(), secret).await
    }

    async fn apply(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        spec: &Value,
        owners: &Value,
    ) -> Result<DynamicObject> {
        let object = json!({"apiVersion": api_version, "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": self.namespace, "ownerReferences": owners}});
        let mut params = PatchParams::apply("storage-operator").force();
        params.field_validation = Some(ValidationDirective::Strict);
        let api = self::kind(&self.client, &self.namespace, api_version, kind);
        api.patch(name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("apply {kind} {name}"))
    }

    /// Its Secrets.
    #[must_use]
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Its claims of buckets.
    #[must_use]
    pub fn claims(&self) -> Api<DynamicObject> {
        kind(
            &self.client,
            &self.namespace,
            "objectbucket.io/v1alpha1",
            "ObjectBucketClaim",
        )
    }

    /// `spec.mirroring` of the `StorageCluster`.
    pub async fn mirroring(&self) -> Result<Value> {
        let api = kind(&self.client, &self.namespace, "ocs.openshift.io/v1", "StorageCluster");
        Ok(api.get(STORAGE_CLUSTER).await?.data["spec"]["mirroring"].clone())
    }

    /// Mirroring is switched on with a peer, as the Go orchestrator's agent did.
    pub async fn mirror(&self, secret: &str) -> Result<()> {
        let api = kind(&self.client, &self.namespace, "ocs.openshift.io/v1", "StorageCluster");
        let patch = json!({"spec": {"mirroring": {"enabled": true, "peerSecretNames": ["by-hand", secret]}}});
        api.patch(STORAGE_CLUSTER, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// The mons fail over: Rook makes another token.
    pub async fn fail_over(&self, side: Side) -> Result<()> {
        let patch = json!({"stringData": {"token": token(side, 2)}});
        let params = PatchParams::default();
        self.secrets().patch(PEER_TOKEN, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// The credentials of a bucket are replaced.
    pub async fn rotate(&self, bucket: &str) -> Result<()> {
        let patch = json!({"stringData": {"AWS_SECRET_ACCESS_KEY": format!("{bucket}, rotated")}});
        let params = PatchParams::default();
        self.secrets().patch(bucket, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// The token of a side's Ceph, in its n-th version.
#[must_use]
pub fn token(side: Side, version: u32) -> String {
    format!("ceph-token-{version}-of-{}", side.cluster())
}

fn owner(api_version: &str, kind: &str, object: &DynamicObject) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": object.name_any(), "uid": object.uid(), "controller": true})
}

/// The operators: whatever fails is tried again with the next event, as theirs do.
async fn run(client: Client, namespace: String) {
    let storage = kind(&client, &namespace, "ocs.openshift.io/v1", "StorageCluster");
    let claims = kind(&client, &namespace, "objectbucket.io/v1alpha1", "ObjectBucketClaim");
    let of = |api: Api<DynamicObject>| {
        watcher(api, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed()
    };
    let mut events = select(of(storage), of(claims));
    loop {
        match events.try_next().await {
            Ok(Some(object)) => {
                let is_claim = object
                    .types
                    .as_ref()
                    .is_some_and(|types| types.kind == "ObjectBucketClaim");
                let done = if is_claim {
                    bind(&client, &namespace, &object).await
                } else {
                    mirror(&client, &namespace, &object).await
                };
                if let Err(error) = done {
                    eprintln!("stand-in of {namespace}: {error:#}");
                }
            }
            Ok(None) => return,
            Err(error) => eprintln!("stand-in of {namespace}: {error:#}"),
        }
    }
}

/// ocs-operator and Rook: the pool is mirrored as the `StorageCluster` says.
async fn mirror(client: &Client, namespace: &str, storage: &DynamicObject) -> Result<()> {
    let enabled = storage.data["spec"]["mirroring"]["enabled"] == true;
    let status = if enabled {
        json!({"mirroringStatus": {"summary": {"daemon_health": "OK", "health": "OK", "image_health": "OK"}}})
    } else {
        json!({"mirroringStatus": null})
    };
    let pools = kind(client, namespace, "ceph.rook.io/v1", "CephBlockPool");
    let name = format!("{}-cephblockpool", storage.name_any());
    if pools.get_opt(&name).await?.is_some() {
        set_status(&pools, &name, &status).await?;
    }
    Ok(())
}

/// `NooBaa`: a claim gets a bucket with credentials of its own.
async fn bind(client: &Client, namespace: &str, claim: &DynamicObject) -> Result<()> {
    if claim.data["status"]["phase"] == "Bound" || claim.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = claim.name_any();
    let owners = serde_json::from_value(json!([owner("objectbucket.io/v1alpha1", "ObjectBucketClaim", claim)]))?;
    let mut secret = objects::secret(
        &name,
        &[
            ("AWS_ACCESS_KEY_ID", format!("id of {name}").as_bytes()),
            ("AWS_SECRET_ACCESS_KEY", format!("key of {name}").as_bytes()),
        ],
    );
    secret.metadata.owner_references = Some(owners);
    let mut map = objects::config_map(
        &name,
        &[("BUCKET_NAME", &name), ("BUCKET_REGION", ""), ("BUCKET_HOST", "s3.svc")],
    );
    map.metadata
        .owner_references
        .clone_from(&secret.metadata.owner_references);
    put(&Api::namespaced(client.clone(), namespace), secret).await?;
    put(&Api::namespaced(client.clone(), namespace), map).await?;
    let claims = kind(client, namespace, "objectbucket.io/v1alpha1", "ObjectBucketClaim");
    set_status(&claims, &name, &json!({"phase": "Bound"})).await
}

async fn set_status(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<()> {
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    let body = json!({"status": status});
    api.patch_status(name, &params, &Patch::Merge(body)).await?;
    Ok(())
}

/// The data of a Secret as texts.
#[must_use]
pub fn texts(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()))
        .collect()
}
