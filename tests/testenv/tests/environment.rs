//! The environment itself: control planes, Open Cluster Management, and the node with a program of our image.

#[path = "environment/crds.rs"]
mod crds;
#[path = "environment/proxy.rs"]
mod proxy;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Secret},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::{Cluster, Env, RunningProcess, plain_http};

const SOON: Duration = Duration::from_mins(2);

/// A Deployment of the probe which is mounted a Secret.
fn probe(namespace: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: prober, namespace: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: probe, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: probe}}}}
  template:
    metadata: {{labels: {{app: probe}}}}
    spec:
      serviceAccountName: prober
      terminationGracePeriodSeconds: 10
      volumes:
      - {{name: secret, secret: {{secretName: mounted}}}}
      - {{name: scratch, emptyDir: {{}}}}
      containers:
      - name: probe
        image: registry.example/some/multicluster-orchestrator:test
        command: [/testenv-probe]
        args: ['--listen=0.0.0.0:$(PORT)', --file=/etc/mounted/key]
        env:
        - {{name: PORT, value: '8080'}}
        - {{name: SCRATCH, value: /scratch/x}}
        - {{name: POD_NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        ports: [{{containerPort: 8080, name: health}}]
        readinessProbe: {{httpGet: {{path: /readyz, port: health}}}}
        volumeMounts:
        - {{name: secret, mountPath: /etc/mounted}}
        - {{name: scratch, mountPath: /scratch}}
"
    )
}

async fn get(process: &RunningProcess, path: &str) -> Result<String> {
    let port = process.local_port(8080).context("no port")?;
    let response = plain_http::get(port, path, SOON).await?;
    let body = String::from_utf8(response.body)?;
    ensure!(response.status == 200, "{path}: {body}");
    Ok(body)
}

async fn apply_secret(cluster: &Cluster, namespace: &str, value: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "mounted", "namespace": namespace},
        "stringData": {"key": value},
    });
    cluster.apply_text(&secret.to_string()).await?;
    Ok(())
}

