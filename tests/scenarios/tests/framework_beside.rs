//! What OCM's addon-manager does by itself still holds beside the framework: an addon that it makes of a template, on a cluster
//! with one of ours.
use addon_framework::{Health, Options, Simple, Templates};
use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use peering_api::{ocm::ManifestWork, peering::condition};
use scenarios::{Scenario, Side};
use serde_json::json;

use crate::framework_life::{await_condition, install, run};

const OURS: &str = "beside";

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: beside, namespace: default}
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
async fn an_addon_of_a_template_is_made_beside_ours() -> Result<()> {
    const THEIRS: &str = "templated";
    let s = Scenario::shared("framework-beside").await?;
    let side = Side::East;
    let addon = Simple::new(OURS)
        .without_registration()
        .templates(Templates::new([("beside.yaml", MAP)])?)
        .options(Options {
            health: Health::Works,
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let addons = install(&s, OURS, side, &json!({})).await?;
    s.world.env.hub().apply_text(TEMPLATE).await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), "default");
    for name in [OURS, THEIRS] {
        s.until(&format!("ConfigMap {name}"), || async {
            let data = maps.get_opt(name).await?.and_then(|map| map.data).unwrap_or_default();
            Ok(data.get("for").filter(|found| *found == side.cluster()).map(|_| ()))
        })
        .await?;
    }
    await_condition(&s, &addons, OURS, "Available", "WorkApplied").await?;
    s.until("the template to be rolled out", || async {
        let status = addons.get(THEIRS).await?.status.unwrap_or_default();
        Ok(condition(&status.conditions, "Progressing")
            .filter(|found| found.status == "False" && found.reason == "Completed")
            .map(|_| ()))
    })
    .await?;

    // Each goes without the other.
    addons.delete(THEIRS, &DeleteParams::default()).await?;
    s.await_gone(&addons, THEIRS).await?;
    s.await_gone(&maps, THEIRS).await?;
    let of_ours = ListParams::default().labels("open-cluster-management.io/addon-name=beside");
    let works = s.hub_of::<ManifestWork>(side).list_metadata(&of_ours).await?.items;
    anyhow::ensure!(works.len() == 1, "{works:?}");
    addons.delete(OURS, &DeleteParams::default()).await?;
    s.await_gone(&addons, OURS).await?;
    s.await_gone(&maps, OURS).await
}
