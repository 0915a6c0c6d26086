//! More of the framework on the real Open Cluster Management: several works, installation by a placement, clusters that leave.
use std::sync::{Arc, Mutex};

use addon_framework::{ConfigKind, Options, Simple, Templates, object};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use peering_api::{
    ocm::{ManagedCluster, ManagedClusterAddOn, ManifestWork},
    peering::condition,
};
use scenarios::{Scenario, Side};
use serde_json::json;

use crate::framework_life::{await_condition, install, run};

const KIB: usize = 1024;

/// Names and sizes in KiB.
type Sizes = Vec<(&'static str, usize)>;

fn map(name: &str, size: usize) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.namespace = Some("default".to_owned());
    map.data = Some([("data".to_owned(), "x".repeat(size))].into());
    map
}

/// Upstream's sizes. What the manifests are made of is outside of all objects: a trigger makes them anew.
#[tokio::test]
async fn large_manifests_are_in_several_works_and_a_trigger_renders_them_anew() -> Result<()> {
    const ADDON: &str = "large";
    let s = Scenario::shared("framework-large").await?;
    let side = Side::East;
    let sizes: Arc<Mutex<Sizes>> = Arc::new(Mutex::new(vec![("large-a", 150), ("large-b", 200), ("large-c", 50)]));
    let wanted = sizes.clone();
    let addon = Simple::new(ADDON).without_registration().manifests(move |_| {
        let sizes = wanted.lock().map(|sizes| sizes.clone()).unwrap_or_default();
        sizes
            .iter()
            .map(|(name, size)| object(&map(name, size * KIB)))
            .collect()
    });
    let (manager, _guard) = run(&s, addon)?;
    let addons = install(&s, ADDON, side, &json!({})).await?;
    let works = s.hub_of::<ManifestWork>(side);
    let packed = |first: usize, second: usize| {
        let (s, works) = (&s, works.clone());
        async move {
            s.until(&format!("works with {first} and {second} manifests"), || async {
                let mut counts = vec![];
                for index in 0..3 {
                    let work = works.get_opt(&format!("addon-{ADDON}-deploy-{index}")).await?;
                    counts.extend(work.map(|work| work.spec.workload.manifests.len()));
                }
                Ok((counts == [first, second]).then_some(()))
            })
            .await
        }
    };
    packed(2, 1).await?;
    let all_applied = |count: usize| {
        let (s, addons) = (&s, addons.clone());
        async move {
            s.until(&format!("all {count} to be applied"), || async {
                let conditions = addons.get(ADDON).await?.status.unwrap_or_default().conditions;
                let applied = condition(&conditions, "ManifestApplied").filter(|found| found.status == "True");
                Ok(applied
                    .filter(|found| found.message.contains(&format!("all {count} of 2 ManifestWorks")))
                    .map(|_| ()))
            })
            .await
        }
    };
    all_applied(3).await?;
    let change = |change: &dyn Fn(&mut Sizes)| {
        if let Ok(mut sizes) = sizes.lock() {
            change(&mut sizes);
        }
        manager.trigger(side.cluster(), ADDON);
    };
    change(&|sizes| sizes.push(("large-d", 80)));
    packed(2, 2).await?;
    all_applied(4).await?;
    change(&|sizes| sizes.retain(|(name, _)| *name != "large-a"));
    packed(1, 2).await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), "default");
    s.await_gone(&maps, "large-a").await?;
    ensure!(maps.get_opt("large-d").await?.is_some());
    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, "large-d").await
}

const PLACED: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: placed, namespace: default}
data: {level: {{ Level | tojson }}}
";