async fn await_readyz(env: &Env, deployments: &Api<Deployment>, ready: i32) -> Result<()> {
    env.until("the Deployment's status", SOON, || async {
        let deployment = deployments.get("probe").await?;
        let status = deployment.status.context("no status")?;
        ensure!(status.ready_replicas.unwrap_or_default() == ready, "{status:?}");
        ensure!(
            status.observed_generation == deployment.metadata.generation,
            "{status:?}"
        );
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn managed_clusters_are_available_and_keys_are_read_from_etcd() -> Result<()> {
    let env = testenv::shared();
    let client = env.hub().client().await?;
    for name in ["cluster1", "cluster2", "local-cluster"] {
        // Another test takes an API server away, which the hub hears of for a while.
        env.until("the cluster to be available", SOON * 4, || async {
            testenv::ocm::check_available(&client, name).await.map(Some)
        })
        .await?;
        env.spoke(name)?.node()?;
    }
    let local = testenv::ocm::managed_clusters(&client).get("local-cluster").await?;
    assert_eq!(local.metadata.labels.unwrap_or_default()["local-cluster"], "true");
    assert_eq!(env.spoke("local-cluster")?.url(), env.hub().url());
    let namespace = Namespace {
        metadata: ObjectMeta {
            generate_name: Some("planted-".to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespace = Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    let namespace = namespace.metadata.name.context("no name")?;
    let data = BTreeMap::from([("key".to_owned(), "find-me-in-etcd".to_owned())]);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("planted".to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(data),
        ..Secret::default()
    };
    Api::namespaced(client, &namespace)
        .create(&PostParams::default(), &secret)
        .await?;
    let dump = env.etcd_dump("/hub/").await?;
    let key = format!("/hub/secrets/{namespace}/planted");
    let (_, value) = dump
        .iter()
        .find(|(found, _)| found == key.as_bytes())
        .context("the planted key")?;
    assert!(value.windows(15).any(|window| window == b"find-me-in-etcd"));
    assert!(dump.len() > 200, "more than one page: {}", dump.len());
    env.check()
}

#[tokio::test]
async fn a_bare_cluster_has_a_namespace_and_goes_again() -> Result<()> {
    let env = testenv::shared();
    env.bare_cluster("bare").await?;
    env.delete_bare_cluster("bare").await
}

#[tokio::test]
async fn the_node_runs_a_deployment_as_the_kubelet_would() -> Result<()> {
    let env = testenv::shared();
    let spoke = env.spoke("cluster1")?;
    let (node, name) = (spoke.node()?, "node-runs");
    spoke.apply_text(&probe(name)).await?;
    let deployments: Api<Deployment> = Api::namespaced(spoke.client().await?, name);

    // A missing Secret holds the start back, and the status says so.
    env.until("the node to wait for the Secret", SOON, || async {
        let status = deployments.get("probe").await?.status.context("no status")?;
        let conditions = status.conditions.unwrap_or_default();
        Ok(conditions
            .iter()
            .any(|c| c.message.as_deref() == Some("waiting for the volumes secret"))
            .then_some(()))
    })
    .await?;
    assert!(node.process(name, "probe").is_none());
    apply_secret(&spoke, name, "one").await?;
    let first = node.await_ready(name, "probe", SOON).await?;
    await_readyz(env, &deployments, 1).await?;

    // It is who it should be, and has what it was given and nothing of ours.
    assert_eq!(
        get(&first, "/whoami").await?,
        format!("system:serviceaccount:{name}:prober")
    );
    let given: BTreeMap<String, String> = serde_json::from_str(&get(&first, "/env").await?)?;
    assert_eq!(given["POD_NAMESPACE"], name);
    assert_eq!(
        given["SCRATCH"],
        first.directory().join("volumes/scratch/x").display().to_string()
    );
    assert!(
        !given.contains_key("CARGO_MANIFEST_DIR") && !given.contains_key("KUBERNETES_SERVICE_HOST"),
        "{given:?}"
    );

    // A mounted Secret follows.
    assert_eq!(get(&first, "/file").await?, "one");
    apply_secret(&spoke, name, "two").await?;
    env.until("the file to follow", SOON, || async {
        Ok((get(&first, "/file").await? == "two").then_some(()))
    })
    .await?;

    // Killed, it comes back in the same pod.
    assert!(first.resident_bytes().is_some_and(|bytes| bytes > 1_000_000));
    first.kill();
    let second = node.await_restart(name, "probe", &first, SOON).await?;
    assert_eq!((second.pod(), second.restarts()), (first.pod(), 1));

    // A new template makes a new pod, after the old one has ended in peace.
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"new": "label"}}}}});
    deployments
        .patch("probe", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let third = node.await_restart(name, "probe", &second, SOON).await?;
    assert_ne!(third.pod(), second.pod());
    assert_eq!(third.log().matches("probe terminated").count(), 1, "{}", third.log());

    let patch = json!({"spec": {"replicas": 0}});
    deployments
        .patch("probe", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    node.await_gone(name, "probe", SOON).await?;
    await_readyz(env, &deployments, 0).await?;
    let patch = json!({"spec": {"replicas": 1}});
    deployments
        .patch("probe", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let fourth = node.await_ready(name, "probe", SOON).await?;
    await_readyz(env, &deployments, 1).await?;

    deployments.delete("probe", &DeleteParams::default()).await?;
    assert!(fourth.wait().await?.success());
    node.await_gone(name, "probe", SOON).await?;
    assert!(!fourth.directory().exists());
    env.check()
}

#[tokio::test]
async fn a_cluster_can_lose_its_api_server_its_latest_changes_and_every_process() -> Result<()> {
    let env = testenv::shared();
    // Of a managed cluster, so that the other tests can go on.
    let spoke = env.spoke("cluster2")?;
    let (node, name) = (spoke.node()?, "comes-back");
    spoke.apply_text(&probe(name)).await?;
    apply_secret(&spoke, name, "one").await?;
    let process = node.await_ready(name, "probe", SOON).await?;
    spoke.stop_api_server().await?;
    assert!(spoke.get_raw("/readyz").await.is_err());
    // What runs goes on, and a crash is mended without the API server.
    process.kill();
    node.await_restart(name, "probe", &process, SOON).await?;
    spoke.start_api_server().await?;
    apply_secret(&spoke, name, "two").await?;
    let process = node.await_ready(name, "probe", SOON).await?;
    let follow = |expected: &'static str| {
        let process = process.clone();
        env.until("the file to follow", SOON, move || {
            let process = process.clone();
            async move { Ok((get(&process, "/file").await? == expected).then_some(())) }
        })
    };
    follow("two").await?;

    // Taken back to an earlier state it has what was then, and nothing that came later.
    let backup = spoke.etcd_dump().await?;
    apply_secret(&spoke, name, "three").await?;
    spoke.apply_text(&probe("comes-later")).await?;
    follow("three").await?;
    assert!(spoke.restore(&backup).await? > 3);
    follow("two").await?;
    let namespaces: Api<Namespace> = Api::all(spoke.client().await?);
    assert!(namespaces.get_opt("comes-later").await?.is_none());
    apply_secret(&spoke, name, "four").await?;
    follow("four").await?;

    // Killed components come back as they were.
    for component in spoke.component_names() {
        spoke.crash(&component).await?;
    }
    apply_secret(&spoke, name, "five").await?;
    follow("five").await?;
    env.check()
}
