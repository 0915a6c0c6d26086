//! A stand-in for a storage cluster of `OpenShift` Data Foundation in converged mode, as far as `MirrorPeer`s see it. What it
//! does is what the feature map of the Go orchestrator says of the operators (sections in brackets):
//!
//! * Rook makes Secret `cluster-peer-token-<storage cluster>-cephcluster` of type `kubernetes.io/rook`, owned by the
//!   `CephCluster`, which the `StorageCluster` owns (4.1).
//! * ocs-operator starts mirroring where `spec.mirroring.enabled` is set, which shows in the health of the pool (4.3).
//! * `NooBaa` binds an `ObjectBucketClaim`: a Secret and a `ConfigMap` of its name, then phase `Bound` (4.4).
//! * The bucket is one of a real S3 server, over TLS with a certificate of the cluster's own ingress CA (4.7).
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream::select};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use testenv::{Access, runtime};
use tokio::{sync::OnceCell, task::JoinHandle};

use crate::{
    Scenario, Side, objects,
    s3::Endpoint,
    scenario::{put, repository},
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

/// The time before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

static ENDPOINTS: OnceCell<[Arc<Endpoint>; 2]> = OnceCell::const_new();

/// The endpoints of both clusters, which outlive the scenarios.
async fn endpoints() -> Result<&'static [Arc<Endpoint>; 2]> {
    let start = |name: &'static str| async move {
        let directory = testenv::shared().directory().join(format!("s3-{name}"));
        Ok::<_, anyhow::Error>(Arc::new(Endpoint::start(name, &directory).await?))
    };
    ENDPOINTS
        .get_or_try_init(|| async {
            let both = async move { Ok([start("cluster1").await?, start("cluster2").await?]) };
            runtime::handle()?.spawn(both).await?
        })
        .await
}

/// The endpoint of a side.
pub async fn endpoint(side: Side) -> Result<Arc<Endpoint>> {
    let [east, west] = endpoints().await?;
    Ok(Arc::clone(if side == Side::East { east } else { west }))
}

/// URL of the endpoint of a side.
pub async fn url(side: Side) -> Result<String> {
    Ok(endpoint(side).await?.url())
}

/// Installs the profiles of Data Foundation, with the endpoints of the stand-ins.
pub async fn profiles(s: &Scenario) -> Result<()> {
    let urls = [url(Side::East).await?, url(Side::West).await?];
    install_profiles(s.world.env.hub(), &urls, "1s").await
}

/// Installs the profiles of Data Foundation. A Route stands for port 443 and its host has no port, so it cannot lead to a server
/// of this machine: the endpoints of the stand-ins take its place. Probes of buckets run at the given interval. Nothing else
/// differs.
pub async fn install_profiles(hub: &Access, [east, west]: &[String; 2], interval: &str) -> Result<()> {
    hub.apply_path(&repository("manifests/profiles/odf-converged.yaml"))
        .await?;
    let text = std::fs::read_to_string(repository("manifests/profiles/odf-s3.yaml"))?;
    let route = "        route:\n          namespace: ${params.namespace}\n          name: s3\n";
    let fixed = format!("        static: \"${{source.cluster == 'cluster1' ? '{east}' : '{west}'}}\"\n");
    let pace = "      interval: 1m\n";
    for (part, what) in [(route, "its endpoint from a Route"), (pace, "how often to probe")] {
        anyhow::ensure!(text.matches(part).count() == 2, "odf-s3.yaml does not say twice {what}");
    }
    let profile = text
        .replace(route, &fixed)
        .replace(pace, &format!("      interval: {interval}\n"));
    hub.apply_text(&profile).await?;
    Ok(())
}

/// The id of the key of a bucket.
#[must_use]
pub fn key_id(bucket: &str) -> String {
    format!("id-of-{bucket}")
}

/// The secret that belongs to the key of a bucket, in its n-th version.
#[must_use]
pub fn secret_key(bucket: &str, version: u32) -> String {
    format!("secret-{version}-of-{bucket}")
}

/// A storage cluster on a side; its operators end when this is dropped.
pub struct Odf {
    /// Its administrator.
    pub client: Client,
    /// Its S3 endpoint.
    pub endpoint: Arc<Endpoint>,
    namespace: String,
    task: JoinHandle<()>,
}

impl Drop for Odf {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A kind in a namespace.
#[must_use]
pub fn kind(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk))
}

impl Odf {
    /// Makes one in the scenario's namespace, which mirrors nothing yet.
    pub async fn start(s: &Scenario, side: Side) -> Result<Self> {
        let cluster = s.world.env.spoke(side.cluster())?;
        Self::on(&cluster, &s.name, side, endpoint(side).await?).await
    }