const PLACEMENT: &str = "
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: global, namespace: default}
spec: {clusterSet: global}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: placed, namespace: default}
spec:
  clusterSets: [global]
  predicates: [{requiredClusterSelector: {labelSelector: {matchLabels: {framework-placed: 'true'}}}}]
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: placed-default, namespace: default}
spec: {customizedVariables: [{name: Level, value: default}]}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: placed, namespace: default}
spec: {customizedVariables: [{name: Level, value: LEVEL}]}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: placed}
spec:
  defaultConfigs: [{group: addon.open-cluster-management.io, resource: addondeploymentconfigs, namespace: default, name: placed-default}]
  installStrategy:
    type: Placements
    placements:
    - namespace: default
      name: placed
      configs: [{group: addon.open-cluster-management.io, resource: addondeploymentconfigs, namespace: default, name: placed}]
      rolloutStrategy: {type: All}
";

#[tokio::test]
async fn a_placement_installs_configures_and_removes() -> Result<()> {
    const ADDON: &str = "placed";
    let s = Scenario::shared("framework-placed").await?;
    let side = Side::West;
    let addon = Simple::new(ADDON)
        .without_registration()
        .templates(Templates::new([("placed.yaml", PLACED)])?)
        .options(Options {
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let clusters: Api<ManagedCluster> = Api::all(s.hub.clone());
    let choose = async |chosen: Option<&str>| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"framework-placed": chosen}}}));
        clusters.patch(side.cluster(), &PatchParams::default(), &patch).await
    };
    choose(Some("true")).await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), "default");
    let addons = s.hub_of::<ManagedClusterAddOn>(side);
    for level in ["first", "second"] {
        s.world.env.hub().apply_text(&PLACEMENT.replace("LEVEL", level)).await?;
        s.until(&format!("level {level}"), || async {
            let data = maps.get_opt(ADDON).await?.and_then(|map| map.data).unwrap_or_default();
            ensure!(
                data.get("level").is_none_or(|level| level != "default"),
                "rendered with the default"
            );
            Ok(data.get("level").filter(|found| *found == level).map(|_| ()))
        })
        .await?;
        s.until("the rollout to complete", || async {
            let status = addons.get(ADDON).await?.status.unwrap_or_default();
            let completed =
                condition(&status.conditions, "Progressing").is_some_and(|found| found.reason == "Completed");
            let reference = status.config_references.first();
            Ok(reference
                .filter(|found| completed && found.last_applied_config == found.desired_config)
                .map(|_| ()))
        })
        .await?;
    }
    choose(None).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, ADDON).await
}

const HOOK: &str = "
apiVersion: v1
kind: Pod
metadata: {name: leaving-hook, namespace: default, labels: {addon.open-cluster-management.io/addon-pre-delete: ''}}
spec: {containers: [{name: hook, image: nothing}]}
";

