//! What OCM's addon-manager does by itself still holds beside the framework: annotations that it copies from a cluster to
//! its addons, and addons that it makes of templates.
use addon_framework::{Options, Simple, Templates};
use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use peering_api::{
    ocm::{ManagedCluster, ManagedClusterAddOn, ManifestWork},
    peering::condition,
};
use scenarios::{Scenario, Side};
use serde_json::json;

use crate::framework_life::{await_condition, run};

const COPIED: &str = "copied";
/// A cluster without agents of its own.
const CLUSTER: &str = "framework-beside";

const PLACEMENT: &str = "
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: global, namespace: default}
spec: {clusterSet: global}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: copied, namespace: default}
spec:
  clusterSets: [global]
  predicates: [{requiredClusterSelector: {labelSelector: {matchLabels: {framework-beside: 'true'}}}}]
  tolerations: [{operator: Exists}]
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: copied}
spec:
  installStrategy:
    type: Placements
    placements: [{namespace: default, name: copied, rolloutStrategy: {type: All}}]
";

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: copied, namespace: default, labels: {addon.open-cluster-management.io/hosted-manifest-location: hosting}}
data: {for: {{ ClusterName }}}
";

const TEMPLATE: &str = "
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: AddOnTemplate
metadata: {name: templated}
spec:
  addonName: templated
  agentSpec:
    workload:
      manifests:
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: templated, namespace: default}
        data: {for: '{{CLUSTER_NAME}}'}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: templated}
spec:
  installStrategy: {type: Manual}
  defaultConfigs: [{group: addon.open-cluster-management.io, resource: addontemplates, name: templated}]
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: templated, namespace: cluster1}
spec: {}
";

#[tokio::test]
async fn annotations_are_copied_and_templates_made_beside_the_framework() -> Result<()> {
    let s = Scenario::shared("framework-beside").await?;
    let host = Side::East;
    s.world.env.bare_cluster(CLUSTER).await?;
    let addon = Simple::new(COPIED)
        .without_registration()
        .templates(Templates::new([("copied.yaml", MAP)])?)
        .options(Options {
            hosted: true,
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let clusters: Api<ManagedCluster> = Api::all(s.hub.clone());
    let describe = async |labels: serde_json::Value| {
        let annotations = json!({"addon.open-cluster-management.io/hosting-cluster-name": host.cluster()});
        let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
        clusters
            .patch(CLUSTER, &PatchParams::default(), &Patch::Merge(patch))
            .await
    };
    describe(json!({"framework-beside": "true"})).await?;
    s.world.env.hub().apply_text(PLACEMENT).await?;

    // Nobody has annotated the addon itself: OCM does, and the framework follows.
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(s.hub.clone(), CLUSTER);
    s.until("the addon", || async { Ok(addons.get_opt(COPIED).await?) })
        .await?;
    await_condition(&s, &addons, COPIED, "HostingManifestApplied", "AddonManifestApplied").await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(host), "default");
    let holds = async |name: &'static str, cluster: &'static str| {
        s.until(&format!("ConfigMap {name} for {cluster}"), || async {
            let data = maps.get_opt(name).await?.and_then(|map| map.data).unwrap_or_default();
            Ok(data.get("for").filter(|found| *found == cluster).map(|_| ()))
        })
        .await
    };
    holds(COPIED, CLUSTER).await?;

    s.world.env.hub().apply_text(TEMPLATE).await?;
    let templated = s.hub_of::<ManagedClusterAddOn>(host);
    holds("templated", host.cluster()).await?;
    s.until("the template to be rolled out", || async {
        let status = templated.get("templated").await?.status.unwrap_or_default();
        Ok(condition(&status.conditions, "Progressing")
            .filter(|found| found.status == "False" && found.reason == "Completed")
            .map(|_| ()))
    })
    .await?;
    templated.delete("templated", &DeleteParams::default()).await?;
    s.await_gone(&templated, "templated").await?;
    s.await_gone(&maps, "templated").await?;

    describe(json!({"framework-beside": null})).await?;
    s.await_gone(&addons, COPIED).await?;
    let work = format!("addon-{COPIED}-deploy-hosting-{CLUSTER}-0");
    s.await_gone(&s.hub_of::<ManifestWork>(host), &work).await?;
    s.await_gone(&maps, COPIED).await?;
    s.world.env.delete_bare_cluster(CLUSTER).await
}
