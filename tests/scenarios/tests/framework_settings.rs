//! What an administrator sets for an addon's pods: registries of the cluster and of a configuration, a proxy and its CA.
use addon_framework::{ConfigKind, Options, Simple, Templates};
use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use peering_api::ocm::ManagedCluster;
use scenarios::{Scenario, Side, objects};
use serde_json::{Value, json};

use crate::framework_life::{install, run};

const ADDON: &str = "settled";

const AGENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: settled, namespace: default}
spec:
  replicas: 0
  selector: {matchLabels: {app: settled}}
  template:
    metadata: {labels: {app: settled}}
    spec:
      containers: [{name: agent, image: quay.io/framework-settled/agent:1}]
";

/// The agent's container on the cluster.
async fn container(deployments: &Api<Deployment>) -> Result<Option<Container>> {
    let deployment = deployments.get_opt(ADDON).await?;
    let pod = deployment.and_then(|found| found.spec?.template.spec);
    Ok(pod.and_then(|pod| pod.containers.into_iter().next()))
}

#[tokio::test]
async fn registries_and_the_ca_of_a_proxy_reach_the_pods() -> Result<()> {
    let s = Scenario::shared("framework-settled").await?;
    let side = Side::West;
    let addon = Simple::new(ADDON)
        .without_registration()
        .templates(Templates::new([("agent.yaml", AGENT)])?)
        .inject_settings()
        .options(Options {
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        });
    let _manager = run(&s, addon)?;
    let clusters: Api<ManagedCluster> = Api::all(s.hub.clone());
    let annotate = async |registries: Option<Value>| {
        let text = registries.map(|list| json!({"registries": list}).to_string());
        let patch = json!({"metadata": {"annotations": {"open-cluster-management.io/image-registries": text}}});
        clusters
            .patch(side.cluster(), &PatchParams::default(), &Patch::Merge(patch))
            .await
    };
    annotate(Some(
        json!([{"source": "quay.io/framework-settled", "mirror": "of-cluster.example/mirror"}]),
    ))
    .await?;
    let addons = install(&s, ADDON, side, &json!({})).await?;
    let deployments: Api<Deployment> = Api::namespaced(s.client(side), "default");
    let until_image = async |image: &'static str| {
        s.until(&format!("the image {image}"), || async {
            Ok(container(&deployments)
                .await?
                .filter(|found| found.image.as_deref() == Some(image)))
        })
        .await
    };
    until_image("of-cluster.example/mirror/agent:1").await?;

    let pem = objects::ca("proxy of framework-settled", 2041)?;
    let config = json!({
        "apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "AddOnDeploymentConfig",
        "metadata": {"name": ADDON, "namespace": "default"},
        "spec": {
            "agentInstallNamespace": "",
            "registries": [{"source": "quay.io/framework-settled", "mirror": "of-config.example/mirror"}],
            "proxyConfig": {"httpsProxy": "https://proxy.example:3128", "caBundle": STANDARD.encode(&pem)},
        },
    });
    s.world.env.hub().apply_text(&config.to_string()).await?;
    let reference = json!([{"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs",
        "namespace": "default", "name": ADDON}]);
    let patch = Patch::Merge(json!({"spec": {"configs": reference}}));
    addons.patch(ADDON, &PatchParams::default(), &patch).await?;
    let agent = until_image("of-config.example/mirror/agent:1").await?;
    let variable = |name: &str| {
        let found = agent.env.iter().flatten().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.clone()).unwrap_or_default()
    };
    anyhow::ensure!(
        variable("HTTPS_PROXY") == "https://proxy.example:3128",
        "{:?}",
        agent.env
    );
    let file = variable("CA_BUNDLE_FILE_PATH");
    let mounted = agent
        .volume_mounts
        .iter()
        .flatten()
        .find(|mount| file.starts_with(&mount.mount_path));
    anyhow::ensure!(mounted.is_some(), "nothing is mounted for {file:?}");
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), "default");
    s.until("the CA of the proxy on the cluster", || async {
        let map = maps
            .get_opt("settled-proxy-ca")
            .await?
            .and_then(|map| map.data)
            .unwrap_or_default();
        Ok(map.values().any(|text| *text == pem).then_some(()))
    })
    .await?;

    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&maps, "settled-proxy-ca").await?;
    annotate(None).await?;
    Ok(())
}
