//! The addon framework by itself: its example, on the real Open Cluster Management beside our own addon.
use std::{collections::BTreeSet, process::Stdio};

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
use scenarios::{
    Scenario, Side,
    world::{AGENT_NAMESPACE, SOON},
};
use serde_json::json;

const ADDON: &str = "helloworld";
const NAMESPACE: &str = "helloworld-agent";
/// Where a configuration moves the agent.
const MOVED: &str = "helloworld-moved";

const HELLO: &str = "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: helloworld}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: helloworld, namespace: cluster2}
spec: {}
";

#[tokio::test]
async fn the_helloworld_example_works() -> Result<()> {
    let s = Scenario::shared("framework-hello").await?;
    let (env, side) = (s.world.env, Side::West);
    env.hub().apply_text(HELLO).await?;
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

    configurations_are_rolled_out(&s, side).await?;

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
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), MOVED);
    s.await_gone(&maps, NAMESPACE).await?;
    ensure!(
        manager.try_wait()?.is_none(),
        "the example ended early: see {}",
        log.display()
    );
    manager.kill().await?;
    Ok(())
}

/// A default configuration, a change of it, and another namespace: each is rolled out by OCM's addon-manager, which is told
/// by the hashes that the framework writes, and reaches the Deployment.
async fn configurations_are_rolled_out(s: &Scenario, side: Side) -> Result<()> {
    let deployments = |namespace: &str| Api::<Deployment>::namespaced(s.client(side), namespace);
    let configure = |namespace: &'static str, node: &'static str| {
        let config = format!(
            "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {{name: helloworld, namespace: default}}
spec:
  agentInstallNamespace: '{namespace}'
  nodePlacement: {{nodeSelector: {{example.com/kind: {node}}}, tolerations: [{{key: example.com/kind, operator: Exists}}]}}
  registries: [{{source: busybox, mirror: registry.example/busybox}}]
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {{name: helloworld}}
spec:
  installStrategy: {{type: Manual}}
  defaultConfigs: [{{group: addon.open-cluster-management.io, resource: addondeploymentconfigs, namespace: default, name: helloworld}}]
"
        );
        async move { s.world.env.hub().apply_text(&config).await }
    };
    let mut hashes = BTreeSet::new();
    for (namespace, node, there) in [
        ("", "first", NAMESPACE),
        ("", "second", NAMESPACE),
        (MOVED, "second", MOVED),
    ] {
        configure(namespace, node).await?;
        let hash = s
            .until(
                &format!("the configuration {namespace} {node} to be rolled out"),
                || rolled_out(s, side, &hashes),
            )
            .await?;
        hashes.insert(hash);
        s.until(&format!("the Deployment in {there} to run on nodes {node}"), || async {
            let deployment = deployments(there).get_opt(NAMESPACE).await?;
            let pod = deployment
                .and_then(|found| found.spec)
                .and_then(|spec| spec.template.spec);
            Ok(pod.filter(|pod| {
                let selector = pod
                    .node_selector
                    .iter()
                    .flatten()
                    .any(|(key, value)| key == "example.com/kind" && value == node);
                let image = pod
                    .containers
                    .iter()
                    .all(|container| container.image.as_deref() == Some("registry.example/busybox"));
                selector && image && pod.tolerations.as_ref().is_some_and(|list| list.len() == 1)
            }))
        })
        .await?;
    }
    s.await_gone(&deployments(NAMESPACE), NAMESPACE).await?;
    let credentials: Api<Secret> = Api::namespaced(s.client(side), MOVED);
    s.until("the credentials in the other namespace", || async {
        Ok(credentials.get_opt("helloworld-hub-kubeconfig").await?)
    })
    .await?;
    Ok(())
}

