//! One scenario: a namespace of its own on both managed clusters, a Peering of its own, and words to tell a story with.
use std::{fmt::Debug, future::Future, path::Path, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{PeerExport, PeerLink, Peering, condition},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    objects,
    quiet::quiet,
    world::{SOON, World},
};

/// The source Secret of `storage-peering-basic`.
pub const SOURCE: &str = "storage-peer-token";
/// The source `ConfigMap` of `storage-peering-basic`.
pub const CA_SOURCE: &str = "storage-ca";

/// One of the two managed clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `cluster1`.
    East,
    /// `cluster2`.
    West,
}

impl Side {
    /// Name of the `ManagedCluster`.
    #[must_use]
    pub fn cluster(self) -> &'static str {
        match self {
            Self::East => "cluster1",
            Self::West => "cluster2",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::East => Self::West,
            Self::West => Self::East,
        }
    }
}

/// A scenario.
pub struct Scenario {
    /// The environment.
    pub world: World,
    /// Name of the namespace on both clusters and of the Peering on the hub.
    pub name: String,
    /// The hub's administrator.
    pub hub: Client,
    /// How long each wait may take: [`SOON`] unless the scenario says something else.
    pub patience: Duration,
    east: Client,
    west: Client,
}

impl Scenario {
    /// A scenario that disturbs nobody.
    pub async fn shared(name: &str) -> Result<Self> {
        Self::new(World::shared().await?, name).await
    }

    /// A scenario that has the environment alone.
    pub async fn alone(name: &str) -> Result<Self> {
        Self::new(World::alone().await?, name).await
    }

    /// A scenario in a world.
    pub async fn new(world: World, name: &str) -> Result<Self> {
        let (hub, east, west) = (
            world.env.hub(),
            world.env.spoke("cluster1")?,
            world.env.spoke("cluster2")?,
        );
        for cluster in [&east, &west] {
            cluster
                .apply_text(&format!(
                    "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"
                ))
                .await?;
        }
        let (hub, east, west) = (hub.client().await?, east.client().await?, west.client().await?);
        Ok(Self {
            world,
            name: name.to_owned(),
            hub,
            patience: SOON,
            east,
            west,
        })
    }

    /// The administrator of a managed cluster.
    #[must_use]
    pub fn client(&self, side: Side) -> Client {
        match side {
            Side::East => self.east.clone(),
            Side::West => self.west.clone(),
        }
    }

