//! The life of an addon of the framework on the real Open Cluster Management: health by what the work agent reports, hooks
//! before the removal, objects that stay behind, another cluster that hosts the agent, and managers that take turns.
use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use addon_framework::{
    Addon, Health, Manager, Options, Simple, Templates,
    runtime::{
        Clients,
        leader::{Candidate, Timing},
    },
};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use peering_api::{
    ocm::{ManagedClusterAddOn, ManifestWork},
    peering::condition,
};
use scenarios::{Scenario, Side};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

const NAMESPACE: &str = "default";

/// Runs a manager in this process until the guard is dropped.
pub(crate) fn run(s: &Scenario, addon: impl Addon) -> Result<(Manager, DropGuard)> {
    let clients = Clients {
        watch: s.hub.clone(),
        request: s.hub.clone(),
    };
    let manager = Manager::builder(clients).addon(Arc::new(addon)).build()?;
    let token = CancellationToken::new();
    let until = token.clone();
    let running = manager.clone();
    tokio::spawn(async move { running.run(until).await });
    Ok((manager, token.drop_guard()))
}

/// Installs an addon on a cluster, by hand.
pub(crate) async fn install(
    s: &Scenario,
    name: &str,
    side: Side,
    annotations: &Value,
) -> Result<Api<ManagedClusterAddOn>> {
    let cluster = side.cluster();
    s.world
        .env
        .hub()
        .apply_text(&format!(
            "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {{name: {name}}}
spec: {{installStrategy: {{type: Manual}}}}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {{name: {name}, namespace: {cluster}, annotations: {annotations}}}
spec: {{}}
"
        ))
        .await?;
    Ok(s.hub_of(side))
}

pub(crate) async fn await_condition(
    s: &Scenario,
    addons: &Api<ManagedClusterAddOn>,
    addon: &str,
    type_: &str,
    reason: &str,
) -> Result<ManagedClusterAddOn> {
    s.until(&format!("{addon} to have {type_} {reason}"), || async {
        let object = addons.get(addon).await?;
        let conditions = object.status.clone().unwrap_or_default().conditions;
        Ok(condition(&conditions, type_)
            .filter(|found| found.reason == reason)
            .map(|_| object))
    })
    .await
}

const LIFE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: life, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: life}}
  template:
    metadata: {labels: {app: life}}
    spec:
      automountServiceAccountToken: false
      containers: [{name: agent, image: nothing}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: life-stays, namespace: default, annotations: {addon.open-cluster-management.io/deletion-orphan: ""}}
data: {on: {{ ClusterName }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: life-goes, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: life-hook, namespace: default, annotations: {addon.open-cluster-management.io/addon-pre-delete: ""}}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  containers: [{name: hook, image: nothing}]
"#;

/// Sets the status of an object that nothing runs here.
async fn set_status<K>(api: &Api<K>, name: &str, status: Value) -> Result<()>
where
    K: Clone + Debug + DeserializeOwned,
{
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test]
async fn health_is_reported_hooks_run_and_objects_stay() -> Result<()> {
    const ADDON: &str = "life";
    let s = Scenario::shared("framework-life").await?;
    let side = Side::West;
    let addon = Simple::new(ADDON)
        .templates(Templates::new([("life.yaml", LIFE)])?)
        .without_registration()
        .options(Options {
            health: Health::Deployments,
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let addons = install(&s, ADDON, side, &json!({})).await?;
    await_condition(&s, &addons, ADDON, "Available", "NoProbeResult").await?;
    let deployments: Api<Deployment> = Api::namespaced(s.client(side), NAMESPACE);
    set_status(&deployments, ADDON, json!({"replicas": 1})).await?;
    let object = await_condition(&s, &addons, ADDON, "Available", "ProbeUnavailable").await?;
    let status = object.status.clone().unwrap_or_default();
    ensure!(status.health_check.and_then(|check| check.mode).as_deref() == Some("Customized"));
    ensure!(
        object
            .finalizers()
            .iter()
            .any(|name| name == "addon.open-cluster-management.io/addon-pre-delete")
    );
    await_condition(&s, &addons, ADDON, "RegistrationApplied", "NilRegistration").await?;

    let pods: Api<Pod> = Api::namespaced(s.client(side), NAMESPACE);
    set_status(&deployments, ADDON, json!({"replicas": 1, "readyReplicas": 1})).await?;
    await_condition(&s, &addons, ADDON, "Available", "ProbeAvailable").await?;
    ensure!(pods.get_opt("life-hook").await?.is_none(), "the hook ran too early");

    addons.delete(ADDON, &DeleteParams::default()).await?;
    let hook = |old: Option<String>| {
        let pods = pods.clone();
        async move { anyhow::Ok(pods.get_opt("life-hook").await?.filter(|pod| pod.uid() != old)) }
    };
    let first = s.until("the hook to run", || hook(None)).await?;
    await_condition(
        &s,
        &addons,
        ADDON,
        "HookManifestCompleted",
        "HookManifestIsNotCompleted",
    )
    .await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), NAMESPACE);
    ensure!(
        maps.get_opt("life-goes").await?.is_some(),
        "the agent went before the hook was done"
    );
    set_status(&pods, "life-hook", json!({"phase": "Failed"})).await?;
    s.until("a failed hook to run again", || hook(first.uid())).await?;
    set_status(&pods, "life-hook", json!({"phase": "Succeeded"})).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, "life-goes").await?;
    for work in ["addon-life-deploy-0", "addon-life-pre-delete"] {
        s.await_gone(&s.hub_of::<ManifestWork>(side), work).await?;
    }
    let stays = maps.get("life-stays").await.context("an orphan went")?;
    ensure!(stays.data.is_some_and(|data| data["on"] == side.cluster()));
    maps.delete("life-stays", &DeleteParams::default()).await?;
    Ok(())
}