#[tokio::test]
async fn hooks_that_nobody_can_run_hold_no_addon_for_ever() -> Result<()> {
    const ADDON: &str = "leaving";
    let s = Scenario::shared("framework-leaving").await?;
    let addon = Simple::new(ADDON)
        .without_registration()
        .templates(Templates::new([("hook.yaml", HOOK)])?);
    let _manager = run(&s, addon)?;
    // Nobody stands behind these clusters. One addon is told not to wait, the other's cluster is removed from the hub.
    for (cluster, told) in [("framework-leaving-1", true), ("framework-leaving-2", false)] {
        s.world.env.bare_cluster(cluster).await?;
        let addons: Api<ManagedClusterAddOn> = Api::namespaced(s.hub.clone(), cluster);
        let addon = format!(
            "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {{name: {ADDON}, namespace: {cluster}}}
spec: {{}}
"
        );
        // The ClusterManagementAddOn, with an addon that goes at once.
        let east = install(&s, ADDON, Side::East, &json!({})).await?;
        s.world.env.hub().apply_text(&addon).await?;
        s.until("the finalizer", || async {
            Ok((!addons.get(ADDON).await?.finalizers().is_empty()).then_some(()))
        })
        .await?;
        addons.delete(ADDON, &DeleteParams::default()).await?;
        await_condition(
            &s,
            &addons,
            ADDON,
            "HookManifestCompleted",
            "HookManifestIsNotCompleted",
        )
        .await?;
        if told {
            let patch =
                json!({"metadata": {"annotations": {"addon.open-cluster-management.io/skip-pre-delete": "true"}}});
            addons
                .patch(ADDON, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            s.await_gone(&addons, ADDON).await?;
            s.world.env.delete_bare_cluster(cluster).await?;
        } else {
            s.world.env.delete_bare_cluster(cluster).await?;
            s.await_gone(&addons, ADDON).await?;
        }
        let patch = json!({"metadata": {"annotations": {"addon.open-cluster-management.io/skip-pre-delete": "true"}}});
        east.patch(ADDON, &PatchParams::default(), &Patch::Merge(patch)).await?;
        east.delete(ADDON, &DeleteParams::default()).await?;
        s.await_gone(&east, ADDON).await?;
    }
    Ok(())
}

const SEVERAL: &str = "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: several-a, namespace: default}
spec: {customizedVariables: [{name: Level, value: a}, {name: OnlyA, value: a}]}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: several-b, namespace: default}
spec: {customizedVariables: [{name: Level, value: b}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: several, namespace: default}
data: {text: TEXT}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: several}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: several, namespace: cluster1}
spec:
  configs:
  - {group: addon.open-cluster-management.io, resource: addondeploymentconfigs, namespace: default, name: several-b}
  - {group: '', resource: configmaps, namespace: default, name: several}
  - {group: addon.open-cluster-management.io, resource: addondeploymentconfigs, namespace: default, name: several-a}
";

/// Two of one kind, in the order of the addon, and one of another kind, which has no spec.
#[tokio::test]
async fn several_configurations_of_any_kind_are_in_force_in_their_order() -> Result<()> {
    const ADDON: &str = "several";
    let s = Scenario::shared("framework-several").await?;
    let maps = ConfigKind::new("", "v1", "configmaps");
    let kinds = vec![ConfigKind::deployment_config(), maps.clone()];
    let addon = Simple::new(ADDON)
        .without_registration()
        .manifests(move |site| {
            let mut map = map(ADDON, 0);
            let read = site
                .configs
                .of(&maps)
                .filter_map(|config| config.data["data"]["text"].as_str());
            let text = read.collect::<Vec<_>>().join(",");
            map.data = Some(
                site.settings
                    .variables
                    .clone()
                    .into_iter()
                    .chain([("text".to_owned(), text)])
                    .collect(),
            );
            Ok(vec![object(&map)?])
        })
        .options(Options {
            configs: kinds,
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let side = Side::East;
    let (addons, maps) = (
        s.hub_of::<ManagedClusterAddOn>(side),
        Api::<ConfigMap>::namespaced(s.client(side), "default"),
    );
    for text in ["first", "second"] {
        s.world.env.hub().apply_text(&SEVERAL.replace("TEXT", text)).await?;
        s.until(&format!("the {text} text"), || async {
            let data = maps.get_opt(ADDON).await?.and_then(|map| map.data).unwrap_or_default();
            let expected =
                [("Level", "a"), ("OnlyA", "a"), ("text", text)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            Ok((data == expected.into()).then_some(()))
        })
        .await?;
        s.until("the rollout to complete", || async {
            let status = addons.get(ADDON).await?.status.unwrap_or_default();
            let done = condition(&status.conditions, "Progressing").is_some_and(|found| found.reason == "Completed");
            let references = status.config_references.iter().filter_map(|found| {
                let desired = found
                    .desired_config
                    .clone()
                    .filter(|desired| !desired.spec_hash.is_empty());
                desired
                    .filter(|_| found.last_applied_config == found.desired_config)
                    .map(|desired| desired.name)
            });
            let order: Vec<_> = references.collect();
            let ours = order.iter().filter(|name| *name != ADDON);
            Ok((done && order.len() == 3 && ours.eq(["several-b", "several-a"].iter())).then_some(()))
        })
        .await?;
    }
    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, ADDON).await
}