    /// Makes one in a namespace of a cluster, which must be there.
    pub async fn on(cluster: &Access, namespace: &str, side: Side, endpoint: Arc<Endpoint>) -> Result<Self> {
        cluster.apply_path(&repository("tests/scenarios/crds/ocs.yaml")).await?;
        for name in CRDS {
            cluster.apply_crd(name).await?;
        }
        let client = cluster.client().await?;
        let odf = Self {
            client: client.clone(),
            endpoint: Arc::clone(&endpoint),
            namespace: namespace.to_owned(),
            task: tokio::spawn(run(client, namespace.to_owned(), endpoint)),
        };
        odf.set_ingress_ca(&odf.endpoint.ca.pem()).await?;
        odf.objects(side).await?;
        Ok(odf)
    }

    /// What stands where its ingress CA does.
    pub async fn set_ingress_ca(&self, pem: &str) -> Result<()> {
        let (namespace, name) = INGRESS;
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.to_owned());
        let params = PatchParams::apply("openshift").force();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.patch(namespace, &params, &Patch::Apply(&object)).await?;
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        put(&maps, objects::config_map(name, &[("ca-bundle.crt", pem)])).await
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

    /// The `StorageCluster`.
    pub async fn storage_cluster(&self) -> Result<DynamicObject> {
        let api = kind(&self.client, &self.namespace, "ocs.openshift.io/v1", "StorageCluster");
        Ok(api.get(STORAGE_CLUSTER).await?)
    }

    /// `spec.mirroring` of the `StorageCluster`.
    pub async fn mirroring(&self) -> Result<Value> {
        Ok(self.storage_cluster().await?.data["spec"]["mirroring"].clone())
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
        replace_token(&self.secrets(), &token(side, 2)).await
    }

    /// The credentials of a bucket are replaced, on the server and then where they are told.
    pub async fn rotate(&self, bucket: &str) -> Result<()> {
        let secret = secret_key(bucket, 2);
        self.endpoint.set_secret(&key_id(bucket), &secret).await?;
        self.tell_secret_key(bucket, &secret).await
    }

    /// The Secret of a claim tells this one.
    pub async fn tell_secret_key(&self, bucket: &str, secret: &str) -> Result<()> {
        let patch = json!({"stringData": {"AWS_SECRET_ACCESS_KEY": secret}});
        let params = PatchParams::default();
        self.secrets().patch(bucket, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Rook makes another token, as after a fail-over of the mons.
pub async fn replace_token(secrets: &Api<Secret>, token: &str) -> Result<()> {
    let patch = json!({"stringData": {"token": token}});
    secrets
        .patch(PEER_TOKEN, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// The token of a side's Ceph, in its n-th version.
#[must_use]
pub fn token(side: Side, version: u32) -> String {
    format!("ceph-token-{version}-of-{}", side.cluster())
}

fn owner(api_version: &str, kind: &str, object: &DynamicObject) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": object.name_any(), "uid": object.uid(), "controller": true})
}

/// The operators: whatever fails is tried again, as theirs do.
async fn run(client: Client, namespace: String, endpoint: Arc<Endpoint>) {
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
                while let Err(error) = reconcile(&client, &namespace, &object, &endpoint).await {
                    eprintln!("stand-in of {namespace}: {error:#}");
                    tokio::time::sleep(RETRY).await;
                }
            }
            Ok(None) => return,
            Err(error) => eprintln!("stand-in of {namespace}: {error:#}"),
        }
    }
}

/// Looks at an object as it is now, not as it was when the event was sent.
async fn reconcile(client: &Client, namespace: &str, of: &DynamicObject, endpoint: &Endpoint) -> Result<()> {
    let is_claim = of.types.as_ref().is_some_and(|types| types.kind == "ObjectBucketClaim");
    let api = if is_claim {
        kind(client, namespace, "objectbucket.io/v1alpha1", "ObjectBucketClaim")
    } else {
        kind(client, namespace, "ocs.openshift.io/v1", "StorageCluster")
    };
    match api.get_opt(&of.name_any()).await? {
        Some(claim) if is_claim => bind(client, namespace, &claim, endpoint).await,
        Some(storage) => mirror(client, namespace, &storage).await,
        None => Ok(()),
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
    match pools.get_opt(&name).await? {
        Some(_) => set_status(&pools, &name, &status).await,
        // The agent may have wired the StorageCluster before its pool was made.
        None if enabled => bail!("there is no CephBlockPool {name} yet"),
        None => Ok(()),
    }
}

/// `NooBaa`: a claim gets a bucket with credentials of its own.
async fn bind(client: &Client, namespace: &str, claim: &DynamicObject, endpoint: &Endpoint) -> Result<()> {
    if claim.data["status"]["phase"] == "Bound" || claim.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = claim.name_any();
    let (key, secret) = (key_id(&name), secret_key(&name, 1));
    endpoint.bucket(&name, &key, &secret).await?;
    let owners = serde_json::from_value(json!([owner("objectbucket.io/v1alpha1", "ObjectBucketClaim", claim)]))?;
    let mut secret = objects::secret(
        &name,
        &[
            ("AWS_ACCESS_KEY_ID", key.as_bytes()),
            ("AWS_SECRET_ACCESS_KEY", secret.as_bytes()),
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