const HOSTED: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: hosted-here, namespace: default}
data: {mode: {{ InstallMode }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hosted-there, namespace: default, labels: {addon.open-cluster-management.io/hosted-manifest-location: hosting}}
data: {for: {{ ClusterName }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hosted-nowhere, namespace: default, labels: {addon.open-cluster-management.io/hosted-manifest-location: none}}
---
apiVersion: v1
kind: Pod
metadata:
  name: hosted-hook
  namespace: default
  annotations: {addon.open-cluster-management.io/addon-pre-delete: \"\"}
  labels: {addon.open-cluster-management.io/hosted-manifest-location: hosting}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  containers: [{name: hook, image: nothing}]
";

#[tokio::test]
async fn an_agent_is_hosted_by_another_cluster() -> Result<()> {
    const ADDON: &str = "hosted";
    let s = Scenario::shared("framework-hosted").await?;
    let (side, host) = (Side::West, Side::East);
    let addon = Simple::new(ADDON)
        .templates(Templates::new([("hosted.yaml", HOSTED)])?)
        .without_registration()
        .options(Options {
            hosted: true,
            health: Health::Works,
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let annotations = |host: &str| json!({"addon.open-cluster-management.io/hosting-cluster-name": host});
    let addons = install(&s, ADDON, side, &annotations(host.cluster())).await?;
    for (type_, reason) in [
        ("HostingClusterValidity", "HostingClusterValid"),
        ("HostingManifestApplied", "AddonManifestApplied"),
        ("ManifestApplied", "AddonManifestApplied"),
        ("Available", "WorkApplied"),
    ] {
        await_condition(&s, &addons, ADDON, type_, reason).await?;
    }
    let work = format!("addon-{ADDON}-deploy-hosting-{}-0", side.cluster());
    let hosted = s.hub_of::<ManifestWork>(host);
    let label = hosted
        .get(&work)
        .await?
        .labels()
        .get("open-cluster-management.io/addon-namespace")
        .cloned();
    ensure!(label.as_deref() == Some(side.cluster()), "{label:?}");
    let maps = |side: Side| Api::<ConfigMap>::namespaced(s.client(side), NAMESPACE);
    let there = maps(host).get("hosted-there").await?.data.unwrap_or_default();
    ensure!(
        there.get("for").map(String::as_str) == Some(side.cluster()),
        "{there:?}"
    );
    let here = maps(side).get("hosted-here").await?.data.unwrap_or_default();
    ensure!(here.get("mode").map(String::as_str) == Some("Hosted"), "{here:?}");
    for (side, name) in [
        (side, "hosted-there"),
        (side, "hosted-nowhere"),
        (host, "hosted-here"),
        (host, "hosted-nowhere"),
    ] {
        ensure!(
            maps(side).get_opt(name).await?.is_none(),
            "{name} on {}",
            side.cluster()
        );
    }

    // Out of hosted mode all are on its own cluster; a host that does not exist is told.
    let annotate = async |host: Option<&str>| {
        let patch =
            json!({"metadata": {"annotations": {"addon.open-cluster-management.io/hosting-cluster-name": host}}});
        addons.patch(ADDON, &PatchParams::default(), &Patch::Merge(patch)).await
    };
    annotate(None).await?;
    s.await_gone(&hosted, &work).await?;
    s.until("everything on the addon's own cluster", || async {
        Ok(maps(side).get_opt("hosted-nowhere").await?)
    })
    .await?;
    s.until("the finalizers of hosted mode to go", || async {
        let finalizers = addons.get(ADDON).await?.finalizers().to_vec();
        Ok((finalizers == ["addon.open-cluster-management.io/addon-pre-delete"]).then_some(()))
    })
    .await?;
    annotate(Some("nobody")).await?;
    await_condition(&s, &addons, ADDON, "HostingClusterValidity", "HostingClusterInvalid").await?;
    annotate(Some(host.cluster())).await?;
    s.until("the hosted work again", || async { Ok(hosted.get_opt(&work).await?) })
        .await?;
    s.until("what it holds", || async {
        Ok(maps(host).get_opt("hosted-there").await?)
    })
    .await?;
    s.until("the finalizer of the hook to move", || async {
        let finalizers = addons.get(ADDON).await?.finalizers().to_vec();
        let hosting = |finalizer: &String| finalizer.contains("/hosting-");
        Ok((finalizers.len() == 2 && finalizers.iter().all(hosting)).then_some(()))
    })
    .await?;

    addons.delete(ADDON, &DeleteParams::default()).await?;
    let pods: Api<Pod> = Api::namespaced(s.client(host), NAMESPACE);
    s.until("the hook to run on the hosting cluster", || async {
        Ok(pods.get_opt("hosted-hook").await?)
    })
    .await?;
    ensure!(
        maps(host).get_opt("hosted-there").await?.is_some(),
        "the hosted agent went before its hook was done"
    );
    set_status(&pods, "hosted-hook", json!({"phase": "Succeeded"})).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&hosted, &format!("addon-{ADDON}-pre-delete-hosting-{}", side.cluster()))
        .await?;
    s.await_gone(&hosted, &work).await?;
    s.await_gone(&maps(host), "hosted-there").await?;
    s.await_gone(&maps(side), "hosted-here").await?;
    Ok(())
}

/// Counts who leads at the same time.
#[derive(Default)]
struct Leaders {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Leading(Arc<Leaders>);

impl Leading {
    fn new(leaders: &Arc<Leaders>) -> Self {
        let now = leaders.now.fetch_add(1, SeqCst) + 1;
        leaders.most.fetch_max(now, SeqCst);
        Self(leaders.clone())
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

#[tokio::test]
async fn of_two_managers_one_works_and_the_other_takes_over() -> Result<()> {
    const ADDON: &str = "turns";
    let s = Scenario::shared("framework-turns").await?;
    let leaders = Arc::new(Leaders::default());
    let candidate = |name: &'static str| {
        let map = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: turns, namespace: default}}, data: {{by: {name}}}}}"
        );
        let (client, leaders) = (s.hub.clone(), leaders.clone());
        // Long enough for a leader on a busy machine to renew in time.
        let timing = Timing {
            lease: Duration::from_secs(30),
            renew: Duration::from_secs(25),
            retry: Duration::from_secs(1),
        };
        let candidate = Candidate::new(client.clone(), NAMESPACE, "framework-turns", name.to_owned(), timing);
        let clients = Clients {
            watch: client.clone(),
            request: client,
        };
        tokio::spawn(async move {
            let object = serde_saphyr::from_str(&map)?;
            let addon = Simple::new(ADDON).objects(vec![object]).without_registration();
            let manager = Manager::builder(clients).addon(Arc::new(addon)).build()?;
            let token = CancellationToken::new();
            let work = || async {
                let _leading = Leading::new(&leaders);
                manager.run(token.clone()).await;
            };
            candidate.lead(&token, work).await?;
            anyhow::Ok(())
        })
    };
    let side = Side::East;
    let first = candidate("first");
    let addons = install(&s, ADDON, side, &json!({})).await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), NAMESPACE);
    let written_by = |name: &'static str| {
        let maps = maps.clone();
        async move {
            let by = maps.get_opt("turns").await?.and_then(|map| map.data?.remove("by"));
            anyhow::Ok(by.filter(|by| by == name))
        }
    };
    s.until("the first manager to deploy", || written_by("first")).await?;
    let second = candidate("second");
    let leases: Api<Lease> = Api::namespaced(s.hub.clone(), NAMESPACE);
    let holder = leases
        .get("framework-turns")
        .await?
        .spec
        .and_then(|spec| spec.holder_identity);
    ensure!(holder.as_deref() == Some("first"), "{holder:?}");
    // Killed: it gives nothing up.
    first.abort();
    s.until("the second manager to deploy", || written_by("second")).await?;
    ensure!(leaders.most.load(SeqCst) == 1, "two led at once");
    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, "turns").await?;
    ensure!(!second.is_finished(), "the second manager ended");
    second.abort();
    leases.delete("framework-turns", &DeleteParams::default()).await?;
    Ok(())
}