    /// A kind in the scenario's namespace on a managed cluster.
    #[must_use]
    pub fn on<K>(&self, side: Side) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client(side), &self.name)
    }

    /// A kind in a cluster namespace on the hub.
    #[must_use]
    pub fn hub_of<K>(&self, side: Side) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.hub.clone(), side.cluster())
    }

    /// Creates or replaces the source Secret of a side.
    pub async fn source(&self, side: Side, data: &[(&str, &[u8])]) -> Result<()> {
        put(&self.on::<Secret>(side), objects::secret(SOURCE, data)).await
    }

    /// Creates or replaces the CA source of a side.
    pub async fn ca_source(&self, side: Side, pem: &str) -> Result<()> {
        put(
            &self.on::<ConfigMap>(side),
            objects::config_map(CA_SOURCE, &[("ca.crt", pem)]),
        )
        .await
    }

    /// Source Secrets and CAs on both sides, with distinct content.
    pub async fn sources(&self) -> Result<(String, String)> {
        let (east, west) = (
            objects::ca(&format!("{} east", self.name), 2040)?,
            objects::ca(&format!("{} west", self.name), 2041)?,
        );
        for (side, ca) in [(Side::East, &east), (Side::West, &west)] {
            self.source(
                side,
                &[("token", format!("token of {} {}", self.name, side.cluster()).as_bytes())],
            )
            .await?;
            self.ca_source(side, ca).await?;
        }
        Ok((east, west))
    }

    /// Applies the scenario's Peering with the given members.
    pub async fn peer(&self, profile: &str, members: &[&str]) -> Result<()> {
        let members: Vec<_> = members.iter().map(|cluster| json!({"cluster": cluster})).collect();
        let spec = json!({"profile": profile, "parameters": {"namespace": self.name}, "members": members});
        self.apply_peering(spec).await
    }

    /// Applies the scenario's Peering as a whole.
    pub async fn apply_peering(&self, spec: serde_json::Value) -> Result<()> {
        let peering = json!({
            "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "Peering", "metadata": {"name": self.name},
            "spec": spec,
        });
        let params = PatchParams::apply("scenario").force();
        self.peerings()
            .patch(&self.name, &params, &Patch::Apply(peering))
            .await?;
        Ok(())
    }

    /// The whole beginning: sources on both sides, a Peering of the two, all links ready. Returns both CAs.
    pub async fn ready_pair(&self) -> Result<(String, String)> {
        let cas = self.sources().await?;
        self.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
        self.await_peering("Ready", "True", "AllLinksReady").await?;
        Ok(cas)
    }

    /// All Peerings.
    #[must_use]
    pub fn peerings(&self) -> Api<Peering> {
        Api::all(self.hub.clone())
    }

    /// Waits for a condition of the scenario's Peering; returns its message.
    pub async fn await_peering(&self, type_: &str, status: &str, reason: &str) -> Result<String> {
        let api = self.peerings();
        self.until(
            &format!("Peering {} to be {type_}={status} {reason}", self.name),
            || async {
                let peering = api.get(&self.name).await?;
                let conditions = peering.status.unwrap_or_default().conditions;
                let found =
                    condition(&conditions, type_).filter(|found| found.status == status && found.reason == reason);
                // Another generation's verdict says nothing about this one.
                let current = found.filter(|found| found.observed_generation == peering.metadata.generation);
                Ok(current.map(|found| found.message.clone()))
            },
        )
        .await
    }

    /// The link of an artefact towards a side.
    pub async fn link(&self, artefact: &str, to: Side) -> Result<PeerLink> {
        let found = self.find_link(artefact, to).await?;
        found.with_context(|| format!("there is no link of {artefact} to {}", to.cluster()))
    }

    async fn find_link(&self, artefact: &str, to: Side) -> Result<Option<PeerLink>> {
        let id = names::link_id(&self.name, artefact, to.other().cluster(), to.cluster());
        let name = names::link_name(&self.name, artefact, to.other().cluster(), &id);
        Ok(self.hub_of::<PeerLink>(to).get_opt(&name).await?)
    }

    /// The export of an artefact from a side.
    pub async fn export(&self, artefact: &str, from: Side) -> Result<PeerExport> {
        let name = names::export_name(&self.name, artefact, from.cluster());
        Ok(self.hub_of::<PeerExport>(from).get(&name).await?)
    }

    /// Waits for a condition of a link; returns its message.
    pub async fn await_link(
        &self,
        artefact: &str,
        to: Side,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        self.await_link_saying(artefact, to, type_, (status, reason), "").await
    }

    /// Waits for a condition of a link whose message has a part; returns the message. For reasons that other causes have too
    /// on the way, such as a right that has not arrived yet.
    pub async fn await_link_saying(
        &self,
        artefact: &str,
        to: Side,
        type_: &str,
        (status, reason): (&str, &str),
        part: &str,
    ) -> Result<String> {
        let what = format!(
            "link {artefact} of {} to {} to be {type_}={status} {reason} {part:?}",
            self.name,
            to.cluster()
        );
        self.until(&what, || async {
            let Some(link) = self.find_link(artefact, to).await? else {
                return Ok(None);
            };
            let conditions = link.status.unwrap_or_default().conditions;
            let found = condition(&conditions, type_).filter(|found| found.status == status && found.reason == reason);
            let found = found.filter(|found| found.message.contains(part));
            Ok(found.map(|found| found.message.clone()))
        })
        .await
    }

    /// Name of the Secret that a side receives.
    #[must_use]
    pub fn target_name(&self, to: Side) -> String {
        format!("peer-{}-{SOURCE}", to.other().cluster())
    }

    /// Name of the CA bundle that both sides receive.
    #[must_use]
    pub fn bundle_name(&self) -> String {
        format!("{}-ca-bundle", self.name)
    }

    /// Waits until a side's target holds exactly this data.
    pub async fn await_target(&self, to: Side, data: &[(&str, &[u8])]) -> Result<Secret> {
        let (api, name) = (self.on::<Secret>(to), self.target_name(to));
        let expected = objects::bytes(data);
        self.until(
            &format!("Secret {}/{name} on {} to hold what was sent", self.name, to.cluster()),
            || async {
                Ok(api
                    .get_opt(&name)
                    .await?
                    .filter(|secret| secret.data.as_ref() == Some(&expected)))
            },
        )
        .await
    }

    /// Waits until a side's CA bundle holds exactly these certificates.
    pub async fn await_bundle(&self, side: Side, cas: &[&str]) -> Result<ConfigMap> {
        let (api, name) = (self.on::<ConfigMap>(side), self.bundle_name());
        let wanted = fingerprints(&cas.concat());
        self.until(
            &format!(
                "ConfigMap {}/{name} on {} to hold {} certificates",
                self.name,
                side.cluster(),
                cas.len()
            ),
            || async {
                let bundle = api.get_opt(&name).await?;
                Ok(bundle.filter(|bundle| fingerprints(&bundle_text(bundle)) == wanted))
            },
        )
        .await
    }

    /// Polls until there is a value; on time-out tells the state of the world.
    pub async fn until<T, F, Fut>(&self, what: &str, poll: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        self.world.env.until(what, self.patience, poll).await
    }

    /// Waits until what `look` gives stays as it is; returns it.
    pub async fn quiet<T, F, Fut>(&self, what: &str, look: F) -> Result<T>
    where
        T: PartialEq,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        quiet(self.world.env, what, self.patience, look).await
    }

    /// Waits until an object is gone.
    pub async fn await_gone<K>(&self, api: &Api<K>, name: &str) -> Result<()>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        self.until(&format!("{name} to be gone"), || async {
            Ok(api.get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// Deletes the Peering and waits until nothing of it is left on the hub.
    pub async fn withdraw(&self) -> Result<()> {
        self.peerings().delete(&self.name, &DeleteParams::default()).await?;
        self.await_gone(&self.peerings(), &self.name).await?;
        for side in [Side::East, Side::West] {
            let work = names::work_name(&self.name, 0);
            self.await_gone(&self.hub_of::<ManifestWork>(side), &work).await?;
        }
        Ok(())
    }
}

/// The text of a CA bundle.
#[must_use]
pub fn bundle_text(bundle: &ConfigMap) -> String {
    bundle
        .data
        .as_ref()
        .and_then(|data| data.get("ca-bundle.crt"))
        .cloned()
        .unwrap_or_default()
}

/// Sorted fingerprints of the certificates in a PEM text.
#[must_use]
pub fn fingerprints(pem: &str) -> Vec<String> {
    let mut all: Vec<_> = exchange::ca::parse(pem.as_bytes())
        .certificates
        .into_iter()
        .map(|found| found.fingerprint)
        .collect();
    all.sort();
    all
}

/// Creates an object or replaces it whole, as a user with `kubectl replace --force=false` would: whatever version stands
/// there, as others write some of these objects too.
pub async fn put<K>(api: &Api<K>, object: K) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let (name, params) = (object.name_any(), kube::api::PostParams::default());
    if api.get_opt(&name).await?.is_some() {
        api.replace(&name, &params, &object).await?;
    } else {
        api.create(&params, &object).await?;
    }
    Ok(())
}

/// A path in the repository.
#[must_use]
pub fn repository(path: &str) -> std::path::PathBuf {
    testenv::controlplane::repository().join(Path::new(path))
}