/// The hash of the configuration that is rolled out, if it is none of `before`.
async fn rolled_out(s: &Scenario, side: Side, before: &BTreeSet<String>) -> Result<Option<String>> {
    let status = s
        .hub_of::<ManagedClusterAddOn>(side)
        .get(ADDON)
        .await?
        .status
        .unwrap_or_default();
    let completed = condition(&status.conditions, "Progressing")
        .is_some_and(|found| found.status == "False" && found.reason == "Completed");
    let Some(reference) = status.config_references.first().filter(|_| completed) else {
        return Ok(None);
    };
    let applied = reference
        .last_applied_config
        .clone()
        .filter(|_| reference.last_applied_config == reference.desired_config);
    let hash = applied
        .map(|applied| applied.spec_hash)
        .filter(|hash| !hash.is_empty() && !before.contains(hash));
    Ok(hash.filter(|_| reference.last_observed_generation.is_some()))
}

/// The product's own agents: a configuration of one cluster's addon reaches its Deployment, and the agent goes on working.
#[tokio::test]
async fn our_own_agents_follow_their_configuration() -> Result<()> {
    own_agents_follow(&Scenario::alone("framework-own").await?, "").await
}

/// Changes and takes away the configuration of one cluster's own agent. `namespace` is what leaves it where it is: older CRDs do
/// not take the empty text which says so.
pub(crate) async fn own_agents_follow(s: &Scenario, namespace: &str) -> Result<()> {
    const OURS: &str = peering_api::names::ADDON;
    const AGENT: &str = peering_api::names::AGENT;
    let side = Side::West;
    let config = format!(
        "
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: AddOnDeploymentConfig
metadata: {{name: tokenexchange, namespace: multicluster-orchestrator}}
spec:
  agentInstallNamespace: '{namespace}'
  nodePlacement: {{tolerations: [{{key: infra, operator: Exists}}]}}
  proxyConfig: {{noProxy: .svc}}
  resourceRequirements:
  - containerID: deployments:token-exchange-agent:agent
    resources: {{limits: {{memory: 200Mi}}}}
"
    );
    s.world.env.hub().apply_text(&config).await?;
    let addons = s.hub_of::<ManagedClusterAddOn>(side);
    let reference = json!([{"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs",
        "namespace": "multicluster-orchestrator", "name": "tokenexchange"}]);
    let configure = async |configs: serde_json::Value| {
        let patch = Patch::Merge(json!({"spec": {"configs": configs}}));
        addons.patch(OURS, &PatchParams::default(), &patch).await
    };
    let deployments: Api<Deployment> = Api::namespaced(s.client(side), AGENT_NAMESPACE);
    let until = |what: &'static str, configured: bool| {
        let deployments = deployments.clone();
        async move {
            s.until(what, || async {
                let deployment = deployments.get_opt(AGENT).await?;
                let Some(pod) = deployment.and_then(|found| found.spec?.template.spec) else {
                    return Ok(None);
                };
                let agent = pod.containers.first().cloned().unwrap_or_default();
                let limits = agent
                    .resources
                    .and_then(|resources| resources.limits)
                    .unwrap_or_default();
                let seen = [
                    pod.tolerations.is_some_and(|list| !list.is_empty()),
                    limits.get("memory").is_some_and(|limit| limit.0 == "200Mi"),
                    agent.env.iter().flatten().any(|variable| variable.name == "NO_PROXY"),
                ];
                Ok((seen == [configured; 3]).then_some(()))
            })
            .await
        }
    };
    let (node, before) = (
        s.world.env.spoke(side.cluster())?.node()?,
        s.world.agent(side.cluster()).await?,
    );
    configure(reference).await?;
    until("the configuration in the agent's Deployment", true).await?;
    let configured = node.await_restart(AGENT_NAMESPACE, AGENT, &before, SOON).await?;
    s.until("the rollout to complete", || async {
        let status = addons.get(OURS).await?.status.unwrap_or_default();
        let completed = condition(&status.conditions, "Progressing").is_some_and(|found| found.reason == "Completed");
        let applied = status
            .config_references
            .first()
            .is_some_and(|found| found.last_applied_config.is_some());
        Ok((completed && applied).then_some(()))
    })
    .await?;
    configure(json!([])).await?;
    until("the Deployment without it", false).await?;
    // Those that come next must not find the agent that is about to end.
    node.await_restart(AGENT_NAMESPACE, AGENT, &configured, SOON).await?;
    Ok(())
}
