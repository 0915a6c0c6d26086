//! The clusters on the hub, their addons, and a work agent for all of them.
use std::{
    path::Path,
    time::{Duration, Instant},
};

use addon_framework::runtime::{Watch, watch_with, write};
use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::Namespace,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher,
};
use peering_api::ocm::{ManagedCluster, names::ADDON_NAME_LABEL};
use scenarios::bench::each;
use serde_json::{Value, json};
use testenv::Env;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Field manager of what the site applies.
const MANAGER: &str = "bench";
/// How many requests are made at once.
const CONCURRENCY: usize = 16;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(30);
/// The time between two looks at what the watches have brought.
const INTERVAL: Duration = Duration::from_millis(100);
/// On a cluster that is not accepted: OCM leaves it so. Its namespace is ours then, and nothing else is made for it.
const LEFT_ALONE: &str = "open-cluster-management.io/automatically-accepted-on";

/// The cluster that refuses works for a while, and the name of the policy by which it does.
const REFUSING: u32 = 0;
const POLICY: &str = "bench-refuses-works";

/// The users whose requests can be told apart.
pub mod users {
    /// Makes and deletes addons.
    pub const DRIVER: &str = "bench-driver";
    /// The work agents.
    pub const AGENT: &str = "bench-agent";
    /// The floor.
    pub const FLOOR: &str = "bench-floor";
}

/// A client of one of the hub's users.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// The site.
pub struct Site<'a> {
    env: &'a Env,
    client: Client,
    addons: Watch<DynamicObject>,
    works: Watch<DynamicObject>,
    clusters: u32,
    _stop: DropGuard,
}

/// Addons in the version that the hub stores: nothing is converted for this watch.
fn addon_kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("addon.open-cluster-management.io", "v1alpha1", "ManagedClusterAddOn"),
        "managedclusteraddons",
    )
}

fn work_kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("work.open-cluster-management.io", "v1", "ManifestWork"),
        "manifestworks",
    )
}

impl<'a> Site<'a> {
    /// A site without clusters, with its work agent.
    pub async fn start(env: &'a Env) -> Result<Self> {
        let user = |name| env.hub().user_kubeconfig(name, Some("system:masters"));
        let (driver, agent) = (
            client(&user(users::DRIVER)?).await?,
            client(&user(users::AGENT)?).await?,
        );
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let all = watcher::Config::default;
        let (sender, receiver) = unbounded_channel();
        let works = watch_with(
            &tasks,
            &token,
            "works",
            Api::all_with(agent.clone(), &work_kind()),
            all().labels(ADDON_NAME_LABEL),
            work_kind(),
            move |work: &DynamicObject| {
                // Nobody listens any more when the site is being left.
                let _ = sender.send(work.clone());
            },
        );
        let addons = watch_with(
            &tasks,
            &token,
            "addons",
            Api::all_with(driver.clone(), &addon_kind()),
            all(),
            addon_kind(),
            |_| {},
        );
        tasks.spawn(token.clone().run_until_cancelled_owned(report(agent, receiver)));
        works.ready().await;
        addons.ready().await;
        Ok(Self {
            env,
            client: driver,
            addons,
            works,
            clusters: 0,
            _stop: token.drop_guard(),
        })
    }

    /// Makes clusters until there are so many.
    pub async fn grow(&mut self, clusters: u32) -> Result<()> {
        let new: Vec<_> = (self.clusters..clusters).map(cluster).collect();
        let managed = Api::<ManagedCluster>::all(self.client.clone());
        let namespaces = Api::<Namespace>::all(self.client.clone());
        each(&new, |name| {
            let (managed, namespaces) = (managed.clone(), namespaces.clone());
            async move {
                let object = json!({
                    "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
                    "metadata": {"name": name, "annotations": {LEFT_ALONE: "2026-01-01T00:00:00Z"}},
                    "spec": {"hubAcceptsClient": false, "leaseDurationSeconds": 86_400},
                });
                write::apply(&managed, name, MANAGER, &object).await?;
                let labels = json!({"open-cluster-management.io/cluster-name": name});
                let object =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
                write::apply(&namespaces, name, MANAGER, &object).await.map(drop)
            }
        })
        .await?;
        self.clusters = clusters;
        Ok(())
    }

