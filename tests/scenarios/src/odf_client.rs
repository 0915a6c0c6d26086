//! Stand-ins for what the operators of `OpenShift` Data Foundation do where storage clients are paired, as far as `MirrorPeer`s
//! see it (sections of the feature map of the Go orchestrator in brackets):
//!
//! * ocs-operator keeps `ConfigMap` `odf-info` with its clients, and a `ClusterClaim` that says where it is (2.6).
//! * Its service `ux-backend-proxy` issues onboarding tickets over TLS with a certificate of the cluster's service CA, to who
//!   may create storage clusters (4.5). It asks the API server who that is.
//! * Its controller takes a `StorageClusterPeer` from Initializing over Pending to Peered, or to Failed where the ticket is not
//!   one that the other cluster has issued and that is still good (4.5).
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{authentication::v1::TokenReview, authorization::v1::SubjectAccessReview, core::v1::ConfigMap};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use peering_api::ocm::ManagedCluster;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Scenario, Side, objects,
    odf::STORAGE_CLUSTER,
    scenario::{put, repository},
    tls::{Ca, TlsServer},
};

/// Where the other cluster reaches a provider server.
#[must_use]
pub fn endpoint(side: Side) -> String {
    format!("provider.{}.example.com:31659", side.cluster())
}

/// The id by which storage operators know a cluster.
#[must_use]
pub fn cluster_id(side: Side) -> String {
    format!("id-of-{}", side.cluster())
}

/// The id of a storage client.
#[must_use]
pub fn client_id(side: Side, name: &str) -> String {
    format!("{name}-on-{}", side.cluster())
}

/// The time before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A class that somebody else has put into a `StorageConsumer`.
pub const BY_HAND: &str = "by-hand";

/// The `StorageConsumer` that stands for a client: no name that could be guessed from it.
#[must_use]
pub fn consumer_name(client: &str) -> String {
    format!("onboarded-{client}")
}

/// A ticket that was issued.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What the service answered.
    pub text: String,
    /// A part that stands in it and nowhere else.
    pub canary: String,
    expires_at: Timestamp,
}

/// What a side has issued, and how it goes about it.
struct Office {
    side: Side,
    namespace: String,
    client: Client,
    lifetime: AtomicI64,
    issued: Mutex<Vec<Ticket>>,
    refused: Mutex<Vec<String>>,
}

impl Office {
    fn issued(&self) -> Vec<Ticket> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As `OpenShift`'s proxy does: whose token is it, and may he create storage clusters?
    async fn admits(&self, token: &str) -> Result<bool> {
        let review = serde_json::from_value::<TokenReview>(json!({"metadata": {}, "spec": {"token": token}}))?;
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let status = reviews
            .create(&PostParams::default(), &review)
            .await?
            .status
            .context("no status")?;
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(false);
        };
        let asked = json!({"metadata": {}, "spec": {"user": user.username, "groups": user.groups, "resourceAttributes":
            {"group": "ocs.openshift.io", "resource": "storageclusters", "verb": "create", "namespace": self.namespace}}});
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &serde_json::from_value(asked)?)
            .await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    fn issue(&self) -> String {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let number = issued.len() + 1;
        let canary = format!("canary-ticket-{number}-of-{}-Zq7Xw2-0123456789", self.side.cluster());
        let expires_at = Timestamp::now() + Duration::from_secs(self.lifetime.load(Ordering::Relaxed).unsigned_abs());
        let json = json!({"id": canary, "expirationDate": expires_at.as_second().to_string(), "subjectRole": "ocs-peer",
            "storageCluster": "uid"});
        let text = format!("{}.signature", BASE64_STANDARD.encode(json.to_string()));
        issued.push(Ticket {
            text: text.clone(),
            canary,
            expires_at,
        });
        text
    }

    async fn answer(&self, head: &str) -> (u16, String) {
        let mut lines = head.lines();
        let asked = lines.next().unwrap_or_default();
        if !asked.starts_with("POST /onboarding/peer-tokens ") {
            return (404, String::new());
        }
        let token = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.trim().strip_prefix("Bearer "))?
        });
        let admitted = match token {
            Some(token) => self.admits(token).await,
            None => Ok(false),
        };
        match admitted {
            Ok(true) => (200, self.issue()),
            refused => {
                let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(format!("{refused:?}"));
                (403, String::new())
            }
        }
    }

    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(read) if read > 0 && head.len() < 64 * 1024 => head.extend_from_slice(&part[..read]),
                _ => return,
            }
        }
        let (status, body) = self.answer(&String::from_utf8_lossy(&head)).await;
        let answer = format!(
            "HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        // Who has gone does not need it.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// How far `StorageClusterPeer`s of a side get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The other side does not answer yet.
    Pending,
    /// All the way.
    Peered,
    /// It gives up.
    Failed,
}

