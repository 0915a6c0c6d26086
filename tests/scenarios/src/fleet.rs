//! Words for scenarios with any number of clusters, `local-cluster` among them: one artefact, `token`, a Secret that goes
//! from every source to every destination that a Peering joins.
//!
//! ```text
//! let fleet = Fleet::new(scenario, &["cluster1", "cluster2", "local-cluster"]).await?;
//! fleet.source("cluster1", "first").await?;
//! fleet.peer(&json!({"members": […]})).await?;
//! fleet.await_token("cluster1", "cluster2", "first").await?;
//! ```
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use peering_api::{
    names,
    ocm::{ManagedClusterAddOn, ManifestWork},
    peering::{PeerExport, PeerLink, condition},
};
use serde_json::{Value, json};

use crate::{
    objects,
    scenario::{SOURCE, Scenario, put},
    world,
};

/// Name of the artefact, unless a scenario has a profile of its own.
pub const ARTEFACT: &str = "token";

/// A link by the names of its ends.
pub type Ends = (String, String);

/// A scenario with its clusters.
pub struct Fleet {
    /// The scenario, whose name is that of the Peering, the profile, and the namespace on each cluster.
    pub scenario: Scenario,
    clusters: BTreeMap<String, Client>,
}

impl Fleet {
    /// Makes the scenario's namespace on each cluster, and a profile with one artefact that flows both ways.
    pub async fn new(scenario: Scenario, clusters: &[&str]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for name in clusters {
            let cluster = scenario.world.env.spoke(name)?;
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scenario.name}});
            cluster.apply_text(&namespace.to_string()).await?;
            all.insert((*name).to_owned(), cluster.client().await?);
        }
        let fleet = Self {
            scenario,
            clusters: all,
        };
        fleet.profile(&json!([fleet.artefact(ARTEFACT, "Both")])).await?;
        Ok(fleet)
    }

    /// An artefact that hands the source Secret over, under a name that tells Peering, artefact and source.
    #[must_use]
    pub fn artefact(&self, name: &str, flow: &str) -> Value {
        json!({
            "name": name, "flow": flow,
            "inputs": [{"as": "token", "apiVersion": "v1", "kind": "Secret", "namespace": self.scenario.name, "name": SOURCE}],
            "deliver": {
                "kind": "Secret", "namespace": self.scenario.name,
                "name": format!("${{peering.name}}-{name}-${{source.cluster}}"),
            },
        })
    }

    /// Replaces the artefacts of the scenario's profile.
    pub async fn profile(&self, artefacts: &Value) -> Result<()> {
        let profile = json!({
            "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "ExchangeProfile",
            "metadata": {"name": self.scenario.name}, "spec": {"artefacts": artefacts},
        });
        self.scenario.world.env.hub().apply_text(&profile.to_string()).await?;
        Ok(())
    }

    /// Applies the scenario's Peering; `spec` needs no profile.
    pub async fn peer(&self, spec: &Value) -> Result<()> {
        self.peer_as(&self.scenario.name, spec).await
    }

    /// Applies a Peering of another name with the scenario's profile.
    pub async fn peer_as(&self, name: &str, spec: &Value) -> Result<()> {
        let mut spec = spec.clone();
        spec["profile"] = self.scenario.name.clone().into();
        let peering = json!({
            "apiVersion": format!("{}/v1alpha1", names::GROUP), "kind": "Peering",
            "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("scenario").force();
        let api = self.scenario.peerings();
        api.patch(name, &params, &Patch::Apply(peering)).await?;
        Ok(())
    }

    /// The Secrets in the scenario's namespace on a cluster.
    pub fn secrets(&self, cluster: &str) -> Result<Api<Secret>> {
        let client = self.clusters.get(cluster).with_context(|| format!("no {cluster}"))?;
        Ok(Api::namespaced(client.clone(), &self.scenario.name))
    }

    /// Creates or replaces the source of a cluster.
    pub async fn source(&self, cluster: &str, token: &str) -> Result<()> {
        let source = objects::secret(SOURCE, &[("token", token.as_bytes())]);
        put(&self.secrets(cluster)?, source).await
    }

    /// Name of the target of a source.
    #[must_use]
    pub fn target(&self, artefact: &str, from: &str) -> String {
        target(&self.scenario.name, artefact, from)
    }

    /// Waits until the target of a source holds a token.
    pub async fn await_token(&self, from: &str, to: &str, token: &str) -> Result<Secret> {
        self.await_target(to, &self.target(ARTEFACT, from), token).await
    }

    /// Waits until a Secret of a cluster holds a token.
    pub async fn await_target(&self, cluster: &str, name: &str, token: &str) -> Result<Secret> {
        let (api, expected) = (self.secrets(cluster)?, objects::bytes(&[("token", token.as_bytes())]));
        let what = format!("Secret {name} on {cluster} to hold {token:?}");
        self.scenario
            .until(&what, || async {
                let found = api.get_opt(name).await?;
                Ok(found.filter(|secret| secret.data.as_ref() == Some(&expected)))
            })
            .await
    }

    /// Waits until a target is gone.
    pub async fn await_no_token(&self, from: &str, to: &str) -> Result<()> {
        let name = self.target(ARTEFACT, from);
        self.scenario.await_gone(&self.secrets(to)?, &name).await
    }

    /// The links of a Peering, by artefact.
    pub async fn links(&self, peering: &str) -> Result<BTreeMap<String, BTreeSet<Ends>>> {
        let ours = ListParams::default().labels(&format!("{}={peering}", names::PEERING_LABEL));
        let links = Api::<PeerLink>::all(self.scenario.hub.clone()).list(&ours).await?;
        let mut all = BTreeMap::<_, BTreeSet<Ends>>::new();
        for link in links {
            let ends = (link.spec.from.cluster, link.spec.to.cluster);
            all.entry(link.spec.artefact).or_default().insert(ends);
        }
        Ok(all)
    }

    /// Waits until exactly these links of the artefact exist.
    pub async fn await_links(&self, expected: &[(&str, &str)]) -> Result<()> {
        let expected: BTreeSet<Ends> = expected
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect();
        let what = format!("the links of {} to be {expected:?}", self.scenario.name);
        self.scenario
            .until(&what, || async {
                let seen = self.links(&self.scenario.name).await?.remove(ARTEFACT);
                Ok((seen.unwrap_or_default() == expected).then_some(()))
            })
            .await
    }

    /// Waits for a condition of a Peering of any name; returns its message.
    pub async fn await_condition(&self, peering: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
        let api = self.scenario.peerings();
        let what = format!("Peering {peering} to be {type_}={status} {reason}");
        self.scenario
            .until(&what, || async {
                let seen = api.get(peering).await?;
                let conditions = seen.status.unwrap_or_default().conditions;
                let found = condition(&conditions, type_)
                    .filter(|found| found.observed_generation == seen.metadata.generation)
                    .filter(|found| found.status == status && found.reason == reason);
                Ok(found.map(|found| found.message.clone()))
            })
            .await
    }

    /// Waits until the agent of a cluster that a Peering has just named is there.
    pub async fn await_agent(&self, cluster: &str) -> Result<()> {
        world::await_member(self.scenario.world.env, cluster).await.map(drop)
    }

    /// Installs the addon on a cluster that no Peering names, unless it is there, and waits for its agent.
    pub async fn enlist(&self, cluster: &str) -> Result<()> {
        let addons: Api<ManagedClusterAddOn> = Api::namespaced(self.scenario.hub.clone(), cluster);
        let mut addon = ManagedClusterAddOn::default();
        addon.metadata.name = Some(names::ADDON.to_owned());
        match addons.create(&PostParams::default(), &addon).await {
            Err(Error::Api(status)) if status.is_already_exists() => {}
            made => drop(made?),
        }
        self.await_agent(cluster).await
    }

    /// Deletes a Peering and waits until nothing of it is left on the hub.
    pub async fn withdraw(&self, peering: &str) -> Result<()> {
        let api = self.scenario.peerings();
        api.delete(peering, &DeleteParams::default()).await?;
        self.scenario.await_gone(&api, peering).await?;
        self.await_nothing_left(peering).await
    }

    /// Waits until no export, link or work of a Peering is left.
    pub async fn await_nothing_left(&self, peering: &str) -> Result<()> {
        let ours = ListParams::default().labels(&format!("{}={peering}", names::PEERING_LABEL));
        let hub = &self.scenario.hub;
        let (links, exports, works) = (
            Api::<PeerLink>::all(hub.clone()),
            Api::<PeerExport>::all(hub.clone()),
            Api::<ManifestWork>::all(hub.clone()),
        );
        self.scenario
            .until(&format!("nothing of {peering} to be left on the hub"), || async {
                let left = links.list_metadata(&ours).await?.items.len()
                    + exports.list_metadata(&ours).await?.items.len()
                    + works.list_metadata(&ours).await?.items.len();
                Ok((left == 0).then_some(()))
            })
            .await
    }
}

/// Name of the target of a source that a Peering of any name delivers.
#[must_use]
pub fn target(peering: &str, artefact: &str, from: &str) -> String {
    format!("{peering}-{artefact}-{from}")
}