    /// Defines an addon with its configuration, or changes that.
    pub async fn configure(&self, addon: &str, greeting: &str) -> Result<()> {
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), "default", &config_kind());
        let object = json!({
            "apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "AddOnDeploymentConfig",
            "metadata": {"name": addon, "namespace": "default"},
            "spec": {
                "customizedVariables": [{"name": "Greeting", "value": greeting}],
                "nodePlacement": {"nodeSelector": {"bench": greeting}},
            },
        });
        write::apply(&api, addon, MANAGER, &object).await?;
        Ok(())
    }

    /// Defines an addon.
    pub async fn define(&self, addon: &str) -> Result<()> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &definition_kind());
        let object = json!({
            "apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ClusterManagementAddOn",
            "metadata": {"name": addon},
            "spec": {
                "installStrategy": {"type": "Manual"},
                "supportedConfigs": [{
                    "group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs",
                    "defaultConfig": {"namespace": "default", "name": addon},
                }],
            },
        });
        write::apply(&api, addon, MANAGER, &object).await?;
        Ok(())
    }

    /// Takes the definition of an addon and its configuration away.
    pub async fn undefine(&self, addon: &str) -> Result<()> {
        let definitions = Api::<DynamicObject>::all_with(self.client.clone(), &definition_kind());
        definitions.delete(addon, &DeleteParams::default()).await?;
        let configs = Api::<DynamicObject>::namespaced_with(self.client.clone(), "default", &config_kind());
        configs.delete(addon, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Installs an addon on all clusters.
    pub async fn install(&self, addon: &str) -> Result<()> {
        let clusters: Vec<_> = (0..self.clusters).map(cluster).collect();
        each(&clusters, |cluster| {
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), cluster, &addon_kind());
            let object = DynamicObject::new(addon, &addon_kind()).data(json!({"spec": {}}));
            async move { api.create(&PostParams::default(), &object).await.map(drop) }
        })
        .await
    }

    /// Waits until works with this greeting are applied on all clusters, and the addons say so.
    pub async fn deployed(&self, addon: &str, greeting: &str) -> Result<()> {
        self.until(&format!("{addon} with {greeting} on all clusters"), |cluster| {
            self.is_deployed(cluster, addon, greeting)
        })
        .await
    }

    /// The same on all clusters but the one that refuses.
    pub async fn deployed_elsewhere(&self, addon: &str, greeting: &str) -> Result<()> {
        self.until(&format!("{addon} with {greeting} on the other clusters"), |name| {
            name == cluster(REFUSING) || self.is_deployed(name, addon, greeting)
        })
        .await
    }

    /// Waits until OCM's addon-manager has said which configuration an addon has.
    pub async fn configured(&self, addon: &str) -> Result<()> {
        self.until(&format!("{addon} to be configured"), |cluster| {
            let addon = self.addons.get_of(addon_kind(), Some(cluster), addon);
            addon.is_some_and(|addon| {
                let configured = condition(&addon, "Configured").is_some_and(|condition| condition["status"] == "True");
                configured && addon.data["status"]["configReferences"].is_array()
            })
        })
        .await
    }

    /// Makes the API server refuse every work of one cluster, and waits until it does.
    pub async fn refuse(&self) -> Result<()> {
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
            "metadata": {"name": POLICY},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["work.open-cluster-management.io"], "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["manifestworks"],
                }]},
                "validations": [{
                    "expression": format!("object.metadata.namespace != '{}'", cluster(REFUSING)),
                    "message": "this cluster takes no works",
                }],
            },
        }))?;
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
            "metadata": {"name": POLICY}, "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
        }))?;
        Api::all(self.client.clone())
            .create(&PostParams::default(), &policy)
            .await?;
        Api::all(self.client.clone())
            .create(&PostParams::default(), &binding)
            .await?;
        let works = Api::<DynamicObject>::namespaced_with(self.client.clone(), &cluster(REFUSING), &work_kind());
        let attempt = DynamicObject::new("attempt", &work_kind()).data(json!({"spec": {}}));
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let start = Instant::now();
        while works.create(&dry, &attempt).await.is_ok() {
            ensure!(start.elapsed() < DEADLINE, "works are still accepted");
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Ends [`Self::refuse`].
    pub async fn accept(&self) -> Result<()> {
        let params = DeleteParams::default();
        Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone())
            .delete(POLICY, &params)
            .await?;
        Api::<ValidatingAdmissionPolicy>::all(self.client.clone())
            .delete(POLICY, &params)
            .await?;
        Ok(())
    }

    fn is_deployed(&self, cluster: &str, addon: &str, greeting: &str) -> bool {
        let work = self
            .works
            .get_of(work_kind(), Some(cluster), &format!("addon-{addon}-deploy-0"));
        let Some(work) = work else { return false };
        let manifests = work.data["spec"]["workload"]["manifests"].as_array();
        let text = format!("{greeting}, {cluster}");
        let rendered = manifests
            .into_iter()
            .flatten()
            .any(|manifest| manifest["data"]["greeting"] == *text);
        let addon = self.addons.get_of(addon_kind(), Some(cluster), addon);
        rendered
            && applied(&work)
            && addon.is_some_and(|addon| {
                condition(&addon, "ManifestApplied").is_some_and(|condition| condition["status"] == "True")
            })
    }

    /// Deletes an addon on all clusters.
    pub async fn delete(&self, addon: &str) -> Result<()> {
        let clusters: Vec<_> = (0..self.clusters).map(cluster).collect();
        each(&clusters, |cluster| {
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), cluster, &addon_kind());
            async move { api.delete(addon, &DeleteParams::default()).await.map(drop) }
        })
        .await
    }

    /// Waits until an addon and its works are gone from all clusters.
    pub async fn gone(&self, addon: &str) -> Result<()> {
        let work = format!("addon-{addon}-deploy-0");
        self.until(&format!("{addon} to be gone"), |cluster| {
            self.works.get_of(work_kind(), Some(cluster), &work).is_none()
                && self.addons.get_of(addon_kind(), Some(cluster), addon).is_none()
        })
        .await
    }

    async fn until(&self, what: &str, done: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        let mut left: Vec<_> = (0..self.clusters).map(cluster).collect();
        loop {
            left.retain(|cluster| !done(cluster));
            if left.is_empty() {
                return Ok(());
            }
            self.env.check()?;
            if start.elapsed() > DEADLINE {
                let addons = left.first().map(|first| {
                    self.addons
                        .store
                        .state()
                        .into_iter()
                        .find(|addon| addon.namespace().as_deref() == Some(first))
                });
                bail!(
                    "waited {DEADLINE:?} for {what} in vain: {} are missing, such as {addons:?}",
                    left.len()
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn config_kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("addon.open-cluster-management.io", "v1alpha1", "AddOnDeploymentConfig"),
        "addondeploymentconfigs",
    )
}

fn definition_kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("addon.open-cluster-management.io", "v1alpha1", "ClusterManagementAddOn"),
        "clustermanagementaddons",
    )
}