/// Provider and operators of one side.
pub struct Provider {
    side: Side,
    namespace: String,
    client: Client,
    office: Arc<Office>,
    server: TlsServer,
    reach: Arc<Mutex<Reach>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn dynamic(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Providers on both sides that know each other's tickets, with these clients on each. Installs the profile too.
pub async fn start(s: &Scenario, clients: &[&str]) -> Result<[Provider; 2]> {
    let east = Provider::new(s, Side::East).await?;
    let west = Provider::new(s, Side::West).await?;
    let (of_east, of_west) = (east.office.clone(), west.office.clone());
    let mut both = [east, west];
    for (provider, other) in both.iter_mut().zip([of_west, of_east]) {
        let task = run(
            provider.client.clone(),
            provider.namespace.clone(),
            other,
            provider.reach.clone(),
        );
        provider.tasks.push(tokio::spawn(task));
        provider.tell(s, clients).await?;
        for name in clients {
            provider.consumer(name).await?;
        }
    }
    profile(s, &both).await?;
    let classes = repository("manifests/profiles/odf-client-classes.yaml");
    s.world.env.hub().apply_path(&classes).await?;
    Ok(both)
}

/// Installs `odf-client`. Services of a cluster have no names on this machine: the stand-ins' addresses take their place, and
/// tickets may be renewed after a second. Nothing else differs.
async fn profile(s: &Scenario, both: &[Provider; 2]) -> Result<()> {
    let text = std::fs::read_to_string(repository("manifests/profiles/odf-client.yaml"))?;
    let url = "https://ux-backend-proxy.${params.operatorNamespace}.svc.cluster.local:8888/onboarding/peer-tokens";
    let [east, west] = both.each_ref().map(|provider| provider.server.address());
    let address = format!("${{source.cluster == 'cluster1' ? '{east}' : '{west}'}}");
    let profile = text.replacen(url, &format!("\"https://{address}/onboarding/peer-tokens\""), 1);
    anyhow::ensure!(profile != text, "odf-client.yaml does not ask ux-backend-proxy");
    let quick = profile.replacen("minInterval: 1m", "minInterval: 1s", 1);
    anyhow::ensure!(quick != profile, "odf-client.yaml has no minInterval");
    s.world.env.hub().apply_text(&quick).await?;
    Ok(())
}

impl Provider {
    async fn new(s: &Scenario, side: Side) -> Result<Self> {
        let (client, ca) = (s.client(side), Ca::new(&format!("services of {}", side.cluster()))?);
        let office = Arc::new(Office {
            side,
            namespace: s.name.clone(),
            client: client.clone(),
            lifetime: AtomicI64::new(48 * 3600),
            issued: Mutex::default(),
            refused: Mutex::default(),
        });
        let serving = office.clone();
        let server = TlsServer::serving(&ca, move |acceptor, stream| serving.clone().serve(acceptor, stream)).await?;
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &s.name);
        put(
            &maps,
            objects::config_map("openshift-service-ca.crt", &[("service-ca.crt", &ca.pem())]),
        )
        .await?;
        Ok(Self {
            side,
            namespace: s.name.clone(),
            client,
            office,
            server,
            reach: Arc::new(Mutex::new(Reach::Peered)),
            tasks: Vec::new(),
        })
    }

    /// The `StorageConsumer` that stands for a client, with a class that somebody else has put there.
    async fn consumer(&self, client: &str) -> Result<()> {
        let name = consumer_name(client);
        let consumer = json!({"apiVersion": "ocs.openshift.io/v1alpha1", "kind": "StorageConsumer", "metadata": {"name": name},
            "spec": {"enable": true, "volumeReplicationClasses": [{"name": BY_HAND}]}});
        let params = PatchParams::apply("storage-operator").force();
        self.consumers().patch(&name, &params, &Patch::Apply(consumer)).await?;
        let status = json!({"status": {"client": {"id": client_id(self.side, client)}}});
        let params = PatchParams::default();
        self.consumers()
            .patch_status(&name, &params, &Patch::Merge(status))
            .await?;
        Ok(())
    }

    /// `StorageConsumer`s of this side.
    #[must_use]
    pub fn consumers(&self) -> Api<DynamicObject> {
        let kind = dynamic("ocs.openshift.io/v1alpha1", "StorageConsumer");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// Templates of classes.
    #[must_use]
    pub fn templates(&self) -> Api<DynamicObject> {
        let kind = dynamic("template.openshift.io/v1", "Template");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// `odf-info`, and where it is.
    pub async fn tell(&self, s: &Scenario, clients: &[&str]) -> Result<()> {
        let clients: Vec<_> = clients
            .iter()
            .map(|name| json!({"name": name, "clusterId": cluster_id(self.side), "clientId": client_id(self.side, name)}))
            .collect();
        let info = json!({"version": "4.20.1", "deploymentType": "internal", "clients": clients, "storageCluster": {
            "namespacedName": {"name": STORAGE_CLUSTER, "namespace": self.namespace},
            "storageProviderEndpoint": "172.30.0.1:50051", "cephClusterFSID": format!("fsid-{}", self.side.cluster()),
            "storageClusterUID": "uid", "annotations": {"ocs.openshift.io/api-server-exported-address": endpoint(self.side)},
            "infoCephBlockPools": [{"name": "pool", "mirrorEnabled": true}]}});
        let key = format!("{}_{STORAGE_CLUSTER}.config.yaml", self.namespace);
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        put(&maps, objects::config_map("odf-info", &[(&key, &info.to_string())])).await?;
        let name = "odfinfo.odf.openshift.io";
        let claim = json!({"apiVersion": "cluster.open-cluster-management.io/v1alpha1", "kind": "ClusterClaim",
            "metadata": {"name": name}, "spec": {"value": format!("{}/odf-info", self.namespace)}});
        let claims = Api::<DynamicObject>::all_with(
            self.client.clone(),
            &dynamic("cluster.open-cluster-management.io/v1alpha1", "ClusterClaim"),
        );
        let params = PatchParams::apply("storage-operator").force();
        claims.patch(name, &params, &Patch::Apply(claim)).await?;
        let label = json!({"metadata": {"labels": {"clusterID": cluster_id(self.side)}}});
        let clusters = Api::<ManagedCluster>::all(s.hub.clone());
        clusters
            .patch(self.side.cluster(), &PatchParams::default(), &Patch::Merge(label))
            .await?;
        Ok(())
    }

    /// Takes the claim and the label away, which outlive the namespace.
    pub async fn forget(&self, s: &Scenario) -> Result<()> {
        let claims = Api::<DynamicObject>::all_with(
            self.client.clone(),
            &dynamic("cluster.open-cluster-management.io/v1alpha1", "ClusterClaim"),
        );
        claims
            .delete("odfinfo.odf.openshift.io", &kube::api::DeleteParams::default())
            .await?;
        let label = json!({"metadata": {"labels": {"clusterID": null}}});
        let clusters = Api::<ManagedCluster>::all(s.hub.clone());
        clusters
            .patch(self.side.cluster(), &PatchParams::default(), &Patch::Merge(label))
            .await?;
        Ok(())
    }

    /// How long tickets of this side are good from now on.
    pub fn lifetime(&self, lifetime: Duration) {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        self.office.lifetime.store(seconds, Ordering::Relaxed);
    }

    /// The tickets that this side has issued.
    #[must_use]
    pub fn tickets(&self) -> Vec<Ticket> {
        self.office.issued()
    }

    /// `StorageClusterPeer`s of this side.
    #[must_use]
    pub fn peers(&self) -> Api<DynamicObject> {
        let kind = dynamic("ocs.openshift.io/v1", "StorageClusterPeer");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// From now on peers of this side get so far, those that are there already too.
    pub async fn reach(&self, reach: Reach) -> Result<()> {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = reach;
        for peer in self.peers().list(&ListParams::default()).await? {
            set(&self.peers(), &peer.name_any(), state(reach)).await?;
        }
        Ok(())
    }
}

fn state(reach: Reach) -> &'static str {
    match reach {
        Reach::Pending => "Pending",
        Reach::Peered => "Peered",
        Reach::Failed => "Failed",
    }
}

async fn set(api: &Api<DynamicObject>, name: &str, state: &str) -> Result<()> {
    let status = json!({"status": {"state": state}});
    match api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// ocs-operator's controller of peers.
async fn run(client: Client, namespace: String, other: Arc<Office>, reach: Arc<Mutex<Reach>>) {
    let kind = dynamic("ocs.openshift.io/v1", "StorageClusterPeer");
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &kind);
    let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events.applied_objects());
    loop {
        match events.try_next().await {
            Ok(Some(peer)) => {
                while let Err(error) = advance(&api, &peer.name_any(), &other, &reach).await {
                    eprintln!("stand-in of {namespace}: {error:#}");
                    tokio::time::sleep(RETRY).await;
                }
            }
            Ok(None) => return,
            Err(error) => eprintln!("stand-in of {namespace}: {error:#}"),
        }
    }
}

async fn advance(api: &Api<DynamicObject>, name: &str, other: &Office, reach: &Mutex<Reach>) -> Result<()> {
    // As it is now: the event may have been sent before somebody said how far it gets.
    let Some(peer) = api.get_opt(name).await? else {
        return Ok(());
    };
    let reach = *reach.lock().unwrap_or_else(PoisonError::into_inner);
    let now = peer.data["status"]["state"].as_str().unwrap_or_default();
    let next = match now {
        "" => "Initializing",
        "Initializing" => "Pending",
        "Pending" if reach != Reach::Pending => {
            let token = &peer.data["spec"]["onboardingToken"];
            let good = |ticket: &Ticket| token.as_str() == Some(&ticket.text) && ticket.expires_at > Timestamp::now();
            if other.issued().iter().any(good) {
                state(reach)
            } else {
                "Failed"
            }
        }
        _ => return Ok(()),
    };
    set(api, name, next).await
}
