//! The addon framework by itself: its example, on the real Open Cluster Management beside our own addon.
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
    rbac::v1::RoleBinding,
};
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

const ADDON: &str = "helloworld";
const NAMESPACE: &str = "helloworld-agent";

#[tokio::test]
async fn the_helloworld_example_works() -> Result<()> {
    let s = Scenario::shared("framework-hello").await?;
    let (env, side) = (s.world.env, Side::West);
    env.hub()
        .apply_text(
            "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: helloworld}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: helloworld, namespace: cluster2}
spec: {}
",
        )
        .await?;
    // Cargo builds examples along with tests, beside the directory of this test's binary.
    let program = std::env::current_exe()?;
    let program = program
        .ancestors()
        .nth(2)
        .context("no target directory")?
        .join("examples")
        .join(ADDON);
    ensure!(
        program.exists(),
        "{} was not built: run the tests of the whole workspace",
        program.display()
    );
    let log = env.directory().join("helloworld.log");
    let mut manager = tokio::process::Command::new(&program)
        .env("KUBECONFIG", env.hub().kubeconfig())
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .kill_on_drop(true)
        .spawn()?;

    let addons = s.hub_of::<ManagedClusterAddOn>(side);
    for type_ in ["RegistrationApplied", "ManifestApplied"] {
        s.until(&format!("{ADDON} to be {type_}, see {}", log.display()), || async {
            let conditions = addons.get(ADDON).await?.status.unwrap_or_default().conditions;
            Ok(condition(&conditions, type_)
                .filter(|found| found.status == "True")
                .map(|_| ()))
        })
        .await?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), NAMESPACE);
    let greeting = |word: &'static str| {
        let maps = maps.clone();
        async move {
            let map = maps
                .get_opt(NAMESPACE)
                .await?
                .and_then(|map| map.data)
                .unwrap_or_default();
            anyhow::Ok(map.values().any(|value| value.contains(word)).then_some(()))
        }
    };
    s.until("the greeting", || greeting("cluster2")).await?;
    let label = json!({"metadata": {"labels": {"greeting": "ahoy"}}});
    let clusters: Api<ManagedCluster> = Api::all(s.hub.clone());
    clusters
        .patch(side.cluster(), &PatchParams::default(), &Patch::Merge(label))
        .await?;
    s.until("the greeting to follow the cluster's label", || greeting("ahoy"))
        .await?;
    let deployments: Api<Deployment> = Api::namespaced(s.client(side), NAMESPACE);
    ensure!(
        deployments.get_opt(NAMESPACE).await?.is_some(),
        "no Deployment {NAMESPACE}"
    );
    let credentials: Api<Secret> = Api::namespaced(s.client(side), NAMESPACE);
    s.until("the agent's credentials", || async {
        Ok(credentials.get_opt("helloworld-hub-kubeconfig").await?)
    })
    .await?;

    // Permissions taken away by hand come back.
    let bindings = s.hub_of::<RoleBinding>(side);
    let name = "open-cluster-management:helloworld:agent";
    let uid = bindings.get(name).await?.metadata.uid;
    bindings.delete(name, &DeleteParams::default()).await?;
    s.until("the RoleBinding to come back", || async {
        Ok(bindings
            .get_opt(name)
            .await?
            .filter(|binding| binding.metadata.uid != uid))
    })
    .await?;

    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&s.hub_of::<ManifestWork>(side), "addon-helloworld-deploy-0")
        .await?;
    s.await_gone(&bindings, name).await?;
    s.await_gone(&maps, NAMESPACE).await?;
    ensure!(
        manager.try_wait()?.is_none(),
        "the example ended early: see {}",
        log.display()
    );
    manager.kill().await?;
    Ok(())
}