/// Name of a cluster.
fn cluster(index: u32) -> String {
    format!("fake-{index:05}")
}

fn condition<'o>(object: &'o DynamicObject, kind: &str) -> Option<&'o Value> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Whether the agent has applied what a work holds now.
fn applied(work: &DynamicObject) -> bool {
    let generation = condition(work, "Applied").and_then(|condition| condition["observedGeneration"].as_i64());
    generation.is_some() && generation == work.metadata.generation
}

/// The work agents: each work is applied and available at once.
async fn report(client: Client, works: UnboundedReceiver<DynamicObject>) {
    let works = stream::unfold(works, |mut works| async move { Some((works.recv().await?, works)) });
    works
        .for_each_concurrent(CONCURRENCY, |work| {
            let client = client.clone();
            async move {
                if applied(&work) || work.metadata.deletion_timestamp.is_some() {
                    return;
                }
                if let Err(error) = applies(client, &work).await {
                    eprintln!("{error:#}");
                }
            }
        })
        .await;
}

async fn applies(client: Client, work: &DynamicObject) -> Result<()> {
    let namespace = work.namespace().context("a work without a namespace")?;
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &work_kind());
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": "",
            "observedGeneration": work.metadata.generation, "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    };
    let status = json!({"status": {"conditions": [
        condition("Applied", "AppliedManifestWorkComplete"),
        condition("Available", "ResourcesAvailable"),
    ]}});
    api.patch_status(&work.name_any(), &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}
